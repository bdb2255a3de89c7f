"""From the link into the journal, and what is said while the journal takes nothing."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

from ..connection import ConnectionManager
from ..delivery import Settling
from ..errors import StoreError, TransportError
from ..events import DuplicateIgnored, EventBus, IntakeHeld, IntakeResumed
from ..messages import ChatId, InboundMessage, OutboundMessage
from ..tasks import Tasks, wait_or_sleep
from .people import People
from .texts import Texts

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # messages that are journaled at once, as many as a receive gives


class Intake:
    """Journals what *connection* delivers through *journal*, and acknowledges it; while that waits, so do the messages.

    The transport keeps what is not acknowledged and bounds it. When nothing could be journaled for *notice_after_s*,
    each chat that waits or writes is told *notice* once. *answer* may then answer a message at once: what it returns is
    sent, and the message is acknowledged without being journaled, so it is answered at most once. *settling* hears of
    all that comes, and says when something may be sent.
    """

    def __init__(
        self,
        connection: ConnectionManager,
        journal: Callable[[Sequence[InboundMessage]], Awaitable[object]],
        *,
        notice: Callable[[InboundMessage], Sequence[OutboundMessage]],
        answer: Callable[[InboundMessage], Awaitable[Sequence[OutboundMessage]]] | None,
        events: EventBus,
        tasks: Tasks,
        notice_after_s: float,
        settling: Settling | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._notice = notice
        self._answer = answer
        self._events = events
        self._tasks = tasks
        self._notice_after_s = notice_after_s
        self._settling = settling or Settling()
        self._clock = clock
        self._sleep = sleep
        self._held: dict[str, InboundMessage] = {}
        self._being_journaled: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._began_at: float | None = None
        self._told: set[ChatId] | None = None  # who was told of the outage; None while there is none
        self._ended = False

    @property
    def outage_s(self) -> float | None:
        """For how long nothing could be journaled; None when that works, as far as is known."""
        return None if self._told is None or self._began_at is None else self._clock() - self._began_at

    async def run(self) -> None:
        """Until the link's input ends and all of it is journaled. Raises TransportError when it failed for good."""
        journaling = self._tasks.start(self._journal_all(), "journal")
        receiving = self._tasks.start(self._receive_all(), "receive")
        try:
            # The first that fails ends both.
            await asyncio.wait({receiving, journaling}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and (failure := receiving.result()) is not None:
                raise failure
            await asyncio.gather(receiving, journaling)
        finally:
            receiving.cancel()
            journaling.cancel()
            await asyncio.gather(receiving, journaling, return_exceptions=True)

    async def _receive_all(self) -> TransportError | None:
        """Until the end of the input; why it ended early, which is for the caller to tell, not a task's failure."""
        while batch := await self._receive():
            if isinstance(batch, TransportError):
                return batch
            for message in batch:
                self._settling.note_inbound(message.chat)
                if message.id in self._held:
                    self._events.publish(DuplicateIgnored(message.chat, message.id))
                else:
                    self._held[message.id] = message
            self._changed.set()
            if self._told is not None:
                await self._speak(batch, self._told)
        self._ended = True
        self._changed.set()
        return None

    async def _receive(self) -> Sequence[InboundMessage] | TransportError:
        try:
            return await self._connection.receive()
        except TransportError as error:
            return error

    async def _journal_all(self) -> None:
        while self._held or not self._ended:
            self._changed.clear()
            if self._held:
                await self._journal_some(list(islice(self._held.values(), MAX_BATCH)))
            else:
                await self._changed.wait()

    async def _journal_some(self, batch: Sequence[InboundMessage]) -> None:
        self._being_journaled = frozenset(message.id for message in batch)
        self._began_at = self._clock()
        journaled = asyncio.Event()
        self._tasks.start(self._notice_unless(journaled), "notice")
        try:
            done = await self._journal_each(batch)
        finally:
            journaled.set()
            self._being_journaled = frozenset()
        self._end_outage()
        for message in batch:
            self._held.pop(message.id, None)
        await self._connection.acknowledge(done)

    async def _journal_each(self, batch: Sequence[InboundMessage]) -> Sequence[str]:
        """The ids of those that are journaled: all together, or one by one where one of them spoils it."""
        try:
            await self._journal(batch)
        except StoreError as error:
            if len(batch) == 1:
                # Not acknowledged: the transport keeps it, for a version that can.
                logger.exception("message %s of %s cannot be journaled: %s", batch[0].id, batch[0].chat, error)
                return ()
            return [id for message in batch for id in await self._journal_each([message])]
        return [message.id for message in batch]

    async def _notice_unless(self, journaled: asyncio.Event) -> None:
        if await wait_or_sleep(journaled, self._notice_after_s, sleep=self._sleep):
            return
        self._told = set()
        self._events.publish(IntakeHeld(len(self._held)))
        logger.warning("messages cannot be journaled; %d wait in the transport", len(self._held))
        await self._speak(list(self._held.values()), self._told)

    def _end_outage(self) -> None:
        if (outage_s := self.outage_s) is not None:
            self._events.publish(IntakeResumed(outage_s))
            logger.warning("messages are journaled again, after %.0f s", outage_s)
        self._told = None

    async def _speak(self, messages: Sequence[InboundMessage], told: set[ChatId]) -> None:
        for message in messages:
            if told is not self._told:
                return  # the outage is over
            if self._may_be_answered(message) and (answers := await self._try_to_answer(message)):
                # Before it is sent: what is answered here is answered at most once.
                del self._held[message.id]
                await self._connection.acknowledge([message.id])
                await self._send(answers)
            elif message.chat not in told:
                told.add(message.chat)
                await self._send(self._notice(message))

    def _may_be_answered(self, message: InboundMessage) -> bool:
        """Nothing older of its chat waits, and nobody is journaling it."""
        first = next((held for held in self._held.values() if held.chat == message.chat), None)
        return first is not None and first.id == message.id and message.id not in self._being_journaled

    async def _try_to_answer(self, message: InboundMessage) -> Sequence[OutboundMessage]:
        return () if self._answer is None else await self._answer(message)

    async def _send(self, messages: Sequence[OutboundMessage]) -> None:
        for message in messages:
            await self._settling.wait(message.chat)
            try:
                await self._connection.send(message)
            except TransportError as error:
                logger.warning("%s could not be told that it has to wait: %s", message.chat, error)


def away_notice(texts: Texts, people: People, message: InboundMessage) -> Sequence[OutboundMessage]:
    """What the writer of *message* is told while it cannot be journaled."""
    if message.from_me or not texts.away or not people.admits(message.chat):
        return ()
    return (OutboundMessage(chat=message.chat, key=f"{message.id}/away", text=texts.away),)
