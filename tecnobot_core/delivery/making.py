"""From a message to its Turn, whatever its handler does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from ..errors import LeaseLostError
from ..events import EventBus, TurnFailed
from ..messages import ChatId, InboundMessage, Turn
from ..tasks import Running, TimeLimit, is_being_cancelled
from .context import TurnContext
from .patience import Patience
from .ports import OutboxEntry

logger = logging.getLogger(__name__)


class Counts(Protocol):
    """Where failures are counted."""

    failed: int


class TurnMaker:
    """Asks *handle* for a Turn, for at most *timeout_s*; when it raises, *fail* makes one."""

    def __init__(
        self,
        handle: Callable[[TurnContext], Awaitable[Turn]],
        fail: Callable[[InboundMessage, Exception], Turn],
        *,
        patience: Patience,
        events: EventBus,
        counts: Counts,
        timeout_s: float,
    ) -> None:
        self._handle = handle
        self._fail = fail
        self._patience = patience
        self._events = events
        self._counts = counts
        self._limit = TimeLimit(timeout_s)

    async def make(self, context: TurnContext) -> Turn:
        """The Turn of *context*; made again while the store, from which a handler reads, fails for a while."""
        message = context.message
        try:
            turn = await self._patience.run(lambda: self._handle_in_time(context))
            if message.id not in turn.inbound:
                raise ValueError(f"the turn of message {message.id} must name it in inbound")
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            # A CancelledError here comes from something that the handler awaited, and ends nothing else.
            return self.failed(message, error if isinstance(error, Exception) else RuntimeError("cancelled inside"))
        return turn

    def failed(self, message: InboundMessage, error: Exception) -> Turn:
        """The Turn that says that answering *message* failed with *error*."""
        self._counts.failed += 1
        logger.error("handling a message of %s failed", message.chat, exc_info=error)
        self._events.publish(TurnFailed(message.chat, message.id, error))
        return self._fail(message, error)

    async def commit(
        self,
        message: InboundMessage,
        turn: Turn,
        store: Callable[[Turn], Awaitable[Sequence[OutboxEntry]]],
        on_doubt: Callable[[ChatId], object],
    ) -> tuple[Turn, Sequence[OutboxEntry]]:
        """*store* the Turn; or the apology, which holds less; or at least that it is done: the chat must go on."""
        inbound = turn.inbound
        try:
            return turn, await store(turn)
        except LeaseLostError:
            raise
        except Exception as error:
            on_doubt(turn.chat)
            turn = replace(self.failed(message, error), inbound=inbound)
        try:
            return turn, await store(turn)
        except LeaseLostError:
            raise
        except Exception:
            logger.exception("not even the apology to %s can be stored", message.chat)
            turn = Turn(chat=message.chat, inbound=inbound, outcome="failed", answered_by="error")
            return turn, await store(turn)

    async def _handle_in_time(self, context: TurnContext) -> Turn:
        running = self._limit()
        try:
            with running:
                return await self._handle(replace(context, untimed=lambda: self._untimed(running)))
        except TimeoutError:
            if not running.expired:
                raise
            # The frames of what was cancelled say nothing that the sentence does not.
            raise TimeoutError(f"no turn within {self._limit.limit_s:g} s") from None

    @contextmanager
    def _untimed(self, running: Running) -> Iterator[None]:
        self._limit.end(running)
        try:
            yield
        finally:
            self._limit.begin(running)
