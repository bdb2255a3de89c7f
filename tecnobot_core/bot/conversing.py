"""Flows in a conversation: begun by a keyword or an event, gone on with by every answer, and when time is over."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Literal

from ..flows import Answer, FlowMatch, FlowRepository, Interpreter, Outcome
from ..flows.answers import AnswerRefused, explain, read_answer
from ..flows.expressions import Expression
from ..flows.steps import Ask
from ..flows.templates import render
from ..messages import Position
from . import offers
from .turns import Asked, Reply, Speech


class Conversing:
    """Runs the flows of *flows*, whose Do steps name *functions*.

    *language* ("es", "en", "pt") is that in which numbers and dates are read and shown; *parse_phone* reads numbers
    without a country (``adapters.phone_numbers.phone_parser``); days are those of *timezone* (None: the process's).
    *on_lost* is what becomes of a conversation whose step is gone. Raises FlowError when a flow is wrong, and what a
    function raises: the conversation then stays where it was.
    """

    def __init__(
        self,
        flows: FlowRepository,
        functions: Mapping[str, Callable[..., Any]],
        *,
        language: str,
        parse_phone: Callable[[str], str] | None,
        timezone: tzinfo | None = None,
        on_lost: Literal["restart", "end"] = "restart",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._flows = flows
        self._language = language
        self._parse_phone = parse_phone
        self._timezone = timezone
        self._clock = clock
        self._interpreter = Interpreter(
            flows.program,
            functions,
            read_answer=self._read,
            holds=lambda condition, variables: Expression(condition).holds(variables),
            render=lambda text, variables: render(text, variables, language=language),
            clock=clock,
            on_lost=on_lost,
            language=language,
        )

    async def start(self, match: FlowMatch, asked: Asked, variables: Mapping[str, object] | None = None) -> Reply:
        """What the flow of *match* says to *asked*, and where the conversation stands then."""
        outcome = await self._interpreter.start(
            match.flow.id, _answer(asked), variables=variables, idempotency_key=asked.message.id
        )
        return _reply(outcome)

    async def resume(self, position: Position, asked: Asked) -> tuple[tuple[Speech, ...], Reply | None]:
        """What is said because the time of *position* was over, and then what comes of *asked*.

        It answers the flow in progress or starts one that interrupts it; None when it is in no flow any more.
        """
        if (match := self._flows.match(asked.question, interrupting_only=True)) is not None:
            return (), await self.start(match, asked)
        if position.kind == offers.SUGGESTION:
            return (), await self._take_up(position, asked)
        await self._flows.load_versions(position)
        late: tuple[Speech, ...] = ()
        if position.expires_at is not None and self._clock() >= position.expires_at:
            outcome = await self._time_out(position, f"{asked.message.id}/late")
            late = _speeches(outcome)
            if outcome.position is None:
                return late, None
            position = outcome.position
        outcome = await self._interpreter.resume(position, _answer(asked), idempotency_key=asked.message.id)
        return late, None if outcome.lost else _reply(outcome)

    async def remind_or_time_out(self, position: Position, now_s: float, key: str) -> Reply | None:
        """What is said because a time of *position* has come; None when none has."""
        if position.due_at is None or now_s < position.due_at:
            return None
        await self._flows.load_versions(position)
        if position.expires_at is not None and now_s >= position.expires_at:
            return _reply(await self._time_out(position, key))
        return _reply(await self._interpreter.remind(position, idempotency_key=key))

    async def release(self, position: Position, key: str) -> Reply:
        """What a flow says behind its handoff, which is over."""
        if not position.flow:
            return Reply("flow")
        await self._flows.load_versions(position)
        return _reply(await self._interpreter.release(position, idempotency_key=key))

    async def _time_out(self, position: Position, key: str) -> Outcome:
        if not position.flow:
            return Outcome()
        return await self._interpreter.time_out(position, idempotency_key=key)

    async def _take_up(self, position: Position, asked: Asked) -> Reply | None:
        """Start the flow that was suggested, if that is wanted."""
        flow = self._flows.get(position.flow)
        if flow is None or not offers.is_accepted(position, asked.question, self._language, self._clock()):
            return None
        return await self.start(FlowMatch(flow, ""), asked)

    def _read(self, ask: Ask, answer: Answer) -> object:
        try:
            return read_answer(
                ask,
                answer.text,
                kind=answer.kind,
                media=answer.media,
                language=self._language,
                today=datetime.fromtimestamp(self._clock(), self._timezone).date(),  # None: the process's
                parse_phone=self._parse_phone,
            )
        except AnswerRefused as refusal:
            raise ValueError(explain(ask, refusal, self._language)) from refusal


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
    by = "flow" if outcome.handoff is None else "handoff"
    return Reply(by, _speeches(outcome), position=outcome.position, records=outcome.records)


def _speeches(outcome: Outcome) -> tuple[Speech, ...]:
    return tuple(Speech(said.text, said.buttons, said.media, said.delay_s) for said in outcome.says)
