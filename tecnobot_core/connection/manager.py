"""One link, kept up: one attempt at a time, growing delays, a heartbeat, and the truth about its state."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self

from ..errors import LifecycleError, LoggedOutError, TransportError
from ..events import (
    Connected,
    Connecting,
    ConnectionClosed,
    ConnectionFailed,
    Disconnected,
    EventBus,
    HeartbeatMissed,
    Observable,
    ReconnectScheduled,
)
from ..messages import InboundMessage, OutboundMessage
from ..tasks import Tasks, wait_or_sleep
from .attempt import attempt
from .ports import DisconnectReason, Lost, Opened, Transport, TransportEvent
from .status import ConnectionState, ConnectionStatus

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # messages that receive() hands out at once; enough for a group commit, little to hold twice


def equal_jitter(delay_s: float) -> float:
    """Half of *delay_s* for sure, the other half at random, so that many bots do not return in one instant."""
    return delay_s / 2 + random.uniform(0, delay_s / 2)


class ConnectionManager(Observable):
    """Keeps *transport* connected from opening to ``aclose`` and hands out what it delivers.

    ``on`` takes "connecting", "connected", "disconnected", "reconnect_scheduled", "heartbeat_missed", "failed" and
    "closed". Every "connected" is followed by exactly one "disconnected". Failures are forgotten only after
    *stable_after_s* of connection, so a link that flaps waits longer and longer.
    """

    event_names: ClassVar = {
        "connecting": Connecting,
        "connected": Connected,
        "disconnected": Disconnected,
        "reconnect_scheduled": ReconnectScheduled,
        "heartbeat_missed": HeartbeatMissed,
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
        connect_timeout_s: float = 45.0,
        ping_timeout_s: float = 10.0,
        close_timeout_s: float = 10.0,
        events: EventBus | None = None,
        jitter: Callable[[float], float] = equal_jitter,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, object]] = asyncio.sleep,
    ) -> None:
        if not 0 < base_delay_s <= max_delay_s:
            raise ValueError(f"base_delay_s ({base_delay_s}) must be above 0 and at most max_delay_s ({max_delay_s})")
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, or None for no limit, not {max_attempts}")
        self.events = events or EventBus()
        self.transport = transport
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._max_attempts = max_attempts
        self._stable_after_s = stable_after_s
        self._heartbeat_s = heartbeat_s
        self._connect_timeout_s = connect_timeout_s
        self._ping_timeout_s = ping_timeout_s
        self._close_timeout_s = close_timeout_s
        self._jitter = jitter
        self._clock = clock
        self._sleep = sleep
        self._tasks = Tasks("connection", on_failure=self.events.task_failed)
        self._state: ConnectionState = "idle"
        self._generation = 0
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._loss = Lost()
        self._retry_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._received: deque[InboundMessage] = deque()
        self._receiving = True
        self._ended = False
        self._failures = 0
        self._connects = 0
        self._disconnects = 0
        self._missed = 0
        self._last_error = ""
        self._connected_at = 0.0
        self._down_since = clock()

    def backoff_delay_s(self, attempt: int) -> float:
        """Delay before the next try; *attempt* counts earlier retries from 0, so the first waits the base."""
        # 2.0**1024 overflows; far before that the result is the maximum whatever the base.
        return float(min(self._base_delay_s * 2.0 ** min(attempt, 1000), self._max_delay_s))

    async def __aenter__(self) -> Self:
        if self._state != "idle":
            raise LifecycleError("this ConnectionManager was opened before; make a new one to connect again")
        self._state = "connecting"
        self._tasks.start(self._run(), "run")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the link and forget what was received but not handed out; the transport keeps it."""
        if self._state == "closed":
            return
        await self._tasks.aclose()
        self._receiving = False
        if self._state != "failed":
            await self._end_generation("stopped", will_reconnect=False)
            self._enter("closed")
            self.events.publish(ConnectionClosed())
        self._notify()

    async def receive(self) -> Sequence[InboundMessage]:
        """The messages that have come, in order, at most 256; waits for the first, and is empty at the end.

        Raises TransportError when the link failed for good.
        """
        while not self._received and self._receiving and not self._ended and self._state not in ("failed", "closed"):
            await self._wait_for_change()
        if not self._receiving:
            return ()
        if not self._received and self._state == "failed":
            raise self._failure()
        return [self._received.popleft() for _ in range(min(len(self._received), MAX_BATCH))]

    async def messages(self) -> AsyncIterator[InboundMessage]:
        """Each message, in order, until the transport's input ends or ``stop_receiving``."""
        while batch := await self.receive():
            for message in batch:
                yield message

    def stop_receiving(self) -> None:
        """End ``messages`` while the link stays up, so that answers can still be sent."""
        self._receiving = False
        self._notify()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Tell the transport that these messages are journaled; it may fail, they then come again."""
        if failure := await attempt(self.transport.acknowledge(message_ids), self._ping_timeout_s):
            logger.info("not acknowledged, the messages will come again: %s", failure.detail)

    async def send(self, message: OutboundMessage) -> None:
        """Send now. Not connected: TransportError with ``sent="no"`` at once; keeping messages is delivery's work.

        That error is retryable also when this link is closed or failed for good: nothing is wrong with the message, and
        a later link may carry it. ``wait_connected`` tells whether this one will.
        """
        if self._state != "connected":
            raise TransportError(f"not connected ({self._state})", reason=self._loss.reason)
        await self.transport.send(message)

    async def wait_connected(self) -> None:
        """Return when the link is up; TransportError when it never will be."""
        while self._state != "connected":
            if self._state in ("failed", "closed"):
                raise self._failure()
            await self._wait_for_change()

    def reconnect_now(self) -> None:
        """Do not wait for the scheduled attempt."""
        self._retry_now.set()

    def status(self) -> ConnectionStatus:
        """What is known now."""
        up = self._state == "connected"
        return ConnectionStatus(
            state=self._state,
            uptime_s=self._clock() - self._connected_at if up else 0.0,
            failures=self._failures,
            connects=self._connects,
            disconnects=self._disconnects,
            heartbeats_missed=self._missed,
            last_error=self._last_error,
        )

    async def _run(self) -> None:
        try:
            while (loss := await self._connect_and_hold()).retryable:
                await self._wait_to_retry()
        except Exception as error:
            # Not the transport's, but a parameter's, such as the jitter; nobody may wait for this link for ever.
            self._fail(Lost(detail=repr(error), retryable=False))
            raise
        self._fail(loss)

    def _fail(self, loss: Lost) -> None:
        self._loss = loss
        self._enter("failed")
        self.events.publish(ConnectionFailed(loss.reason, loss.detail))

    async def _connect_and_hold(self) -> Lost:
        """One life of the link: open it, hold it, and say why it ended."""
        self._enter("connecting")
        self.events.publish(Connecting(self._failures))
        loss = await self._open() or await self._hold()
        stable = self._state == "connected" and self._clock() - self._connected_at >= self._stable_after_s
        self._failures = 1 if stable else self._failures + 1
        self._last_error = f"{loss.reason}: {loss.detail}" if loss.detail else str(loss.reason)
        exhausted = self._max_attempts is not None and self._failures >= self._max_attempts
        if loss.retryable and exhausted and not stable:
            loss = Lost(DisconnectReason.ATTEMPTS_EXHAUSTED, self._last_error, retryable=False)
        self._loss = loss
        await self._end_generation(loss.reason, will_reconnect=loss.retryable)
        return loss

    async def _open(self) -> Lost | None:
        self._generation += 1
        generation = self._generation
        self._opened.clear()
        self._lost.clear()
        if failure := await attempt(self._open_transport(generation), self._connect_timeout_s):
            return failure
        if not self._opened.is_set():
            return self._loss
        self._connects += 1
        self._connected_at = self._clock()
        self._enter("connected")
        self.events.publish(Connected(self._connected_at - self._down_since))
        return None

    async def _open_transport(self, generation: int) -> None:
        await self.transport.open(lambda event: self._take(generation, event))
        while not (self._opened.is_set() or self._lost.is_set()):
            await self._wait_for_change()

    async def _hold(self) -> Lost:
        """Beat until the link is lost."""
        while not await wait_or_sleep(self._lost, self._heartbeat_s, sleep=self._sleep):
            failure = await attempt(self.transport.ping(), self._ping_timeout_s)
            if failure is not None and not self._lost.is_set():  # lost meanwhile: the loss tells more
                self._missed += 1
                self.events.publish(HeartbeatMissed(self._missed))
                return replace(failure, reason=DisconnectReason.HALF_OPEN) if failure.retryable else failure
        return self._loss

    async def _end_generation(self, reason: str, *, will_reconnect: bool) -> None:
        self._generation += 1  # whatever the old link still says is not heard
        if self._state == "connected":
            self._disconnects += 1
            self._down_since = self._clock()
            self._enter("connecting" if will_reconnect else "closed")
            self.events.publish(Disconnected(reason, will_reconnect))
        if failure := await attempt(self.transport.close(), self._close_timeout_s):
            logger.warning("the transport did not close and is abandoned: %s", failure.detail)

    async def _wait_to_retry(self) -> None:
        delay_s = self._jitter(self.backoff_delay_s(self._failures - 1))
        self._enter("waiting")
        self.events.publish(ReconnectScheduled(self._failures, delay_s))
        self._retry_now.clear()
        await wait_or_sleep(self._retry_now, delay_s, sleep=self._sleep)

    def _take(self, generation: int, event: TransportEvent) -> None:
        if generation != self._generation:
            return
        match event:
            case Opened():
                if not self._opened.is_set():
                    self._received.clear()  # not acknowledged, so they come again
                self._opened.set()
            case Lost(reason=DisconnectReason.ENDED):
                self._ended = True  # no more input, but answers still go out
            case Lost():
                self._loss = event
                self._lost.set()
            case _:
                self._received.append(event)
        self._notify()

    def _enter(self, state: ConnectionState) -> None:
        self._state = state
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _wait_for_change(self) -> Awaitable[object]:
        return self._changed.wait()

    def _failure(self) -> TransportError:
        if self._loss.reason == DisconnectReason.LOGGED_OUT:
            return LoggedOutError(self._loss.detail or "the session was revoked; pair again")
        return TransportError(
            self._loss.detail or f"the link ended: {self._loss.reason}", reason=self._loss.reason, retryable=False
        )
