"""What an interpreter should do: a walk over the tree of steps, its place kept in generators and never stored."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.phrases import SPANISH
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Form,
    Goto,
    Handoff,
    Jump,
    Menu,
    Send,
    Stay,
    When,
)
from tecnobot_core.messages import FormRecord
from tests.flow_chat import Steps, holds, render

MAX_STEPS = 40
Mode: TypeAlias = Literal["perform", "again", "stay"]


@dataclass(frozen=True)
class Tree:
    """One version of a flow."""

    flow: str
    steps: Steps = field(repr=False)


Path: TypeAlias = list[tuple[Tree, str | None]]  # callers first; None is the first step


@dataclass
class Walk:
    """A flow that is being walked: looking for a step until it is found, then at a step."""

    tree: Tree
    wanted: str | None
    inner: Path
    mode: Mode
    at: str | None = None


class Leave(Exception):  # noqa: N818 - no error, the walk goes on elsewhere
    """The walk ends here, and another begins at *path*; none does without one."""

    def __init__(self, path: Path | None, mode: Mode = "perform", text: str = "") -> None:
        self.path, self.mode, self.text = path, mode, text


Going: TypeAlias = Generator[None, str, None]
TIMEOUT, RELEASE, REMINDER = "<timeout>", "<release>", "<reminder>"


class Reference:
    """What an interpreter should do, written without positions, programs or addresses."""

    def __init__(self, trees: dict[str, Tree]) -> None:
        self.trees = trees
        self.variables: dict[str, Any] = {}
        self.says: list[Send] = []
        self.walks: list[Walk] = []
        self.question: Path | None = None
        self.retries = 0
        self.timed = False
        self.reminds = False
        self.records: list[FormRecord] = []
        self.consents: dict[str, str] = {}
        self.trace: list[str] = []
        self.again = ""
        self.going: Going | None = None
        self.path: Path = []

    def begin(self, path: Path, mode: Mode = "perform") -> None:
        """Start at *path*; with "stay" only to wait there for the next message."""
        self.going = self.conversation(path, mode)
        self.question, self.says, self.trace, self.records = None, [], [], []
        self.proceed(None)

    def send(self, event: str) -> None:
        """Let one message, timeout, reminder or release happen."""
        self.says, self.trace, self.records = [], [], []
        self.proceed(event)

    def proceed(self, event: str | None) -> None:
        assert self.going is not None
        try:
            self.going.send(cast("str", event))
        except StopIteration:
            self.going = None

    def conversation(self, path: Path | None, mode: Mode) -> Going:
        while path is not None:
            self.walks = []
            try:
                yield from self.walk_path(path, mode)
                return
            except Leave as leave:
                path, mode, self.again = leave.path, leave.mode, leave.text

    def walk_path(self, path: Path, mode: Mode) -> Going:
        (tree, wanted), *inner = path
        self.walks.append(walk := Walk(tree, wanted, inner, mode))
        if len(self.walks) > 51:
            raise FlowError("too many calls")
        if inner and find(tree.steps, wanted, Call) is None:  # the call is gone: this flow begins again when it is due
            yield from self.walk_path(inner, mode)
            walk.wanted, walk.inner, walk.mode = None, [], "perform"
        if walk.wanted is None or walk.wanted == "":
            walk.wanted = None
        yield from self.walk_steps(walk, tree.steps)
        self.walks.pop()

    def walk_steps(self, walk: Walk, steps: Steps) -> Going:
        for step in steps:
            if walk.wanted in (None, step.id) or walk.wanted in _inside(step):
                yield from self.perform(walk, step)
            else:
                for branch in _branches(step):
                    if find(branch, walk.wanted) is not None:
                        yield from self.walk_steps(walk, branch)

    def perform(self, walk: Walk, step: AnyStep) -> Going:
        mode, inner, walk.at = walk.mode, walk.inner, walk.wanted or step.id
        walk.wanted, walk.inner, walk.mode = None, [], "perform"
        if inner:
            yield from self.walk_path(inner, mode)
            return
        if mode == "perform":
            self.note(walk)
        match step:
            case Send():
                self.says.append(step)
            case Ask() | Menu():
                choice = yield from self.ask(walk, step, mode)
                yield from self.walk_steps(walk, choice.steps if choice else ())
            case Form():
                yield from self.fill_in(walk, step, mode)
            case Do():
                self.do(step)
            case When():
                yield from self.walk_steps(walk, step.then if holds(step.condition, self.variables) else step.otherwise)
            case Jump():
                self.go(step.to)
            case Call():
                yield from self.walk_path([(self.trees[step.flow], None)], "perform")
            case Handoff():
                yield from self.hand_off(walk, step, mode)
            case Finish():
                self.go(End(step.text))

    def note(self, walk: Walk) -> None:
        self.trace.append(f"{walk.tree.flow}:{walk.at}")
        if len(self.trace) > MAX_STEPS:
            raise FlowError("too many steps")

    def here(self) -> Path:
        return [(walk.tree, walk.at) for walk in self.walks]

    def ask(self, walk: Walk, step: Ask | Menu, mode: Mode) -> Generator[None, str, Choice | None]:
        """The choice of a menu; the answer to a question is put into its variable."""
        if mode == "perform":
            self.put(step, "", 0)
        elif mode == "again":
            self.refuse(step, self.again)
        while True:
            self.path = self.here()
            event = yield
            if event == RELEASE or (event == TIMEOUT and not self.timed) or (event == REMINDER and not self.reminds):
                continue
            self.question = self.here()
            self.note(walk)
            if event == REMINDER:
                self.remind(step)
            elif event == TIMEOUT:
                self.go(step.on_timeout)
            elif isinstance(step, Menu):
                if (choice := _chosen(step, event)) is not None:
                    return choice
                self.refuse(step, render(step.unknown, self.variables))
            elif step.type == "integer" and not event.isdecimal():
                self.refuse(step, step.retry or f"un número, por favor\n{step.text}")
            else:
                self.variables[step.into] = int(event) if step.type == "integer" else event
                return None

    def put(self, step: Ask | Menu, text: str, retries: int) -> None:
        labels = tuple(choice.label for choice in step.choices) if isinstance(step, Menu) else ()
        self.says.append(Send(text=text or step.text, buttons=labels))
        self.retries = retries
        self.timed, self.reminds = step.timeout_s is not None, step.remind_s is not None

    def remind(self, step: Ask | Menu) -> None:
        labels = tuple(choice.label for choice in step.choices) if isinstance(step, Menu) else ()
        self.says.append(Send(text=step.reminder or f"{SPANISH.reminder}\n{step.text}", buttons=labels))
        self.reminds = False

    def refuse(self, step: Ask | Menu, text: str) -> None:
        if isinstance(step, Ask) and self.retries >= step.max_retries:
            self.go(step.on_failure)
        self.put(step, text, self.retries + 1)

    # A form: a loop over what is missing

    def fill_in(self, walk: Walk, form: Form, mode: Mode) -> Going:
        at = cast("str", walk.at)
        if at == form.id:
            self.forget(form, all=not form.skip_known)
            at = ""
        while at != "done":
            if not at:
                self.pass_by(walk, form, "next")
                at = self.missing(form) or f"{form.id}/{'summary' if form.confirm else 'submit'}"
            if at == f"{form.id}/submit":
                self.pass_by(walk, form, "submit")
                if not (at := self.missing(form)):
                    self.submit(form)
                    return
            if mode == "perform":
                walk.at = at
                self.note(walk)
            at, mode = (yield from self.fill_in_at(walk, form, at, mode)), "perform"

    def fill_in_at(self, walk: Walk, form: Form, at: str, mode: Mode) -> Generator[None, str, str]:
        """Let the question *at* be answered; where it goes on, nothing: at what is missing."""
        if (asked := _inside(form).get(at)) is not None:
            yield from self.ask(walk, asked, mode)
            return ""
        menu = self.menu_of(form, at)
        choice = yield from self.ask(walk, menu, mode)
        assert choice is not None
        number = menu.choices.index(choice)
        if at == f"{form.id}/consent":
            if number == 1:
                self.drop_out(walk, form, "refused", form.on_refusal)
            self.pass_by(walk, form, "agreed")
            self.consents[form.id] = form.consent
        elif at == f"{form.id}/summary":
            if number == 2:
                self.drop_out(walk, form, "cancelled", form.on_cancel)
            return f"{form.id}/{('submit', 'correct')[number]}"
        elif number < len(menu.choices) - 1:
            return f"{form.id}.{self.entered(form)[number]}"
        return ""

    def menu_of(self, form: Form, at: str) -> Menu:
        phrases, entered = SPANISH, self.entered(form)
        times: dict[str, Any] = {
            name: getattr(form, name) for name in ("remind_s", "reminder", "timeout_s", "on_timeout")
        }
        text, choices = form.consent, (phrases.agree, phrases.refuse)
        if at.endswith("/summary"):
            lines = [f"{into}: {self.variables[into]}" for into in entered]
            text = "\n".join([form.confirm if isinstance(form.confirm, str) else phrases.summary, *lines])
            choices = (phrases.confirm, phrases.correct, phrases.cancel)  # type: ignore[assignment]
        elif at.endswith("/correct"):
            text, choices = phrases.which, (*(Choice(label=into) for into in entered), phrases.back)  # type: ignore[assignment]
        return Menu(text=text, choices=choices, unknown=phrases.unknown, **times)

    def pass_by(self, walk: Walk, form: Form, part: str) -> None:
        walk.at = f"{form.id}/{part}"
        self.note(walk)

    def drop_out(self, walk: Walk, form: Form, part: str, to: Goto | End) -> None:
        self.pass_by(walk, form, part)
        self.forget(form, all=True)
        self.go(End(SPANISH.discarded) if to == End() else to)

    def forget(self, form: Form, *, all: bool) -> None:
        self.consents.pop(form.id, None)
        for item in form.fields:
            if all or self.variables.get(item.ask.into) in (None, ""):
                self.variables.pop(item.ask.into, None)

    def missing(self, form: Form) -> str:
        if form.consent and form.id not in self.consents:
            return f"{form.id}/consent"
        counting = self.counting(form)
        if not form.skip_known:
            for item in form.fields:
                if item.ask.into not in counting:
                    self.variables.pop(item.ask.into, None)
        return next((f"{form.id}.{into}" for into in counting if into not in self.variables), "")

    def counting(self, form: Form) -> list[str]:
        """The variables of the fields whose condition holds, each seen from its own place."""
        counting: list[str] = []
        for number, item in enumerate(form.fields):
            unseen = {other.ask.into for other in form.fields[number:]} | {
                other.ask.into for other in form.fields[:number] if other.ask.into not in counting
            }
            seen = {name: value for name, value in self.variables.items() if name not in unseen}
            if not item.when or holds(item.when, seen):
                counting.append(item.ask.into)
        return counting

    def entered(self, form: Form) -> list[str]:
        return [into for into in self.counting(form) if into in self.variables]

    def submit(self, form: Form) -> None:
        values = {into: self.variables[into] for into in self.counting(form)}
        consent = self.consents.get(form.id, "")
        self.records.append(FormRecord(form=form.name, values=values, submitted_at=0.0, consent=consent))

    def hand_off(self, walk: Walk, step: Handoff, mode: Mode) -> Going:
        if mode == "perform":
            self.says.append(Send(text=step.text))
            self.timed, self.reminds = step.timeout_s is not None, False
        self.path = self.here()
        while (event := (yield)) != RELEASE and not (event == TIMEOUT and self.timed):
            pass
        self.question = None
        self.note(walk)

    def do(self, step: Do) -> None:
        self.variables["n"] = self.variables.get("n", 0) + 1
        self.says.append(Send(text=f"n={self.variables['n']}"))
        result = step.arguments["returns"]
        if isinstance(result, Goto | End):
            self.go(result)
        elif result is not None:
            if self.question is None:
                raise FlowError("no question")
            self.records.clear()
            raise Leave(self.question, "stay" if isinstance(result, Stay) else "again", getattr(result, "text", ""))

    def go(self, to: Goto | End) -> None:
        if isinstance(to, End):
            self.says += [Send(text=to.text)] if to.text else []
            raise Leave(None)
        callers, tree = self.here()[:-1], self.walks[-1].tree
        if to.flow not in ("", tree.flow):
            callers, tree = [], self.trees[to.flow]
        if to.step and find(tree.steps, to.step) is None:
            raise FlowError("no such step")
        raise Leave([*callers, (tree, to.step or None)])


def _branches(step: AnyStep) -> list[Steps]:
    if isinstance(step, Menu):
        return [choice.steps for choice in step.choices]
    return [step.then, step.otherwise] if isinstance(step, When) else []


def _inside(step: AnyStep) -> dict[str, Ask | Menu | None]:
    """The questions in a form by their addresses; None for those that the form itself makes up."""
    if not isinstance(step, Form):
        return {}
    times = {name: getattr(step, name) for name in ("remind_s", "timeout_s")}
    asks = {
        f"{step.id}.{field.ask.into}": replace(
            field.ask,
            **{name: time for name, time in times.items() if getattr(field.ask, name) is None},
            reminder=field.ask.reminder or step.reminder,
            on_timeout=step.on_timeout if field.ask.on_timeout == End() else field.ask.on_timeout,
        )
        for field in step.fields
    }
    return {**asks, **dict.fromkeys((f"{step.id}/consent", f"{step.id}/summary", f"{step.id}/correct"))}


def find(steps: Steps, wanted: str | None, kind: type | None = None) -> AnyStep | None:
    """The step at *wanted*, or in a form the question; any Menu for one that the form makes up."""
    for step in steps:
        if wanted in (inside := _inside(step)):
            asked = inside[wanted] or Menu(text="", choices=())
            return asked if kind is None or isinstance(asked, kind) else None
        if step.id == wanted and (kind is None or isinstance(step, kind)):
            return step
        for branch in _branches(step):
            if (found := find(branch, wanted, kind)) is not None:
                return found
    return None


def _chosen(menu: Menu, text: str) -> Choice | None:
    for number, choice in enumerate(menu.choices, 1):
        if text in (choice.label, str(number), *choice.keywords):
            return choice
    return None
