"""Each message once, in order: accepted, handled, committed, sent."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ..errors import LeaseLostError, LifecycleError
from ..events import DuplicateIgnored, EventBus, MessageAccepted, StoodDown, TurnCommitted
from ..messages import ChatId, InboundMessage, OutboundMessage, Turn
from ..tasks import Tasks
from .backlog import Backlog
from .context import TurnContext
from .doubts import Doubts
from .due import DueTurns
from .grouping import Arrived, Grouping, TurnPolicy
from .lanes import Lanes
from .making import TurnMaker
from .pacing import Pacer
from .patience import Patience
from .ports import AskOutcome, DeliveryStore, OutboxEntry, Pending, SendState
from .sending import Sender
from .settling import Settling
from .statistics import DeliveryStatistics
from .upkeep import Upkeep

logger = logging.getLogger(__name__)


class Delivery:
    """Takes messages from ``accept`` through *handle* into the store, and what comes out of it to *send*.

    *handle* makes a Turn and changes nothing outside; it is cancelled after *turn_timeout_s*. When it raises, *fail*
    makes the Turn that is committed instead; *on_commit* is called with each that was, *on_doubt* with a chat of which
    that is not sure. A store that fails for a while is waited for, and the turn is made again; nothing was changed by
    the first time. *policy* says which messages are one turn. *wait_ready* returns when sending may work again.

    Entered, it takes the ownership of *store* and goes on with what an earlier process left. When another process takes
    it, everything stops and *on_stood_down* is called. At most *max_loaded* messages wait in memory, the others in the
    store; the same for what is to be sent. Every *confirm_every_s* it looks for another owner, and for messages that
    another process has accepted; every hour it forgets the ids of what ended more than *remember_s* ago.

    What could not be sent within *outgoing_ttl_s* of its turn expires (None: never); one send is given up after
    *send_timeout_s*. What may have been sent, here or by an earlier process, is uncertain unless *outcome* knows it,
    which is asked by its key once the link is up. Nothing is sent to a chat before *settling* says so (None: at once).
    """

    def __init__(
        self,
        store: DeliveryStore,
        *,
        handle: Callable[[TurnContext], Awaitable[Turn]],
        fail: Callable[[InboundMessage, Exception], Turn],
        send: Callable[[OutboundMessage], Awaitable[None]],
        wait_ready: Callable[[], Awaitable[object]],
        outcome: AskOutcome | None = None,
        events: EventBus,
        on_stood_down: Callable[[], object] = bool,
        on_commit: Callable[[Turn], object] = bool,
        on_doubt: Callable[[ChatId], object] = bool,
        policy: TurnPolicy | None = None,
        pacer: Pacer | None = None,
        settling: Settling | None = None,
        show_typing: Callable[[ChatId, bool], Awaitable[object]] | None = None,
        max_concurrent: int = 64,
        max_loaded: int = 1000,
        turn_timeout_s: float = 60.0,
        send_timeout_s: float = 60.0,
        outgoing_ttl_s: float | None = None,
        confirm_every_s: float = 5.0,
        remember_s: float = 2 * 86_400.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.stood_down = False
        self._store = store
        self._events = events
        self._on_stood_down = on_stood_down
        self._on_commit = on_commit
        self._on_doubt = on_doubt
        self._confirm_every_s = confirm_every_s
        self._remember_s = remember_s
        self._clock = clock
        self._sleep = sleep
        self._statistics = DeliveryStatistics()
        self._patience = Patience(sleep, self._count_store_retry)
        self._maker = TurnMaker(
            handle, fail, patience=self._patience, events=events, counts=self._statistics, timeout_s=turn_timeout_s
        )
        self._settling = settling or Settling()
        self._doubts = Doubts()
        self._closed = False
        self._tasks = Tasks("delivery", on_failure=events.task_failed)
        self._inbound = Lanes[ChatId, Arrived](
            self._turn, max_concurrent=max_concurrent, tasks=self._tasks, take=lambda lane: self._grouping.take(lane)
        )
        self._backlog = Backlog(self._inbound, self._load, max_loaded=max_loaded, tasks=self._tasks, clock=clock)
        self._due = DueTurns(
            store,
            self._patience,
            self._backlog,
            counts=self._statistics,
            on_lease_lost=self._stand_down,
            wall_clock=wall_clock,
            sleep=sleep,
        )
        self._grouping = Grouping(
            policy or TurnPolicy(),
            is_complete=lambda: self._backlog.is_complete,
            wake=self._inbound.wake,
            tasks=self._tasks,
            clock=clock,
            sleep=sleep,
            wall_clock=wall_clock,
        )
        self._sender = Sender(
            send,
            wait_ready,
            move=self._move,
            load=self._load_unsent,
            on_lease_lost=self._stand_down,
            events=events,
            counts=self._statistics,
            max_concurrent=max_concurrent,
            max_loaded=max_loaded,
            ttl_s=outgoing_ttl_s,
            send_timeout_s=send_timeout_s,
            pacer=pacer,
            settling=self._settling,
            doubts=self._doubts,
            outcome=outcome,
            show_typing=show_typing,
            tasks=self._tasks,
            clock=clock,
            sleep=sleep,
        )

    async def accept(self, messages: Sequence[InboundMessage]) -> None:
        """Journal *messages* and queue the new ones; when this returns they may be acknowledged."""
        self._check_open()
        for message in (message for message in messages if message.kind != "signal"):
            self._settling.note_inbound(message.chat)
        seqs = await self._patience.run(lambda: self._store.accept(messages))
        for message, seq in zip(messages, seqs, strict=True):
            if seq is None:
                self._statistics.duplicates += 1
                self._events.publish(DuplicateIgnored(message.chat, message.id))
                continue
            self._statistics.accepted += 1
            if message.kind != "signal" and not message.from_me:
                self._doubts.note_inbound(message.chat)
            self._events.publish(MessageAccepted(message.chat, message.id))
            self._backlog.add(Pending(seq, message))

    async def post(self, message: OutboundMessage) -> bool:
        """Send *message* behind the earlier ones of its chat; False when its key was posted before."""
        self._check_open()
        entries = await self._patience.run(lambda: self._store.post([message]))
        self._sender.put(entries)
        return bool(entries)

    def doubt_sends(self) -> None:
        """From now on, what is sent to a chat before the person writes is uncertain: the session was set back."""
        self._doubts.begin()

    async def claim_due(self) -> float | None:
        """Take conversations whose time has come into their lanes; return when the next one is due, None for never.

        In Unix seconds. While it is open it does so by itself, when they are due: a signal for each, which *handle*
        gets as a message of kind "signal" with the text "due". When that fails, it comes again some minutes later.
        """
        self._check_open()
        return await self._due.claim()

    def is_busy(self, chat: ChatId) -> bool:
        """Whether a message of or for *chat* may wait or be on its way."""
        return self._backlog.has_more or chat in self._inbound or chat in self._sender

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was accepted is handled and sent; False when *timeout_s* was not enough.

        From now on nothing more becomes due.
        """
        self._due.stop()
        self._grouping.hurry()
        self._inbound.wake_all()
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
        await self._patience.run(self._store.__aenter__)
        try:
            self._sender.resume(await self._patience.run(self._store.interrupted))
        except BaseException:
            await self.aclose()
            raise
        self._sender.look()
        self._backlog.look()
        upkeep = Upkeep(self._store, self._patience, self._sleep)
        self._tasks.start(upkeep.confirm(self._confirm_every_s, self._backlog.look, self._stand_down), "confirm")
        self._tasks.start(upkeep.purge(self._remember_s), "purge")
        self._tasks.start(self._due.run(), "due")
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

    async def _load(self, after: int, limit: int) -> Sequence[Pending]:
        return await self._patience.run(lambda: self._store.pending(after, limit), patient=True)

    async def _load_unsent(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        return await self._patience.run(lambda: self._store.unsent(after, limit), patient=True)

    async def _move(self, states: Mapping[int, SendState], *, urgent: bool) -> None:
        await self._patience.run(lambda: self._store.move(states, urgent=urgent), patient=True)

    async def _turn(self, *taken: Arrived) -> None:
        if self.stood_down:
            return
        message, earlier = self._grouping.split(taken)
        inbound = tuple(arrived.message.id for arrived in taken)
        context = TurnContext(message, earlier, self.post, tuple(arrived.message for arrived in taken))
        started = self._clock()
        try:
            if self._grouping.must_be_recorded(taken):
                await self._patience.run(lambda: self._store.record_groups({message.id: inbound}), patient=True)
            turn = await self._make(context, inbound)
            turn, entries = await self._maker.commit(
                message, turn, lambda turn: self._store_turn(message, turn), self._on_doubt
            )
            self._sender.put(entries)
        except LeaseLostError:
            self._stand_down()
            return
        finally:
            self._sender.release(message.chat)
        self._statistics.committed += len(taken)
        self._statistics.collapsed += len(earlier)
        if turn.outgoing and not entries:
            self._on_doubt(turn.chat)  # its messages were done, or forgotten, before
        else:
            self._on_commit(turn)
        self._events.publish(TurnCommitted(turn, self._clock() - started))
        self._due.note(message, turn)
        self._backlog.refill()

    async def _make(self, context: TurnContext, inbound: tuple[str, ...]) -> Turn:
        if self._grouping.is_too_late(context.message):
            self._statistics.expired_turns += 1
            return Turn(chat=context.message.chat, inbound=inbound, outcome="expired", answered_by="age")
        turn = await self._maker.make(context)
        return turn if turn.inbound == inbound else replace(turn, inbound=inbound)

    async def _store_turn(self, message: InboundMessage, turn: Turn) -> Sequence[OutboxEntry]:
        # Marked in the same transaction where it is sent next anyway: one commit less.
        taken = [m.key for m in turn.outgoing[:1] if not m.delay_s and self._sender.reserve(turn.chat)]
        again_at = self._due.again_at(message, turn)
        return await self._patience.run(lambda: self._store.commit([turn], taken=taken, again_at=again_at))

    def _stand_down(self) -> None:
        if not self.stood_down:
            self.stood_down = True
            self._due.stop()
            self._sender.stop()
            self._backlog.stop()
            logger.warning("another process owns this chatbot now; this one stops")
            self._events.publish(StoodDown())
            self._on_stood_down()

    def _count_store_retry(self) -> None:
        self._statistics.store_retries += 1
