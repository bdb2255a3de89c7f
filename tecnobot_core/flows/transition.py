"""The way of one message through flows: from where the conversation stands to where it waits again, or is in none."""

from collections.abc import Awaitable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, cast

from ..errors import FlowError, TecnobotError
from ..messages import Position
from .context import Answer, FlowContext, Outcome
from .host import Host, Place, kind_of
from .menus import branch_of, chosen
from .steps import AnyStep, Ask, Call, Do, End, Finish, Goto, Handoff, Jump, Menu, Repeat, Send, Stay, When

MAX_CALLS = 50  # inside each other; a flow that needs more calls itself


@dataclass(frozen=True, slots=True)
class _Question:
    """The question that is being answered, and the position that was kept of it."""

    place: Place
    position: Position


class Transition:
    """One message's way. Used once: ``answer`` or ``time_out`` or ``leave`` where a position was kept, then ``run``."""

    def __init__(
        self, host: Host, place: Place, variables: Mapping[str, object], answer: Answer, idempotency_key: str
    ) -> None:
        self._host = host
        self._at = place
        self._variables: dict[str, Any] = dict(variables)
        self._answer = answer
        self._idempotency_key = idempotency_key
        self._calls = 0
        self._question: _Question | None = None
        self._says: list[Send] = []
        self._trace: list[str] = []
        self._position: Position | None = None
        self._handoff: Handoff | None = None
        self._over = False

    def answer(self, position: Position) -> None:
        """Take the message as the answer to the question that *position* was kept of."""
        self._take_up(position)
        if isinstance(step := self._at.step, Ask):
            self._read(step)
        else:
            self._choose(cast("Menu", step))

    def time_out(self, position: Position) -> None:
        """Go on without an answer to the question that *position* was kept of."""
        self._take_up(position)
        self._go_to_written(cast("Ask", self._at.step).on_timeout)

    def leave(self) -> None:
        """Go on behind the step."""
        self._note()
        self._at = self._at.behind()

    async def run(self) -> Outcome:
        """Go through steps until one waits, or the flow and its callers have ended. Raises what a function raises."""
        while not self._over:
            if self._at.address is None:
                self._return()
            else:
                self._note()
                await self._perform(self._at.step)
        return Outcome(tuple(self._says), self._position, self._handoff, tuple(self._trace))

    def _take_up(self, position: Position) -> None:
        self._question = _Question(self._at, position)
        self._note()

    def _note(self) -> None:
        if len(self._trace) == self._host.max_steps:
            round_trip = ", ".join(dict.fromkeys(self._trace[-10:]))
            raise FlowError(f"{self._at}: {len(self._trace)} steps and no question; it goes round through {round_trip}")
        self._trace.append(f"{self._at.program.flow_id}:{self._at.address}")

    async def _perform(self, step: AnyStep) -> None:
        match step:
            case Send():
                self._say(replace(step, text=self._render(step.text)))
                self._at = self._at.behind()
            case Ask() | Menu():
                self._ask(step)
            case Do():
                await self._do(step)
            case When():
                self._enter("then" if self._host.holds(step.condition, self._variables) else "otherwise")
            case Jump():
                self._go(step.to)
            case Call():
                self._call(step)
            case Handoff():
                self._hand_off(step)
            case Finish():
                self._end(self._render(step.text))

    # What is said, and where it waits

    def _render(self, text: str) -> str:
        return self._host.render(text, self._variables)

    def _say(self, send: Send) -> None:
        if send.text or send.buttons or send.media is not None:
            self._says.append(send)

    def _ask(self, step: Ask | Menu, text: str = "", retries: int = 0) -> None:
        buttons = tuple(choice.label for choice in step.choices) if isinstance(step, Menu) else ()
        self._say(Send(text=text or self._render(step.text), buttons=buttons))
        timeout_s = step.timeout_s if isinstance(step, Ask) else None
        self._wait(timeout_s, asked_at=self._host.clock(), retries=retries)

    def _hand_off(self, step: Handoff) -> None:
        self._say(Send(text=self._render(step.text)))
        self._handoff = step
        self._wait(step.timeout_s)

    def _wait(self, timeout_s: float | None, *, asked_at: float | None = None, retries: int = 0) -> None:
        flow, address, version = self._at.frame
        self._position = Position(
            flow,
            address,
            version,
            self._variables,
            self._at.stack,
            expires_at=None if timeout_s is None else self._host.clock() + timeout_s,
            kind=kind_of(self._at.step),
            asked_at=asked_at,
            retries=retries,
        )
        self._over = True

    # Answers

    def _read(self, ask: Ask) -> None:
        try:
            self._variables[ask.into] = self._host.read_answer(ask, self._answer)
        except TecnobotError:
            raise  # several of them are ValueErrors: something is wrong, but not the answer
        except ValueError as error:
            self._refuse(self._host.render(ask.retry, {**self._variables, "reason": str(error)}))
        else:
            self._at = self._at.behind()

    def _choose(self, menu: Menu) -> None:
        choice = chosen(menu, self._answer.text)
        if choice is None:
            self._refuse(self._render(menu.unknown))
            return
        if menu.into:
            self._variables[menu.into] = choice.label
        self._enter(branch_of(choice))

    def _refuse(self, text: str) -> None:
        """Ask again, with *text* if there is one. A menu never tires of it."""
        step, asked = self._at.step, self._asked("Repeat").position
        if isinstance(step, Ask) and asked.retries >= step.max_retries:
            self._go_to_written(step.on_failure)
        else:
            self._ask(cast("Ask | Menu", step), text, asked.retries + 1)

    def _asked(self, result: str) -> _Question:
        if self._question is None:
            raise FlowError(f"{self._at}: {result} needs a question that is being answered, and there is none")
        return self._question

    # Functions

    async def _do(self, step: Do) -> None:
        function = self._host.functions.get(step.function)
        if function is None:
            raise FlowError(f"{self._at}: there is no function {step.function!r}; register it, or name another")
        self._calls += 1
        key = f"{self._idempotency_key}/{self._calls}"
        context = FlowContext(self._answer, deepcopy(self._variables), step.arguments, key)
        result = function(context)
        if isawaitable(result):
            result = await cast("Awaitable[object]", result)
        self._variables = dict(context.variables)
        self._says += context.said()
        self._follow(result, step.function)

    def _follow(self, result: object, function: str) -> None:
        match result:
            case None:
                self._at = self._at.behind()
            case Goto() | End():
                self._go(result)
            case Repeat():
                self._at = self._asked("Repeat").place
                self._refuse(result.text)
            case Stay():
                self._stay()
            case _:
                raise TypeError(
                    f"{self._at}: function {function!r} returned a {type(result).__name__}; "
                    "wanted is None, or a Goto, End, Repeat or Stay"
                )

    def _stay(self) -> None:
        question = self._asked("Stay")
        flow, address, version = question.place.frame
        self._position = replace(question.position, flow=flow, step=address, version=version, variables=self._variables)
        self._over = True

    # Where it goes on

    def _enter(self, branch: str) -> None:
        self._at = self._at.inside(branch)

    def _go_to_written(self, to: Goto | End) -> None:
        """Go where a step says; the texts of steps have variables, those that functions return do not."""
        self._go(End(self._render(to.text)) if isinstance(to, End) else to)

    def _go(self, to: Goto | End) -> None:
        if isinstance(to, End):
            self._end(to.text)
            return
        program, stack = self._at.program, self._at.stack
        if to.flow not in ("", program.flow_id):
            program, stack = self._host.current(to.flow, str(self._at)), ()
        if to.step and not program.has(to.step):
            raise FlowError(f"{self._at}: flow {program.flow_id!r} has no step {to.step!r} to go on at")
        self._at = Place(program, to.step or program.first, stack)

    def _call(self, step: Call) -> None:
        if len(self._at.stack) == MAX_CALLS:
            raise FlowError(f"{self._at}: {MAX_CALLS} calls inside each other; does flow {step.flow!r} call itself?")
        program = self._host.current(step.flow, str(self._at))
        self._at = Place(program, program.first, (*self._at.stack, self._at.frame))

    def _return(self) -> None:
        """Go on behind the innermost call; end where there is none, or where it is lost."""
        *callers, frame = self._at.stack or (None,)
        found = self._host.find(frame, tuple(callers), frozenset({"call"})) if frame is not None else None
        if found is None:
            self._over = True
        else:
            self._at = found.place.behind() if found.same else found.place

    def _end(self, text: str) -> None:
        self._say(Send(text=text))
        self._over = True
