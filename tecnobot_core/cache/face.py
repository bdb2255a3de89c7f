"""aiocache's face over a memory tier."""

from collections.abc import Iterable
from typing import Any

from aiocache.base import SENTINEL

from .backend import MemoryBackend
from .commands import UNSET, command
from .memory import MISSING
from .namespaces import MARK


class MemoryFace(MemoryBackend):
    """An aiocache backend over a memory tier, with aiocache's commands, plugins, serializers, locks and decorators.

    What differs from aiocache's own memory backend: None is a value like others; namespaces are apart; times do not
    depend on a loop; the timeout is 0; a counter goes through the serializer; AIOCACHE_DISABLE is read once, when it is
    made. ``clear`` without a namespace clears all. With a *key_builder* a namespace is what begins like its empty key.
    """

    # aiocache's commands

    async def get(
        self, key: Any, default: Any = None, loads_fn: Any = None, namespace: str | None = None, _conn: Any = None,
        timeout: float | None = UNSET,
    ) -> Any:  # fmt: skip
        """The value of *key*, else *default*. A None that was set is None, whatever *default*."""
        # Of most hits, and by itself: each question more would cost them 2 %.
        if self._is_plain and namespace is None and loads_fn is None and timeout is UNSET and not self._plugins:
            try:
                value = self._live[key]
                clock, touch = self._clock, self._touch  # CPython finds an attribute quicker than a method
                if clock() < self._entries.earliest:
                    touch(key)
                    return value
            except (KeyError, TypeError):  # nothing, or a key that is no text and cannot be hashed either
                pass
        if self._is_quick and loads_fn is None and timeout is UNSET and not self._plugins:
            if namespace is None and self._own_prefix and type(key) is str:
                place = self._own_prefix + key
            else:
                place = self._place(key, namespace)
            try:
                value = self._live[place]
                clock, touch = self._clock, self._touch
                if clock() < self._entries.earliest:
                    touch(place)
                    if not self._holds_more or (value := self._open(place, value)) is not MISSING:
                        return value
            except (KeyError, TypeError):
                pass
            found = await self._find(place)
            return default if found is MISSING else found
        given = _given(
            default=(default, None), loads_fn=(loads_fn, None), namespace=(namespace, None), timeout=(timeout, UNSET)
        )
        return await self._get_command(key, **given)

    @command("get", when_disabled=None)
    async def _get_command(
        self, key: Any, default: Any = None, loads_fn: Any = None, namespace: str | None = None, **_: Any
    ) -> Any:
        found = await self._find(self._place(key, namespace))
        return default if found is MISSING else (loads_fn or self._serializer.loads)(found)

    async def set(
        self, key: Any, value: Any, ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: str | None = None,
        _cas_token: Any = None, _conn: Any = None, timeout: float | None = UNSET,
    ) -> Any:  # fmt: skip
        """Keep *value* for *ttl* seconds, 0 or None for as long as there is room. False if *_cas_token* is not kept."""
        if (
            self._is_quick and dumps_fn is None and _cas_token is None and timeout is UNSET and not self._plugins
        ):  # fmt: skip
            if type(key) is str and namespace is None and self._has_bare_keys and key[:1] != MARK:
                place = key
            else:
                place = self._place(key, namespace)
            ttl_s = self.ttl if ttl is SENTINEL else ttl
            held = self._hold(place, value, ttl_s or None) if self._holds_more else value
            self._memory.put(place, held, self._clock() + ttl_s if ttl_s else None)
            if self._has_store:
                await self._stored(((place, value),), ttl_s or None)
            return True
        given = _given(
            ttl=(ttl, SENTINEL), dumps_fn=(dumps_fn, None), namespace=(namespace, None), _cas_token=(_cas_token, None),
            timeout=(timeout, UNSET),
        )  # fmt: skip
        return await self._set_command(key, value, **given)

    @command("set", when_disabled=True)
    async def _set_command(
        self, key: Any, value: Any, ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: str | None = None,
        _cas_token: Any = None, **_: Any,
    ) -> Any:  # fmt: skip
        place, dumped = self._place(key, namespace), (dumps_fn or self._serializer.dumps)(value)
        return await self._set(place, dumped, self._ttl_s(ttl), _cas_token)

    @command("add", when_disabled=True)
    async def add(
        self, key: Any, value: Any, ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: str | None = None,
        _conn: Any = None,
    ) -> bool:  # fmt: skip
        """Like ``set``, but ValueError if there is a value."""
        place, dumped = self._place(key, namespace), (dumps_fn or self._serializer.dumps)(value)
        return await self._add(place, dumped, self._ttl_s(ttl))

    @command("multi_get", when_disabled=[])
    async def multi_get(
        self, keys: Iterable[Any], loads_fn: Any = None, namespace: str | None = None, _conn: Any = None
    ) -> list[Any]:
        """The values of *keys* in their order, None for what is absent."""
        places = [self._place(key, namespace) for key in keys]
        loads = loads_fn or self._serializer.loads
        return [None if found is MISSING else loads(found) for found in await self._find_many(places)]

    @command("multi_set", when_disabled=True)
    async def multi_set(
        self, pairs: Iterable[Iterable[Any]], ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: str | None = None,
        _conn: Any = None,
    ) -> bool:  # fmt: skip
        """``set`` of many; what cannot be serialized leaves all as it was."""
        dumps = dumps_fn or self._serializer.dumps
        built = [(self._place(key, namespace), dumps(value)) for key, value in pairs]
        return await self._multi_set(built, self._ttl_s(ttl))

    @command("delete", when_disabled=0)
    async def delete(self, key: Any, namespace: str | None = None, _conn: Any = None) -> int:
        """Forget *key*; how many keys that were, 0 or 1."""
        return await self._delete(self._place(key, namespace))

    @command("exists", when_disabled=False)
    async def exists(self, key: Any, namespace: str | None = None, _conn: Any = None) -> bool:
        """Whether there is a value, also None."""
        return await self._exists(self._place(key, namespace))

    @command("increment", when_disabled=1)
    async def increment(self, key: Any, delta: int = 1, namespace: str | None = None, _conn: Any = None) -> int:
        """Add *delta* to a whole number, or begin with it; the new number. Its time stays. TypeError for the rest."""
        return await self._increment(self._place(key, namespace), delta)

    @command("expire", when_disabled=False)
    async def expire(self, key: Any, ttl: float | None, namespace: str | None = None, _conn: Any = None) -> bool:
        """Keep *key* for *ttl* seconds from now, 0 or None for as long as there is room; False if it is absent."""
        return await self._expire(self._place(key, namespace), ttl)

    @command("clear", when_disabled=True)
    async def clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        """Forget all keys of *namespace*, or everything.

        In a HybridCache a namespace is gone at once however much is in it, and its memory is given back in slices. If
        there is no store, ``build_key`` builds other keys for it from then on, and with a *key_builder* every key in
        memory is looked at.
        """
        return await self._clear(namespace)

    @command("raw", when_disabled=None)
    async def raw(self, command: str, *args: Any, _conn: Any = None, **kwargs: Any) -> Any:
        """Call a public method of the memory tier, with keys of the memory and deadlines of its clock."""
        return await self._raw(command, *args, **kwargs)

    def _ttl_s(self, ttl: Any) -> float | None:
        return self.ttl if ttl is SENTINEL else ttl  # type: ignore[no-any-return]


def _given(**arguments: tuple[Any, Any]) -> dict[str, Any]:
    """Those that are not their default: plugins get what the caller wrote."""
    return {name: value for name, (value, default) in arguments.items() if value is not default}
