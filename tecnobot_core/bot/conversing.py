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
from ..messages import Position
from .turns import Asked, Reply, Speech


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

    async def start(self, match: FlowMatch, asked: Asked) -> Reply:
        """What the flow of *match* says to *asked*, and where the conversation stands then."""
        outcome = await self._interpreter.start(match.flow.id, _answer(asked), idempotency_key=asked.message.id)
        return _reply(outcome)

    async def resume(self, position: Position, asked: Asked) -> tuple[tuple[Speech, ...], Reply | None]:
        """What is said because the time of *position* was over, and then what comes of *asked*.

        It answers the flow in progress or starts one that interrupts it; None when it is in no flow any more.
        """
        if (match := self._flows.match(asked.question, interrupting_only=True)) is not None:
            return (), await self.start(match, asked)
        late: tuple[Speech, ...] = ()
        if position.expires_at is not None and self._clock() >= position.expires_at:
            outcome = await self._interpreter.time_out(position, idempotency_key=f"{asked.message.id}/late")
            late = _speeches(outcome)
            if outcome.position is None:
                return late, None
            position = outcome.position
        outcome = await self._interpreter.resume(position, _answer(asked), idempotency_key=asked.message.id)
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


def _answer(asked: Asked) -> Answer:
    message = asked.message
    return Answer(
        sent_at=message.sent_at,
        text=asked.question,
        kind=message.kind,
        media=message.media,
        message_id=message.id,
        send_now=asked.send_now,
    )


def _reply(outcome: Outcome) -> Reply:
    return Reply("flow", _speeches(outcome), position=outcome.position)


def _speeches(outcome: Outcome) -> tuple[Speech, ...]:
    return tuple(Speech(said.text, said.buttons, said.media) for said in outcome.says)
