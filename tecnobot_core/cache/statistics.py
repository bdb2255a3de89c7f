"""What people look at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields


@dataclass(slots=True)
class PolicyStatistics:
    """Counts of one policy since the cache was made.

    A miss is a load that was needed; ``waits`` are callers who joined one. ``saved_s`` is what the hits would have
    taken, at the mean of the loads that are known, here and of other processes. ``unkept`` values were given to
    whoever asked, and could not or must not be kept; ``memory_only`` ones are not JSON, so the store has them not.
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


POLICY_COUNTS = (
    *(field.name for field in fields(PolicyStatistics) if not field.name.startswith("known")),
    "saved_calls",
    "saved_s",
)


class CacheStatistics(Mapping[str, float]):
    """All counts by name, as they are when they are read: the cache's, then ``<policy>.<count>`` of each policy."""

    def __init__(self, readings: Mapping[str, Callable[[], float]], policies: Mapping[str, PolicyStatistics]) -> None:
        self._readings = readings
        self.policies = policies

    def __getitem__(self, name: str) -> float:
        if (reading := self._readings.get(name)) is not None:
            return reading()
        policy, _, count = name.rpartition(".")
        if policy not in self.policies or count not in POLICY_COUNTS:
            raise KeyError(name)
        value: float = getattr(self.policies[policy], count)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from self._readings
        for policy in self.policies:
            for count in POLICY_COUNTS:
                yield f"{policy}.{count}"

    def __len__(self) -> int:
        return len(self._readings) + len(self.policies) * len(POLICY_COUNTS)

    def __repr__(self) -> str:
        return f"CacheStatistics({dict(self)!r})"
