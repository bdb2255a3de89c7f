"""One link, kept up: one attempt at a time, growing delays, a heartbeat, and the truth about its state."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from ..errors import LifecycleError, TransportError
from ..events import (
    Connected,
    Connecting,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionParked,
    Disconnected,
    EventBus,
    HeartbeatMissed,
    MessageMissed,
    Observable,
    PairingEnded,
    PairingOffered,
    ReconnectScheduled,
    RecycleRecommended,
    SessionRestored,
    SessionSaved,
    SessionSaveFailed,
)
from ..messages import InboundMessage, OutboundMessage
from ..tasks import Tasks
from .backoff import Attempts, equal_jitter
from .calls import PATIENCE_S, Calls
from .heartbeat import Heartbeat
from .inbound import Changes, Inbound
from .machine import Machine
from .opening import Deadlines
from .ports import KnowsOutcomes, Lost, Outcome, Transport
from .reasons import DisconnectReason, advice_for
from .session import keeper_of
from .status import ConnectionStatus, Record, failure_of

logger = logging.getLogger(__package__)


class ConnectionManager(Observable):
    """Keeps *transport* connected from opening to ``aclose`` and hands out what it delivers.

    ``on`` takes the names in ``event_names``. Every "connected" is followed by exactly one "disconnected". Failures are
    forgotten only after *stable_after_s* of connection, so a link that flaps waits longer and longer. What cannot be
    tried again ends in "failed", or for the reasons in *park_on* in "parked" until ``reconnect_now``.

    Every *heartbeat_s* the transport is pinged, and says that somebody is there if it can (*show_presence*; a phone of
    the same account may be mute while it does). Every *save_session_s* it saves its session if it can. Every
    *recycle_after_opens* openings "recycle_recommended" is told, as some transports leak with each.
    """

    event_names: ClassVar = {
        "connecting": Connecting,
        "connected": Connected,
        "disconnected": Disconnected,
        "reconnect_scheduled": ReconnectScheduled,
        "heartbeat_missed": HeartbeatMissed,
        "pairing": PairingOffered,
        "pairing_ended": PairingEnded,
        "session_saved": SessionSaved,
        "session_save_failed": SessionSaveFailed,
        "session_restored": SessionRestored,
        "message_missed": MessageMissed,
        "recycle_recommended": RecycleRecommended,
        "parked": ConnectionParked,
        "failed": ConnectionFailed,
        "closed": ConnectionClosed,
    }

    def __init__(
        self,
        transport: Transport,
        *,
        base_delay_s: float = 1.0,
        max_delay_s: float = 60.0,
        max_attempts: int | None = None,
        stable_after_s: float = 60.0,
        heartbeat_s: float = 30.0,
        save_session_s: float = 60.0,
        show_presence: bool = True,
        park_on: Collection[DisconnectReason] = (),
        connect_timeout_s: float = 45.0,
        auth_timeout_s: float = 90.0,
        pairing_timeout_s: float = 180.0,
        ping_timeout_s: float = 5.0,
        heal_timeout_s: float = 10.0,
        close_timeout_s: float = 10.0,
        stop_timeout_s: float = 12.0,
        save_timeout_s: float = 30.0,
        recycle_after_opens: int = 300,
        events: EventBus | None = None,
        jitter: Callable[[float], float] = equal_jitter,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        self.events = events or EventBus()
        self.transport = transport
        self._attempts = Attempts(
            base_delay_s=base_delay_s,
            max_delay_s=max_delay_s,
            max_attempts=max_attempts,
            stable_after_s=stable_after_s,
            jitter=jitter,
            park_on=park_on,
        )
        self._limits = Deadlines(
            connect_s=connect_timeout_s,
            auth_s=auth_timeout_s,
            pairing_s=pairing_timeout_s,
            ping_s=ping_timeout_s,
            heal_s=heal_timeout_s,
            close_s=close_timeout_s,
            stop_s=stop_timeout_s,
            save_s=save_timeout_s,
        )
        self._stopping = False
        self._ended: Lost | None = None  # why there is no link any more, and never will be
        self._tasks = Tasks("connection", on_failure=self.events.task_failed)
        self._calls = Calls()
        self._changes = Changes()
        self._record = Record(clock, self._changes.notify)
        self._inbound = Inbound(self._changes)
        self._heartbeat = Heartbeat(
            transport,
            self._calls,
            self._record,
            publish=self.events.publish,
            every_s=heartbeat_s,
            ping_timeout_s=ping_timeout_s,
            show_presence=show_presence,
            sleep=sleep,
        )
        self._session = keeper_of(
            transport,
            self._calls,
            self._record,
            changes=self._changes,
            publish=self.events.publish,
            every_s=save_session_s,
            timeout_s=save_timeout_s,
            sleep=sleep,
        )
        self._machine = Machine(
            transport,
            attempts=self._attempts,
            calls=self._calls,
            record=self._record,
            inbound=self._inbound,
            changes=self._changes,
            heartbeat=self._heartbeat,
            session=self._session,
            limits=self._limits,
            recycle_after_opens=recycle_after_opens,
            publish=self.events.publish,
            sleep=sleep,
        )

    def backoff_delay_s(self, attempt: int) -> float:
        """Delay before the next try; *attempt* counts earlier retries from 0, so the first waits the base."""
        return self._attempts.delay_s(attempt)

    async def __aenter__(self) -> Self:
        if self._record.state != "idle":
            raise LifecycleError("this ConnectionManager was opened before; make a new one to connect again")
        self._record.enter("connecting")
        self._tasks.start(self._run(), "run")
        if self._session is not None:
            self._tasks.start(self._session.run(), "save_session")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the link and forget what was received but not handed out; the transport keeps it.

        Takes at most *stop_timeout_s*, whatever the transport does. A second call waits for the first.
        """
        if self._stopping:
            while self._record.state != "closed":
                await self._changes.wait()
            return
        self._stopping = True
        self._ended = self._ended or Lost(DisconnectReason.STOPPED, "the connection was closed", retryable=False)
        self._record.enter("stopping")
        try:
            try:
                await self._tasks.aclose()
            finally:
                await self._stop()
        finally:
            self._inbound.stop()
            self._record.enter("closed")
            self.events.publish(ConnectionClosed())

    async def receive(self) -> Sequence[InboundMessage]:
        """The messages that have come, in order, at most 256; waits for the first, and is empty at the end.

        Raises TransportError when the link failed for good.
        """
        return await self._inbound.receive()

    async def messages(self) -> AsyncIterator[InboundMessage]:
        """Each message, in order, until the transport's input ends or ``stop_receiving``."""
        while batch := await self.receive():
            for message in batch:
                yield message

    def stop_receiving(self) -> None:
        """End ``messages`` while the link stays up, so that answers can still be sent."""
        self._inbound.stop()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Tell the transport that these messages are journaled; it may fail, they then come again."""
        told = await self._calls.ask(self.transport.acknowledge(message_ids), self._limits.ping_s, "acknowledge")
        if isinstance(told, Lost):
            logger.info("not acknowledged, the messages will come again: %s", told.detail)

    async def send(self, message: OutboundMessage) -> None:
        """Send now. Not connected: TransportError with ``sent="no"`` at once; keeping messages is delivery's work.

        That error is retryable also when this link is closed or failed for good: nothing is wrong with the message, and
        a later link may carry it. ``wait_connected`` tells whether this one will.
        """
        if not self._record.up:
            reason = (self._ended or self._record.loss).reason
            raise TransportError(f"not connected ({self._record.state})", reason=reason)
        await self._calls.carry(self.transport.send(message), "send")
        self._record.useful()

    async def outcome(self, key: str) -> Outcome | None:
        """What became of the message *key*; None where the transport cannot tell (KnowsOutcomes) or is not connected.

        TransportError when the question failed: the link may be lost.
        """
        if not self._record.up or not isinstance(self.transport, KnowsOutcomes):
            return None
        told = await self._calls.ask(self.transport.outcome(key), self._limits.ping_s, "outcome")
        if isinstance(told, Lost):
            raise failure_of(told)
        return told

    async def wait_connected(self) -> None:
        """Return when the link is up; TransportError when it never will be."""
        while not self._record.up:
            if self._record.state in ("failed", "closed"):
                raise failure_of(self._ended or self._record.loss)
            await self._changes.wait()

    def reconnect_now(self) -> None:
        """Do not wait for the scheduled attempt, nor for a link to heal; ends "parked". Nothing else is disturbed."""
        self._machine.reconnect_now()

    def status(self) -> ConnectionStatus:
        """What is known now."""
        stable = self._record.up and self._attempts.is_stable(self._record.up_s)
        return self._record.status(0 if stable else self._attempts.failures)

    async def _run(self) -> None:
        try:
            loss = await self._machine.run()
        except BaseException as error:
            # Not the transport's, but a parameter's, such as the jitter.
            loss = Lost(detail=repr(error), retryable=False)
            if isinstance(error, Exception):
                await self._machine.end_link(loss.reason, will_reconnect=False, within_s=self._limits.close_s)
            raise
        finally:
            self._fail(loss)  # whatever ended it, nobody may wait for this link for ever

    def _fail(self, loss: Lost) -> None:
        if self._stopping:
            return  # aclose says how it ends
        self._ended = loss
        self._machine.drop_link(loss.reason, will_reconnect=False)
        self._record.lost(loss)
        self._record.enter("failed")
        self._inbound.end(lambda: failure_of(loss))
        self.events.publish(ConnectionFailed(loss.reason, loss.detail, advice_for(loss.reason)))

    async def _stop(self) -> None:
        """Leave politely, close, and save what the link has changed; all of it within its time."""
        loop = asyncio.get_running_loop()
        # Two of the calls may each need a moment beyond their time, to be cancelled.
        ends_at = loop.time() + self._limits.stop_s - 2 * PATIENCE_S
        if self._machine.is_up:
            await self._heartbeat.show_presence(False, within_s=1.0)
        close_s = min(self._limits.close_s, ends_at - loop.time())
        await self._machine.end_link("stopped", will_reconnect=False, within_s=close_s)
        if self._session is not None and self._record.connects:
            await self._session.save(max(ends_at - loop.time(), 0.0))
        await self._calls.wait(ends_at - loop.time())
