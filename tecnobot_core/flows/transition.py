"""The way of one message through flows: from where the conversation stands to where it waits again, or is in none."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

from ..errors import FlowError, TecnobotError
from ..messages import FormRecord, Position
from . import forms
from .context import Answer, FlowContext, Outcome, call
from .forms import FormMenu, FormStep, PlacedStep
from .host import Host, Place, kind_of
from .questions import Asking, question_of, reminder_of
from .steps import Ask, Call, Do, End, Finish, Form, Goto, Handoff, Jump, Menu, Repeat, Send, Stay, When

MAX_CALLS = 50  # inside each other; a flow that needs more calls itself


@dataclass(frozen=True, slots=True)
class _Question:
    """The question that is being answered, and the position that was kept of it."""

    place: Place
    position: Position


class Transition:
    """One message's way. Used once: where a position was kept ``answer`` or another of its kind, then ``run``."""

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
        self._records: list[FormRecord] = []
        self._over = False

    def answer(self, position: Position) -> None:
        """Take the message as the answer to the question that *position* was kept of."""
        self._take_up(position)
        if isinstance(step := self._at.step, Ask):
            self._read(step)
        else:
            self._choose(cast("Menu | FormMenu", step))

    def time_out(self, position: Position) -> None:
        """Go on without an answer to the question that *position* was kept of."""
        self._take_up(position)
        self._go_to_written(cast("Asking", self._at.step).on_timeout)

    def remind(self, position: Position) -> None:
        """Remind of the question that *position* was kept of, and wait on."""
        self._take_up(position)
        self._say(reminder_of(cast("Asking", self._at.step), self._variables, self._host))
        self._stay()
        self._position = replace(cast("Position", self._position), remind_at=None)

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
        says, trace, records = tuple(self._says), tuple(self._trace), tuple(self._records)
        return Outcome(says, self._position, self._handoff, trace, records=records)

    def _take_up(self, position: Position) -> None:
        self._question = _Question(self._at, position)
        self._note()

    def _note(self) -> None:
        if len(self._trace) == self._host.max_steps:
            round_trip = ", ".join(dict.fromkeys(self._trace[-10:]))
            raise FlowError(f"{self._at}: {len(self._trace)} steps and no question; it goes round through {round_trip}")
        self._trace.append(f"{self._at.program.flow_id}:{self._at.address}")

    async def _perform(self, step: PlacedStep) -> None:
        match step:
            case Send():
                self._say(replace(step, text=self._render(step.text)))
                self._at = self._at.behind()
            case Ask() | Menu() | FormMenu():
                self._ask(step)
            case Form():
                forms.begin(step, cast("str", self._at.address), self._variables)
                self._at = self._at.behind()
            case FormStep():
                self._fill_in(step)
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

    def _ask(self, step: Asking, text: str = "", retries: int = 0) -> None:
        self._say(question_of(step, self._variables, self._host).put(text))
        now_s = self._host.clock()
        remind_at = None if step.remind_s is None else now_s + step.remind_s
        self._wait(step.timeout_s, asked_at=now_s, retries=retries, remind_at=remind_at)

    def _hand_off(self, step: Handoff) -> None:
        self._say(Send(text=self._render(step.text)))
        self._handoff = step
        self._wait(step.timeout_s)

    def _wait(self, timeout_s: float | None, **asked: Any) -> None:
        flow, address, version = self._at.frame
        self._position = Position(
            flow,
            address,
            version,
            self._variables,
            self._at.stack,
            expires_at=None if timeout_s is None else self._host.clock() + timeout_s,
            kind=kind_of(self._at.step),
            **asked,
        )
        self._over = True

    # Answers

    def _read(self, ask: Ask) -> None:
        try:
            self._variables[ask.into] = self._host.read_answer(ask, self._answer)
        except TecnobotError:
            raise  # several of them are ValueErrors: something is wrong, but not the answer
        except ValueError as error:
            self._refuse(self._retry(ask, str(error)))
        else:
            self._at = self._at.behind()

    def _retry(self, ask: Ask, reason: str) -> str:
        """What is said to a refused answer: without words of the owner the reason, and the question again."""
        if ask.retry:
            return self._host.render(ask.retry, {**self._variables, "reason": reason})
        return f"{reason}\n{self._render(ask.text)}" if reason else ""

    def _choose(self, step: Menu | FormMenu) -> None:
        question = question_of(step, self._variables, self._host)
        chosen = question.choose(self._answer.text)
        if chosen is None:
            self._refuse(question.unknown)
            return
        branch, choice = chosen
        if isinstance(step, Menu) and step.into:
            self._variables[step.into] = choice.label
        self._enter(branch)

    def _refuse(self, text: str) -> None:
        """Ask again, with *text* if there is one. A menu never tires of it."""
        step, asked = self._at.step, self._asked("Repeat").position
        if isinstance(step, Ask) and asked.retries >= step.max_retries:
            self._go_to_written(step.on_failure)
        else:
            self._ask(cast("Asking", step), text, asked.retries + 1)

    def _asked(self, result: str) -> _Question:
        if self._question is None:
            raise FlowError(f"{self._at}: {result} needs a question that is being answered, and there is none")
        return self._question

    # Forms

    def _fill_in(self, step: FormStep) -> None:
        """Go on to what is missing in a form, or leave it."""
        form, at, variables = step.form, step.at, self._variables
        if step.part == "agreed":
            forms.agree(at, variables, self._render(form.consent))
            self._at = self._at.behind()
        elif (to := forms.drop_out(step, variables)) is not None:
            self._go_to_written(End(self._host.phrases.discarded) if to == End() else to)
        elif branch := forms.wanted(step, variables, self._host.holds):
            self._enter(branch)
        else:
            self._records.append(forms.record(form, at, variables, self._host.holds, self._host.clock()))
            self._at = self._at.behind()

    # Functions

    async def _do(self, step: Do) -> None:
        function = self._host.functions.get(step.function)
        if function is None:
            raise FlowError(f"{self._at}: there is no function {step.function!r}; register it, or name another")
        self._calls += 1
        variables, consents = forms.without_consents(self._variables)
        key = f"{self._idempotency_key}/{self._calls}"
        context = FlowContext(self._answer, deepcopy(variables), step.arguments, key)
        result = await call(function, context)
        self._variables = {**context.variables, **consents}
        self._says += context.said()
        self._follow(result, step.function)

    def _follow(self, result: object, function: str) -> None:
        match result:
            case None:
                self._at = self._at.behind()
            case Goto() | End():
                self._go(result)
            case Repeat():
                self._go_back("Repeat")
                self._refuse(result.text)
            case Stay():
                self._go_back("Stay")
                self._stay()
            case _:
                raise TypeError(
                    f"{self._at}: function {function!r} returned a {type(result).__name__}; "
                    "wanted is None, or a Goto, End, Repeat or Stay"
                )

    def _go_back(self, result: str) -> None:
        """Go back to the question; what was completed since then will be once more."""
        self._at = self._asked(result).place
        self._records.clear()

    def _stay(self) -> None:
        flow, address, version = self._at.frame
        asked = self._asked("Stay").position
        self._position = replace(asked, flow=flow, step=address, version=version, variables=self._variables)
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
