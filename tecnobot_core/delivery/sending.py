"""From the outbox to the link: in order in each chat, and never twice on purpose."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from ..errors import LeaseLostError, TransportError
from ..events import EventBus, MessageSent, SendExpired, SendRejected, SendUncertain
from ..messages import ChatId, OutboundMessage
from ..tasks import Tasks, is_being_cancelled
from .clearance import Clearance, ShowTyping
from .doubts import Doubts
from .lanes import Lanes
from .link import Link
from .outgoing import Load, Move, Outgoing, Queued
from .pacing import Pacer
from .ports import AskOutcome, OutboxEntry, SendState
from .settling import Settling
from .statistics import Counts

logger = logging.getLogger(__name__)


class Sender:
    """Sends entries through *send*, and records with *move* what becomes of each.

    An entry is marked as taken before it is sent, so that a process that comes after a kill knows which sends may have
    happened. ``TransportError.sent`` decides after a failure: "no" is sent again. After "maybe", or when a send has not
    returned after *send_timeout_s*, *outcome* is asked once the link is up, and the chat waits for the answer; unless
    that is "sent" or "no", the message is announced as uncertain and not sent again. "no" with ``retry_after_s`` halts
    everything for so long; without, it delays its chat alone. What the link took is uncertain, too, while *doubts* has
    one about its chat. What would be sent more than *ttl_s* after it was decided, or its delay was over, expires
    (None: never).

    At most *max_loaded* entries wait in memory; those behind them are read with *load* (``Outbox.unsent``). When
    *wait_ready* raises TransportError the link has failed for good, and what was not sent stays in the store.
    """

    def __init__(
        self,
        send: Callable[[OutboundMessage], Awaitable[None]],
        wait_ready: Callable[[], Awaitable[object]],
        *,
        move: Move,
        load: Load,
        on_lease_lost: Callable[[], object],
        events: EventBus,
        counts: Counts,
        max_concurrent: int,
        max_loaded: int,
        ttl_s: float | None,
        send_timeout_s: float,
        pacer: Pacer | None,
        tasks: Tasks,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        show_typing: ShowTyping | None = None,
        settling: Settling | None = None,
        doubts: Doubts | None = None,
        outcome: AskOutcome | None = None,
        outcome_timeout_s: float = 10.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._link = Link(
            send, wait_ready, outcome, send_timeout_s=send_timeout_s, outcome_timeout_s=outcome_timeout_s, sleep=sleep
        )
        self._move = move
        self._on_lease_lost = on_lease_lost
        self._events = events
        self._counts = counts
        self._doubts = doubts or Doubts()
        self._ttl_s = ttl_s
        self._tasks = tasks
        self._clock = clock
        self._stopped = False
        self._clearance = Clearance(
            wait_ready,
            settling=settling or Settling(),
            pacer=pacer,
            show_typing=show_typing,
            events=events,
            tasks=tasks,
            clock=clock,
            sleep=sleep,
            random=random,
        )
        self._lanes = Lanes[ChatId, Queued](
            self._dispatch, max_concurrent=max_concurrent, tasks=tasks, take=self._count_ready
        )
        self._read = load
        self._outgoing = Outgoing(self._lanes, self._load, max_loaded=max_loaded, tasks=tasks, clock=clock)

    def __len__(self) -> int:
        """Entries in memory that wait or are being sent."""
        return len(self._lanes)

    def __contains__(self, chat: ChatId) -> bool:
        """Whether something for *chat* waits in memory or is being sent."""
        return chat in self._lanes

    def put(self, entries: Sequence[OutboxEntry]) -> None:
        """Queue *entries* behind the earlier ones of their chats."""
        self._outgoing.put(entries)

    def resume(self, entries: Sequence[OutboxEntry]) -> None:
        """Find out what became of *entries*, which an earlier process was sending; announce those that are ended."""
        lost = TransportError("the process that was sending it ended", sent="maybe")
        for entry in entries:
            if entry.state == "uncertain":
                self._note_uncertain(entry.message, lost)
        self._outgoing.put([entry for entry in entries if entry.state == "taken"], doubt=lost)

    def look(self) -> None:
        """Send what an earlier process left in the store."""
        self._outgoing.look()

    def reserve(self, chat: ChatId) -> bool:
        """Whether the next entry of *chat* will be sent at once; if so, a place is kept for it until ``release``.

        Only then may it be marked as taken early: what is taken and waits would be uncertain after a kill.
        """
        if self._stopped or self._clearance.is_paced or self._clearance.is_halted:
            return False
        return self._clearance.is_settled(chat) and self._outgoing.hold(chat)

    def release(self, chat: ChatId) -> None:
        """Keep no place for *chat*: its entry was put, or will not come."""
        self._outgoing.release(chat)

    def stop(self) -> None:
        """Begin no more sends; what waits stays in the store."""
        self._stopped = True
        self._outgoing.stop()
        self._lanes.wake_all()

    async def wait_idle(self) -> None:
        """Return when nothing is being sent and nothing waits; once stopped, or without a link, not in the store."""
        await self._outgoing.wait_idle()

    async def _load(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        try:
            return await self._read(after, limit)
        except LeaseLostError:  # reading rejects what cannot be read
            self._on_lease_lost()
            return ()

    def _count_ready(self, lane: Sequence[Queued]) -> int:
        """How many of *lane* can be dealt with now, none or the first; the lane is woken when it may go."""
        first = lane[0]
        if self._stopped:
            return 1
        if first.waits:
            return 0
        if first.doubt is not None:
            if first.asked or not self._link.knows_outcomes:
                return 1
            waiting = self._ask_and_wake(first)
        elif self._clearance.may_go(first) or self._is_expired(first):
            return 1
        else:
            waiting = self._wait_and_wake(first)
        first.waits = True
        self._tasks.start(waiting, "wait_to_send")
        return 0

    async def _ask_and_wake(self, queued: Queued) -> None:
        queued.outcome = await self._link.outcome(queued.entry.message.key)
        queued.asked = True
        queued.waits = False
        self._lanes.wake(queued.entry.message.chat)

    async def _wait_and_wake(self, queued: Queued) -> None:
        message = queued.entry.message
        try:
            await self._untake(queued)
            await self._clearance.wait(queued)
        except LeaseLostError:
            self._on_lease_lost()
        except TransportError as error:
            self._give_up_link(error)
        except (Exception, asyncio.CancelledError):
            if is_being_cancelled():
                raise
            logger.exception("waiting to send to %s failed", message.chat)
            self._clearance.put_off(queued)
        queued.waits = False
        self._lanes.wake(message.chat)

    def _give_up_link(self, error: TransportError) -> None:
        if not self._stopped:
            logger.warning("the link failed for good, what is not sent stays in the outbox: %s", error)
            self.stop()

    async def _dispatch(self, queued: Queued) -> bool:
        stays = False
        try:
            stays = await self._try(queued)
        except LeaseLostError:
            self._on_lease_lost()
        finally:
            # Cancelled, the tasks are closed, and nothing more can be loaded.
            if not stays and not is_being_cancelled():
                self._outgoing.end(queued)
        return stays

    async def _try(self, queued: Queued) -> bool:
        """Send *queued*, or do with it what else is due; whether it stays first in its lane."""
        if queued.doubt is not None:
            return await self._settle(queued, queued.doubt)
        if self._stopped:
            await self._untake(queued)
            return False
        if self._is_expired(queued):
            message, age_s = queued.entry.message, self._clock() - queued.decided_at
            self._counts.expired += 1
            self._events.publish(SendExpired(message.chat, message.key, age_s))
            return await self._end(queued, "expired")
        if not queued.taken:
            queued.taken = True
            await self._move({queued.entry.id: "taken"}, urgent=True)
            if self._stopped or self._is_held(queued) or self._is_expired(queued):
                return True  # writing may have taken long
        doubt = self._doubts.about(queued.entry.message.chat)
        try:
            await self._send(queued.entry.message)
            if doubt is not None:
                raise doubt
        except TransportError as error:
            # That it was sent does not tell whether a session that was set back can be read.
            if error.sent == "maybe" and doubt is None and self._link.knows_outcomes:
                queued.doubt, queued.asked = error, False
                return True
            return await self._fail(queued, error)
        return await self._end_sent(queued)

    async def _settle(self, queued: Queued, doubt: TransportError) -> bool:
        """Do with *queued*, which is in *doubt*, what the answer says, if there is one."""
        if queued.outcome == "sent":
            return await self._end_sent(queued)
        if queued.outcome == "no":
            queued.doubt = None
            return await self._fail(queued, TransportError("the link says that it was not sent"))
        if not self._stopped:
            return await self._fail(queued, doubt)
        # Recorded first: that fails when the lease is lost, and then the next owner asks, and announces.
        await self._end(queued, "uncertain")
        self._note_uncertain(queued.entry.message, doubt)
        return False

    async def _fail(self, queued: Queued, error: TransportError) -> bool:
        message = queued.entry.message
        if error.sent == "maybe":
            self._note_uncertain(message, error)
            return await self._end(queued, "uncertain")
        if error.retry_after_s:
            self._clearance.halt(error.retry_after_s)
        if not error.retryable:
            self._counts.rejected += 1
            self._events.publish(SendRejected(message.chat, message.key, error))
            return await self._end(queued, "rejected")
        queued.cleared = False
        if not error.retry_after_s:
            self._clearance.put_off(queued)
        # Not sent for sure, and perhaps not for a long time: a kill meanwhile must not make it uncertain.
        await self._untake(queued)
        return True

    async def _send(self, message: OutboundMessage) -> None:
        try:
            await self._link.send(message)
        finally:
            self._clearance.note_sent(message.chat)

    async def _untake(self, queued: Queued) -> None:
        """Mark *queued* as waiting again, if it is marked as taken."""
        if queued.taken:
            queued.taken = False
            await self._move({queued.entry.id: "waiting"}, urgent=True)

    async def _end_sent(self, queued: Queued) -> bool:
        self._counts.sent += 1
        self._events.publish(MessageSent(queued.entry.message.chat, queued.entry.message.key))
        return await self._end(queued, "sent")

    async def _end(self, queued: Queued, state: SendState) -> bool:
        # Where nothing waits for it, "sent" may cost no commit of its own.
        urgent = state != "sent" or not self._lanes.is_last(queued.entry.message.chat)
        await self._move({queued.entry.id: state}, urgent=urgent)
        return False

    def _is_held(self, queued: Queued) -> bool:
        return self._clearance.is_halted or not self._clearance.is_settled(queued.entry.message.chat)

    def _is_expired(self, queued: Queued) -> bool:
        return self._ttl_s is not None and self._clock() - queued.due_at > self._ttl_s

    def _note_uncertain(self, message: OutboundMessage, error: TransportError) -> None:
        self._counts.uncertain += 1
        self._events.publish(SendUncertain(message.chat, message.key, error))
