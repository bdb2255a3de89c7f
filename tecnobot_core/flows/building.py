"""Writes a flow in Python, step after step: Flow("hola").say("Hola").ask("¿Cómo te llamas?", into="name")."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, Self, TypeAlias, Union

from .steps import (
    AnswerType,
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Form,
    FormField,
    Goto,
    Handoff,
    Jump,
    Media,
    Menu,
    Send,
    When,
)

Branch: TypeAlias = Union[str, Goto, End, AnyStep, Sequence[AnyStep], "Building"]
"""What follows a choice or a condition: a text to say, steps, where it goes on, or a flow, whose steps they are."""

_END = End()


class Building(ABC):
    """The methods that add a step; each gives a new flow. *id* names the step: see ``Step``.

    What a step does, and what its fields mean, is told by its class in ``steps``.
    """

    __slots__ = ()

    id: str
    steps: tuple[AnyStep, ...]

    @abstractmethod
    def then(self, *steps: AnyStep) -> Self:
        """Add steps of any kind."""

    def say(self, text: str, *buttons: str, delay_s: float = 0.0, id: str = "") -> Self:
        """Add a text to say, *delay_s* after what was said before."""
        return self.then(Send(text=text, buttons=buttons, delay_s=delay_s, id=id))

    def media(
        self,
        kind: Literal["image", "video", "audio", "document"],
        address: str,
        text: str = "",
        file_name: str = "",
        *,
        delay_s: float = 0.0,
        id: str = "",
    ) -> Self:
        """Add an attachment to send, with *text* under it."""
        return self.then(Send(text=text, media=Media(kind, address, file_name), delay_s=delay_s, id=id))

    def ask(
        self,
        text: str,
        into: str,
        *,
        type: AnswerType = "text",
        label: str = "",
        min: float | str | date | None = None,
        max: float | str | date | None = None,
        choices: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        retry: str = "",
        max_retries: int = 3,
        on_failure: Goto | End = _END,
        remind_s: float | None = None,
        reminder: str = "",
        timeout_s: float | None = None,
        on_timeout: Goto | End = _END,
        id: str = "",
    ) -> Self:
        """Add a question, whose answer is kept in the variable *into*. The limits are those of ``Ask.limits``."""
        limits = {"min": min, "max": max, "choices": choices, "kinds": kinds}
        return self.then(
            Ask(
                text=text,
                into=into,
                type=type,
                label=label,
                limits={name: _frozen(limit) for name, limit in limits.items() if limit is not None},
                retry=retry,
                max_retries=max_retries,
                on_failure=on_failure,
                remind_s=remind_s,
                reminder=reminder,
                timeout_s=timeout_s,
                on_timeout=on_timeout,
                id=id,
            )
        )

    def menu(
        self,
        text: str,
        choices: Mapping[str, Branch] | Sequence[Choice],
        *,
        into: str = "",
        unknown: str = "",
        remind_s: float | None = None,
        reminder: str = "",
        timeout_s: float | None = None,
        on_timeout: Goto | End = _END,
        id: str = "",
    ) -> Self:
        """Add a menu: what follows by label, or choices that have keywords as well."""
        if isinstance(choices, Mapping):
            choices = [Choice(label=label, steps=steps_of(branch)) for label, branch in choices.items()]
        return self.then(
            Menu(
                text=text,
                choices=tuple(choices),
                into=into,
                unknown=unknown,
                remind_s=remind_s,
                reminder=reminder,
                timeout_s=timeout_s,
                on_timeout=on_timeout,
                id=id,
            )
        )

    def form(
        self,
        name: str,
        *fields: Ask | FormField,
        consent: str = "",
        on_refusal: Goto | End = _END,
        confirm: bool | str = True,
        on_cancel: Goto | End = _END,
        skip_known: bool = False,
        remind_s: float | None = None,
        reminder: str = "",
        timeout_s: float | None = None,
        on_timeout: Goto | End = _END,
        id: str = "",
    ) -> Self:
        """Add a form; a field that is not always asked is a FormField."""
        return self.then(
            Form(
                name=name,
                fields=tuple(FormField(field) if isinstance(field, Ask) else field for field in fields),
                consent=consent,
                on_refusal=on_refusal,
                confirm=confirm,
                on_cancel=on_cancel,
                skip_known=skip_known,
                remind_s=remind_s,
                reminder=reminder,
                timeout_s=timeout_s,
                on_timeout=on_timeout,
                id=id,
            )
        )

    def do(
        self, function: str | Callable[..., Any], arguments: Mapping[str, object] | None = None, *, id: str = ""
    ) -> Self:
        """Add a call of a function by its name, which the ``functions`` of the bot know: a flow is data.

        A function itself stands for its ``__name__``. Raises TypeError for what has no name to be found by.
        """
        return self.then(Do(function=_name_of(function), arguments=arguments or {}, id=id))

    def when(self, condition: str, then: Branch = (), otherwise: Branch = (), *, id: str = "") -> Self:
        """Add a condition over the variables, and what follows where it holds and where it does not."""
        return self.then(When(condition=condition, then=steps_of(then), otherwise=steps_of(otherwise), id=id))

    def goto(self, flow: "str | Building" = "", step: str = "", *, id: str = "") -> Self:
        """Go on in a flow, this one without *flow*, at its first step without *step*."""
        return self.then(Jump(to=Goto(_id_of(flow), step), id=id))

    def call(self, flow: "str | Building", *, id: str = "") -> Self:
        """Go through another flow, and come back."""
        return self.then(Call(flow=_id_of(flow), id=id))

    def handoff(self, text: str = "", *, timeout_s: float | None = 86_400.0, id: str = "") -> Self:
        """Let a person take over."""
        return self.then(Handoff(text=text, timeout_s=timeout_s, id=id))

    def end(self, text: str = "", *, id: str = "") -> Self:
        """End the flow."""
        return self.then(Finish(text=text, id=id))


def steps_of(branch: Branch) -> tuple[AnyStep, ...]:
    """The steps that a branch stands for. Raises TypeError for what is none."""
    match branch:
        case str():
            return (Send(text=branch),)
        case Goto():
            return (Jump(to=branch),)
        case End():
            return (Finish(text=branch.text),)
        case Building():
            return branch.steps
        case list() | tuple():
            return tuple(branch)
    if isinstance(branch, AnyStep):
        return (branch,)
    raise TypeError(
        f"a {type(branch).__name__} cannot follow a choice or a condition; wanted is a text, a step or several, "
        "a Goto, an End, or a Flow"
    )


def _id_of(flow: "str | Building") -> str:
    return flow if isinstance(flow, str) else flow.id


def _name_of(function: str | Callable[..., Any]) -> str:
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    if not isinstance(name, str) or (name is not function and not name.isidentifier()):
        raise TypeError(
            f"{function!r:.80} has no name that the bot could find it by; give the name that it is registered under"
        )
    return name


def _frozen(limit: object) -> object:
    return tuple(limit) if isinstance(limit, list) else limit
