"""Is the other side still there? Presence says that we are; only a round trip says that they are."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from ..events import Event, HeartbeatMissed
from ..tasks import wait_or_sleep
from .calls import Calls
from .link import Link
from .numbers import check_seconds
from .ports import Lost, ShowsPresence, Transport
from .reasons import DisconnectReason, response_to
from .status import Record

logger = logging.getLogger(__package__)


class Heartbeat:
    """Asks *transport* every *every_s*, and at once when its own keep-alive doubts.

    A ping without an answer makes the link degraded; so does a second one, or any after a doubt, end it as half open.
    """

    def __init__(
        self,
        transport: Transport,
        calls: Calls,
        record: Record,
        *,
        publish: Callable[[Event], None],
        every_s: float,
        ping_timeout_s: float,
        show_presence: bool,
        sleep: Callable[[float], Coroutine[Any, Any, object]],
    ) -> None:
        check_seconds("heartbeat_s", every_s)
        self._transport = transport
        self._presence = transport if show_presence and isinstance(transport, ShowsPresence) else None
        self._calls = calls
        self._record = record
        self._publish = publish
        self._every_s = every_s
        self._ping_timeout_s = ping_timeout_s
        self._sleep = sleep
        self._showing: asyncio.Task[Lost | None] | None = None

    async def watch(self, link: Link) -> Lost:
        """Beat until *link* is lost; why. Presence is shown at once: some servers treat the absent differently."""
        self._begin_presence()
        while link.loss is None:
            if not await wait_or_sleep(link.attention, self._every_s, sleep=self._sleep):
                failure = await self._beat(link)
            elif link.doubted and link.loss is None:
                failure = await self._probe(link)
            else:
                link.attention.clear()  # a doubt that was taken back; left set, it would be looked at for ever
                continue
            if failure is not None and link.loss is None:  # lost meanwhile: the loss tells more
                return failure
        return link.loss

    async def show_presence(self, available: bool, *, within_s: float) -> None:
        """Say whether somebody is there, where that is wanted and can be said."""
        if self._presence is None:
            return
        shown = await self._calls.ask(self._presence.set_presence(available), within_s, "set_presence")
        if isinstance(shown, Lost):
            logger.info("the presence could not be shown: %s", shown.detail)

    def _begin_presence(self) -> None:
        # Beside the ping, not before it: on a dead link it would delay the finding by its own time.
        if self._presence is not None and (self._showing is None or self._showing.done()):
            self._showing = self._calls.start(self.show_presence(True, within_s=self._ping_timeout_s), "presence")

    async def _beat(self, link: Link) -> Lost | None:
        self._begin_presence()
        failure = await self._ping(link)
        if failure is None or link.loss is not None or not _is_trouble_of_the_link(failure):
            return failure
        return await self._probe(link)

    async def _probe(self, link: Link) -> Lost | None:
        """The last question to a link that is in doubt."""
        link.doubted = False
        link.attention.clear()
        self._record.missed += 1
        self._record.enter("degraded")
        self._publish(HeartbeatMissed(self._record.missed))
        failure = await self._ping(link)
        if failure is None:
            self._record.enter("connected")
        elif _is_trouble_of_the_link(failure):
            failure = replace(failure, reason=DisconnectReason.HALF_OPEN)
        return failure

    async def _ping(self, link: Link) -> Lost | None:
        asked_at = self._record.clock()
        answer = await self._calls.ask(self._transport.ping(), self._ping_timeout_s, "ping", unless=link.lost)
        if isinstance(answer, Lost):  # any other answer is one, whatever the transport returns
            return answer
        self._record.alive()
        self._record.ping_s = self._record.clock() - asked_at
        return None


def _is_trouble_of_the_link(failure: Lost) -> bool:
    return response_to(failure.reason, retryable=failure.retryable) in ("retry", "at_once")
