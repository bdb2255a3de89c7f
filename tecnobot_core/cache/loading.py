"""Finding a value that memory has not fresh: the store, somebody else's load, an own load, or a stale one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .envelope import Entry, NotJsonError, TooBigError
from .flights import Flight, Flights
from .marks import KnownMarks
from .memory import MISSING
from .memory.values import weigh
from .policies import CachePolicy
from .statistics import PolicyStatistics

if TYPE_CHECKING:
    from .sharing import SharedLoads
    from .stored import StoredEntries

RETRY_S = 5.0  # how long a stale value is given after a failure before loading is tried again
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Uncached(Generic[T]):
    """What a loader returns when its value is for those who wait, and must not be kept: a cut answer, for example."""

    value: T


class Memory(Protocol):
    """Where entries live in this process, with exact times on its own clock."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value of *key*, or *default*."""
        ...

    def put(self, key: str, value: Any, expires_at: float | None = None) -> object:
        """Keep *value*."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """What is wanted, and how to get it."""

    key: str
    digest: bytes
    tags: tuple[bytes, ...]  # with the digest
    loader: Callable[[], Awaitable[Any]]
    policy: CachePolicy
    counts: PolicyStatistics
    is_plain: bool = False  # kept as the value alone: nothing but its time can end it


class Loading:
    """Decides where a value comes from, and keeps what was loaded.

    ``in_background`` tells whether loads may go on for nobody: in an open cache. Otherwise the caller who finds a stale
    value waits for its load himself.
    """

    def __init__(
        self,
        memory: Memory,
        marks: KnownMarks,
        flights: Flights,
        *,
        clock: Callable[[], float],
        uniform: Callable[[], float],
        stored: "StoredEntries | None" = None,
        shared: "SharedLoads | None" = None,
    ) -> None:
        self.in_background = False
        self._memory = memory
        self._marks = marks
        self._flights = flights
        self._clock = clock
        self._uniform = uniform
        self._stored = stored
        self._shared = shared

    async def obtain(self, load: Load) -> Any:
        """The value; raises what the loader raised when there is not even a stale one."""
        flight = self._flights.get(load.key)
        if flight is not None and not self._marks.counts(flight.began_at, load.tags):
            flight = None  # it began before something was invalidated
        stale = self._stale(load)
        if stale is not None:
            if flight is None and self.in_background and self._is_due(load, stale):
                flight = self._start(load, detached=True)
                load.counts.refreshes += 1
            if self._is_too_soon(stale) or (flight is not None and self._may_wait(load, stale)):
                load.counts.stale_served += 1
                return stale.value
        if flight is None:
            flight = self._start(load)
        else:
            load.counts.waits += 1
        return await self._answer(load, flight)

    async def _answer(self, load: Load, flight: Flight) -> Any:
        if self.in_background and load.policy.soft_timeout_s is not None:
            done = await flight.wait(load.policy.soft_timeout_s)
            if not done and (stale := self._usable_on_error(load)) is not None:
                flight.detached = True
                load.counts.stale_served += 1
                return stale.value
        await flight.wait()
        try:
            return flight.result()
        except Exception:
            if (stale := self._usable_on_error(load)) is None:
                raise
            if self._age_s(stale) < 0:
                return stale.value  # it was set meanwhile
            stale.retry_at = self._clock() + RETRY_S
            self._memory.put(load.key, stale, stale.fresh_until + load.policy.stale_s)
            load.counts.stale_served += 1
            return stale.value

    def _start(self, load: Load, *, detached: bool = False) -> Flight:
        return self._flights.start(
            load.key,
            lambda flight: self._fly(load, flight),
            self._marks.stamp(),
            timeout_s=load.policy.hard_timeout_s,
            detached=detached,
        )

    async def _fly(self, load: Load, flight: Flight) -> Any:
        """What a flight does: ask the store, then load, alone among all processes where that is possible."""
        if self._stored is None or not load.policy.store:
            return await self._load(load, flight)
        entry = await self._read(load)
        if entry is not None:
            if entry.fresh_until > self._clock():
                return self._hit(load, entry)
            if not flight.detached and self.in_background and self._is_due(load, entry):
                load.counts.refreshes += 1
                load.counts.stale_served += 1
                self._start(load, detached=True)
                return entry.value
        if self._shared is None:
            return await self._load(load, flight)

        async def read_again() -> Entry | None:
            entry = await self._read(load)
            return entry if entry is not None and entry.fresh_until > self._clock() else None

        found = await self._shared.load(load.digest, read_again, lambda: self._lead(load, flight))
        return found if not isinstance(found, Entry) else self._hit(load, found)

    async def _lead(self, load: Load, flight: Flight) -> Any:
        value = await self._load(load, flight)
        flight.land(value)  # those here need not wait until the store has it
        return value

    async def _load(self, load: Load, flight: Flight) -> Any:
        counts = load.counts
        counts.misses += 1
        counts.loads += 1
        flight.began_at = self._marks.stamp()
        began = self._clock()
        try:
            value = await load.loader()
        except Exception:
            counts.load_errors += 1
            raise
        load_s = self._clock() - began
        counts.load_s += load_s
        counts.know_load(load_s)
        if isinstance(value, Uncached):
            counts.unkept += 1
            return value.value
        is_current = self._flights.get(load.key) is flight and not self._is_overtaken(load, flight)
        if is_current and self._marks.counts(flight.began_at, load.tags):
            await self._keep(load, value, flight.began_at, load_s)
        else:
            counts.unkept += 1  # deleted, set or invalidated meanwhile
        return value

    async def _keep(self, load: Load, value: Any, began_at: float, load_s: float) -> None:
        policy = load.policy
        longest_s, keep_s = policy.times_of(value)
        is_negative = value is None and policy.negative_ttl_s is not None
        early_s = 0.0 if is_negative else longest_s * policy.jitter * self._uniform()
        ttl_s, keep_s = longest_s - early_s, keep_s - early_s
        try:
            data = self._sealed(load, value, ttl_s, load_s) if ttl_s else None
        except TooBigError:
            load.counts.unkept += 1
            return
        if not ttl_s or (data is None and weigh(value) > policy.max_item_bytes):
            load.counts.unkept += 1
            return
        now = self._clock()
        entry = Entry(value, began_at, now + ttl_s, load.tags)
        self._memory.put(load.key, value if load.is_plain else entry, now + keep_s)
        if data is not None and self._stored is not None:
            load.counts.stored_bytes += len(data)
            await self._stored.write(load.digest, data, entry, keep_s)

    def _is_overtaken(self, load: Load, flight: Flight) -> bool:
        """Whether somebody has set the key meanwhile."""
        held = self._memory.get(load.key, MISSING)
        return held is not MISSING and (type(held) is not Entry or held.began_at > flight.began_at)

    def _sealed(self, load: Load, value: object, ttl_s: float, load_s: float) -> bytes | None:
        if self._stored is None or not load.policy.store:
            return None
        try:
            return self._stored.sealed(load.digest, value, ttl_s, load_s, load.policy.max_item_bytes)
        except NotJsonError:
            load.counts.memory_only += 1
            return None

    async def _read(self, load: Load) -> Entry | None:
        assert self._stored is not None
        found = await self._stored.read((load.digest,), load.policy, load.counts, load.tags)
        kept = found.get(load.digest)
        if kept is None:
            return None
        if kept.load_s is not None:
            load.counts.know_load(kept.load_s)
        self._memory.put(load.key, kept.entry, kept.expires_at)
        return kept.entry

    def _hit(self, load: Load, entry: Entry) -> Any:
        load.counts.store_hits += 1
        return entry.value

    def _stale(self, load: Load) -> Entry | None:
        """What memory has, fresh or not, unless it was invalidated."""
        if not load.policy.stale_s:
            return None
        entry = self._memory.get(load.key)
        return entry if isinstance(entry, Entry) and self._marks.counts(entry.began_at, load.tags) else None

    def _usable_on_error(self, load: Load) -> Entry | None:
        entry = self._stale(load)
        return entry if entry is not None and self._age_s(entry) < load.policy.stale_if_error_s else None

    def _is_too_soon(self, entry: Entry) -> bool:
        """Whether a load of it has just failed."""
        return entry.retry_at is not None and entry.retry_at > self._clock()

    def _is_due(self, load: Load, entry: Entry) -> bool:
        return self._may_wait(load, entry) and not self._is_too_soon(entry)

    def _may_wait(self, load: Load, entry: Entry) -> bool:
        """Whether it may be given while it is loaded again."""
        return self._age_s(entry) < load.policy.stale_while_revalidate_s

    def _age_s(self, entry: Entry) -> float:
        return self._clock() - entry.fresh_until
