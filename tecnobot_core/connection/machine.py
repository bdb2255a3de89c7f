"""The state machine: one link after the other, never two."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from ..events import (
    Connected,
    Connecting,
    ConnectionParked,
    Disconnected,
    Event,
    ReconnectScheduled,
    RecycleRecommended,
)
from ..tasks import wait_or_sleep
from .backoff import Attempts, Verdict
from .calls import PATIENCE_S, Calls
from .heartbeat import Heartbeat
from .inbound import Changes, Inbound
from .link import Link
from .numbers import check_count
from .opening import Deadlines, until_open
from .ports import Lost, Reachable, Transport
from .reasons import DisconnectReason, advice_for, response_to
from .session import SessionKeeper
from .status import Record

logger = logging.getLogger(__package__)


class LinkLostError(Exception):
    """An attempt failed; what is to be done about it."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.loss.detail)
        self.verdict = verdict

    @property
    def is_final(self) -> bool:
        """Whether there is no next attempt."""
        return self.verdict.response == "fail"


class Machine:
    """Opens links and holds them, until one is lost in a way that nobody tries again."""

    def __init__(
        self,
        transport: Transport,
        *,
        attempts: Attempts,
        calls: Calls,
        record: Record,
        inbound: Inbound,
        changes: Changes,
        heartbeat: Heartbeat,
        session: SessionKeeper | None,
        limits: Deadlines,
        recycle_after_opens: int,
        publish: Callable[[Event], None],
        sleep: Callable[[float], Coroutine[Any, Any, object]],
    ) -> None:
        check_count("recycle_after_opens", recycle_after_opens)
        self._transport = transport
        self._attempts = attempts
        self._calls = calls
        self._record = record
        self._inbound = inbound
        self._changes = changes
        self._heartbeat = heartbeat
        self._session = session
        self._limits = limits
        self._recycle_after_opens = recycle_after_opens
        self._publish = publish
        self._sleep = sleep
        self._asked = asyncio.Event()
        self._link: Link | None = None
        self._opening: asyncio.Task[Lost | None] | None = None
        self._announced: Verdict | None = None
        self._closed = True

    @property
    def is_up(self) -> bool:
        """Whether "connected" was the last that was told."""
        return self._link is not None and self._link.up

    async def run(self) -> Lost:
        """Keep the link up; the loss that ended it."""
        verdict: Verdict | None = None
        while verdict is None or verdict.response != "fail":
            try:
                link = await self._connect(verdict)
            except LinkLostError as lost:
                return lost.verdict.loss
            verdict = await self._hold(link)
        return verdict.loss

    def reconnect_now(self) -> None:
        """Let the next attempt begin now, if one is waited for, or will be once the link is closed."""
        if self._link is not None and self._link.up and self._link.loss is None:
            return  # nothing is waited for, and a later loss is another matter
        self._asked.set()
        if self._link is not None and self._record.state == "recovering":
            self._link.attention.set()

    async def end_link(self, reason: str, *, will_reconnect: bool, within_s: float) -> None:
        """Hear nothing more of the link and close it; one that does not close is left behind and counted."""
        self.drop_link(reason, will_reconnect=will_reconnect)
        if self._closed:
            return
        answer = await self._calls.ask(self._transport.close(), within_s, "close")
        self._closed = not isinstance(answer, Lost)
        if isinstance(answer, Lost):
            self._record.abandoned += 1
            logger.warning("the transport did not close and is abandoned: %s", answer.detail)

    def drop_link(self, reason: str, *, will_reconnect: bool) -> None:
        """Hear nothing more of the link; it has yet to be closed."""
        link, self._link = self._link, None
        if link is not None:
            link.end()  # whatever it still says is not heard
            self._go_down(link, reason, will_reconnect)

    async def _connect(self, verdict: Verdict | None) -> Link:
        """One cycle, from being down to being up."""
        if verdict is not None:
            self._announce(verdict)
            await self._wait(verdict)
        cycle = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, LinkLostError) and not error.is_final),
            # The delays grow over many cycles, so they are counted in Attempts, not by tenacity.
            wait=lambda state: _of(state).delay_s or 0.0,
            before_sleep=lambda state: self._announce(_of(state)),
            sleep=self._wait_as_announced,
            reraise=True,
        )
        link: Link = await cycle(self._attempt)
        return link

    async def _attempt(self) -> Link:
        self._asked.clear()
        if (failure := await self._preflight()) is not None:
            raise LinkLostError(await self._conclude(failure, stable=False))
        self._record.resumes_at = None
        self._record.enter("connecting")
        self._publish(Connecting(self._attempts.failures))
        link = self._link = Link(self._record, self._inbound, self._changes, self._publish)
        self._count_open()
        self._closed = False
        self._opening = self._calls.start(self._transport.open(link.take), "open")
        try:
            failure = await until_open(link, self._opening, self._changes, self._record, self._limits)
        finally:
            self._opening.cancel()
        if failure is not None:
            raise LinkLostError(await self._conclude(failure, stable=False))
        self._go_up(link)
        return link

    async def _preflight(self) -> Lost | None:
        """Why an attempt makes no sense now."""
        if self._opening is not None and not self._opening.done():
            # Two at once can never be undone by some libraries; better no link than two.
            await asyncio.wait({self._opening}, timeout=PATIENCE_S)
            if not self._opening.done():
                return Lost(DisconnectReason.TIMEOUT, "the attempt before has not ended yet")
        if not isinstance(self._transport, Reachable):
            return None
        answer = await self._calls.ask(self._transport.reachable(), self._limits.ping_s, "reachable")
        if isinstance(answer, Lost):
            return answer
        return None if answer else Lost(DisconnectReason.NETWORK, "the other side cannot be reached")

    async def _hold(self, link: Link) -> Verdict:
        """Hold *link* until it is lost and does not heal."""
        while True:
            loss = await self._heartbeat.watch(link)
            stable = self._attempts.is_stable(self._record.up_s)
            if not await self._heals(link, loss):
                return await self._conclude(link.loss or loss, stable=stable)
            if stable:
                self._attempts.forgive()
            link.go_on()
            self._go_up(link)

    async def _heals(self, link: Link, loss: Lost) -> bool:
        """Whether the transport brings *link* up again by itself, and in time."""
        if loss is not link.loss or not loss.heals or response_to(loss.reason, retryable=loss.retryable) != "retry":
            return False
        self._record.lost(loss)
        self._go_down(link, loss.reason, will_reconnect=True)
        self._record.enter("recovering")
        if not link.recovered and not self._asked.is_set():
            link.attention.clear()
            await wait_or_sleep(link.attention, self._limits.heal_s, sleep=self._sleep)
        return link.recovered

    async def _conclude(self, loss: Lost, *, stable: bool) -> Verdict:
        """Judge *loss*, close the link, and repair what it needs."""
        verdict = self._attempts.judge(loss, stable=stable)
        self._record.lost(verdict.loss)
        restores = verdict.response == "restore"
        will_reconnect = self._session is not None if restores else verdict.will_reconnect
        await self.end_link(loss.reason, will_reconnect=will_reconnect, within_s=self._limits.close_s)
        if self._session is not None and self._closed:
            verdict = await self._session.repair(verdict)
        if verdict.response == "restore":
            verdict = self._attempts.give_up(verdict.loss)
        self._record.lost(verdict.loss)
        return verdict

    def _go_up(self, link: Link) -> None:
        self._asked.clear()
        link.up = True
        self._publish(Connected(self._record.went_up()))

    def _go_down(self, link: Link, reason: str, will_reconnect: bool) -> None:
        if not link.up:
            return
        link.up = False
        self._record.went_down(reason)
        if self._record.state != "stopping":
            self._record.enter("waiting")
        self._publish(Disconnected(reason, will_reconnect))

    def _count_open(self) -> None:
        self._record.opens += 1
        if self._record.opens % self._recycle_after_opens == 0:
            self._publish(RecycleRecommended(self._record.opens))

    def _announce(self, verdict: Verdict) -> None:
        loss, delay_s = verdict.loss, verdict.delay_s
        self._announced = verdict
        self._record.resumes_at = None if delay_s is None else self._record.clock() + delay_s
        if verdict.response == "park":
            self._asked.clear()  # whoever asked did not know yet why it is parked
            self._record.enter("parked")
            self._publish(ConnectionParked(loss.reason, loss.detail, advice_for(loss.reason), delay_s))
        else:
            self._record.enter("waiting")
            self._publish(ReconnectScheduled(self._attempts.failures, delay_s or 0.0))

    async def _wait_as_announced(self, _: float) -> None:
        assert self._announced is not None
        await self._wait(self._announced)

    async def _wait(self, verdict: Verdict) -> None:
        if verdict.delay_s is None:
            await self._asked.wait()
            self._attempts.forgive()  # somebody has looked at it
        elif verdict.delay_s > 0:
            await wait_or_sleep(self._asked, verdict.delay_s, sleep=self._sleep)


def _of(state: RetryCallState) -> Verdict:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, LinkLostError)  # nothing else is retried
    return error.verdict
