"""From a reply to the Turn that is committed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..flows import FlowMatch
from ..messages import ChatMessage, InboundMessage, OutboundMessage, Outcome, TraceStep, Turn


@dataclass(frozen=True, slots=True)
class Speech:
    """One outgoing message, before it has an address."""

    text: str
    buttons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What was decided for a message: by whom, what is said, and whether the conversation remembers it."""

    by: str
    says: tuple[Speech, ...] = ()
    outcome: Outcome = "answered"
    remembered: bool = True

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

    @classmethod
    def flow(cls, match: FlowMatch) -> "Reply":
        """What a flow says."""
        return cls("flow", tuple(Speech(step.text, step.buttons) for step in match.flow.steps))


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
    question: str,
    reply: Reply,
    trace: tuple[TraceStep, ...] = (),
    *,
    before: tuple[ChatMessage, ...] = (),
) -> Turn:
    """The Turn that finishes *message* with *reply*. Outgoing keys follow from the message's id.

    *before* are rows that a conversation gets ahead of a reply that it remembers.
    """
    history: tuple[ChatMessage, ...] = ()
    if reply.remembered:
        said = (ChatMessage("assistant", speech.text) for speech in reply.says)
        history = (*before, ChatMessage("user", question), *said)
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome=reply.outcome,
        answered_by=reply.by,
        history=history,
        outgoing=tuple(
            OutboundMessage(chat=message.chat, key=f"{message.id}/{number}", text=said.text, buttons=said.buttons)
            for number, said in enumerate(reply.says)
        ),
        trace=trace,
    )
