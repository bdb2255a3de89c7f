"""Flows in a conversation: begun by a keyword or an event, gone on with by every answer."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..flows import Answer, FlowMatch, FlowRepository, Interpreter, Outcome
from ..flows.answers import read_answer
from ..flows.expressions import Expression
from ..flows.steps import Ask
from ..flows.templates import render
from ..messages import InboundMessage, Position
from .turns import Reply, Speech


class Conversing:
    """Runs the flows of *flows*, whose Do steps name *functions*.

    *language* ("es", "en", "pt") is that in which numbers and dates are read and shown; *parse_phone* reads numbers
    without a country (``adapters.phone_numbers.phone_parser``). Raises FlowError when a flow is wrong, and what a
    function raises: the conversation then stays where it was.
    """

    def __init__(
        self,
        flows: FlowRepository,
        functions: Mapping[str, Callable[..., Any]],
        *,
        language: str,
        parse_phone: Callable[[str], str] | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._flows = flows
        self._language = language
        self._parse_phone = parse_phone
        self._clock = clock
        self._interpreter = Interpreter(
            flows.program,
            functions,
            read_answer=self._read,
            holds=lambda condition, variables: Expression(condition).holds(variables),
            render=lambda text, variables: render(text, variables, language=language),
            clock=clock,
        )

    async def start(self, match: FlowMatch, message: InboundMessage, question: str) -> Reply:
        """What the flow of *match* says to *message*, and where the conversation stands then."""
        answer = _answer(message, question)
        outcome = await self._interpreter.start(match.flow.id, answer, idempotency_key=message.id)
        return _reply(outcome)

    async def resume(
        self, position: Position, message: InboundMessage, question: str
    ) -> tuple[tuple[Speech, ...], Reply | None]:
        """What is said because the time of *position* was over, and then what comes of *message*.

        It answers the flow in progress or starts one that interrupts it; None when it is in no flow any more.
        """
        if (match := self._flows.match(question, interrupting_only=True)) is not None:
            return (), await self.start(match, message, question)
        late: tuple[Speech, ...] = ()
        if position.expires_at is not None and self._clock() >= position.expires_at:
            outcome = await self._interpreter.time_out(position, idempotency_key=f"{message.id}/late")
            late = _speeches(outcome)
            if outcome.position is None:
                return late, None
            position = outcome.position
        outcome = await self._interpreter.resume(position, _answer(message, question), idempotency_key=message.id)
        return late, None if outcome.lost else _reply(outcome)

    def _read(self, ask: Ask, answer: Answer) -> object:
        return read_answer(
            ask,
            answer.text,
            kind=answer.kind,
            media=answer.media,
            language=self._language,
            today=datetime.fromtimestamp(self._clock(), UTC).astimezone().date(),  # that of the process's time zone
            parse_phone=self._parse_phone,
        )


def _answer(message: InboundMessage, question: str) -> Answer:
    return Answer(sent_at=message.sent_at, text=question, kind=message.kind, media=message.media, message_id=message.id)


def _reply(outcome: Outcome) -> Reply:
    return Reply("flow", _speeches(outcome), position=outcome.position)


def _speeches(outcome: Outcome) -> tuple[Speech, ...]:
    return tuple(Speech(said.text, said.buttons, said.media) for said in outcome.says)
