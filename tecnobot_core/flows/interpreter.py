"""Runs flows: one message is one transition, from a position to the next."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..messages import Position
from .context import Answer, Outcome
from .host import WAITING_KINDS, Found, Host, Place
from .phrases import phrases_in
from .program import Program
from .steps import Ask, Handoff
from .transition import Transition


class Interpreter:
    """Runs flows. Holds nothing of a conversation: what it needs to know of one is its position.

    ``programs(flow, None)`` is the current version of a flow, ``programs(flow, version)`` the one that a conversation
    began with; None where it is gone. ``functions`` are what Do steps name, plain or async, each given a FlowContext.
    ``read_answer`` gives the value of an answer, or raises ValueError with the reason that it is refused for: a
    sentence, which ``Ask.retry`` may show as the variable "reason", and which is said before the question where there
    is no ``retry``. ``holds`` decides conditions, ``render`` puts variables into texts. ``clock`` gives Unix seconds,
    of the same clock as ``sent_at``. ``on_lost`` is what becomes of a conversation whose step is gone: its flow begins
    again, variables kept, or it ends and is told as lost. ``language`` ("es", "en", "pt") is that of what no owner
    wrote: see ``Phrases``.

    Only running past its last step brings a called flow back to its caller. A Goto to another flow leaves the callers
    for good, Finish and End leave the flow and them: a goodbye is not followed by more.

    All methods raise FlowError when the flow is wrong, what a function raises, and TypeError when a function returns
    something else than None, Goto, End, Repeat or Stay. Then nothing has happened: the old position holds.
    """

    def __init__(
        self,
        programs: Callable[[str, int | None], Program | None],
        functions: Mapping[str, Callable[..., Any]],
        *,
        read_answer: Callable[[Ask, Answer], object],
        holds: Callable[[str, Mapping[str, object]], bool],
        render: Callable[[str, Mapping[str, object]], str],
        clock: Callable[[], float],
        max_steps: int = 1000,
        on_lost: Literal["restart", "end"] = "restart",
        language: str = "es",
    ) -> None:
        self._host = Host(
            programs=programs,
            functions=functions,
            read_answer=read_answer,
            holds=holds,
            render=render,
            clock=clock,
            phrases=phrases_in(language),
            max_steps=max_steps,
            on_lost=on_lost,
        )

    async def start(
        self,
        flow_id: str,
        answer: Answer,
        *,
        variables: Mapping[str, object] | None = None,
        idempotency_key: str = "",
    ) -> Outcome:
        """Begin the current version of a flow; *answer* is the message that started it."""
        program = self._host.current(flow_id, "start")
        place = Place(program, program.first)
        return await Transition(self._host, place, variables or {}, answer, idempotency_key).run()

    async def resume(self, position: Position, answer: Answer, *, idempotency_key: str = "") -> Outcome:
        """Take *answer* as the answer to the question of *position*.

        In a handoff, and for an answer that was sent before the question was asked, nothing is said and the position
        stays. Phones tell whole seconds, so an answer counts from the second of the question on: which of the two was
        first cannot be known then, and a person whose answer is passed over would wait for nothing.
        """
        found = self._find(position)
        if found is None:
            return Outcome(lost=True)
        if found.same and (isinstance(found.place.step, Handoff) or _is_early(position, answer)):
            return Outcome(position=position)
        transition = Transition(self._host, found.place, position.variables, answer, idempotency_key)
        if found.same:
            transition.answer(position)
        return await transition.run()

    async def remind(self, position: Position, *, idempotency_key: str = "") -> Outcome:
        """Remind of the question of *position*, once; a position stays before its time, and where nothing is asked."""
        if position.remind_at is None or self._host.clock() < position.remind_at:
            return Outcome(position=position)
        return await self._go_on(position, idempotency_key, Transition.remind)

    async def time_out(self, position: Position, *, idempotency_key: str = "") -> Outcome:
        """Go on without an answer: at ``on_timeout`` of a question, behind a handoff.

        The caller decides that it is time; a position that waits for ever stays.
        """
        if position.expires_at is None:
            return Outcome(position=position)
        return await self._go_on(position, idempotency_key, Transition.time_out)

    async def release(self, position: Position, *, idempotency_key: str = "") -> Outcome:
        """Go on behind a handoff; a position that is in none stays."""
        if position.kind != "handoff":
            return Outcome(position=position)
        return await self._go_on(position, idempotency_key, Transition.time_out)

    async def _go_on(
        self, position: Position, idempotency_key: str, at_question: Callable[[Transition, Position], None]
    ) -> Outcome:
        found = self._find(position)
        if found is None:
            return Outcome(lost=True)
        nothing = Answer(sent_at=self._host.clock(), kind="unknown")
        transition = Transition(self._host, found.place, position.variables, nothing, idempotency_key)
        if found.same and isinstance(found.place.step, Handoff):
            transition.leave()
        elif found.same:
            at_question(transition, position)
        return await transition.run()

    def _find(self, position: Position) -> Found | None:
        kinds = frozenset({position.kind}) if position.kind else WAITING_KINDS
        return self._host.find((position.flow, position.step, position.version), position.stack, kinds)


def _is_early(position: Position, answer: Answer) -> bool:
    return position.asked_at is not None and answer.sent_at < math.floor(position.asked_at)
