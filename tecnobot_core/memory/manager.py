"""The manager: reads, tells levels, has memory released, and grants what comes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from ..errors import LifecycleError
from ..events import Event, EventBus, MemoryCriticalBegan, MemoryNormalBegan, MemoryWarningBegan, Observable
from ..events.kinds import MemoryRecycleWanted, MemoryRefused, MemoryReleased
from ..tasks import Tasks
from .budget import Budget
from .gauge import Gauge, Reading
from .goals import Goals
from .heap import MIB, Heap, find_trim, map_big_blocks
from .leaks import LeakReport, LeakSearch, MessageTrend
from .levels import Levels
from .ports import Clock, MemoryLevel, Release, Sleep
from .pressure import Ladder
from .reading import ROOT
from .releasing import Goal, Releasing
from .reserving import Reservation
from .sampling import Sampler
from .statistics import MemoryStatistics
from .trend import Trend

logger = logging.getLogger(__name__)

LARGEST_SHARE = 0.5  # of the limit, for one reservation

_KINDS = {"warning": MemoryWarningBegan, "critical": MemoryCriticalBegan, "normal": MemoryNormalBegan}


class MemoryManager(Observable):
    """Keeps the process inside *limit_bytes*, or inside the limit of its container where that is smaller.

    Levels begin at the fractions *warning* and *critical* of the limit; one is left 0.05 below where it begins, after
    *calm_s*. ``on`` takes "warning", "critical" and "normal", one event for each crossing, and "released", "refused"
    and "recycle". While open it reads every *interval_s*, and more often, down to every 50 ms, as the limit comes near.
    Short of memory it asks the registered releasers, each for at most *deadline_s*.

    Reservations wait at most *max_wait_s*. *recycle_after_s* opts in to "recycle": the process was that long at 0.95 of
    the limit, and whoever hears it should drain, save and exit with code 75 for a supervisor to start anew.

    *maps_big_blocks*: opening has glibc give blocks of 128 KiB and more pages of their own, which go back to the system
    when they are freed; that holds for the whole process, and outlives the manager.

    A *probe* gives the bytes used instead of the process, its children and the container; *root* is where /proc and
    /sys are. *find_trim* gives the function that returns freed memory to the system, None where there is none. When a
    reading fails, the last one counts until the next: a BackgroundTaskFailed tells once, ``statistics`` while it is so.
    """

    event_names: ClassVar[Mapping[str, type[Event]]] = {
        **_KINDS,
        "released": MemoryReleased,
        "refused": MemoryRefused,
        "recycle": MemoryRecycleWanted,
    }

    def __init__(
        self,
        limit_bytes: int,
        *,
        warning: float = 0.8,
        critical: float = 0.9,
        interval_s: float = 1.0,
        calm_s: float = 2.0,
        deadline_s: float = 1.0,
        max_wait_s: float = 10.0,
        recycle_after_s: float | None = None,
        maps_big_blocks: bool = True,
        events: EventBus | None = None,
        probe: Callable[[], int] | None = None,
        root: Path = ROOT,
        find_trim: Callable[[], Callable[[], object] | None] = find_trim,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if limit_bytes < 1:
            raise ValueError(f"limit_bytes must be at least 1, not {limit_bytes}")
        for name, seconds in (("interval_s", interval_s), ("deadline_s", deadline_s), ("max_wait_s", max_wait_s)):
            if not seconds > 0:
                raise ValueError(f"{name} must be more than 0 s, not {seconds}")
        self.events = events or EventBus()
        self._interval_s = interval_s
        self._maps_big_blocks = maps_big_blocks
        self._clock, self._sleep = clock, sleep
        self._gauge = Gauge(limit_bytes, probe, root)
        self._limit_bytes = self._gauge.limit_bytes
        self._sampler = Sampler(self._gauge, clock=clock, on_failed=self.events.task_failed)
        self._goals = Goals(self._limit_bytes, warning, critical)
        self._levels = Levels(warning, critical, calm_s=calm_s)
        self._ladder = Ladder(critical, recycle_after_s=recycle_after_s)
        self._trend, self._messages, self._leaks = Trend(), MessageTrend(), LeakSearch(sleep)
        self._heap = Heap(self._limit_bytes, clock=clock, trim=find_trim())
        self._releasing = Releasing(self._used_bytes, self._heap, clock=clock, deadline_s=deadline_s)
        self._budget = Budget(
            lambda: self._goals.critical_bytes - self._used_bytes(),
            max_bytes=int(self._limit_bytes * LARGEST_SHARE),
            make_room=lambda n_bytes: self._release(self._goals.room_for(n_bytes)),
            measure=self._gauge.measure,
            on_refused=lambda *told: self.events.publish(MemoryRefused(*told)),
            on_freed=self._heap.note_freed,
            clock=clock,
            sleep=sleep,
            max_wait_s=max_wait_s,
        )
        self._is_open = False
        self._tasks = Tasks("memory", on_failure=self.events.task_failed)

    @property
    def is_open(self) -> bool:
        """Between ``async with`` and its end: it watches."""
        return self._is_open

    @property
    def level(self) -> MemoryLevel:
        """As of the last check."""
        return self._levels.level

    @property
    def limit_bytes(self) -> int:
        """What counts: the setting's, or the container's where that is smaller."""
        return self._limit_bytes

    @property
    def admits_media(self) -> bool:
        """False at "critical": attachments should be answered with a polite refusal."""
        return self._ladder.admits_media

    @property
    def admits_messages(self) -> bool:
        """False when the limit is all but reached and releasing did not help: nothing new should be begun."""
        return self._ladder.admits_messages

    def register(
        self, name: str, release: Release, *, priority: int = 0, held: Callable[[], int] | None = None
    ) -> None:
        """Call ``release(wanted_bytes) -> bytes freed``, plain or async, when memory is short; low *priority* first.

        From ``Priority.HISTORIES`` on only at "critical", and only until that is left. *held* tells how many bytes the
        part holds. A name that is registered already is replaced.
        """
        self._releasing.register(name, release, priority, held)

    def unregister(self, name: str) -> None:
        """Ask the part *name* no more."""
        self._releasing.unregister(name)

    def register_child(self, pid: int) -> None:
        """Count the memory of a child process with ours, until it ends; see ``Lease.covers`` if it was reserved."""
        self._gauge.children.add(pid)

    def unregister_child(self, pid: int) -> None:
        """Count it no longer."""
        self._gauge.children.remove(pid)

    def reserve(self, n_bytes: int, *, kind: str = "media") -> Reservation:
        """``async with`` gives a lease of *n_bytes* when there is room for them; do so before a download.

        Waits its turn and has memory released. MemoryBusyError after *max_wait_s*, and at once for more than half of
        the limit. Tell the lease what has ``landed``, ``grow`` and ``shrink`` it as the true size becomes known.
        """
        return Reservation(self._budget, n_bytes, kind)

    def count_messages(self, n: int = 1) -> None:
        """*n* messages were handled; ``bytes_per_1000_messages`` tells what they leave behind."""
        self._messages.messages += n

    async def check(self) -> MemoryStatistics:
        """Take one reading and act on it; while open this is repeated every *interval_s*, or sooner."""
        return self._statistics(await self._act())

    def statistics(self) -> MemoryStatistics:
        """A reading, without acting on it."""
        return self._statistics(self._sampler.take())

    def history(self) -> tuple[int, ...]:
        """Bytes used, one reading a second at most, of the last 300; the oldest first."""
        return self._trend.history()

    async def find_leaks(self, window_s: float) -> LeakReport:
        """What grows in *window_s*: types of objects, and lines of code whose allocations still live at the end.

        For a search by hand: meanwhile allocating takes about 8 times as long and each block some 100 bytes more, and
        the report stops the event loop for some tenths of a second.
        """
        before_bytes = self._gauge.read().rss_bytes
        types, lines, tracing_bytes = await self._leaks.run(window_s)
        return LeakReport(window_s, types, lines, self._gauge.read().rss_bytes - before_bytes, tracing_bytes)

    async def aclose(self) -> None:
        """Watch no longer, and give the descriptors back."""
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise LifecycleError("this MemoryManager is open already; open it once and share it")
        self._gauge.demand_room_to_start()
        self._sampler.take()  # who cannot read at all says so now
        if self._gauge.probe is None and self._maps_big_blocks:
            map_big_blocks()
        self._heap.freeze()
        self._tasks = Tasks("memory", on_failure=self.events.task_failed)
        self._tasks.start(self._watch(), "watch")
        self._is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._tasks.__aexit__(exc_type, exc, traceback)
        finally:
            try:
                await self._releasing.aclose()
            finally:
                self._heap.unfreeze()
                self._gauge.close()
                self._is_open = False

    async def _watch(self) -> None:
        while True:
            await self._act()  # not ``check``: telling all costs more than the reading
            await self._sleep(self._goals.next_s(self.level, self._trend, self._interval_s))

    async def _act(self) -> Reading:
        reading, now = self._sampler.take(), self._clock()
        if self._sampler.error:
            return reading  # that is an old one: nothing follows from it
        self._trend.add(now, reading.used_bytes)
        self._messages.add(reading.rss_bytes)
        if self._levels.update(reading.used_bytes / self._limit_bytes, now):
            self._tell_level(reading.used_bytes)
        used_bytes = reading.used_bytes
        if goal := self._goals.goal(self.level, used_bytes, self._trend):
            await self._release(goal)
            used_bytes = self._used_bytes()
        if self._ladder.update(self.level, used_bytes / self._limit_bytes, now):
            logger.error("memory stays near the limit whatever is released; a new process is wanted")
            self.events.publish(MemoryRecycleWanted(used_bytes, self._limit_bytes))
        self._budget.serve()
        return reading

    def _used_bytes(self) -> int:
        return self._sampler.take().used_bytes

    async def _release(self, goal: Goal) -> None:
        if done := await self._releasing.round(goal):
            self.events.publish(MemoryReleased(done.wanted_bytes, done.estimated_bytes, done.actual_bytes))

    def _tell_level(self, used_bytes: int) -> None:
        severity = logging.INFO if self.level == "normal" else logging.WARNING
        logger.log(severity, "memory is %s: %d of %d MiB", self.level, used_bytes // MIB, self._limit_bytes // MIB)
        self.events.publish(_KINDS[self.level](self.level, used_bytes, self._limit_bytes))

    def _statistics(self, reading: Reading) -> MemoryStatistics:
        releasers = {releaser.name: releaser.statistics() for releaser in self._releasing.releasers}
        return MemoryStatistics(
            used_bytes=reading.used_bytes,
            limit_bytes=self._limit_bytes,
            level=self.level,
            peak_bytes=self._sampler.peak_bytes(),
            released_bytes=self._releasing.released_bytes,
            limit_source=self._gauge.source,
            rss_bytes=reading.rss_bytes,
            children_bytes=reading.children_bytes,
            container_bytes=reading.container_bytes,
            slope_bytes_per_s=self._trend.slope_bytes_per_s,
            seconds_to_critical=self._trend.seconds_to(self._goals.critical_bytes),
            admits_media=self.admits_media,
            admits_messages=self.admits_messages,
            returned_bytes=self._releasing.returned_bytes,
            trims=self._heap.trims,
            collections=self._heap.collections,
            messages=self._messages.messages,
            bytes_per_1000_messages=self._messages.bytes_per_1000,
            unmanaged_bytes=reading.rss_bytes - sum(one.held_bytes or 0 for one in releasers.values()),
            failed_readings=self._sampler.failed,
            reading_error=self._sampler.error,
            reservations=self._budget.statistics(),
            releasers=releasers,
        )
