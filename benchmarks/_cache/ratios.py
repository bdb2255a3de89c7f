"""Hit ratios beside an LRU of the same bytes, on traces with scans and with drift."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate

from benchmarks._cache.peers import installed
from benchmarks._report import Report
from tecnobot_core import HybridCache

N_REQUESTS = 200_000
N_OBJECTS = 50_000
WARM = N_REQUESTS // 5
DRIFT_EVERY = 40_000
ENTRY_BYTES = 230  # what an entry takes beside its value, for both
SCAN_GOALS = {0.01: 0.09, 0.05: 0.07}
DRIFT_GOAL = -0.03


@dataclass(frozen=True)
class Trace:
    """Objects in the order that they are asked for, and how large each is."""

    asked: list[int]
    size_bytes: list[int]

    @property
    def total_bytes(self) -> int:
        """All objects that are asked for again and again."""
        return sum(self.size_bytes[:N_OBJECTS]) + ENTRY_BYTES * N_OBJECTS


def make_trace(*, scans: bool = False, drifts: bool = False, seed: int = 7) -> Trace:
    """Zipf 1.0; of *scans* a third of the requests is for something that nobody asks for again."""
    rng = random.Random(seed)
    weights = list(accumulate(1 / rank for rank in range(1, N_OBJECTS + 1)))
    objects = list(range(N_OBJECTS))
    rng.shuffle(objects)
    asked = rng.choices(objects, cum_weights=weights, k=N_REQUESTS)
    if drifts:
        asked = [(o + n // DRIFT_EVERY * (N_OBJECTS // 10)) % N_OBJECTS for n, o in enumerate(asked)]
    if scans:
        once = iter(range(N_OBJECTS, N_OBJECTS + N_REQUESTS))
        asked = [next(once) if rng.random() < 1 / 3 else o for o in asked]
    sizes = [int(min(max(rng.lognormvariate(math.log(700), 0.9), 80), 16384)) for _ in range(max(asked) + 1)]
    return Trace(asked, sizes)


async def report_ratios(report: Report) -> None:
    """The goals of scans and drift; the rest of the table is what no goal was set for."""
    if installed("cachetools") is None:
        report.add("5 hit ratio over LRU of cachetools", "not installed", "")
        return
    for name, trace in (
        ("scans", make_trace(scans=True)), ("drift", make_trace(drifts=True)), ("plain zipf", make_trace()),
    ):  # fmt: skip
        for share in SCAN_GOALS:
            max_bytes = int(trace.total_bytes * share)
            ours, lru = await _ratio(max_bytes, trace), _lru_ratio(max_bytes, trace)
            goal = {"scans": SCAN_GOALS[share], "drift": DRIFT_GOAL}.get(name)
            label = f"5 hit ratio, {name}, {share:.0%} budget: ours − LRU of cachetools ({lru:.3f})"
            report.add(
                label,
                ours - lru,
                "",
                "" if goal is None else f"at least {goal:+.2f}",
                None if goal is None else ours - lru >= goal,
            )


async def _ratio(max_bytes: int, trace: Trace) -> float:
    cache, values = HybridCache(max_bytes), _values(trace.size_bytes)
    hits = 0
    for number, asked in enumerate(trace.asked):
        key = f"k{asked:026d}"
        if await cache.get(key) is not None:
            hits += number >= WARM
        else:
            await cache.set(key, values(asked), ttl=None)
    return hits / (N_REQUESTS - WARM)


def _lru_ratio(max_bytes: int, trace: Trace) -> float:
    cache = import_module("cachetools").LRUCache(max_bytes, getsizeof=lambda size_bytes: size_bytes + ENTRY_BYTES)
    hits = 0
    for number, asked in enumerate(trace.asked):
        if cache.get(asked) is not None:
            hits += number >= WARM
        else:
            cache[asked] = trace.size_bytes[asked]
    return hits / (N_REQUESTS - WARM)


class _values:  # noqa: N801
    """Parts of one random text: nothing to gain by compressing."""

    def __init__(self, size_bytes: Sequence[int]) -> None:
        self._size_bytes = size_bytes
        self._random = random.Random(1).randbytes(1 << 16)

    def __call__(self, number: int) -> bytes:
        begin = number % 40_000
        return self._random[begin : begin + self._size_bytes[number]]
