"""Conversations whose time has come: looked for in time, and again when their turn failed."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import LeaseLostError
from ..messages import ChatId, InboundMessage, Turn
from ..tasks import wait_or_sleep
from .backlog import Backlog
from .patience import Patience
from .ports import Due, Inbox
from .times import is_due_signal

MAX_CLAIMED = 100  # at once; there may be more as soon as there is room for them
LOOK_EVERY_S = 30.0  # the clock may have been set, and somebody else may have stored a due time
MIN_SLEEP_S = 0.01  # where a clock stands still, nothing else would keep it from looking all the time
NO_PROGRESS_S = 1.0
FIRST_AGAIN_S = 300.0
MAX_AGAIN_S = 86_400.0
MAX_FAILED = 10_000  # chats whose failures are remembered


class Counts(Protocol):
    """Where signals are counted."""

    due: int


class DueTurns:
    """Claims from *inbox* what is due, in time, and hands it to *backlog*.

    A signal whose turn failed comes again after five minutes, then after twice the time before, at most a day. How
    often that was is known to this process alone: the next one begins with five minutes.
    """

    def __init__(
        self,
        inbox: Inbox,
        patience: Patience,
        backlog: Backlog,
        *,
        counts: Counts,
        on_lease_lost: Callable[[], object],
        wall_clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._inbox = inbox
        self._patience = patience
        self._backlog = backlog
        self._counts = counts
        self._on_lease_lost = on_lease_lost
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._next_at = math.inf
        self._held_up = False  # something is due, but there is no room, or it was not there any more
        self._look_again = asyncio.Event()
        self._failures: OrderedDict[ChatId, int] = OrderedDict()
        self._stopped = False

    async def claim(self) -> float | None:
        """Take in what is due, as far as there is room; return when the next is, None for never."""
        limit = min(MAX_CLAIMED, await self._backlog.wait_room())
        if self._stopped:
            return None
        if not limit:
            self._next_at, self._held_up = self._wall_clock(), True
        else:
            self._next_at = math.inf  # what is committed meanwhile may come too late for this claim
            due = await self._claim(self._wall_clock(), limit)
            self._next_at = min(self._next_at, math.inf if due.next_at is None else due.next_at)
            self._held_up = not due.pending and self._next_at <= self._wall_clock()
        return self._next_at if self._next_at < math.inf and not self._stopped else None

    async def run(self) -> None:
        """Claim in time, until ``stop``."""
        while not self._stopped:
            await self.claim()
            await self._wait()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped = True
        self._look_again.set()

    def again_at(self, message: InboundMessage, turn: Turn) -> float | None:
        """When the conversation is due again of which *turn* finishes the signal *message*; None: it need not be."""
        if turn.outcome != "failed" or not is_due_signal(message):
            return None
        return self._wall_clock() + min(FIRST_AGAIN_S * 2.0 ** self._failures.get(turn.chat, 0), MAX_AGAIN_S)

    def note(self, message: InboundMessage, turn: Turn) -> None:
        """*turn*, which answers *message*, was committed."""
        if turn.outcome == "answered":
            self._failures.pop(turn.chat, None)
            if turn.position is not None and turn.position.due_at is not None:
                self._note_due(turn.position.due_at)
        elif is_due_signal(message):
            if turn.outcome == "failed":
                self._note_failure(turn.chat)
            self._note_due(self._wall_clock())  # while it waited, no other was given to its chat
        if self._held_up and self._backlog.room:
            self._held_up = False
            self._look_again.set()

    def _note_due(self, at: float) -> None:
        if at < self._next_at:
            self._next_at = at
            self._look_again.set()

    def _note_failure(self, chat: ChatId) -> None:
        # No further than the longest pause.
        self._failures[chat] = min(self._failures.pop(chat, 0) + 1, 10)
        if len(self._failures) > MAX_FAILED:
            self._failures.popitem(last=False)

    async def _claim(self, until: float, limit: int) -> Due:
        try:
            due = await self._patience.run(lambda: self._inbox.claim_due(until, limit), patient=True)
        except LeaseLostError:
            self._on_lease_lost()
            return Due()
        self._counts.due += len(due.pending)
        for pending in due.pending:
            self._backlog.add(pending)
        return due

    async def _wait(self) -> None:
        """Return when it is time for the next claim."""
        while not self._stopped:
            self._look_again.clear()
            wait_s = min(self._next_at - self._wall_clock(), LOOK_EVERY_S)
            if self._held_up:
                wait_s = NO_PROGRESS_S
            if wait_s <= 0 or not await wait_or_sleep(self._look_again, max(wait_s, MIN_SLEEP_S), sleep=self._sleep):
                return
