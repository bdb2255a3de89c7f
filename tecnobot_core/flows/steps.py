"""The steps of a flow, as values: what is said, asked and done, and where it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

AnswerType = Literal["text", "integer", "decimal", "date", "email", "phone", "choice", "yes_no", "file"]


@dataclass(frozen=True, slots=True)
class Media:
    """An attachment to send: *address* is a URL, or a path that the transport knows."""

    kind: Literal["image", "video", "audio", "document"]
    address: str
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Goto:
    """Goes on at a step of a flow: its first one without *step*, the same flow without *flow*."""

    flow: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Ends the flow, after saying *text* if there is one."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Asks the question that is being answered again, saying *text* in its place if there is one."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Stay:
    """Says nothing and waits at the same question for another message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part of a flow. ``id`` names it for Goto and for stored positions; without one it is named by its place."""

    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Step):
    """Sends *text* and puts the answer *into* a variable, once it is of *type* and keeps to *limits*.

    An answer that is not is told *retry*, at most *max_retries* times; then it goes on at *on_failure*. Without an
    answer for *remind_s* the person is reminded once, with *reminder*; for *timeout_s*, it goes on at *on_timeout*.
    Limits: "min" and "max" (characters, values, dates), "choices", "kinds" (of files). *label* names the answer where a
    form shows it.
    """

    text: str
    into: str
    label: str = ""
    type: AnswerType = "text"
    limits: Mapping[str, object] = field(default_factory=dict)
    retry: str = ""
    max_retries: int = 3
    on_failure: Goto | End = End()
    remind_s: float | None = None
    reminder: str = ""
    timeout_s: float | None = None
    on_timeout: Goto | End = End()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of a menu: what is shown, other words that choose it, and the steps that follow."""

    label: str
    keywords: tuple[str, ...] = ()
    steps: "tuple[AnyStep, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu(Step):
    """Sends *text* with its choices; an unknown answer is told *unknown*, and the menu waits on.

    After the steps of a choice the flow goes on behind the menu. Times are those of Ask.
    """

    text: str
    choices: tuple[Choice, ...]
    into: str = ""
    unknown: str = ""
    remind_s: float | None = None
    reminder: str = ""
    timeout_s: float | None = None
    on_timeout: Goto | End = End()


@dataclass(frozen=True, slots=True)
class FormField:
    """One question of a form, asked where *when* holds over the variables and the fields before it."""

    ask: Ask
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Step):
    """Asks for *fields*; what a person entered and confirmed is a FormRecord of the form *name*.

    Nothing is asked before the *consent* is given, if there is one; without it the form goes on at *on_refusal*. At
    the end all answers are shown, under the text *confirm* where that is one, to be confirmed, corrected or cancelled;
    a cancelled form goes on at *on_cancel*. A form that was refused or cancelled leaves none of its variables behind.
    With *skip_known* a field is not asked whose variable has a value already. Times are those of every question of the
    form that has none.

    Without an id its address is *name*, and that of a field *name*.*variable*. A function behind the form that returns
    Repeat takes the record back.
    """

    name: str
    fields: tuple[FormField, ...]
    consent: str = ""
    on_refusal: Goto | End = End()
    confirm: bool | str = True
    on_cancel: Goto | End = End()
    skip_known: bool = False
    remind_s: float | None = None
    reminder: str = ""
    timeout_s: float | None = None
    on_timeout: Goto | End = End()


@dataclass(frozen=True, slots=True, kw_only=True)
class Do(Step):
    """Calls a registered function by its name; what it returns decides where it goes on, None is the next step."""

    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class When(Step):
    """Goes through *then* where *condition* holds over the variables, else through *otherwise*; then on behind it."""

    condition: str
    then: "tuple[AnyStep, ...]" = ()
    otherwise: "tuple[AnyStep, ...]" = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(Step):
    """Goes on at *to*."""

    to: Goto


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Step):
    """Goes through another flow, with the same variables, and comes back."""

    flow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff(Step):
    """A person takes over: after *text* the bot is silent in this chat until released, or for *timeout_s*."""

    text: str = ""
    timeout_s: float | None = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Step):
    """Ends the flow, after saying *text* if there is one."""

    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Step):
    """Sends a text, with variables in braces, buttons and an attachment, *delay_s* after the one before."""

    text: str = ""
    buttons: tuple[str, ...] = ()
    media: Media | None = None
    delay_s: float = 0.0


AnyStep: TypeAlias = Send | Ask | Menu | Form | Do | When | Jump | Call | Handoff | Finish
