"""HybridCache: remembers answers, asks once, forgets in time, gives memory back."""

import asyncio
import pickle
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from ..errors import ConfigurationError

MIB = 1024 * 1024
ENTRY_BYTES = 230  # measured: what the dictionary, the entry and the headers of key and value take beside the content
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long one type of data is kept, and whether it belongs to one user."""

    ttl_s: float
    scope: Literal["global", "user"] = "global"


DEFAULT_POLICIES: Mapping[str, CachePolicy] = MappingProxyType(
    {
        "default": CachePolicy(300.0),
        "reply": CachePolicy(3600.0, scope="user"),
        "profile": CachePolicy(900.0, scope="user"),
        "transcript": CachePolicy(7 * 86_400.0),
    }
)


def policies_with(ttl_s: Mapping[str, float]) -> Mapping[str, CachePolicy]:
    """The default policies with other times. A name that is none of theirs is a ConfigurationError."""
    if unknown := sorted(set(ttl_s) - set(DEFAULT_POLICIES)):
        known = ", ".join(DEFAULT_POLICIES)
        raise ConfigurationError([f"there is no cache policy {name!r}; there are: {known}" for name in unknown])
    return {name: CachePolicy(ttl_s.get(name, policy.ttl_s), policy.scope) for name, policy in DEFAULT_POLICIES.items()}


@dataclass(slots=True)
class _Entry:
    value: Any
    size_bytes: int
    expires_at: float | None


class HybridCache(BaseCache):  # type: ignore[misc]  # aiocache has no annotations
    """An aiocache backend in memory with a byte budget; the least recently used entries go first.

    An entry counts with its pickled value, so a value must be picklable, its key, and ENTRY_BYTES. Works at once,
    without opening.
    """

    NAME = "hybrid"

    def __init__(
        self,
        max_bytes: int = 32 * MIB,
        *,
        policies: Mapping[str, CachePolicy] = DEFAULT_POLICIES,
        clock: Callable[[], float] = time.monotonic,
        **aiocache_kwargs: Any,
    ) -> None:
        aiocache_kwargs.setdefault("serializer", NullSerializer())
        super().__init__(**aiocache_kwargs)
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        self._max_bytes = max_bytes
        self._policies = policies
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._used_bytes = 0
        self._flights: dict[str, asyncio.Future[Any]] = {}

    async def get_or_load(
        self, key: str, loader: Callable[[], Awaitable[T]], *, policy: str = "default", scope: str | None = None
    ) -> T:
        """The cached value of *key*, else what *loader* returns, which many callers wait for and one runs.

        A policy of scope "user" keeps one person's answers from another, so it raises ValueError without a *scope*. An
        error of the loader reaches everyone who waits and is not remembered. When the caller that loads is cancelled,
        another loads instead.
        """
        rules = self._policies[policy]
        if rules.scope == "user" and not scope:
            raise ValueError(f"policy {policy!r} is per user; pass scope=, for example the chat")
        # The length keeps "a|b" and "c" apart from "a" and "b|c"; join, as a ChatId would format as a short hash.
        full_key = key if scope is None else "|".join((str(len(scope)), scope, key))
        while (entry := self._fresh(full_key)) is None:
            flight = self._flights.get(full_key)
            if flight is None:
                return await self._load(full_key, loader, rules)
            await asyncio.wait((flight,))
            if not flight.cancelled():
                return flight.result()  # type: ignore[no-any-return]
        return entry.value  # type: ignore[no-any-return]

    def shrink(self, target_bytes: int) -> int:
        """Evict the least recently used until *target_bytes*; return bytes freed."""
        before = self._used_bytes
        while self._used_bytes > target_bytes and self._entries:
            self._drop(next(iter(self._entries)))
        return before - self._used_bytes

    def release(self, wanted_bytes: int) -> int:
        """Free at least *wanted_bytes* if there are so many; return bytes freed."""
        return self.shrink(max(self._used_bytes - wanted_bytes, 0))

    def statistics(self) -> Mapping[str, int]:
        """Entries, and their bytes against the budget."""
        return {"entries": len(self._entries), "used_bytes": self._used_bytes, "max_bytes": self._max_bytes}

    async def _load(self, key: str, loader: Callable[[], Awaitable[T]], rules: CachePolicy) -> T:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            value = await loader()
            self._put(key, value, rules.ttl_s)
        except asyncio.CancelledError:
            flight.cancel()
            raise
        except BaseException as error:
            flight.set_exception(error)
            flight.exception()  # nobody may be waiting; the error is raised here
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            del self._flights[key]

    def _fresh(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at is not None and entry.expires_at <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _put(self, key: str, value: Any, ttl_s: float | None) -> None:
        size_bytes = ENTRY_BYTES + len(key) + len(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        self._drop(key)
        if size_bytes > self._max_bytes:
            return
        self.shrink(self._max_bytes - size_bytes)
        self._entries[key] = _Entry(value, size_bytes, None if ttl_s is None else self._clock() + ttl_s)
        self._used_bytes += size_bytes

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._used_bytes -= entry.size_bytes
        return True

    # What follows is the face that aiocache's BaseCache asks of a backend; ttl is in seconds, None for ever.

    async def _get(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        entry = self._fresh(key)
        return None if entry is None else entry.value

    async def _gets(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        return await self._get(key)

    async def _multi_get(self, keys: list[str], encoding: str | None = None, _conn: Any = None) -> list[Any]:
        return [await self._get(key) for key in keys]

    async def _set(
        self, key: str, value: Any, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        if _cas_token is not None and _cas_token != await self._get(key):
            return False
        self._put(key, value, ttl)
        return True

    async def _multi_set(self, pairs: list[tuple[str, Any]], ttl: float | None = None, _conn: Any = None) -> bool:
        for key, value in pairs:
            self._put(key, value, ttl)
        return True

    async def _add(self, key: str, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        if self._fresh(key) is not None:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return await self._set(key, value, ttl)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self._drop(key))

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return self._fresh(key) is not None

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        entry = self._fresh(key)
        value = delta if entry is None else int(entry.value) + delta
        expires_at = None if entry is None else entry.expires_at
        self._put(key, value, None if expires_at is None else expires_at - self._clock())
        return value

    async def _expire(self, key: str, ttl: float | None, _conn: Any = None) -> bool:
        entry = self._fresh(key)
        if entry is None:
            return False
        entry.expires_at = self._clock() + ttl if ttl else None
        return True

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        for key in [key for key in self._entries if key.startswith(namespace or "")]:
            self._drop(key)
        return True

    async def _raw(
        self, command: str, *args: Any, encoding: str | None = None, _conn: Any = None, **kwargs: Any
    ) -> Any:
        return getattr(self._entries, command)(*args, **kwargs)

    async def _redlock_release(self, key: str, value: Any) -> int:
        entry = self._fresh(key)
        return int(entry is not None and entry.value == value and self._drop(key))
