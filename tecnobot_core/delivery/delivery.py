"""Each message once, in order: accepted, handled, committed, sent."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from ..errors import LifecycleError, StoreError, TransportError
from ..events import (
    DuplicateIgnored,
    EventBus,
    MessageAccepted,
    MessageSent,
    SendRejected,
    SendUncertain,
    TurnCommitted,
    TurnFailed,
)
from ..messages import ChatId, InboundMessage, OutboundMessage, Turn
from ..tasks import Tasks
from .lanes import Lanes
from .ports import DeliveryStore, OutboxEntry, SendOutcome

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0


@dataclass(slots=True)
class DeliveryStatistics:
    """Counts since the start; ``waiting`` and ``unsent`` are of this moment."""

    accepted: int = 0
    duplicates: int = 0
    committed: int = 0
    failed: int = 0
    store_retries: int = 0
    sent: int = 0
    uncertain: int = 0
    rejected: int = 0
    waiting: int = 0
    unsent: int = 0


class Delivery:
    """Takes messages from ``accept`` through *handle* into the store, and what comes out of it to *send*.

    *handle* turns a message into a Turn and changes nothing outside; it is cancelled after *turn_timeout_s*. When it
    raises, *fail* makes the Turn that is committed instead. A store that fails for a while is waited for, and the
    message is handled again; nothing was changed by the first time. *wait_ready* returns when sending may work again.
    """

    def __init__(
        self,
        store: DeliveryStore,
        *,
        handle: Callable[[InboundMessage], Awaitable[Turn]],
        fail: Callable[[InboundMessage, Exception], Turn],
        send: Callable[[OutboundMessage], Awaitable[None]],
        wait_ready: Callable[[], Awaitable[object]],
        events: EventBus,
        max_concurrent: int = 64,
        turn_timeout_s: float = 60.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._handle = handle
        self._fail = fail
        self._send = send
        self._wait_ready = wait_ready
        self._events = events
        self._turn_timeout_s = turn_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._tasks = Tasks("delivery", on_failure=events.task_failed)
        self._inbound = Lanes[ChatId, InboundMessage](self._turn, max_concurrent=max_concurrent, tasks=self._tasks)
        self._outbound = Lanes[ChatId, OutboxEntry](self._dispatch, max_concurrent=max_concurrent, tasks=self._tasks)
        self._statistics = DeliveryStatistics()
        self._store_failing = False
        self._closed = False

    async def accept(self, messages: Sequence[InboundMessage]) -> None:
        """Journal *messages* and queue the new ones; when this returns they may be acknowledged."""
        self._check_open()
        new = await self._with_store(lambda: self._store.accept(messages))
        for message in new:
            self._statistics.accepted += 1
            self._events.publish(MessageAccepted(message.chat, message.id))
            self._inbound.put(message.chat, message)
        if len(new) < len(messages):
            self._note_duplicates(messages, {message.id for message in new})

    async def post(self, message: OutboundMessage) -> bool:
        """Send *message* behind the earlier ones of its chat; False when its key was posted before."""
        self._check_open()
        entries = await self._with_store(lambda: self._store.post([message]))
        self._enqueue(entries)
        return bool(entries)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was accepted is handled and sent; False when *timeout_s* was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._inbound.wait_idle()
                await self._outbound.wait_idle()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> DeliveryStatistics:
        """The counts; a live object, not a copy."""
        self._statistics.waiting = len(self._inbound)
        self._statistics.unsent = len(self._outbound)
        return self._statistics

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop at once; what is not done stays in the store."""
        self._closed = True
        await self._tasks.aclose()

    def _note_duplicates(self, messages: Sequence[InboundMessage], new_ids: set[str]) -> None:
        for message in messages:
            if message.id in new_ids:
                new_ids.remove(message.id)  # the same id once more in these messages is a duplicate
                continue
            self._statistics.duplicates += 1
            self._events.publish(DuplicateIgnored(message.chat, message.id))

    def _check_open(self) -> None:
        if self._closed:
            raise LifecycleError("this delivery is closed; a closed bot takes no more messages")

    async def _turn(self, message: InboundMessage) -> None:
        started = self._clock()
        turn = await self._decide(message)
        try:
            entries = await self._with_store(lambda: self._store.commit([turn]))
        except StoreError as error:
            # What this turn holds can never be stored. The apology holds less, and the chat must go on.
            turn = self._failed(message, error)
            entries = await self._with_store(lambda: self._store.commit([turn]))
        self._statistics.committed += 1
        self._events.publish(TurnCommitted(turn, self._clock() - started))
        self._enqueue(entries)

    async def _decide(self, message: InboundMessage) -> Turn:
        try:
            return await self._with_store(lambda: self._handle_in_time(message))
        except Exception as error:
            return self._failed(message, error)

    async def _handle_in_time(self, message: InboundMessage) -> Turn:
        async with asyncio.timeout(self._turn_timeout_s):
            return await self._handle(message)

    def _failed(self, message: InboundMessage, error: Exception) -> Turn:
        self._statistics.failed += 1
        logger.error("handling a message of %s failed", message.chat, exc_info=error)
        self._events.publish(TurnFailed(message.chat, message.id, error))
        return self._fail(message, error)

    def _enqueue(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            self._outbound.put(entry.message.chat, entry)

    async def _dispatch(self, entry: OutboxEntry) -> None:
        outcome = await self._send_until_known(entry.message)
        await self._with_store(lambda: self._store.settle({entry.id: outcome}))

    async def _send_until_known(self, message: OutboundMessage) -> SendOutcome:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._send(message)
            except TransportError as error:
                if error.sent == "maybe":
                    self._statistics.uncertain += 1
                    self._events.publish(SendUncertain(message.chat, message.key, error))
                    return "uncertain"
                if not error.retryable:
                    self._statistics.rejected += 1
                    self._events.publish(SendRejected(message.chat, message.key, error))
                    return "rejected"
                await self._sleep(error.retry_after_s or delay_s)
                await self._wait_ready()
                delay_s = min(delay_s * 2, MAX_RETRY_S)
                continue
            self._statistics.sent += 1
            self._events.publish(MessageSent(message.chat, message.key))
            return "sent"

    async def _with_store(self, call: Callable[[], Awaitable[T]]) -> T:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                result = await call()
            except StoreError as error:
                if not error.retryable:
                    raise
                self._note_store_failure(error)
                await self._sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_S)
                continue
            if self._store_failing:
                self._store_failing = False
                logger.warning("the store works again")
            return result

    def _note_store_failure(self, error: StoreError) -> None:
        self._statistics.store_retries += 1
        if not self._store_failing:
            self._store_failing = True
            logger.warning("the store fails, messages wait: %s", error)
