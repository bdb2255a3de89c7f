"""HybridCache: remembers answers in memory and in a store, asks once, forgets in time, gives memory back."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from ..errors import ConfigurationError
from .engine import Engine
from .envelope import Entry
from .facing import EngineFace
from .loading import Load, Uncached
from .memory import MISSING, MemoryTier
from .policies import DEFAULT_POLICIES, CachePolicy
from .ports import Leases, Marks, Tier
from .rules import Rules
from .scopes import scoped_key
from .statistics import CacheStatistics

if TYPE_CHECKING:
    from ..events import EventBus
    from .explaining import Explanation

MIB = 1024 * 1024
P = ParamSpec("P")
T = TypeVar("T")


class HybridCache(EngineFace):
    """An aiocache backend with a byte budget, and with policies, single-flight, invalidation and a store behind it.

    Without *store* it works at once; then no load goes on for nobody, so stale values are loaded again by a caller.
    Opened with ``async with`` loads may, and a store is used: any Tier, which may also be the Marks and Leases that
    several processes share. Those who share need the same *secret*, 16 to 64 bytes, and the same *namespace*.
    A value of ``set`` has the policy "default" in the store, and its own time, there of at most 30 days; what JSON
    cannot hold, or is bigger than the policy allows, stays in memory. What is set over an older value is heard by the
    other processes when it is written, at most a quarter of a second later, if the store tells of it, as PostgresTier
    does where it can listen. Where it does not, behind a pooler in transaction mode or in AiocacheTier, a process that
    has the older value in memory gives that until its time; so it is everywhere with ``expire``, and with a value that
    could not be written. ``delete`` and ``invalidate`` are heard by all in any case.
    """

    NAME = "hybrid"

    def __init__(
        self,
        max_bytes: int = 32 * MIB,
        store: Tier | None = None,
        *,
        marks: Marks | None = None,
        leases: Leases | None = None,
        policies: Mapping[str, CachePolicy] = DEFAULT_POLICIES,
        secret: bytes | None = None,
        lease_s: float = 5.0,
        events: "EventBus | None" = None,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] | None = None,
        **aiocache_kwargs: Any,
    ) -> None:
        if store is not None and secret is None:
            raise ConfigurationError(
                "a cache with a store needs secret=, 16 to 64 bytes, the same in every process and after a restart"
            )
        self._has_store = self._holds_more = store is not None
        super().__init__(MemoryTier(max_bytes, clock=clock), **aiocache_kwargs)
        self._engine = Engine(
            self._memory,
            policies if "default" in policies else {**policies, "default": DEFAULT_POLICIES["default"]},
            secret or os.urandom(32),
            namespace=self.namespace,
            store=store,
            marks=marks,
            leases=leases,
            lease_s=lease_s,
            events=events,
            clock=clock,
            uniform=uniform or _uniform,
        )
        self._rules: Mapping[str, Rules] = self._engine.rules
        self._face_rules = self._rules["default"]
        self._marks = self._engine.marks

    async def __aenter__(self) -> Self:
        await self._engine.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what loads, and write what waits to be written."""
        await self._engine.aclose()
        await self.close()

    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[T | Uncached[T]]],
        *,
        policy: str = "default",
        scope: str | None = None,
        tags: Sequence[str] = (),
    ) -> T:
        """The cached value of *key*, else what *loader* returns, which many callers wait for and one runs.

        A policy of scope "user" keeps one person's answers from another, so it raises ValueError without a *scope*.
        Under "default", without a scope, it is the key of ``get`` and ``set``. An error of the loader reaches everyone
        who waits and is not remembered; nor is what it returns as ``Uncached``. The loader runs in a task of its own,
        which ends when nobody waits any more.
        """
        # The way of every hit: a call, or a look that can be spared, costs as much as the rest.
        try:
            rules = self._rules[policy]
            full_key = rules.prefixes[scope] + key
            entry = self._live[full_key]
            if (checked := entry.checked) is self._marks.generation:  # so it is an Entry
                clock, touch = self._clock, self._touch  # CPython finds an attribute quicker than a method
                if clock() < checked.until:
                    touch(full_key)
                    rules.counts.memory_hits += 1
                    return entry.value  # type: ignore[no-any-return]
        except (KeyError, AttributeError):
            rules = self._engine.rules_of(policy)
            full_key = self._composed(key, rules, scope)
        found = self._recall(full_key, rules)
        return found if found is not MISSING else await self._load(full_key, key, loader, rules, scope, tags)  # type: ignore[no-any-return]

    def cached(
        self,
        *,
        policy: str = "default",
        key: str | Callable[..., Any] | None = None,
        scope: str | Callable[..., Any] | None = None,
        tags: Sequence[str] | Callable[..., Any] = (),
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """A decorator that asks this cache first. *key*, *scope* and *tags* may be functions of the same arguments.

        Without *key* all arguments are the key, whatever their order and spelling; one that has no stable spelling, as
        an object of a class, is a TypeError.
        """
        from .decorating import remembering  # noqa: PLC0415

        self._engine.rules_of(policy)
        return lambda function: remembering(self, function, policy=policy, key=key, scope=scope, tags=tags)

    async def invalidate(
        self,
        *,
        key: str | None = None,
        tag: str | None = None,
        namespace: str | None = None,
        scope: str | None = None,
        policy: str = "default",
    ) -> None:
        """What was loaded until now with *tag*, in *namespace* or for *scope* does not count any more, in any process.

        Give one of them, or *key* with the policy and scope that it has. A policy's name is a namespace; under
        "default" is also what was set. Takes the same time however many entries that are, except for a namespace of a
        cache without a store, where every key in memory is looked at. A store that does not answer is told later; one
        that keeps no marks raises StoreError, as this process would believe it again after a restart.
        """
        if key is not None and tag is None and namespace is None:
            rules = self._engine.rules_of(policy)
            full_key = self._full_key(key, rules, scope)
            await self._engine.forget((full_key,), (self._engine.digest(full_key, key, rules, scope),))
        elif key is None and sum(given is not None for given in (tag, namespace, scope)) == 1:
            if namespace is not None and not self._has_store:  # what is plain has no tag
                await self._clear(namespace)
                if namespace == self._face_rules.name:
                    self._end_faces()
            await self._engine.invalidate(tag=tag, namespace=namespace, scope=scope)
        else:
            raise ValueError("invalidate takes one of tag=, namespace=, scope=, or key= with its policy and scope")

    async def erase(self, user: str) -> int:
        """Remove for good what was kept for the scope *user*, here, in the store and in what is not yet written.

        Returns how many entries that were. Raises StoreError when the store did not do it; then nothing of it counts,
        and erasing has to be repeated.
        """
        return await self._engine.erase(user)

    async def explain(self, key: str, *, policy: str = "default", scope: str | None = None) -> "Explanation":
        """Why a lookup of *key* hits or misses now; changes nothing and counts nothing. Printed, it is a sentence."""
        from .explaining import explain  # noqa: PLC0415  here and below: what few caches need, on first use

        rules = self._engine.rules_of(policy)
        full_key = self._full_key(key, rules, scope)
        return await explain(self._engine, full_key, self._engine.digest(full_key, key, rules, scope), rules)

    def shrink(self, target_bytes: int) -> int:
        """Evict until *target_bytes*, what is least worth keeping first; return bytes freed.

        Takes about 1 ms a MB: where the loop must not wait so long, ``shrink_slowly``.
        """
        return self._memory.shrink(target_bytes)

    def release(self, wanted_bytes: int) -> int:
        """Free at least *wanted_bytes* if there are so many; return bytes freed."""
        return self.shrink(max(self._memory.used_bytes - wanted_bytes, 0))

    async def shrink_slowly(self, target_bytes: int) -> int:
        """As ``shrink``, in slices of about a millisecond, between which others have their turn."""
        return await self._memory.shrink_slowly(target_bytes)

    async def release_slowly(self, wanted_bytes: int) -> int:
        """As ``release``, in slices of about a millisecond; what is kept meanwhile has to go too."""
        return await self.shrink_slowly(max(self._memory.used_bytes - wanted_bytes, 0))

    def statistics(self) -> CacheStatistics:
        """All counts, live: of the cache by name, and of each policy as ``<policy>.<count>``.

        Of ``get`` and its like only what asks the store is counted, under "default": to count what memory answers would
        take a quarter of a hit. Where that is wanted, there is aiocache's HitMissRatioPlugin.

        To read the bytes of policies of a big cache without holding up the loop, first ``await look_slowly()`` of it.
        """
        return self._engine.statistics

    def _composed(self, key: str, rules: Rules, scope: str | None) -> str:
        """The memory key; ValueError where the policy wants a scope and there is none."""
        if scope:
            return rules.prefix_of_scope(scope) + key
        if rules.is_per_user or scope is not None:
            raise ValueError(f"policy {rules.name!r} is per user; pass scope=, for example the chat")
        place: str = self._place(key, None) if rules.is_face else rules.prefix_of_all + key
        return place

    def _recall(self, full_key: str, rules: Rules) -> Any:
        """What memory has that is fresh and counts, or MISSING."""
        entry = self._memory.get(full_key, MISSING)
        if type(entry) is not Entry:
            rules.counts.memory_hits += entry is not MISSING
            return entry
        now = self._clock()
        if entry.fresh_until <= now:
            return MISSING
        if not self._marks.counts(entry.began_at, entry.tags):
            self._memory.delete(full_key)
            rules.counts.invalidated += 1
            return MISSING
        self._note_checked(full_key, entry, now)
        rules.counts.memory_hits += 1
        return entry.value

    def _note_checked(self, full_key: str, entry: Entry, now: float) -> None:
        """What stays as it is in this generation need not be looked at again before the next."""
        generation = self._marks.generation_at(now)
        found = self._entries.locate(full_key)
        is_lasting = found is not None and generation.until <= min(entry.fresh_until, found[0].deadlines[found[1]])
        entry.checked = generation if is_lasting else None

    async def _load(
        self, full_key: str, key: str, loader: Callable[[], Awaitable[Any]], rules: Rules, scope: str | None,
        tags: Sequence[str],
    ) -> Any:  # fmt: skip
        self._engine.check_usable()
        is_plain = rules.is_face and scope is None and not tags and not self._has_store and not rules.policy.stale_s
        digest = self._engine.digest(full_key, key, rules, scope)
        all_tags = self._engine.tags(digest, rules, scope, tags)
        if rules.is_face and scope is None and not is_plain:
            # From now on memory may hold entries under the keys of the face.
            self._holds_more, self._is_plain = True, False
            all_tags = (*all_tags, self._namespace_tag(full_key))
        load = Load(
            full_key,
            digest,
            all_tags,
            loader,
            rules.policy,
            rules.counts,
            is_plain,
        )
        return await self._engine.loading.obtain(load)

    def _full_key(self, key: str, rules: Rules, scope: str | None) -> str:
        if scope is None and rules.is_face:
            built: str = self.build_key(key, self.namespace)
            return built
        return scoped_key(rules.prefix, scope, key)


def _uniform() -> float:
    """Any number from 0 to 1, for jitter, which few policies have."""
    import random  # noqa: PLC0415

    return random.random()
