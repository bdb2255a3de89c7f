"""What a message brings into a flow, what a function of the flow sees of it, and what comes of it."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Protocol, cast

from ..messages import FormRecord, MediaReference, MessageKind, Position
from .steps import Handoff, Send


class SendNow(Protocol):
    """Says something at once; False when *key* was said before."""

    def __call__(self, text: str, *, key: str) -> Awaitable[bool]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A message, as a flow sees it. ``sent_at`` is in Unix seconds, and what was said never prints.

    ``send_now(text, key=…)`` says something to its sender before the turn is committed, once for each key in the turn.
    """

    sent_at: float
    text: str = field(default="", repr=False)
    kind: MessageKind = "text"
    media: MediaReference | None = None
    message_id: str = ""
    send_now: SendNow | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a message causes. Nothing outside has changed: it counts when it is committed.

    ``says`` is rendered and in order. ``position`` is where the conversation stands, None outside a flow. ``handoff``
    is the step by which a person takes over from now on. ``trace`` names the steps on the way as "flow:address", first
    the one that the message answered. ``lost``: the flow is gone, so that nothing was done with the message.
    ``records`` are the forms that it completed.
    """

    says: tuple[Send, ...] = ()
    position: Position | None = None
    handoff: Handoff | None = None
    trace: tuple[str, ...] = ()
    lost: bool = False
    records: tuple[FormRecord, ...] = ()


class FlowContext:
    """What a function of a flow is given: the message, the variables and the arguments of its step.

    ``variables`` is the function's own copy; what it changes there counts once it returns. What it raises changes
    nothing. ``idempotency_key`` is another for each call that one message causes, and the same when that message is
    answered again after a crash, so that a payment can be asked for once.
    """

    __slots__ = ("_says", "_send_now", "arguments", "idempotency_key", "kind", "media", "text", "variables")

    def __init__(
        self, answer: Answer, variables: dict[str, Any], arguments: Mapping[str, Any], idempotency_key: str
    ) -> None:
        self.text = answer.text
        self.kind = answer.kind
        self.media = answer.media
        self.variables = variables
        self.arguments = arguments
        self.idempotency_key = idempotency_key
        self._says: list[Send] = []
        self._send_now = answer.send_now

    def send(self, text: str) -> Awaitable[None]:
        """Say *text* as it is, in the order of the calls. Only says: where it goes on is what the function returns.

        Nothing has to be awaited: a forgotten ``await`` loses no message.
        """
        self._says.append(Send(text=text))
        return _Done()

    async def send_now(self, text: str, *, key: str) -> bool:
        """Say *text* at once, before and apart from what the turn says; False when *key* was said in this call before.

        For "one moment, please": said once however often the call is repeated after a crash, and also when it fails.
        Where no message caused the call, as when time was over, it is said with the turn.
        """
        if self._send_now is None:
            self._says.append(Send(text=text))
            return True
        return await self._send_now(text, key=f"{self.idempotency_key}/{key}")

    def said(self) -> tuple[Send, ...]:
        """What was said until now."""
        return tuple(self._says)


async def call(function: Callable[[FlowContext], object], context: FlowContext) -> object:
    """What a function, plain or async, returns."""
    result = function(context)
    return await cast("Awaitable[object]", result) if isawaitable(result) else result


class _Done:
    def __await__(self) -> Generator[None, None, None]:
        yield from ()
