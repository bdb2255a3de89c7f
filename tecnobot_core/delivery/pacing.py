"""How fast a bot may speak: to one chat, and to all of them together."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..messages import ChatId


@dataclass(frozen=True, slots=True)
class Pacing:
    """At most *rate_per_s* messages to all chats together; *per_chat_gap_s* between two messages to the same chat.

    Before each message passes the time of typing its text at *typing_chars_per_s*, at most *max_typing_s*. Each of
    these times is multiplied by a random factor between 1 - *jitter* and 1 + *jitter*, so that nothing has a fixed
    beat. Infinite rates are no limit.

    The defaults are for an unofficial link to WhatsApp, of which nobody outside knows the limits; no pace prevents a
    ban. Reported: status 429 at three messages a second (issue 1248 of WhiskeySockets/Baileys), while the hosted
    gateway green-api asks for at least half a second between any two (its "Messages sending delay"). Hence two a
    second, and twice that gap in one chat. Meta's own Cloud API admits much more: 80 a second, and in one chat bursts
    of 45 that must be made up for at one in six seconds ("Throughput", and error 131056).

    People type 36 words a minute on a phone, 3 characters a second, the fastest 85 words (Palin, Feit, Kim, Kristensson
    and Oulasvirta: How do People Type on Mobile Devices?, MobileHCI 2019, 37,000 people). Nobody would wait so long for
    a bot: 25 characters a second make a difference between a word and a paragraph, and the limit ends it at 150
    characters. WhatsApp itself takes down the sign of typing after some 25 s.
    """

    per_chat_gap_s: float = 1.0
    rate_per_s: float = 2.0
    jitter: float = 0.3
    typing_chars_per_s: float = 25.0
    max_typing_s: float = 6.0

    def __post_init__(self) -> None:
        for name in ("rate_per_s", "typing_chars_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}; float('inf') is no limit")
        for name in ("per_chat_gap_s", "max_typing_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, not {self.jitter}")


class Pacer:
    """Says when the next message may go, by *pacing*. *random* gives numbers from 0 to below 1.

    The rate is kept by a token bucket that holds what one second brings, at least one; whoever asks first goes first.
    """

    def __init__(
        self,
        pacing: Pacing,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._pacing = pacing
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._gap_ends: OrderedDict[ChatId, float] = OrderedDict()
        # When the bucket is full again: the "theoretical arrival time" of the generic cell rate algorithm.
        self._full_at = clock()
        self._full_s = max(1.0, 1 / pacing.rate_per_s)
        self._queue = asyncio.Lock()

    def typing_s(self, text: str) -> float:
        """How long typing *text* takes."""
        pacing = self._pacing
        return min(len(text) / pacing.typing_chars_per_s, pacing.max_typing_s) * self._factor()

    async def wait_gap(self, chat: ChatId) -> None:
        """Return when the gap after the last message to *chat* is over."""
        while (wait_s := self._gap_ends.get(chat, 0.0) - self._clock()) > 0:
            await self._sleep(wait_s)

    async def wait_turn(self) -> None:
        """Return when one more message keeps the rate, and count it."""
        token_s = self._factor() / self._pacing.rate_per_s
        async with self._queue:
            while (wait_s := self._full_at + token_s - self._full_s - self._clock()) > 0:
                await self._sleep(wait_s)
            self._full_at = max(self._full_at, self._clock()) + token_s

    def note_sent(self, chat: ChatId) -> None:
        """The gap of *chat* begins."""
        now = self._clock()
        self._gap_ends[chat] = now + self._pacing.per_chat_gap_s * self._factor()
        self._gap_ends.move_to_end(chat)
        while self._gap_ends and next(iter(self._gap_ends.values())) <= now:
            self._gap_ends.popitem(last=False)

    def _factor(self) -> float:
        return 1 + self._pacing.jitter * (2 * self._random() - 1)
