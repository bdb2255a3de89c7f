"""The parts behind HybridCache, wired."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, LifecycleError, StoreError
from ..tasks import Tasks
from .erasing import Erasures, forget_scopes, forget_tagged
from .flights import Flights
from .invalidating import Invalidations
from .loading import Loading
from .marks import KnownMarks
from .memory import MemoryTier
from .policies import CachePolicy
from .ports import ERASED, Leases, Marks, Tier
from .rules import Rules, rules_for
from .scopes import KeySpace
from .statistics import CacheStatistics, MemoryShares

if TYPE_CHECKING:
    from ..events import EventBus
    from .guarded import GuardedTier
    from .overwriting import Overwritten
    from .sharing import SharedLoads
    from .stored import StoredEntries

MARKS_WAIT_S = 2.0  # a database that is down must not hold up the start


class Engine:
    """Memory, marks, flights and the store of one cache, and what opens and closes them."""

    def __init__(
        self,
        memory: MemoryTier,
        policies: Mapping[str, CachePolicy],
        secret: bytes,
        *,
        namespace: str | None,
        store: Tier | None,
        marks: Marks | None,
        leases: Leases | None,
        lease_s: float,
        events: "EventBus | None",
        clock: Callable[[], float],
        uniform: Callable[[], float],
    ) -> None:
        self._events = events
        self.space = KeySpace(secret, namespace)
        self.rules = {name: rules_for(name, policy, self.space) for name, policy in policies.items()}
        self.memory = memory
        self.clock = clock
        self.guarded = None if store is None else _guarded(store, marks, leases, self._store_changed)
        self._everything = self.space.digest("everything")
        self._erasures = Erasures(self._forget_scopes, memory.clear, self.guarded)
        self._broken_since: float | None = None
        self._tasks = self._new_tasks()
        self._resources: AsyncExitStack | None = None
        self.marks = KnownMarks(clock if self.guarded is None else self.guarded.now)
        self.flights = Flights(self._tasks)
        self.invalidations = Invalidations(
            self.marks, None if self.guarded is None else self.guarded.marks, self._everything, heard=self._heard_marks
        )
        self.stored = None if self.guarded is None else _stored(self.guarded, secret, self.marks, clock)
        self._overwritten = self._hear_overwrites()
        self._shared = None if self.guarded is None else _shared(self.guarded, self._tasks, lease_s, clock)
        self.loading = Loading(
            memory, self.marks, self.flights, clock=clock, uniform=uniform, stored=self.stored, shared=self._shared
        )
        prefixes = {name: rules.prefix for name, rules in self.rules.items()}
        self.statistics = CacheStatistics(
            dict(self._readings()),
            {name: rules.counts for name, rules in self.rules.items()},
            MemoryShares(memory.group(prefixes.values()), prefixes, lambda: memory.evictions, rest="default"),
        )

    async def open(self) -> None:
        """Open the store, hear what other processes invalidate, and let loads go on for nobody."""
        if self._resources is not None:
            raise LifecycleError("this cache is open already; open it once and share it")
        if self.flights.leave_other_loops():
            self._renew_tasks()
        async with AsyncExitStack() as opening:
            if self.guarded is not None:
                has_unwritten = self.guarded.pending > 0
                await opening.enter_async_context(self.guarded)
                self._erasures.open(self.guarded.now(), has_unwritten=has_unwritten)
                opening.push_async_callback(self._erasures.finish)
            await opening.enter_async_context(self._tasks)
            if self.guarded is not None and self.guarded.marks is not None:
                await self._hear_marks()
            self._resources = opening.pop_all()
        self.loading.in_background = True
        if self._overwritten is not None:
            self._overwritten.open()

    async def aclose(self) -> None:
        """End what loads, write what waits to be written. May be called twice."""
        self.loading.in_background = False
        if self._overwritten is not None:
            self._overwritten.is_open = False
        resources, self._resources = self._resources, None
        if resources is None:
            return
        try:
            await resources.aclose()
        finally:
            self._renew_tasks()

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed since."""
        return self._resources is not None

    def check_usable(self) -> None:
        """LifecycleError when there is a store that is not open."""
        if self.guarded is not None and not self.is_open:
            raise LifecycleError("this cache has a store, so it is used while it is open: async with cache: ...")

    def rules_of(self, policy: str) -> Rules:
        """The rules of *policy*; ConfigurationError with all names where there is none."""
        if (rules := self.rules.get(policy)) is None:
            raise ConfigurationError(f"there is no cache policy {policy!r}; there are: {', '.join(self.rules)}")
        return rules

    def digest(self, full_key: str, key: str, rules: Rules, scope: str | None) -> bytes:
        """The digest of a key: that of the face, or that of a policy and scope."""
        if rules.is_face and scope is None:
            return self.space.digest("face", full_key)
        return self.space.digest("key", rules.name, *(() if scope is None else (scope,)), key)

    def tags(self, digest: bytes, rules: Rules, scope: str | None, tags: Sequence[str]) -> tuple[bytes, ...]:
        """All that can invalidate an entry."""
        scopes = () if scope is None else (self.space.scope_tag(scope),)
        return (digest, rules.tag, *scopes, *(self.space.tag(tag) for tag in tags))

    async def forget(self, keys: Sequence[str], digests: Sequence[bytes]) -> None:
        """Remove single keys, here, in the store, and in the memory of other processes."""
        self.check_usable()
        for key in keys:
            self.memory.delete(key)
        await self.invalidations.mark(digests)
        if self.stored is not None:
            await self.stored.remove(digests)

    async def invalidate_everything(self) -> None:
        """Nothing that was loaded until now counts."""
        await self._mark((self._everything,))

    async def invalidate_namespace(self, namespace: str) -> None:
        """Nothing that was loaded until now in *namespace*, one of aiocache's, counts."""
        await self._mark((self.space.namespace_tag(namespace),))

    async def invalidate(
        self, *, tag: str | None = None, namespace: str | None = None, scope: str | None = None
    ) -> None:
        """Mark the one that is given."""
        if tag is not None:
            await self._mark((self.space.tag(tag),))
        if namespace is not None:
            policies = [self.rules[namespace].tag] if namespace in self.rules else []
            await self._mark((self.space.namespace_tag(namespace), *policies))
        if scope is not None:
            await self._mark((self.space.scope_tag(scope),))

    async def erase(self, user: str) -> int:
        """Remove what belongs to the scope *user*; return how many entries that were."""
        self.check_usable()
        tag = self.space.scope_tag(user)
        # First the mark: then nobody writes again what is erased.
        at = self.marks.stamp()
        self._erasures.note(tag, at)
        await self.invalidations.mark((tag, ERASED + tag), at)
        erased_here = await self._forget_scopes({tag})
        if self.guarded is None:
            return erased_here
        # The store has what memory has, and more: counting both would count twice.
        return max(erased_here, await self.guarded.erase(tag))

    def _renew_tasks(self) -> None:
        self._tasks = self.flights.tasks = self._new_tasks()
        if self._shared is not None:
            self._shared.tasks = self._tasks

    def _new_tasks(self) -> Tasks:
        return Tasks("cache", on_failure=None if self._events is None else self._events.task_failed)

    async def _mark(self, tags: Sequence[bytes]) -> None:
        self.check_usable()
        await self.invalidations.mark(tags)
        if self.guarded is not None and self.guarded.marks is None:
            raise StoreError(
                "this store keeps no marks, so only this process knows what was invalidated, and until it ends; "
                "give marks=, or invalidate by key",
                retryable=False,
            )

    async def _hear_marks(self) -> None:
        assert self.stored is not None
        self.stored.trusted = False
        self.invalidations.open()
        self._tasks.start(self._trust(), "marks_known")
        self._tasks.start(self.invalidations.follow(), "marks")
        self._tasks.start(self.invalidations.retell(), "marks_untold")
        try:
            async with asyncio.timeout(MARKS_WAIT_S):
                await self.invalidations.heard_once.wait()
                self.stored.trusted = True
        except TimeoutError:
            return  # until they are known, what the store has is not read

    def _hear_overwrites(self) -> "Overwritten | None":
        if self.guarded is None or self.guarded.overwrites is None:
            return None
        from .overwriting import Overwritten  # noqa: PLC0415  as below

        return Overwritten(
            self.guarded.overwrites,
            self.memory,
            self.marks,
            self.flights,
            lambda key: self.space.digest("face", key),
            {rules.prefix for rules in self.rules.values()},
        )

    def _heard_marks(self, marks: Mapping[bytes, float]) -> None:
        self._erasures.hear(marks, self._tasks)

    async def _forget_scopes(self, tags: Collection[bytes]) -> int:
        all_rules = self.rules.values()
        theirs = await forget_scopes(
            self.memory, {rules.prefix for rules in all_rules}, lambda scope: self.space.scope_tag(scope) in tags
        )
        for_all = tuple(rules.prefix_of_all for rules in all_rules if not rules.is_per_user)
        return theirs + await forget_tagged(self.memory, for_all, tags, self.marks)

    async def _trust(self) -> None:
        assert self.stored is not None
        await self.invalidations.heard_once.wait()
        self.stored.trusted = True

    def _store_changed(self, is_broken: bool, reason: str) -> None:
        broken_since, self._broken_since = self._broken_since, self.clock()
        if self._events is None:
            return
        from ..events import CacheTierFailed, CacheTierRecovered  # noqa: PLC0415  1.5 MB that a bare cache does not need

        outage_s = 0.0 if broken_since is None else self._broken_since - broken_since
        self._events.publish(CacheTierFailed(reason) if is_broken else CacheTierRecovered(outage_s))

    def _readings(self) -> Iterator[tuple[str, Callable[[], float]]]:
        yield "entries", lambda: len(self.memory)
        yield "used_bytes", lambda: self.memory.used_bytes
        yield "max_bytes", lambda: self.memory.max_bytes
        yield "evictions", lambda: self.memory.evictions
        yield "loading", lambda: len(self.flights)
        yield "marks", lambda: len(self.marks)
        yield "marks_untold", lambda: self.invalidations.untold
        if (guarded := self.guarded) is not None:
            yield "store_is_broken", lambda: float(guarded.is_broken)
            yield "store_pending", lambda: guarded.pending
            for name in guarded.statistics.__slots__:
                yield f"store_{name}", lambda name=name: getattr(guarded.statistics, name)  # type: ignore[misc]


# What only a cache with a store needs is imported by those who have one.


def _guarded(
    store: Tier, marks: Marks | None, leases: Leases | None, changed: Callable[[bool, str], object]
) -> "GuardedTier":
    from .guarded import GuardedTier  # noqa: PLC0415

    return GuardedTier(store, marks=marks, leases=leases, changed=changed)


def _stored(tier: "GuardedTier", secret: bytes, marks: KnownMarks, clock: Callable[[], float]) -> "StoredEntries":
    from .envelope import Envelope  # noqa: PLC0415
    from .stored import StoredEntries  # noqa: PLC0415

    return StoredEntries(tier, Envelope(secret), marks, clock)


def _shared(tier: "GuardedTier", tasks: Tasks, lease_s: float, clock: Callable[[], float]) -> "SharedLoads | None":
    from .sharing import SharedLoads  # noqa: PLC0415

    return None if tier.leases is None else SharedLoads(tier.leases, tier, tasks, lease_s=lease_s, clock=clock)
