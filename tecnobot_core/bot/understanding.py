"""What a message says, in words."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from ..errors import AudioError, CompletionError, MemoryBusyError, TemporarySpaceError, TransportError
from ..messages import ChatMessage, InboundMessage, MediaReference
from .cleaning import clean
from .hearing import CUT
from .texts import Texts
from .turns import Reply, Trace

logger = logging.getLogger(__name__)

HEARABLE = ("voice", "audio")

Untimed = Callable[[], AbstractContextManager[object]]


@runtime_checkable
class GivesUpByItself(Protocol):
    """Hearing that ends in a time that fits each recording, and refuses at once those for which there is none."""

    @property
    def max_duration_s(self) -> float:
        """The longest recording that is heard."""
        ...


class Understanding:
    """Reads text of at most *max_text_chars*, and hears recordings where there is somebody to hear them.

    The deadline of a turn does not run while a hearing that GivesUpByItself is at work.
    """

    def __init__(
        self, texts: Texts, hearing: Callable[[MediaReference], Awaitable[str]] | None, max_text_chars: int
    ) -> None:
        self._texts = texts
        self._hearing = hearing
        self._max_text_chars = max_text_chars

    async def question(
        self, message: InboundMessage, trace: Trace, untimed: Untimed = nullcontext
    ) -> tuple[str, Reply | None]:
        """The text to answer, or the reply that ends it here; *untimed* stops the deadline of the turn."""
        text, heard = message.text, ""
        if (hearing := self._hearing) is not None and (media := _recording(message)) is not None:
            try:
                with untimed() if isinstance(hearing, GivesUpByItself) else nullcontext():
                    text = await hearing(media)
                heard = ", cut off" if text.endswith(CUT) else ""
            except (AudioError, CompletionError, MemoryBusyError, TemporarySpaceError, TransportError) as error:
                why, reply = self._unheard(message, error)
                logger.warning("a recording was not heard (%s): %s", why, error)
                trace.note("understand", why)
                return "", reply
        if len(text) > self._max_text_chars:
            trace.note("understand", f"{len(text)} characters")
            return "", Reply.refusal("too_long", self._texts.too_long(self._max_text_chars))
        question = clean(text)
        trace.note("understand", f"{message.kind}, {len(question)} characters{heard}")
        if question or message.kind != "text":
            return question, None
        return "", Reply.refusal("empty", self._texts.empty)

    def wordless(self, message: InboundMessage) -> str:
        """What helps where *message* was heard, and nobody said anything; empty for all others."""
        return "" if self._hearing is None or _recording(message) is None else self._texts.say_again

    def words(self, message: InboundMessage) -> str:
        """What is written in *message*, cut where it is too long."""
        return clean(message.text[: self._max_text_chars])

    def rows(self, messages: Sequence[InboundMessage]) -> tuple[ChatMessage, ...]:
        """What was said in *messages*; the owner's own are the assistant's."""
        rows = (ChatMessage("assistant" if m.from_me else "user", self.words(m)) for m in messages)
        return tuple(row for row in rows if row.content)

    def _unheard(self, message: InboundMessage, error: Exception) -> tuple[str, Reply]:
        """Why, and what is said: what the person can do about it, or to put it in words."""
        why = _reason(error)
        return why, Reply.refusal("audio", self._sentence(why) or self._texts.unsupported(message.kind))

    def _sentence(self, why: str) -> str:
        texts, hearing = self._texts, self._hearing
        match why:
            case "engine_missing" | "unsupported":
                return ""
            case "empty" | "cannot_decode" | "refused" | "gone":
                return texts.say_again
            case "not_audio" | "no_audio_track":
                return texts.no_sound
            case "too_long" if isinstance(hearing, GivesUpByItself):
                return texts.shorten_recording(hearing.max_duration_s)
            case "too_long" | "too_big":
                return texts.smaller_recording
        return texts.busy


def _recording(message: InboundMessage) -> MediaReference | None:
    return message.media if message.kind in HEARABLE else None


def _reason(error: Exception) -> str:
    if isinstance(error, AudioError | CompletionError):
        return error.kind
    if isinstance(error, TransportError):
        return "not_fetched" if error.retryable else "gone"
    if isinstance(error, MemoryBusyError) and error.retry_after_s is None:
        return "too_big"  # it never fits
    return "no_room"
