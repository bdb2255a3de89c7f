"""What a message says, in words."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from ..errors import AudioError, CompletionError, MemoryBusyError, TemporarySpaceError, TransportError
from ..messages import ChatMessage, InboundMessage, MediaReference
from .cleaning import clean
from .texts import Texts
from .turns import Reply, Trace

logger = logging.getLogger(__name__)

HEARABLE = ("voice", "audio")


class Understanding:
    """Reads text of at most *max_text_chars*, and hears recordings where there is somebody to hear them."""

    def __init__(
        self, texts: Texts, hearing: Callable[[MediaReference], Awaitable[str]] | None, max_text_chars: int
    ) -> None:
        self._texts = texts
        self._hearing = hearing
        self._max_text_chars = max_text_chars

    async def question(self, message: InboundMessage, trace: Trace) -> tuple[str, Reply | None]:
        """The text to answer, or the reply that ends it here."""
        text = message.text
        if message.kind in HEARABLE and message.media is not None and self._hearing is not None:
            try:
                text = await self._hearing(message.media)
            except (AudioError, CompletionError, MemoryBusyError, TemporarySpaceError, TransportError) as error:
                why, reply = self._unheard(message, error)
                logger.warning("a recording was not heard (%s): %s", why, error)
                trace.note("understand", why)
                return "", reply
        if len(text) > self._max_text_chars:
            trace.note("understand", f"{len(text)} characters")
            return "", Reply.refusal("too_long", self._texts.too_long(self._max_text_chars))
        question = clean(text)
        trace.note("understand", f"{message.kind}, {len(question)} characters")
        if question or message.kind != "text":
            return question, None
        return "", Reply.refusal("empty", self._texts.empty)

    def words(self, message: InboundMessage) -> str:
        """What is written in *message*, cut where it is too long."""
        return clean(message.text[: self._max_text_chars])

    def rows(self, messages: Sequence[InboundMessage]) -> tuple[ChatMessage, ...]:
        """What was said in *messages*; the owner's own are the assistant's."""
        rows = (ChatMessage("assistant" if m.from_me else "user", self.words(m)) for m in messages)
        return tuple(row for row in rows if row.content)

    def _unheard(self, message: InboundMessage, error: Exception) -> tuple[str, Reply]:
        """Why, and what is said: another time where that helps, else in words."""
        why = error.kind if isinstance(error, AudioError | CompletionError) else "no_room"
        if isinstance(error, TransportError):
            why = "not_fetched"
        busy = why in ("busy", "no_room")
        return why, Reply.refusal("audio", self._texts.busy if busy else self._texts.unsupported(message.kind))
