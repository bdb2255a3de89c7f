"""aiocache's face with the engine behind it."""

import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from .engine import Engine, Rules
from .envelope import Entry, NotJsonError
from .erasing import forget_outdated
from .face import MemoryFace
from .memory import MISSING
from .namespaces import MARK
from .policies import DAY_S

if TYPE_CHECKING:
    from .stored import StoredEntries

FOREVER_S = 30 * DAY_S  # how long a store keeps what was set without a time
_NAMESPACED = re.compile(MARK + r"(\d+)[:~]")


class EngineFace(MemoryFace):
    """Keeps what is set as an entry where it can be invalidated by a tag, and in the store where there is one."""

    _engine: Engine
    _face_rules: Rules

    def _digest(self, key: str) -> bytes:
        return self._engine.space.digest("face", key)

    def _entry(self, key: str, value: Any) -> Entry:
        """What memory holds for *value*, until the tier's own deadline."""
        tags = (self._digest(key), self._engine.space.namespace_tag(self._namespace_of(key)))
        return Entry(value, self._engine.marks.stamp(), inf, tags)

    def _namespace_of(self, key: str) -> str:
        """The namespace that a key in memory was built with; "" for none."""
        if (match := _NAMESPACED.match(key)) is None:
            return ""
        return key[match.end() : match.end() + int(match[1])]

    # Hooks of the face

    def _hold(self, key: str, value: Any, ttl_s: float | None) -> Any:
        return self._entry(key, value)

    def _open(self, key: str, held: Any) -> Any:
        if type(held) is not Entry:
            return held
        if self._engine.marks.counts(held.began_at, held.tags):
            return held.value
        self._memory.delete(key)
        self._face_rules.counts.invalidated += 1
        return MISSING

    async def _fetch(self, key: str) -> Any:
        return (await self._fetch_many((key,))).get(key, MISSING)

    async def _fetch_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        counts = self._face_rules.counts
        by_digest = {self._digest(key): key for key in keys}
        began_at = self._engine.marks.stamp()
        found = await self._store().read(tuple(by_digest), counts, max_ttl_s=FOREVER_S, max_keep_s=FOREVER_S)
        values = {}
        for digest, kept in found.items():
            key = by_digest[digest]
            held = self._memory.get(key, MISSING)
            if type(held) is Entry and held.began_at > began_at:
                values[key] = held.value  # set meanwhile
            elif self._engine.marks.counts(kept.entry.began_at, kept.entry.tags):
                kept.entry.fresh_until = inf
                self._memory.put(key, kept.entry, kept.expires_at)
                values[key] = kept.entry.value
        counts.store_hits += len(values)
        counts.misses += len(keys) - len(values)
        return values

    async def _stored(self, pairs: Sequence[tuple[str, Any]], ttl_s: float | None) -> None:
        stored, policy, counts = self._store(), self._face_rules.policy, self._face_rules.counts
        keep_s = FOREVER_S if ttl_s is None else ttl_s
        outdated = []
        for key, value in pairs:
            held = self._memory.get(key, MISSING)
            entry = held if type(held) is Entry else self._entry(key, value)  # too big for memory
            digest = entry.tags[0]
            try:
                data = stored.sealed(digest, value, keep_s, 0.0) if policy.store else b""
            except NotJsonError:
                counts.memory_only += 1
                data = b""
            if data and len(data) <= policy.max_item_bytes:
                counts.stored_bytes += len(data)
                await stored.write(digest, data, entry, keep_s)
            else:
                outdated.append(digest)  # else the store would answer with what was there before
        if outdated:
            await stored.remove(outdated)

    async def _removed(self, keys: Sequence[str]) -> None:
        self._store()
        await self._engine.forget(keys, [self._digest(key) for key in keys])

    async def _cleared(self, namespace: str | None) -> None:
        self._store()
        if namespace is None or self._key_builder is not None:  # what a builder made of a namespace is not known
            await self._engine.invalidate_everything()
        else:
            await self._engine.invalidate(namespace=namespace)

    # What is being loaded was asked for before.

    async def _delete(self, key: str, _conn: Any = None) -> int:
        self._engine.flights.forget(key)
        return await super()._delete(key)

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        prefixes = ("",) if namespace is None else self._prefixes_of(namespace)
        flights = self._engine.flights
        flights.forget_where(lambda key: key.startswith(prefixes))
        if not self._has_store or namespace is None or self._key_builder is not None:
            return await super()._clear(namespace)
        self._store()
        try:
            await self._cleared(namespace)  # nothing of it counts from now on
        finally:
            marks = self._engine.marks
            flights.tasks.start(forget_outdated(self._memory, prefixes, marks), "clear")
        return True

    async def _raw(self, command: str, *args: Any, **kwargs: Any) -> Any:
        result = await super()._raw(command, *args, **kwargs)
        self._engine.marks.renew()  # it may have been "expire", so what was found to count may end earlier
        return result

    def _store(self) -> "StoredEntries":
        self._engine.check_usable()
        assert self._engine.stored is not None
        return self._engine.stored
