"""Each message once, in order: accepted, handled, committed, sent."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import LeaseLostError, LifecycleError, StoreError
from ..events import DuplicateIgnored, EventBus, MessageAccepted, StoodDown, TurnCommitted, TurnFailed
from ..messages import ChatId, InboundMessage, OutboundMessage, Turn
from ..tasks import Tasks, is_being_cancelled
from .backlog import Backlog
from .lanes import Lanes
from .ports import DeliveryStore, OutboxEntry
from .sending import Sender

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0
PURGE_EVERY_S = 3600.0


@dataclass(slots=True)
class DeliveryStatistics:
    """Counts since the start; ``waiting`` and ``unsent`` are of this moment, in memory."""

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

    Entered, it takes the ownership of *store* and goes on with what an earlier process left. When another process takes
    it, everything stops and *on_stood_down* is called. At most *max_loaded* messages wait in memory, the others in the
    store. Every *confirm_every_s* it looks for another owner, and for messages that another process has accepted; every
    hour it forgets the ids of what ended more than *remember_s* ago.
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
        on_stood_down: Callable[[], object] = bool,
        max_concurrent: int = 64,
        max_loaded: int = 1000,
        turn_timeout_s: float = 60.0,
        confirm_every_s: float = 5.0,
        remember_s: float = 2 * 86_400.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        self.stood_down = False
        self._store = store
        self._handle = handle
        self._fail = fail
        self._events = events
        self._on_stood_down = on_stood_down
        self._turn_timeout_s = turn_timeout_s
        self._confirm_every_s = confirm_every_s
        self._remember_s = remember_s
        self._clock = clock
        self._sleep = sleep
        self._statistics = DeliveryStatistics()
        self._store_failing = False
        self._closed = False
        self._tasks = Tasks("delivery", on_failure=events.task_failed)
        self._inbound = Lanes[ChatId, InboundMessage](self._turn, max_concurrent=max_concurrent, tasks=self._tasks)
        self._backlog = Backlog(self._inbound, self._load, max_loaded=max_loaded, tasks=self._tasks)
        self._sender = Sender(
            send,
            wait_ready,
            move=lambda states: self._with_store(lambda: store.move(states), patient=True),
            on_lease_lost=self._stand_down,
            events=events,
            counts=self._statistics,
            max_concurrent=max_concurrent,
            tasks=self._tasks,
            sleep=sleep,
        )

    async def accept(self, messages: Sequence[InboundMessage]) -> None:
        """Journal *messages* and queue the new ones; when this returns they may be acknowledged."""
        self._check_open()
        seqs = await self._with_store(lambda: self._store.accept(messages))
        for message, seq in zip(messages, seqs, strict=True):
            if seq is None:
                self._statistics.duplicates += 1
                self._events.publish(DuplicateIgnored(message.chat, message.id))
                continue
            self._statistics.accepted += 1
            self._events.publish(MessageAccepted(message.chat, message.id))
            self._backlog.add(seq, message)

    async def post(self, message: OutboundMessage) -> bool:
        """Send *message* behind the earlier ones of its chat; False when its key was posted before."""
        self._check_open()
        entries = await self._with_store(lambda: self._store.post([message]))
        self._sender.put(entries)
        return bool(entries)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was accepted is handled and sent; False when *timeout_s* was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._backlog.wait_idle()
                await self._sender.wait_idle()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> DeliveryStatistics:
        """The counts; a live object, not a copy."""
        self._statistics.waiting = len(self._inbound)
        self._statistics.unsent = len(self._sender)
        return self._statistics

    async def __aenter__(self) -> Self:
        await self._with_store(self._store.__aenter__)
        try:
            self._sender.put(await self._with_store(self._store.unsent))
        except BaseException:
            await self.aclose()
            raise
        self._backlog.look()
        self._tasks.start(self._confirm(), "confirm")
        self._tasks.start(self._purge(), "purge")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop at once; what is not done stays in the store."""
        self._closed = True
        try:
            await self._tasks.aclose()
        finally:
            await self._store.__aexit__(None, None, None)

    def _check_open(self) -> None:
        if self._closed:
            raise LifecycleError("this delivery is closed; a closed bot takes no more messages")

    async def _load(self, after: int, limit: int) -> Sequence[tuple[int, InboundMessage]]:
        found = await self._with_store(lambda: self._store.pending(after, limit), patient=True)
        return [(pending.seq, pending.message) for pending in found]

    async def _turn(self, message: InboundMessage) -> None:
        if self.stood_down:
            return
        started = self._clock()
        try:
            turn, entries = await self._commit(message, await self._decide(message))
            self._sender.put(entries)
        except LeaseLostError:
            self._stand_down()
            return
        finally:
            self._sender.release(message.chat)
        self._statistics.committed += 1
        self._events.publish(TurnCommitted(turn, self._clock() - started))
        self._backlog.refill()

    async def _commit(self, message: InboundMessage, turn: Turn) -> tuple[Turn, Sequence[OutboxEntry]]:
        """Store *turn*; or the apology, which holds less; or at least that the message is done: the chat must go on."""
        try:
            return turn, await self._store_turn(turn)
        except LeaseLostError:
            raise
        except Exception as error:
            turn = self._failed(message, error)
        try:
            return turn, await self._store_turn(turn)
        except LeaseLostError:
            raise
        except Exception:
            logger.exception("not even the apology to %s can be stored", message.chat)
            turn = Turn(chat=message.chat, inbound=(message.id,), outcome="failed", answered_by="error")
            return turn, await self._store_turn(turn)

    async def _store_turn(self, turn: Turn) -> Sequence[OutboxEntry]:
        # Marked in the same transaction where it is sent next anyway: one commit less.
        first = turn.outgoing[:1] if turn.outgoing and self._sender.reserve(turn.chat) else ()
        taken = [message.key for message in first]
        return await self._with_store(lambda: self._store.commit([turn], taken=taken))

    async def _decide(self, message: InboundMessage) -> Turn:
        try:
            turn = await self._with_store(lambda: self._handle_in_time(message))
            if message.id not in turn.inbound:
                raise ValueError(f"the turn of message {message.id} must name it in inbound")
            return turn
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            # A CancelledError here comes from something that the handler awaited, and ends nothing else.
            return self._failed(message, error if isinstance(error, Exception) else RuntimeError("cancelled inside"))

    async def _handle_in_time(self, message: InboundMessage) -> Turn:
        async with asyncio.timeout(self._turn_timeout_s):
            return await self._handle(message)

    def _failed(self, message: InboundMessage, error: Exception) -> Turn:
        self._statistics.failed += 1
        logger.error("handling a message of %s failed", message.chat, exc_info=error)
        self._events.publish(TurnFailed(message.chat, message.id, error))
        return self._fail(message, error)

    async def _confirm(self) -> None:
        """Notice another owner also while there is nothing to write, and what other processes have accepted."""
        while not self.stood_down:
            await self._sleep(self._confirm_every_s)
            try:
                await self._with_store(self._store.confirm, patient=True)
            except LeaseLostError:
                self._stand_down()
            else:
                self._backlog.look()

    async def _purge(self) -> None:
        while not self.stood_down:
            try:
                await self._with_store(lambda: self._store.purge(self._remember_s))
            except StoreError as error:
                logger.warning("what is old could not be forgotten, trying again in an hour: %s", error)
            await self._sleep(PURGE_EVERY_S)

    def _stand_down(self) -> None:
        if not self.stood_down:
            self.stood_down = True
            self._sender.stop()
            self._backlog.stop()
            logger.warning("another process owns this chatbot now; this one stops")
            self._events.publish(StoodDown())
            self._on_stood_down()

    async def _with_store(self, call: Callable[[], Awaitable[T]], *, patient: bool = False) -> T:
        """The result of *call*, repeated while the store fails for a while; a *patient* one waits out everything.

        What is no single message's fault is waited out, as giving up would help nobody.
        """
        delay_s = FIRST_RETRY_S
        while True:
            try:
                result = await call()
            except LeaseLostError:
                raise
            except StoreError as error:
                if not (error.retryable or patient):
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
