"""The parts behind HybridCache, wired."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, LifecycleError, StoreError
from ..tasks import Tasks
from .erasing import forget_scopes
from .flights import Flights
from .invalidating import Invalidations
from .loading import Loading
from .marks import KnownMarks
from .memory import MemoryTier
from .policies import CachePolicy
from .ports import EVERYTHING, Leases, Marks, Tier
from .scopes import KeySpace, scope_prefix, scoped_key
from .statistics import CacheStatistics, PolicyStatistics

if TYPE_CHECKING:
    from ..events import EventBus
    from .guarded import GuardedTier
    from .sharing import SharedLoads
    from .stored import StoredEntries

MAX_PREFIXES = 1024
MARKS_WAIT_S = 2.0  # a database that is down must not hold up the start


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy, ready for use."""

    name: str
    policy: CachePolicy
    prefix: str  # of its memory keys
    prefix_of_all: str  # of those without a scope
    namespace_tag: bytes
    is_face: bool  # without a scope its keys are those of aiocache's face
    is_per_user: bool
    counts: PolicyStatistics = field(default_factory=PolicyStatistics)
    prefixes: dict[str | None, str] = field(default_factory=dict)  # of scopes that were used lately

    def prefix_of_scope(self, scope: str) -> str:
        """What the memory keys of *scope* begin with; joined once, as a hit costs little more than that."""
        if len(self.prefixes) >= MAX_PREFIXES:
            self.prefixes.clear()
            self._know_prefix_of_all()
        prefix = self.prefixes[scope] = scope_prefix(self.prefix, scope)
        return prefix

    def __post_init__(self) -> None:
        self._know_prefix_of_all()

    def _know_prefix_of_all(self) -> None:
        if not self.is_face and not self.is_per_user:
            self.prefixes[None] = self.prefix_of_all


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
        self.rules = {name: _rules(name, policy, self.space) for name, policy in policies.items()}
        self.memory = memory
        self.clock = clock
        self.guarded = None if store is None else _guarded(store, marks, leases, self._store_changed)
        self._everything = self.space.digest("everything")
        self._erasures = self.space.digest("erasures")  # marked with each
        self._erased_until = float("-inf")
        self._erased_here: dict[bytes, float] = {}  # and not heard of since
        self._broken_since: float | None = None
        self._tasks = self._new_tasks()
        self._resources: AsyncExitStack | None = None
        self.marks = KnownMarks(clock if self.guarded is None else self.guarded.now)
        self.flights = Flights(self._tasks)
        self.invalidations = Invalidations(
            self.marks, None if self.guarded is None else self.guarded.marks, self._everything, heard=self._heard_marks
        )
        self.stored = None if self.guarded is None else _stored(self.guarded, secret, self.marks, clock)
        self._shared = None if self.guarded is None else _shared(self.guarded, self._tasks, lease_s, clock)
        self.loading = Loading(
            memory, self.marks, self.flights, clock=clock, uniform=uniform, stored=self.stored, shared=self._shared
        )
        self.statistics = CacheStatistics(
            dict(self._readings()), {name: rules.counts for name, rules in self.rules.items()}
        )

    async def open(self) -> None:
        """Open the store, hear what other processes invalidate, and let loads go on for nobody."""
        if self._resources is not None:
            raise LifecycleError("this cache is open already; open it once and share it")
        async with AsyncExitStack() as opening:
            if self.guarded is not None:
                await opening.enter_async_context(self.guarded)
            await opening.enter_async_context(self._tasks)
            if self.guarded is not None and self.guarded.marks is not None:
                await self._hear_marks()
            self._resources = opening.pop_all()
        self.loading.in_background = True

    async def aclose(self) -> None:
        """End what loads, write what waits to be written. May be called twice."""
        self.loading.in_background = False
        resources, self._resources = self._resources, None
        if resources is None:
            return
        try:
            await resources.aclose()
        finally:
            self._tasks = self.flights.tasks = self._new_tasks()
            if self._shared is not None:
                self._shared.tasks = self._tasks

    def check_usable(self) -> None:
        """LifecycleError when there is a store that is not open."""
        if self.guarded is not None and self._resources is None:
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
        return (digest, rules.namespace_tag, *scopes, *(self.space.tag(tag) for tag in tags))

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

    async def invalidate(
        self, *, tag: str | None = None, namespace: str | None = None, scope: str | None = None
    ) -> None:
        """Mark the one that is given."""
        if tag is not None:
            await self._mark((self.space.tag(tag),))
        if namespace is not None:
            await self._mark((self.space.namespace_tag(namespace),))
        if scope is not None:
            await self._mark((self.space.scope_tag(scope),))

    async def erase(self, user: str) -> int:
        """Remove what belongs to the scope *user*; return how many entries that were."""
        self.check_usable()
        tag = self.space.scope_tag(user)
        # First the mark: then nobody writes again what is erased.
        at = self._erased_here[tag] = self.marks.stamp()
        await self.invalidations.mark((tag, self._erasures), at)
        erased_here = await self._forget_scopes(lambda scope: scope == user)
        if self.guarded is None:
            return erased_here
        # The store has what memory has, and more: counting both would count twice.
        return max(erased_here, await self.guarded.erase(tag))

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
        self._tasks.start(self._trust(), "marks_known")
        self._tasks.start(self.invalidations.follow(), "marks")
        self._tasks.start(self.invalidations.retell(), "marks_untold")
        try:
            async with asyncio.timeout(MARKS_WAIT_S):
                await self.invalidations.heard_once.wait()
                self.stored.trusted = True
        except TimeoutError:
            return  # until they are known, what the store has is not read

    def _heard_marks(self, marks: Mapping[bytes, float]) -> None:
        """Where somebody was erased elsewhere, he leaves this memory too, and not only when there is no room."""
        if EVERYTHING in marks:
            self.memory.clear()  # who was erased may be missing
        since, until = self._erased_until, marks.get(self._erasures, float("-inf"))
        if until <= since:
            return
        self._erased_until = until
        erased = {tag for tag, at in marks.items() if since < at <= until and self._erased_here.pop(tag, None) != at}
        if erased - {self._erasures}:
            self._tasks.start(self._forget_scopes(lambda scope: self.space.scope_tag(scope) in erased), "erased")

    async def _forget_scopes(self, is_erased: Callable[[str], bool]) -> int:
        return await forget_scopes(self.memory, {rules.prefix for rules in self.rules.values()}, is_erased)

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


def _rules(name: str, policy: CachePolicy, space: KeySpace) -> Rules:
    prefix = space.policy_prefix(name)
    return Rules(
        name,
        policy,
        prefix,
        scoped_key(prefix, None, ""),
        space.namespace_tag(name),
        is_face=name == "default",
        is_per_user=policy.scope == "user",
    )
