"""Asks parts to give memory back, in order, until the system has it."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from ..tasks import is_being_cancelled
from .heap import Heap
from .ports import Clock, Priority, Release
from .statistics import ReleaserStatistics

logger = logging.getLogger(__name__)

COOL_DOWN_S = 1.0
URGENT_COOL_DOWN_S = 0.1
PROMPT_COOL_DOWN_S = 0.02  # urgent, and readings showed the last time at once what it freed: no harm in asking again
INEFFECTIVE_SHARE = 0.2  # of what a releaser said: less reached the system
INEFFECTIVE_TIMES = 3


@dataclass(slots=True, eq=False)
class Releaser:
    """One registered part, and what came of asking it."""

    name: str
    release: Release
    priority: int
    held: Callable[[], int] | None
    asked: int = 0
    estimated_bytes: int = 0
    actual_bytes: int = 0
    failures: int = 0
    ineffective: int = 0  # in a row
    asked_at: float = float("-inf")
    is_exhausted: bool = False  # freed less than it was asked for
    is_prompt: bool = False  # freed what it was asked for, and most of that left the process at once
    unseen_bytes: int = 0  # freed by its word, and still in the process until the next trim
    _judged: tuple[int, int] = (0, 0)  # estimated and actual, when it was judged last

    @property
    def is_last_resort(self) -> bool:
        return self.priority >= Priority.HISTORIES

    @property
    def demoted(self) -> bool:
        return self.ineffective >= INEFFECTIVE_TIMES

    def pause_s(self, *, urgent: bool) -> float:
        """How long it is left alone after it was asked."""
        if not urgent:
            return COOL_DOWN_S
        return PROMPT_COOL_DOWN_S if self.is_prompt else URGENT_COOL_DOWN_S

    def note(self, wanted_bytes: int, freed_bytes: int, seen_bytes: int) -> int:
        """It freed so much by its word, and readings saw so much go; return what they did not see."""
        seen_bytes = min(max(seen_bytes, 0), freed_bytes)  # more is others' merit
        self.is_exhausted = freed_bytes < wanted_bytes
        self.is_prompt = not self.is_exhausted and seen_bytes * 2 >= freed_bytes
        self.estimated_bytes += freed_bytes
        self.actual_bytes += seen_bytes
        self.unseen_bytes += freed_bytes - seen_bytes
        return freed_bytes - seen_bytes

    def judge(self, least_bytes: int) -> None:
        """After a trim, compare what reached the system with what was said, if that was at least *least_bytes*."""
        estimated_bytes = self.estimated_bytes - self._judged[0]
        if estimated_bytes < least_bytes:  # little things drown in what others do meanwhile
            return
        actual_bytes = self.actual_bytes - self._judged[1]
        self._judged = (self.estimated_bytes, self.actual_bytes)
        self.ineffective = self.ineffective + 1 if actual_bytes < estimated_bytes * INEFFECTIVE_SHARE else 0
        if self.ineffective == INEFFECTIVE_TIMES:
            logger.warning("what %s frees does not reach the system; it is asked after the others now", self.name)

    def statistics(self) -> ReleaserStatistics:
        """As it is now; asks the part what it holds."""
        return ReleaserStatistics(
            priority=self.priority,
            asked=self.asked,
            estimated_bytes=self.estimated_bytes,
            actual_bytes=self.actual_bytes,
            failures=self.failures,
            demoted=self.demoted,
            held_bytes=self._held_bytes(),
        )

    def _held_bytes(self) -> int | None:
        try:
            return None if self.held is None else self.held()
        except Exception:
            logger.exception("the releaser %s cannot tell what it holds", self.name)
            return None


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
        try:
            freed_bytes = await self._freed_by(releaser, wanted_bytes)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            releaser.failures += 1
            logger.warning("the releaser %s was cancelled", releaser.name)
        except TimeoutError:
            releaser.failures += 1
            logger.warning("the releaser %s took longer than %g s and was cancelled", releaser.name, self._deadline_s)
        except Exception:
            releaser.failures += 1
            logger.exception("the releaser %s failed", releaser.name)
        else:
            self.released_bytes += freed_bytes
            unseen_bytes = releaser.note(wanted_bytes, freed_bytes, before_bytes - self._read())
            self._unseen_bytes += unseen_bytes
            self._heap.note_freed(unseen_bytes)

    async def _freed_by(self, releaser: Releaser, wanted_bytes: int) -> int:
        freed = releaser.release(wanted_bytes)
        if inspect.isawaitable(freed):
            freed = await self._in_time(freed)
        if not isinstance(freed, int) or freed < 0:
            raise TypeError(f"a releaser must return the bytes that it freed, at least 0, not {freed!r}")
        return freed

    async def _in_time(self, freed: Awaitable[int]) -> int:
        async with asyncio.timeout(self._deadline_s):
            return await freed

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
