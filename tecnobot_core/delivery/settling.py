"""A moment of silence after what a person wrote, before anything is sent to them."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..messages import ChatId

MAX_RESTLESS_S = 60.0  # whoever writes without a pause is answered all the same


@dataclass(slots=True)
class _Restless:
    began_at: float
    last_at: float


class Settling:
    """Knows the chats in which something came less than *settle_s* ago (0: needs no looking after).

    For links that may lose one of two messages to and from one person that cross: of those over WhatsApp's library 2 to
    6 % where a bot answers each of 200 that pour in, none where there is a pause. A chat without a pause counts as
    settled when it has lasted for ``MAX_RESTLESS_S``.
    """

    def __init__(
        self,
        settle_s: float = 0.0,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not 0 <= settle_s < MAX_RESTLESS_S:
            raise ValueError(f"settle_s must be 0 or more seconds, and below {MAX_RESTLESS_S:g}, not {settle_s}")
        self._settle_s = settle_s
        self._clock = clock
        self._sleep = sleep
        self._restless: OrderedDict[ChatId, _Restless] = OrderedDict()  # in the order in which they settle

    @property
    def remembered(self) -> int:
        """How many chats are remembered: those that have not settled, and perhaps others until the next message."""
        return len(self._restless)

    def note_inbound(self, chat: ChatId) -> None:
        """Something has come from *chat*."""
        if not self._settle_s:
            return
        now = self._clock()
        self._forget(now)
        began_at = self._restless[chat].began_at if chat in self._restless else now
        self._restless[chat] = _Restless(began_at, now)
        self._restless.move_to_end(chat)

    def is_settled(self, chat: ChatId) -> bool:
        """Whether something may be sent to *chat* now."""
        return self._wait_s(chat) <= 0

    async def wait(self, chat: ChatId) -> None:
        """Return when *chat* has settled."""
        while (wait_s := self._wait_s(chat)) > 0:
            await self._sleep(wait_s)

    def _wait_s(self, chat: ChatId) -> float:
        if (restless := self._restless.get(chat)) is None:
            return 0.0
        return min(restless.last_at + self._settle_s, restless.began_at + MAX_RESTLESS_S) - self._clock()

    def _forget(self, now: float) -> None:
        while self._restless and next(iter(self._restless.values())).last_at + self._settle_s <= now:
            self._restless.popitem(last=False)
