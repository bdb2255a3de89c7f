"""MemoryManager: keeps the process inside its limit before the kernel does it."""

import asyncio
import inspect
import logging
import resource
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import psutil

from ..events import (
    EventBus,
    MemoryCriticalBegan,
    MemoryNormalBegan,
    MemoryPressureChanged,
    MemoryWarningBegan,
    Observable,
)
from ..tasks import Tasks

logger = logging.getLogger(__name__)

MemoryLevel = Literal["normal", "warning", "critical"]
Release = Callable[[int], int | Awaitable[int]]

HYSTERESIS = 0.05  # a level is left only this share of the limit below where it begins, so that it does not flutter


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """One reading. ``released_bytes`` is what releasers said they freed since the start."""

    used_bytes: int
    limit_bytes: int
    level: MemoryLevel
    peak_bytes: int
    released_bytes: int


def read_rss_bytes() -> int:
    """Resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


def read_peak_rss_bytes() -> int:
    """The most resident memory that this program had, in bytes.

    Not getrusage where /proc tells: what that counts begins with the parent's memory at the fork.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere: getrusage(2)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class MemoryManager(Observable):
    """Watches the memory of the process and asks the parts to release some before it is short.

    Levels begin at the fractions *warning* and *critical* of *limit_bytes*. ``on`` takes "warning",
    "critical" and "normal": one event for each crossing.
    """

    event_names: ClassVar[Mapping[str, type[MemoryPressureChanged]]] = {
        "warning": MemoryWarningBegan,
        "critical": MemoryCriticalBegan,
        "normal": MemoryNormalBegan,
    }

    def __init__(
        self,
        limit_bytes: int,
        *,
        warning: float = 0.8,
        critical: float = 0.9,
        interval_s: float = 1.0,
        events: EventBus | None = None,
        probe: Callable[[], int] = read_rss_bytes,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        if limit_bytes < 1:
            raise ValueError(f"limit_bytes must be at least 1, not {limit_bytes}")
        if not 0 < warning < critical <= 1:
            raise ValueError(f"0 < warning ({warning}) < critical ({critical}) <= 1 must hold")
        self.events = events or EventBus()
        self.level: MemoryLevel = "normal"
        self._limit_bytes = limit_bytes
        self._thresholds: dict[MemoryLevel, float] = {"critical": critical, "warning": warning}
        self._interval_s = interval_s
        self._probe = probe
        self._sleep = sleep
        self._releasers: list[tuple[int, str, Release]] = []
        self._peak_bytes = 0
        self._released_bytes = 0
        self._tasks = Tasks("memory", on_failure=self.events.task_failed)

    def register(self, name: str, release: Release, *, priority: int = 0) -> None:
        """Call ``release(wanted_bytes) -> bytes freed``, plain or async, when memory is short; low *priority* first."""
        self._releasers.append((priority, name, release))
        self._releasers.sort(key=lambda entry: entry[0])

    async def check(self) -> MemoryStatistics:
        """Take one reading and act on it; while open this is repeated every *interval_s*."""
        used_bytes = self._read()
        level = self._level_of(used_bytes)
        if level != self.level:
            self.level = level
            self.events.publish(self.event_names[level](level, used_bytes, self._limit_bytes))
        if level != "normal":
            await self._release(used_bytes - int(self._limit_bytes * (self._thresholds["warning"] - HYSTERESIS)))
        return self._statistics(used_bytes)

    def statistics(self) -> MemoryStatistics:
        """A reading, without acting on it."""
        return self._statistics(self._read())

    async def __aenter__(self) -> Self:
        self._tasks.start(self._watch(), "watch")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(exc_type, exc, traceback)

    async def _watch(self) -> None:
        while True:
            await self.check()
            await self._sleep(self._interval_s)

    def _read(self) -> int:
        used_bytes = self._probe()
        self._peak_bytes = max(self._peak_bytes, used_bytes)
        return used_bytes

    def _level_of(self, used_bytes: int) -> MemoryLevel:
        used = used_bytes / self._limit_bytes
        for level, threshold in self._thresholds.items():
            holds = self.level == level or self.level == "critical"
            if used >= threshold - (HYSTERESIS if holds else 0):
                return level
        return "normal"

    async def _release(self, wanted_bytes: int) -> None:
        for _, name, release in self._releasers:
            if wanted_bytes <= 0:
                return
            try:
                freed = release(wanted_bytes)
                freed_bytes = await freed if inspect.isawaitable(freed) else freed
                self._released_bytes += freed_bytes
                wanted_bytes -= freed_bytes
            except Exception:
                logger.exception("the releaser %s failed", name)

    def _statistics(self, used_bytes: int) -> MemoryStatistics:
        return MemoryStatistics(used_bytes, self._limit_bytes, self.level, self._peak_bytes, self._released_bytes)
