"""Asks parts to give memory back, in order, until the system has it."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from ..tasks import Tasks
from .heap import Heap
from .ports import Clock, Release
from .releaser import Releaser

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Goal:
    """How far memory should fall. Releasers of last resort are asked only down to their own mark, None for never.

    *urgent*: somebody waits, or the level is critical; then the pauses are short.
    """

    target_bytes: int
    last_resort_bytes: int | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """What a round wanted, what releasers said they freed, and what the system got back."""

    wanted_bytes: int
    estimated_bytes: int
    actual_bytes: int


class Releasing:
    """The registered releasers. One round runs at a time; who asks meanwhile waits and looks again."""

    def __init__(self, read: Callable[[], int], heap: Heap, *, clock: Clock, deadline_s: float) -> None:
        self.releasers: list[Releaser] = []
        self.released_bytes = 0
        self.returned_bytes = 0
        self._read = read
        self._heap = heap
        self._clock = clock
        self._deadline_s = deadline_s
        self._lock = asyncio.Lock()
        self._tasks = Tasks("memory.release")
        self._unseen_bytes = 0  # freed in this round by their word, and still in the process

    def register(self, name: str, release: Release, priority: int, held: Callable[[], int] | None) -> None:
        """Ask *release* from now on; a part of the same name is replaced."""
        self.unregister(name)
        self.releasers.append(Releaser(name, release, priority, held))

    def unregister(self, name: str) -> None:
        """Ask it no more."""
        self.releasers = [releaser for releaser in self.releasers if releaser.name != name]

    async def round(self, goal: Goal) -> Released | None:
        """Ask in order until *goal* is reached; None when nobody freed anything."""
        async with self._lock:
            began_bytes, said_bytes = self._read(), self.released_bytes
            if began_bytes <= goal.target_bytes:
                return None
            await self._ask_in_order(goal)
            estimated_bytes, used_bytes = self.released_bytes - said_bytes, self._read()
            actual_bytes = max(began_bytes - used_bytes, 0)
            self.returned_bytes += actual_bytes
            if not estimated_bytes and not actual_bytes:
                return None
            return Released(began_bytes - goal.target_bytes, estimated_bytes, actual_bytes)

    async def aclose(self) -> None:
        """Cancel whom somebody asks just now; who does not end within the deadline is told in the log, and left."""
        for releaser in self.releasers:
            if releaser.running is not None:
                releaser.running.cancel()
        if not await self._tasks.wait(self._deadline_s):
            names = ", ".join(releaser.name for releaser in self.releasers if releaser.is_late)
            logger.error("releasers were cancelled and do not end: %s", names or "some that were unregistered")

    async def _ask_in_order(self, goal: Goal) -> None:
        self._unseen_bytes = 0
        self._trim(goal)  # buffers that were freed meanwhile may be all that is wanted
        collected = False
        for releaser in self._due(goal):
            if releaser.is_last_resort and not collected:
                collected = True
                self._collect(goal)
            if (wanted_bytes := self._wanted_bytes(releaser, goal)) <= 0:
                break
            await self._ask(releaser, wanted_bytes)
        self._trim(goal, exhausted=self._read() - self._unseen_bytes > goal.target_bytes)
        if not collected:
            self._collect(goal)

    def _due(self, goal: Goal) -> Iterator[Releaser]:
        """Who may be asked, in order. Demoted ones come late, but never behind those of last resort."""
        for releaser in sorted(self.releasers, key=lambda one: (one.is_last_resort, one.demoted, one.priority)):
            if releaser.is_last_resort and goal.last_resort_bytes is None:
                return
            if releaser.is_late:
                continue
            if self._clock() - releaser.asked_at >= releaser.pause_s(urgent=goal.urgent):
                yield releaser
            elif not releaser.is_exhausted:  # it has more to give, in a moment: nobody behind it need give anything
                return

    def _wanted_bytes(self, releaser: Releaser, goal: Goal) -> int:
        """What is still missing; at most 0 also when enough was freed, and a later trim will show it."""
        target_bytes = goal.last_resort_bytes if releaser.is_last_resort else goal.target_bytes
        assert target_bytes is not None  # others are not due
        missing_bytes = self._read() - target_bytes
        if missing_bytes - self._unseen_bytes <= 0 < missing_bytes and self._trim(goal):
            missing_bytes = self._read() - target_bytes
        return missing_bytes - self._unseen_bytes

    async def _ask(self, releaser: Releaser, wanted_bytes: int) -> None:
        releaser.asked += 1
        releaser.asked_at = self._clock()
        releaser.is_exhausted, releaser.is_prompt = True, False  # unless it answers
        before_bytes = self._read()
        if (freed_bytes := await self._freed_by(releaser, wanted_bytes)) is None:
            releaser.failures += 1
            return
        self.released_bytes += freed_bytes
        unseen_bytes = releaser.note(wanted_bytes, freed_bytes, before_bytes - self._read())
        self._unseen_bytes += unseen_bytes
        self._heap.note_freed(unseen_bytes)

    async def _freed_by(self, releaser: Releaser, wanted_bytes: int) -> int | None:
        """None when it failed, was cancelled or is late, which is logged."""
        try:
            freed = releaser.release(wanted_bytes)
            if not inspect.isawaitable(freed):
                return _checked(freed)
        except (Exception, asyncio.CancelledError):  # of something else: nobody cancels plain code
            logger.exception("the releaser %s failed", releaser.name)
            return None
        return await self._in_time(releaser, freed)

    async def _in_time(self, releaser: Releaser, freed: Awaitable[int]) -> int | None:
        # In a task of its own, whose end after a cancellation is not awaited: one that ignores that would stop all.
        task = releaser.running = self._tasks.start(_answer(releaser.name, freed), releaser.name)
        try:
            await asyncio.wait({task}, timeout=self._deadline_s)
        finally:
            task.cancel()
        if not task.done():
            logger.warning("the releaser %s took longer than %g s and was cancelled", releaser.name, self._deadline_s)
            return None
        if task.cancelled():
            logger.warning("the releaser %s was cancelled", releaser.name)
            return None
        return task.result()

    def _trim(self, goal: Goal, *, exhausted: bool = False) -> bool:
        """Trim if it is time; True when nothing more of what was freed will reach the system."""
        before_bytes = self._read()
        if not self._heap.trim(urgent=goal.urgent, exhausted=exhausted):
            return False
        self._credit(before_bytes - self._read())
        return True

    def _credit(self, dropped_bytes: int) -> None:
        """Write to everybody's account a share of what a trim gave back, and judge them."""
        unseen_bytes = sum(releaser.unseen_bytes for releaser in self.releasers)
        share = min(max(dropped_bytes / unseen_bytes, 0.0), 1.0) if unseen_bytes else 0.0
        for releaser in self.releasers:
            releaser.actual_bytes += int(releaser.unseen_bytes * share)
            releaser.unseen_bytes = 0
            releaser.judge(self._heap.enough_bytes)
        self._unseen_bytes = 0

    def _collect(self, goal: Goal) -> None:
        """Before anything of last resort is given up; only at "critical", when those may be asked."""
        if goal.last_resort_bytes is None or self._read() - self._unseen_bytes <= goal.last_resort_bytes:
            return
        before_bytes = self._read()
        if self._heap.collect():
            self._credit(before_bytes - self._read())


async def _answer(name: str, freed: Awaitable[int]) -> int | None:
    """What it freed; None when it failed, in time or late, which is logged."""
    try:
        return _checked(await freed)
    except Exception:
        logger.exception("the releaser %s failed", name)
        return None


def _checked(freed: object) -> int:
    if not isinstance(freed, int) or freed < 0:
        raise TypeError(f"a releaser must return the bytes that it freed, at least 0, not {freed!r}")
    return freed
