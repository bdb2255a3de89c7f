"""What grows: types and lines of code over a stated window, and memory by the number of messages."""

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter, deque
from dataclasses import dataclass

from .ports import Sleep
from .trend import slope

logger = logging.getLogger(__name__)

TOP = 10
POINT_MESSAGES = 1000
MAX_POINTS = 100
MIN_POINTS = 3
FEW = 100  # objects of a type more: not worth a line


@dataclass(frozen=True, slots=True)
class TypeGrowth:
    """How many more objects of a type there are than before; containers only, as the collector sees no others."""

    type_name: str
    grown: int
    count: int


@dataclass(frozen=True, slots=True)
class LineGrowth:
    """What was allocated at ``place`` (file:line) during the window and still lives."""

    place: str
    n_bytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What grew in ``window_s``; ``tracing_bytes`` is what the search itself took meanwhile."""

    window_s: float
    types: tuple[TypeGrowth, ...]
    lines: tuple[LineGrowth, ...]
    rss_growth_bytes: int
    tracing_bytes: int


class MessageTrend:
    """How many bytes a thousand messages leave behind; costs an addition for each."""

    def __init__(self) -> None:
        self.messages = 0
        self._points: deque[tuple[float, int]] = deque(maxlen=MAX_POINTS)

    def add(self, rss_bytes: int) -> None:
        """Take a reading, if enough messages came since the last one."""
        if not self._points or self.messages - self._points[-1][0] >= POINT_MESSAGES:
            self._points.append((self.messages, rss_bytes))

    @property
    def bytes_per_1000(self) -> float | None:
        """None before there are three readings, a thousand messages apart."""
        return slope(self._points) * 1000 if len(self._points) >= MIN_POINTS else None


class LeakSearch:
    """Counts types and traces allocations for a while; one search at a time."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._lock = asyncio.Lock()

    async def run(self, window_s: float) -> tuple[tuple[TypeGrowth, ...], tuple[LineGrowth, ...], int]:
        """What grew, and how many bytes the search took; the biggest first."""
        if window_s <= 0:
            raise ValueError(f"window_s must be above 0, not {window_s}")
        async with self._lock:
            logger.warning("looking for leaks for %g s: allocations take about 8 times as long meanwhile", window_s)
            before = _types()
            traces = not tracemalloc.is_tracing()  # somebody else may be at it; then it is theirs to end
            if traces:
                tracemalloc.start(1)
            try:
                await self._sleep(window_s)
                types = _growth(before, _types())
                tracing_bytes = tracemalloc.get_tracemalloc_memory()
                # In a thread: the sum over 400,000 blocks takes 4 s, of which the loop gets its share.
                lines = await asyncio.to_thread(_lines)
            finally:
                if traces:
                    tracemalloc.stop()
        return types, lines, tracing_bytes


def _types() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


def _growth(before: Counter[str], after: Counter[str]) -> tuple[TypeGrowth, ...]:
    grown = Counter({name: n - before[name] for name, n in after.items() if n - before[name] >= FEW})
    return tuple(TypeGrowth(name, n, after[name]) for name, n in grown.most_common(TOP))


def _lines() -> tuple[LineGrowth, ...]:
    ours = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
    found = tracemalloc.take_snapshot().filter_traces(ours).statistics("lineno")
    return tuple(
        LineGrowth(f"{one.traceback[0].filename}:{one.traceback[0].lineno}", one.size, one.count) for one in found[:TOP]
    )
