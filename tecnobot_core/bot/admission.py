"""Who is heard, and how often."""

from collections import OrderedDict
from collections.abc import Callable

from ..memory import MemoryManager
from ..messages import ChatId, InboundMessage
from ..rate_limit import RateLimiter
from .texts import Texts
from .turns import Reply

MEDIA = frozenset({"voice", "audio", "image", "video", "document", "sticker"})
MAX_JUDGED = 1000  # messages whose wait is remembered; many more than are handled at once


class Admission:
    """Access list, rate limit and memory pressure, in this order: first attachments are refused, then everything."""

    def __init__(
        self,
        texts: Texts,
        *,
        admits: Callable[[ChatId], bool],
        rate_limiter: RateLimiter | None,
        memory: MemoryManager | None,
    ) -> None:
        self._texts = texts
        self._admits = admits
        self._rate_limiter = rate_limiter
        self._memory = memory
        self._judged: OrderedDict[str, float] = OrderedDict()

    def refuse(self, message: InboundMessage) -> Reply | None:
        """The reply that ends this message here, or None when it is admitted."""
        if not self._admits(message.chat):
            return Reply.silence("access_list")
        if message.from_me or message.kind == "signal":
            return None
        if self._rate_limiter is not None and (wait_s := self._wait_s(message, self._rate_limiter)):
            # Told once per window: an answer to each refused message would double the flood.
            if self._rate_limiter.should_tell(message.chat, message.sent_at):
                return Reply.refusal("rate_limit", self._texts.slow_down(wait_s))
            return Reply.silence("rate_limit", "refused")
        if self._memory is None:
            return None
        if not self._memory.admits_messages:
            return Reply.refusal("memory", self._texts.apology)
        if message.kind in MEDIA and not self._memory.admits_media:
            return Reply.refusal("memory", self._texts.busy)
        return None

    def _wait_s(self, message: InboundMessage, rate_limiter: RateLimiter) -> float:
        # A message is handled again and again while a store is away; it must not use up its sender's limit.
        if (wait_s := self._judged.get(message.id)) is None:
            wait_s = self._judged[message.id] = rate_limiter.hit(message.chat, message.sent_at)
            if len(self._judged) > MAX_JUDGED:
                self._judged.popitem(last=False)
        return wait_s
