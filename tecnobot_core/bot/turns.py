"""From a reply to the Turn that is committed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..flows.context import SendNow
from ..flows.steps import Media
from ..messages import (
    ChatMessage,
    FormRecord,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    Outcome,
    Position,
    TraceStep,
    Turn,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that was understood: *question* is its words.

    *send_now* says something to its sender before the turn is committed. *wordless* is what is said to a message
    without words that nothing answers; empty: that its kind cannot be used.
    """

    message: InboundMessage
    question: str
    send_now: SendNow | None = None
    wordless: str = ""


@dataclass(frozen=True, slots=True)
class Speech:
    """One outgoing message, before it has an address."""

    text: str
    buttons: tuple[str, ...] = ()
    media: Media | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What was decided for a message: by whom, what is said, and whether the conversation remembers it.

    ``position`` is where it stands in a flow afterwards; ``records`` are forms that were completed.
    """

    by: str
    says: tuple[Speech, ...] = ()
    outcome: Outcome = "answered"
    remembered: bool = True
    position: Position | None = None
    records: tuple[FormRecord, ...] = ()
    welcomed_at: float | None = None

    @classmethod
    def text(cls, by: str, text: str) -> "Reply":
        """An answer of one text."""
        return cls(by, (Speech(text),))

    @classmethod
    def refusal(cls, by: str, text: str) -> "Reply":
        """A refusal, told once and not remembered: the model must not see what was not admitted."""
        return cls(by, (Speech(text),), "refused", remembered=False)

    @classmethod
    def silence(cls, by: str, outcome: Outcome = "skipped") -> "Reply":
        """Nothing is said."""
        return cls(by, (), outcome, remembered=False)


class Trace:
    """What each stage did with a message, and how long it took since the stage before."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.steps: list[TraceStep] = []
        self._clock = clock
        self._since = clock()

    def note(self, stage: str, detail: str) -> None:
        """Close a stage; *detail* holds no text of the message."""
        now = self._clock()
        self.steps.append(TraceStep(stage, detail, (now - self._since) * 1000))
        self._since = now


def build_turn(
    message: InboundMessage,
    question: str | None,
    reply: Reply,
    trace: tuple[TraceStep, ...] = (),
    *,
    before: tuple[ChatMessage, ...] = (),
) -> Turn:
    """The Turn that finishes *message* with *reply*. Outgoing keys follow from the message's id.

    *before* are rows that a conversation gets ahead of a reply that it remembers; *question* is None where the person
    said nothing.
    """
    history: tuple[ChatMessage, ...] = ()
    if reply.remembered:
        said = (ChatMessage("assistant", speech.text) for speech in reply.says if speech.text)
        asked = () if question is None else (ChatMessage("user", question),)
        history = (*before, *asked, *said)
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome=reply.outcome,
        answered_by=reply.by,
        history=history,
        position=reply.position,
        outgoing=tuple(_outgoing(message, number, said) for number, said in enumerate(reply.says)),
        records=reply.records,
        welcomed_at=reply.welcomed_at,
        trace=trace,
    )


def _outgoing(message: InboundMessage, number: int, said: Speech) -> OutboundMessage:
    media = said.media
    return OutboundMessage(
        chat=message.chat,
        key=f"{message.id}/{number}",
        text=said.text,
        buttons=said.buttons,
        delay_s=said.delay_s,
        media=None
        if media is None
        else MediaReference(kind=media.kind, address=media.address, file_name=media.file_name),
    )
