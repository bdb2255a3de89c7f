"""What people look at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

from .memory import REST, Groups


@dataclass(slots=True)
class PolicyStatistics:
    """Counts of one policy since the cache was made.

    What ``get`` finds in memory is not counted: it costs no more than it must. A miss is a load that was needed;
    ``waits`` are callers who joined one. ``saved_s`` is what the hits would have taken, at the mean of the loads that
    are known, here and of other processes. ``unkept`` values were given to whoever asked, and could not or must not be
    kept; ``memory_only`` ones are not JSON, so the store has them not. With these the cache's statistics tell
    ``evictions`` and ``used_bytes``, which are those of memory.
    """

    memory_hits: int = 0
    store_hits: int = 0
    misses: int = 0
    loads: int = 0
    load_errors: int = 0
    load_timeouts: int = 0
    load_s: float = 0.0
    waits: int = 0
    refreshes: int = 0
    stale_served: int = 0
    invalidated: int = 0
    unkept: int = 0
    memory_only: int = 0
    unreadable: int = 0
    stored_bytes: int = 0
    known_loads: int = 0
    known_load_s: float = 0.0

    @property
    def saved_s(self) -> float:
        """Seconds that hits would have taken."""
        hits = self.memory_hits + self.store_hits
        return hits * self.known_load_s / self.known_loads if self.known_loads else 0.0

    def know_load(self, load_s: float) -> None:
        """A value took *load_s* to load, here or elsewhere."""
        self.known_loads += 1
        self.known_load_s += load_s

    @property
    def saved_calls(self) -> int:
        """Loads that did not happen."""
        return self.memory_hits + self.store_hits + self.waits


class MemoryShares:
    """What each policy has in memory, and what of it had to go; *prefixes* are those of the policies' keys by name.

    What begins with none of them is of the policy *rest*.
    """

    def __init__(
        self, groups: Groups, prefixes: Mapping[str, str], all_evictions: Callable[[], int], *, rest: str
    ) -> None:
        self._groups = groups
        self._prefixes = prefixes
        self._all_evictions = all_evictions
        self._rest = rest

    def evictions(self, policy: str) -> int:
        """Entries of *policy* that had to go before their time."""
        evicted = self._groups.evicted
        rest = self._all_evictions() - evicted.total() if policy == self._rest else 0
        return evicted[self._prefixes[policy]] + rest

    def used_bytes(self, policy: str) -> int:
        """What the entries of *policy* take; of all policies together what memory uses."""
        used_bytes = self._groups.used_bytes()
        return used_bytes[self._prefixes[policy]] + (used_bytes[REST] if policy == self._rest else 0)

    async def look_slowly(self) -> None:
        """Find out in slices what ``used_bytes`` would find out at once."""
        await self._groups.look_slowly()


MEMORY_COUNTS = ("evictions", "used_bytes")
POLICY_COUNTS = (
    *(field.name for field in fields(PolicyStatistics) if not field.name.startswith("known")),
    "saved_calls",
    "saved_s",
    *MEMORY_COUNTS,
)


class CacheStatistics(Mapping[str, float]):
    """All counts by name, as they are when they are read: the cache's, then ``<policy>.<count>`` of each policy.

    ``<policy>.used_bytes`` is found out when it is read: the first time from every key, about 0.5 µs each, then from
    those that are near others that came or went.
    """

    def __init__(
        self,
        readings: Mapping[str, Callable[[], float]],
        policies: Mapping[str, PolicyStatistics],
        shares: MemoryShares,
    ) -> None:
        self._readings = readings
        self.policies = policies
        self._shares = shares

    def __getitem__(self, name: str) -> float:
        if (reading := self._readings.get(name)) is not None:
            return reading()
        policy, _, count = name.rpartition(".")
        if policy not in self.policies or count not in POLICY_COUNTS:
            raise KeyError(name)
        if count in MEMORY_COUNTS:
            reading_of: Callable[[str], float] = getattr(self._shares, count)
            return reading_of(policy)
        value: float = getattr(self.policies[policy], count)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from self._readings
        for policy in self.policies:
            for count in POLICY_COUNTS:
                yield f"{policy}.{count}"

    def __len__(self) -> int:
        return len(self._readings) + len(self.policies) * len(POLICY_COUNTS)

    async def look_slowly(self) -> None:
        """Find out the bytes of policies, in slices of about a millisecond; then reading them takes no time."""
        await self._shares.look_slowly()

    def __repr__(self) -> str:
        return f"CacheStatistics({dict(self)!r})"
