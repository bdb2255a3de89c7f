"""aiocache's face with the engine behind it."""

import asyncio
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from .engine import Engine
from .envelope import MEMORY_ONLY, Entry, NotJsonError, TooBigError
from .erasing import forget_outdated, forget_where
from .face import MemoryFace
from .memory import MISSING
from .namespaces import namespace_of
from .policies import MAX_SET_S
from .rules import Rules
from .scopes import PREFIX_CHARACTERS

if TYPE_CHECKING:
    from .stored import StoredEntries


class EngineFace(MemoryFace):
    """Keeps what is set as an entry where it can be invalidated by a tag, and in the store where there is one."""

    _engine: Engine
    _face_rules: Rules
    _forgetting: "asyncio.Task[None] | None" = None

    def _digest(self, key: str) -> bytes:
        return self._engine.space.digest("face", key)

    def _entry(self, key: str, value: Any) -> Entry:
        """What memory holds for *value*, until the tier's own deadline."""
        # First the key's own, which is its name in the store.
        tags = (self._digest(key), self._namespace_tag(key), self._face_rules.tag)
        return Entry(value, self._engine.marks.stamp(), inf, tags)

    def _end_faces(self) -> None:
        """What is under the keys of the face, in all namespaces, is not found any more."""
        if self._key_builder is None:
            self._epochs.end_all()
            self._note_ended()
            return
        prefixes = {rules.prefix for rules in self._engine.rules.values()}
        for key in self._memory:
            if not isinstance(key, str) or key[:PREFIX_CHARACTERS] not in prefixes:
                self._memory.delete(key)

    def _forget_ended(self) -> None:
        task = self._forgetting
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._forgetting = self._engine.flights.tasks.start(self._forget_all_ended(), "clear")

    async def _forget_all_ended(self) -> None:
        count = -1
        while count != self._epochs.count:  # another one may have ended meanwhile
            count = self._epochs.count
            await forget_where(self._memory, self._epochs.is_over)

    def _namespace_tag(self, key: str) -> bytes:
        return self._engine.space.namespace_tag(namespace_of(key))

    # Hooks of the face

    def _hold(self, key: str, value: Any, ttl_s: float | None) -> Any:
        return self._entry(key, value)

    def _open(self, key: str, held: Any) -> Any:
        if type(held) is not Entry:
            return held
        if self._engine.marks.counts(held.began_at, held.tags):
            # What was set ends with the memory's own time. What was loaded may be kept longer than it is fresh.
            return held.value if (until := held.fresh_until) == inf or until > self._clock() else MISSING
        self._memory.delete(key)
        self._face_rules.counts.invalidated += 1
        return MISSING

    def _ends_at(self, key: str) -> float | None:
        held = self._memory.get(key, MISSING)
        if type(held) is Entry and held.fresh_until != inf:
            return held.fresh_until  # it may be kept longer, as stale
        return super()._ends_at(key)

    def _end_at(self, key: str, expires_at: float | None) -> None:
        super()._end_at(key, expires_at)
        held = self._memory.get(key, MISSING)
        if type(held) is Entry and held.fresh_until != inf:  # from now on it is as one that was set
            self._memory.put(key, Entry(held.value, held.began_at, inf, held.tags), expires_at)

    async def _fetch(self, key: str) -> Any:
        return (await self._fetch_many((key,))).get(key, MISSING)

    async def _fetch_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        rules, counts = self._face_rules, self._face_rules.counts
        by_digest = {self._digest(key): key for key in keys}
        began_at = self._engine.marks.stamp()
        found = await self._store().read(tuple(by_digest), rules.policy, counts)
        values = {}
        for digest, kept in found.items():
            key = by_digest[digest]
            held = self._memory.get(key, MISSING)
            if type(held) is Entry and held.began_at > began_at:
                values[key] = held.value  # set meanwhile
            elif kept.entry.fresh_until > self._clock() and self._engine.marks.counts(
                kept.entry.began_at, kept.entry.tags
            ):
                if kept.load_s is None:
                    kept.entry.fresh_until = inf  # as where it was set
                self._memory.put(key, kept.entry, kept.expires_at)
                values[key] = kept.entry.value
        counts.store_hits += len(values)
        counts.misses += len(keys) - len(values)
        return values

    async def _stored(self, pairs: Sequence[tuple[str, Any]], ttl_s: float | None) -> None:
        stored, policy, counts = self._store(), self._face_rules.policy, self._face_rules.counts
        keep_s = MAX_SET_S if ttl_s is None else min(MAX_SET_S, ttl_s)
        outdated = []
        for key, value in pairs:
            held = self._memory.get(key, MISSING)
            entry = held if type(held) is Entry else self._entry(key, value)  # too big for memory
            digest = entry.tags[0]
            try:
                data = stored.sealed(digest, value, keep_s, None, policy.max_item_bytes) if policy.store else b""
            except NotJsonError:
                counts.memory_only += 1
                data = b""
            except TooBigError:
                data = b""
            if data:
                counts.stored_bytes += len(data)
                await stored.write(digest, data, entry, keep_s, supersedes=True)
            else:
                outdated.append(digest)  # else the store would answer with what was there before
                entry.tags = (*entry.tags, MEMORY_ONLY)
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
            await self._engine.invalidate_namespace(namespace)

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
        if command == "get" and type(result) is Entry:
            return self._opened_or(*args, held=result, **kwargs)
        return result

    def _opened_or(self, key: str, default: Any = None, *, held: Entry, **_: Any) -> Any:
        value = self._open(key, held)
        return default if value is MISSING else value

    def _store(self) -> "StoredEntries":
        self._engine.check_usable()
        assert self._engine.stored is not None
        return self._engine.stored
