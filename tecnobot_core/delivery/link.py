"""What is asked of the link: to send, and what became of a message that may have been sent."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import TransportError
from ..messages import OutboundMessage
from ..tasks import TimeLimit, is_being_cancelled
from .ports import AskOutcome, Outcome

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
MAX_TRIES = 5


class Link:
    """Sends through *send*, in at most *send_timeout_s*; asks *outcome*, if there is one, when *wait_ready* says so.

    A question that fails, or takes more than *outcome_timeout_s*, is asked again when the link is back, ``MAX_TRIES``
    times in all: what broke the send breaks the first question too, before the loss of the link is noticed.
    """

    def __init__(
        self,
        send: Callable[[OutboundMessage], Awaitable[None]],
        wait_ready: Callable[[], Awaitable[object]],
        outcome: AskOutcome | None,
        *,
        send_timeout_s: float,
        outcome_timeout_s: float,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._send = send
        self._wait_ready = wait_ready
        self._outcome = outcome
        self._limit = TimeLimit(send_timeout_s)
        self._outcome_timeout_s = outcome_timeout_s
        self._sleep = sleep

    @property
    def knows_outcomes(self) -> bool:
        """Whether asking may help."""
        return self._outcome is not None

    async def send(self, message: OutboundMessage) -> None:
        """Send; whatever goes wrong is a TransportError, with ``sent`` "maybe" where nobody knows."""
        running = self._limit()
        try:
            with running:
                await self._send(message)
        except TransportError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            if running.expired:
                late = f"sending took more than {self._limit.limit_s:g} s and was given up"
                raise TransportError(late, reason="timeout", sent="maybe") from error
            logger.exception("sending a message to %s failed in a way that transports should not", message.chat)
            raise TransportError(f"the transport failed: {type(error).__name__}", sent="maybe") from error

    async def outcome(self, key: str) -> Outcome | None:
        """What became of *key*; None where it cannot be learnt, also as the link has failed for good."""
        for number in range(MAX_TRIES if self._outcome is not None else 0):
            try:
                await self._wait_ready()
            except TransportError:
                return None
            try:
                return await self._ask(key)
            except (Exception, asyncio.CancelledError) as error:
                if is_being_cancelled():
                    raise
                logger.info("what became of a message could not be asked: %r", error)
            await self._sleep(FIRST_RETRY_S * 2**number)
        return None

    async def _ask(self, key: str) -> Outcome | None:
        assert self._outcome is not None
        async with asyncio.timeout(self._outcome_timeout_s):
            return await self._outcome(key)
