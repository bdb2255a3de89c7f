"""When the session is saved, restored and put aside; how is the transport's own."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from ..events import Event, SessionRestored, SessionSaved, SessionSaveFailed
from .backoff import Verdict
from .calls import Calls
from .inbound import Changes
from .numbers import check_seconds
from .ports import Lost, SavesSession
from .reasons import DisconnectReason
from .status import Record

logger = logging.getLogger(__package__)


class SessionKeeper:
    """Saves the session of *transport* while the link is up, and repairs it between two links."""

    def __init__(
        self,
        transport: SavesSession,
        calls: Calls,
        record: Record,
        *,
        changes: Changes,
        publish: Callable[[Event], None],
        every_s: float,
        timeout_s: float,
        sleep: Callable[[float], Coroutine[Any, Any, object]],
    ) -> None:
        self._transport = transport
        self._calls = calls
        self._record = record
        self._changes = changes
        self._publish = publish
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._sleep = sleep
        # A session is never put back or aside while it is being copied.
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        """Save every *every_s*, or as soon after as the link is up, until cancelled."""
        while True:
            await self._sleep(self._every_s)
            while not self._record.up:
                await self._changes.wait()
            await self.save(self._timeout_s)

    async def save(self, timeout_s: float) -> None:
        """Save once. What goes wrong is told and counted; the next time may be better."""
        began_at = self._record.clock()
        async with self._alone:
            size_bytes = await self._calls.ask(
                self._transport.save_session(), min(timeout_s, self._timeout_s), "save_session"
            )
        if isinstance(size_bytes, Lost):
            self._record.saves_failed += 1
            logger.warning("the session could not be saved: %s", size_bytes.detail)
            self._publish(SessionSaveFailed(size_bytes.detail))
            return
        self._record.saved_at = self._record.clock()
        if size_bytes is not None:
            self._publish(SessionSaved(size_bytes, self._record.saved_at - began_at))

    async def repair(self, verdict: Verdict) -> Verdict:
        """Do to the session what *verdict* asks for, while the link is closed.

        Retry at once when it was restored; the same verdict when nothing was to be done, or it could not be.
        """
        if verdict.loss.reason == DisconnectReason.LOGGED_OUT:
            async with self._alone:
                done = await self._calls.ask(
                    self._transport.quarantine_session(), self._timeout_s, "quarantine_session"
                )
            if isinstance(done, Lost):
                logger.warning("the revoked session could not be put aside: %s", done.detail)
            return verdict
        if verdict.response != "restore":
            return verdict
        async with self._alone:
            age_s = await self._calls.ask(self._transport.restore_session(), self._timeout_s, "restore_session")
        if isinstance(age_s, Lost) or age_s is None:
            why = "there is no good copy" if age_s is None else age_s.detail
            return replace(verdict, loss=replace(verdict.loss, detail=f"{verdict.loss.detail}; not restored: {why}"))
        logger.warning("the session was restored from a copy of %.0f s ago", age_s)
        self._publish(SessionRestored(age_s))
        return Verdict(verdict.loss, "retry")


def keeper_of(
    transport: object,
    calls: Calls,
    record: Record,
    *,
    changes: Changes,
    publish: Callable[[Event], None],
    every_s: float,
    timeout_s: float,
    sleep: Callable[[float], Coroutine[Any, Any, object]],
) -> SessionKeeper | None:
    """A keeper, where *transport* has a session to keep."""
    check_seconds("save_session_s", every_s)
    if not isinstance(transport, SavesSession):
        return None
    return SessionKeeper(
        transport, calls, record, changes=changes, publish=publish, every_s=every_s, timeout_s=timeout_s, sleep=sleep
    )
