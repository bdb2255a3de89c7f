"""From the outbox to the link: in order in each chat, and never twice on purpose."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ..errors import LeaseLostError, TransportError
from ..events import EventBus, MessageSent, SendRejected, SendUncertain
from ..messages import ChatId, OutboundMessage
from ..tasks import Tasks, is_being_cancelled
from .lanes import Lanes
from .ports import OutboxEntry, SendState

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0


class Counts(Protocol):
    """Where the sender counts how messages ended."""

    sent: int
    uncertain: int
    rejected: int


class Sender:
    """Sends entries through *send*, and records with *move* what becomes of each.

    An entry is marked as taken before it is sent, so that a process that comes after a kill knows which sends may have
    happened. ``TransportError.sent`` decides after a failure: "no" is sent again, "maybe" is announced as uncertain.
    """

    def __init__(
        self,
        send: Callable[[OutboundMessage], Awaitable[None]],
        wait_ready: Callable[[], Awaitable[object]],
        *,
        move: Callable[[Mapping[int, SendState]], Awaitable[None]],
        on_lease_lost: Callable[[], object],
        events: EventBus,
        counts: Counts,
        max_concurrent: int,
        tasks: Tasks,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._send = send
        self._wait_ready = wait_ready
        self._move = move
        self._on_lease_lost = on_lease_lost
        self._events = events
        self._counts = counts
        self._sleep = sleep
        self._stopped = False
        self._lanes = Lanes[ChatId, OutboxEntry](self._dispatch, max_concurrent=max_concurrent, tasks=tasks)

    def __len__(self) -> int:
        """Entries that wait or are being sent."""
        return len(self._lanes)

    def put(self, entries: Sequence[OutboxEntry]) -> None:
        """Queue *entries* behind the earlier ones of their chats; announce those whose sending nobody knows of."""
        for entry in entries:
            if entry.state == "uncertain":
                lost = TransportError("the process that was sending it ended", sent="maybe")
                self._note_uncertain(entry.message, lost)
            else:
                self._lanes.put(entry.message.chat, entry)

    def reserve(self, chat: ChatId) -> bool:
        """Whether the next entry of *chat* will be sent at once; if so, a place is kept for it until ``release``.

        Only then may it be marked as taken early: what is taken and waits would be uncertain after a kill.
        """
        return self._lanes.hold(chat)

    def release(self, chat: ChatId) -> None:
        """Keep no place for *chat*: its entry was put, or will not come."""
        self._lanes.release(chat)

    def stop(self) -> None:
        """Begin no more sends."""
        self._stopped = True

    async def wait_idle(self) -> None:
        """Return when nothing waits and nothing is being sent."""
        await self._lanes.wait_idle()

    async def _dispatch(self, entry: OutboxEntry) -> None:
        try:
            if entry.state == "waiting" and not self._stopped:
                await self._move({entry.id: "taken"})
            if not self._stopped:
                await self._move({entry.id: await self._send_until_known(entry)})
        except LeaseLostError:
            self._on_lease_lost()

    async def _send_until_known(self, entry: OutboxEntry) -> SendState:
        message, delay_s = entry.message, FIRST_RETRY_S
        while True:
            try:
                await self._try_to_send(message)
            except TransportError as error:
                if error.sent == "maybe":
                    self._note_uncertain(message, error)
                    return "uncertain"
                if not error.retryable:
                    self._counts.rejected += 1
                    self._events.publish(SendRejected(message.chat, message.key, error))
                    return "rejected"
                # Not sent for sure, and perhaps not for a long time: a kill meanwhile must not make it uncertain.
                await self._move({entry.id: "waiting"})
                await self._sleep(error.retry_after_s or delay_s)
                try:
                    await self._wait_ready()
                except TransportError:
                    return "waiting"  # the link failed for good; whoever comes after sends it
                await self._move({entry.id: "taken"})
                delay_s = min(delay_s * 2, MAX_RETRY_S)
                continue
            self._counts.sent += 1
            self._events.publish(MessageSent(message.chat, message.key))
            return "sent"

    async def _try_to_send(self, message: OutboundMessage) -> None:
        try:
            await self._send(message)
        except TransportError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            logger.exception("sending a message to %s failed in a way that transports should not", message.chat)
            raise TransportError(f"the transport failed: {type(error).__name__}", sent="maybe") from error

    def _note_uncertain(self, message: OutboundMessage, error: TransportError) -> None:
        self._counts.uncertain += 1
        self._events.publish(SendUncertain(message.chat, message.key, error))
