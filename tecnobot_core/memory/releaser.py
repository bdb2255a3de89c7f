"""One registered part, and what its word is worth."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from .ports import Priority, Release
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
    running: asyncio.Task[int | None] | None = None
    _judged: tuple[int, int] = (0, 0)  # estimated and actual, when it was judged last

    @property
    def is_last_resort(self) -> bool:
        return self.priority >= Priority.HISTORIES

    @property
    def demoted(self) -> bool:
        return self.ineffective >= INEFFECTIVE_TIMES

    @property
    def is_late(self) -> bool:
        """It was cancelled, and has not ended."""
        return self.running is not None and not self.running.done() and self.running.cancelling() > 0

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
            late=self.is_late,
            held_bytes=self._held_bytes(),
        )

    def _held_bytes(self) -> int | None:
        try:
            return None if self.held is None else self.held()
        except Exception:
            logger.exception("the releaser %s cannot tell what it holds", self.name)
            return None
