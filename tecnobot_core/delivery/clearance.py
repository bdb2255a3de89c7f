"""When an outgoing message may go: after its delay and backoff, not during a halt, at its pace, in a settled chat."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from ..events import EventBus, SendingHalted
from ..messages import ChatId
from ..tasks import Tasks
from .outgoing import Queued
from .pacing import Pacer
from .settling import Settling

logger = logging.getLogger(__name__)

ShowTyping = Callable[[ChatId, bool], Awaitable[object]]

FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0
SIGN_TIMEOUT_S = 1.0


class Clearance:
    """Holds messages back. *random* gives numbers from 0 to below 1.

    A retry waits for a growing delay, half of it for sure and the other half at random, and then for *wait_ready*.
    *show_typing* is told when the typing of a paced message begins and ends, and costs the message no time.
    """

    def __init__(
        self,
        wait_ready: Callable[[], Awaitable[object]],
        *,
        settling: Settling,
        pacer: Pacer | None,
        show_typing: ShowTyping | None,
        events: EventBus,
        tasks: Tasks,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float] = random.random,
    ) -> None:
        self._wait_ready = wait_ready
        self._settling = settling
        self._pacer = pacer
        self._show_typing = show_typing
        self._events = events
        self._tasks = tasks
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._halted_until = float("-inf")

    @property
    def is_halted(self) -> bool:
        """Whether nothing at all may go."""
        return self._halted_until > self._clock()

    @property
    def is_paced(self) -> bool:
        """Whether every message waits for its time."""
        return self._pacer is not None

    def may_go(self, queued: Queued) -> bool:
        """Whether nothing holds *queued* back."""
        if self.is_halted or not self.is_settled(queued.entry.message.chat):
            return False
        is_free = self._pacer is None and not queued.backoff_s and queued.ready_at <= self._clock()
        return queued.cleared or is_free

    def is_settled(self, chat: ChatId) -> bool:
        """Whether nothing has come from *chat* a moment ago."""
        return self._settling.is_settled(chat)

    def halt(self, pause_s: float) -> None:
        """Hold everything back for *pause_s*; announced once until it is over."""
        if not self.is_halted:
            self._events.publish(SendingHalted(pause_s))
        self._halted_until = max(self._halted_until, self._clock() + pause_s)

    def put_off(self, queued: Queued) -> None:
        """Hold *queued* back for longer than the last time."""
        queued.backoff_s = min(queued.backoff_s * 2 or FIRST_RETRY_S, MAX_RETRY_S)

    def note_sent(self, chat: ChatId) -> None:
        """Something was sent to *chat*, or may have been."""
        if self._pacer is not None:
            self._pacer.note_sent(chat)

    async def wait(self, queued: Queued) -> None:
        """Return when nothing holds *queued* back, unless a halt begins meanwhile. Raises what *wait_ready* does."""
        while self.is_halted:
            queued.cleared = False  # by then others wait for their pace as well
            await self._sleep_until(self._halted_until)
        if not queued.cleared:
            await self._clear(queued)
        # Last: the person may write while an answer is being typed.
        await self._settling.wait(queued.entry.message.chat)
        queued.cleared = True

    async def _clear(self, queued: Queued) -> None:
        if queued.backoff_s:
            await self._sleep(queued.backoff_s / 2 * (1 + self._random()))
            await self._wait_ready()
        if self._pacer is None:
            await self._sleep_until(queued.ready_at)
        else:
            await self._pace(self._pacer, queued)

    async def _pace(self, pacer: Pacer, queued: Queued) -> None:
        message = queued.entry.message
        typing_s = pacer.typing_s(message.text)
        # Typed while its delay passes: the longer of both counts.
        await self._sleep_until(queued.ready_at - typing_s)
        await pacer.wait_gap(message.chat)
        if typing_s > 0:
            if self._show_typing is not None:
                self._tasks.start(self._type(self._show_typing, message.chat, typing_s), "show_typing")
            await self._sleep(typing_s)
        # Only now: the rate is that of messages, however long each is typed.
        await pacer.wait_turn()

    async def _sleep_until(self, at: float) -> None:
        while (wait_s := at - self._clock()) > 0:
            await self._sleep(wait_s)

    async def _type(self, show_typing: ShowTyping, chat: ChatId, typing_s: float) -> None:
        await try_to_show(show_typing, chat, True)
        await self._sleep(typing_s)
        await try_to_show(show_typing, chat, False)


async def try_to_show(show_typing: ShowTyping, chat: ChatId, typing: bool) -> None:
    """Show or hide the typing sign of *chat*; one that fails or hangs costs nothing but ``SIGN_TIMEOUT_S``."""
    try:
        async with asyncio.timeout(SIGN_TIMEOUT_S):
            await show_typing(chat, typing)
    except Exception:
        logger.warning("the typing sign could not be set", exc_info=True)
