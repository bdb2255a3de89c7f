"""What aiocache asks of a backend, done by a memory tier."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from .memory import MISSING, MemoryTier
from .places import KeyBuilder, Places

DEFAULT_MAX_BYTES = 32 * 1024 * 1024
MIN_TTL_S = 1e-6


class MemoryBackend(Places, BaseCache):  # type: ignore[misc]  # aiocache has no annotations
    """The methods with an underscore of aiocache's backends: keys are built, values are dumped.

    A subclass may have a store behind (``_has_store`` and the hooks of it), and hold more than the values in memory
    (``_holds_more``, ``_hold`` and ``_open``).
    """

    NAME: ClassVar[str] = "memory"
    _has_store: bool = False
    _holds_more: bool = False

    def __init__(
        self,
        memory: MemoryTier | None = None,
        *,
        serializer: Any = None,
        plugins: Iterable[Any] | None = None,
        namespace: str | None = None,
        key_builder: KeyBuilder | None = None,
        timeout: float | None = 0,
        ttl: float | None = None,
    ) -> None:
        self._memory = MemoryTier(DEFAULT_MAX_BYTES) if memory is None else memory
        self._entries = self._memory.entries
        self._live = self._entries.live
        self._touch = self._memory.touch
        self._clock = self._memory.clock
        self._build_places(key_builder)
        self._namespace: str | None = None
        self._timeout_s: float | None = None
        self._serializer: Any = None
        self._is_disabled = os.getenv("AIOCACHE_DISABLE") == "1"
        super().__init__(
            serializer=serializer or NullSerializer(), plugins=plugins, namespace=namespace, timeout=timeout, ttl=ttl
        )

    # Hooks of a store behind the memory. Keys are those of the memory, values as the serializer made them.

    async def _fetch(self, key: str) -> Any:
        """The value of *key* in the store, by now in memory too, or MISSING."""
        return MISSING

    async def _fetch_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """Those of *keys* that the store has, by now in memory too."""
        return {}

    async def _stored(self, pairs: Sequence[tuple[str, Any]], ttl_s: float | None) -> None:
        """Memory has *pairs* now; for *ttl_s*, None for ever."""

    async def _removed(self, keys: Sequence[str]) -> None:
        """Memory has not *keys* any more."""

    async def _cleared(self, namespace: str | None) -> None:
        """Memory has nothing of *namespace* any more; None: nothing at all."""

    def _hold(self, key: str, value: Any, ttl_s: float | None) -> Any:
        """What memory shall hold for *value*."""
        return value

    def _open(self, key: str, held: Any) -> Any:
        """The value of what memory holds, or MISSING if it does not count any more."""
        return held

    @property
    def is_disabled(self) -> bool:
        """Whether aiocache is switched off: nothing is kept, nothing is found."""
        return self._is_disabled

    @property
    def serializer(self) -> Any:
        """What values go through; setting another leaves what is kept as it is."""
        return self._serializer

    @serializer.setter
    def serializer(self, serializer: Any) -> None:
        self._serializer = serializer
        self._look_for_the_quick_way()

    @property
    def timeout(self) -> float | None:
        """Seconds that a command may take; 0 or None for as long as it takes."""
        return self._timeout_s

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._timeout_s = timeout
        self._look_for_the_quick_way()

    @property
    def namespace(self) -> str | None:
        """Where keys are when the caller names no namespace."""
        return self._namespace

    @namespace.setter
    def namespace(self, namespace: str | None) -> None:
        self._namespace = namespace
        self._builds_keys |= bool(namespace)
        self._look_for_the_quick_way()

    def _look_for_the_quick_way(self) -> None:
        """Values as they are, no timeout: so it is mostly, and decided here, not at every hit."""
        straight = type(self._serializer) is NullSerializer and not self._is_disabled
        self._is_quick = straight and not self._timeout_s
        # Bare keys are kept as they are; no key in memory can be taken for one of them.
        self._has_bare_keys = not self._builds_keys
        self._is_plain = self._is_quick and self._has_bare_keys and not self._has_store and not self._holds_more
        self._own_prefix = self._bare_prefix
        if self._namespace:
            self._own_prefix = self._prefixes_of(self._namespace)[0] if self._key_builder is None else ""

    # Used by the commands

    async def _find(self, key: str) -> Any:
        """The dumped value of *key*, or MISSING."""
        found = self._peek(key)
        if found is MISSING and self._has_store:
            found = await self._fetch(key)
        return found

    async def _find_many(self, keys: Sequence[str]) -> list[Any]:
        found = [self._peek(key) for key in keys]
        if self._has_store and (absent := [key for key, value in zip(keys, found, strict=True) if value is MISSING]):
            fetched = await self._fetch_many(absent)
            return [fetched.get(key, value) for key, value in zip(keys, found, strict=True)]
        return found

    def _peek(self, key: str) -> Any:
        held = self._memory.get(key, MISSING)
        return self._open(key, held) if self._holds_more and held is not MISSING else held

    def _ends_at(self, key: str) -> float | None:
        return self._memory.expires_at(key)

    def _end_at(self, key: str, expires_at: float | None) -> None:
        self._memory.expire(key, expires_at)

    def _keep(self, key: str, value: Any, ttl_s: float | None) -> None:
        if self._holds_more:
            value = self._hold(key, value, ttl_s or None)
        self._memory.put(key, value, self._clock() + ttl_s if ttl_s else None)

    # Used by aiocache's locks and decorators too

    async def _get(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        found = await self._find(key)
        return None if found is MISSING else found

    async def _gets(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        return await self._get(key)

    async def _multi_get(self, keys: Sequence[str], encoding: str | None = None, _conn: Any = None) -> list[Any]:
        return [None if found is MISSING else found for found in await self._find_many(keys)]

    async def _set(
        self, key: str, value: Any, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        if _cas_token is not None:
            await self._find(key)
            # Looked at again: nothing may come between this and what is kept.
            if self._peek(key) != _cas_token:
                return False
        return await self._multi_set(((key, value),), ttl)

    async def _multi_set(self, pairs: Sequence[tuple[str, Any]], ttl: float | None = None, _conn: Any = None) -> bool:
        for key, value in pairs:
            self._keep(key, value, ttl)
        if self._has_store:
            await self._stored(pairs, ttl or None)
        return True

    async def _add(self, key: str, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        # The second look is for another one that added while the store was asked.
        if await self._find(key) is not MISSING or self._peek(key) is not MISSING:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return await self._set(key, value, ttl)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        found = await self._find(key)
        self._memory.delete(key)
        if self._has_store:
            await self._removed((key,))
        return int(found is not MISSING)

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return await self._find(key) is not MISSING

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        await self._find(key)
        found = self._peek(key)
        ttl_s = None
        number = delta
        if found is not MISSING:
            try:
                number += int(self._serializer.loads(found))
            except (TypeError, ValueError):
                raise TypeError(f"Value of key {key} is not an integer") from None
            expires_at = self._ends_at(key)
            # Never 0, which is for ever: the time may pass meanwhile.
            ttl_s = None if expires_at is None else max(expires_at - self._clock(), MIN_TTL_S)
        await self._set(key, self._serializer.dumps(number), ttl_s)
        return number

    async def _expire(self, key: str, ttl: float | None, _conn: Any = None) -> bool:
        await self._find(key)
        if (found := self._peek(key)) is MISSING:
            return False
        self._end_at(key, self._clock() + ttl if ttl else None)
        if self._has_store:
            await self._stored(((key, found),), ttl or None)
        return True

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        if not namespace:
            self._memory.clear()
        elif self._key_builder is None and not self._has_store:
            self._epochs.end(namespace)
            self._note_ended()
        else:
            prefixes = self._prefixes_of(namespace)
            self._forget_where(lambda key: key.startswith(prefixes))
        if self._has_store:
            await self._cleared(namespace)
        return True

    def _forget_ended(self) -> None:
        self._forget_where(self._epochs.is_over)

    def _forget_where(self, is_meant: Callable[[str], bool]) -> None:
        for key in self._memory:
            if isinstance(key, str) and is_meant(key):
                self._memory.delete(key)

    async def _raw(
        self, command: str, *args: Any, encoding: str | None = None, _conn: Any = None, **kwargs: Any
    ) -> Any:
        if command.startswith("_") or not callable(method := getattr(self._memory, command, None)):
            raise ValueError(f"{command!r} is no command of the memory tier; use a public method like 'get' or 'keys'")
        return method(*args, **kwargs)

    async def _redlock_release(self, key: str, value: Any) -> int:
        return await self._delete(key) if await self._get(key) == value else 0

    async def _close(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to close: a store behind has its own."""

    @classmethod
    def parse_uri_path(cls, path: str) -> dict[str, str]:
        """For aiocache's ``Cache.from_url``: a path says nothing here."""
        return {}
