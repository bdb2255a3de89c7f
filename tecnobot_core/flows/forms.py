"""A form as the steps that it is made of, each under an address that other fields do not change.

A form at "registro" with the field "name" has its question at "registro.name". What belongs to no field has a slash in
its address, which no variable has: "registro/consent", "registro/summary". Nothing is kept of how far a form has come
but the variables: behind every answer it looks for what is missing, so that a field which was inserted, or is needed
only now, is asked like any other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from ..messages import FormRecord
from .steps import AnyStep, Ask, End, Form, FormField, Goto

Part: TypeAlias = Literal["next", "agreed", "submit", "refused", "cancelled"]
Inquiry: TypeAlias = Literal["consent", "summary", "correct"]
Holds: TypeAlias = Callable[[str, Mapping[str, object]], bool]

_CONSENT = "/consent"


@dataclass(frozen=True, slots=True)
class FormStep:
    """What a form at the address *at* does between two questions."""

    form: Form
    at: str
    part: Part


@dataclass(frozen=True, slots=True)
class FormMenu:
    """A question of a form itself, whose choices depend on what was entered."""

    form: Form
    at: str
    inquiry: Inquiry

    @property
    def remind_s(self) -> float | None:
        return self.form.remind_s

    @property
    def reminder(self) -> str:
        return self.form.reminder

    @property
    def timeout_s(self) -> float | None:
        return self.form.timeout_s

    @property
    def on_timeout(self) -> Goto | End:
        return self.form.on_timeout


PlacedStep: TypeAlias = AnyStep | FormStep | FormMenu
"""What stands at an address of a program."""


class Laid(NamedTuple):
    """A step under its address, with what comes behind it and where its branches begin."""

    address: str
    step: PlacedStep
    behind: str | None
    branches: Mapping[str, str]


def expand(form: Form, at: str, behind: str | None) -> Iterator[Laid]:
    """The steps of a form at the address *at*, after the form itself; *behind* is what comes after all of them."""
    asks = {field.ask.into: field_address(at, field.ask) for field in form.fields}
    following = f"{at}/next"
    parts = asks | {f"/{name}": f"{at}/{name}" for name in ("consent", "summary", "submit")}
    yield Laid(following, FormStep(form, at, "next"), None, parts)
    consents = {"yes": f"{at}/agreed", "no": f"{at}/refused"}
    yield Laid(f"{at}/consent", FormMenu(form, at, "consent"), None, consents)
    yield Laid(f"{at}/agreed", FormStep(form, at, "agreed"), following, {})
    for field in form.fields:
        address = asks[field.ask.into]
        yield Laid(address, replace(timed(form, field.ask), id=address), following, {})
    decisions = {"confirm": f"{at}/submit", "correct": f"{at}/correct", "cancel": f"{at}/cancelled"}
    yield Laid(f"{at}/summary", FormMenu(form, at, "summary"), None, decisions)
    yield Laid(f"{at}/correct", FormMenu(form, at, "correct"), None, asks | {"/back": following})
    yield Laid(f"{at}/submit", FormStep(form, at, "submit"), behind, parts)
    yield Laid(f"{at}/refused", FormStep(form, at, "refused"), None, {})
    yield Laid(f"{at}/cancelled", FormStep(form, at, "cancelled"), None, {})


def field_address(at: str, ask: Ask) -> str:
    """The address of a field of the form at *at*."""
    return ask.id or f"{at}.{ask.into}"


def timed(form: Form, ask: Ask) -> Ask:
    """A question of *form*, with the times of the form where it has none."""
    return replace(
        ask,
        remind_s=form.remind_s if ask.remind_s is None else ask.remind_s,
        reminder=ask.reminder or form.reminder,
        timeout_s=form.timeout_s if ask.timeout_s is None else ask.timeout_s,
        on_timeout=form.on_timeout if ask.on_timeout == End() else ask.on_timeout,
    )


# What was entered. Variables are changed in place.


def begin(form: Form, at: str, variables: dict[str, Any]) -> None:
    """Forget what was entered before; with ``skip_known`` what has a value stays."""
    variables.pop(at + _CONSENT, None)
    for field in form.fields:
        if not form.skip_known or variables.get(field.ask.into) in (None, ""):
            variables.pop(field.ask.into, None)


def agree(at: str, variables: dict[str, Any], words: str) -> None:
    """Note that the person agreed to *words*, which nobody else sees: see ``without_consents``."""
    variables[at + _CONSENT] = words


def without_consents(variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables that a flow has, and the consents, which forms keep among them."""
    consents = {name: value for name, value in variables.items() if name.endswith(_CONSENT)}
    return {name: value for name, value in variables.items() if name not in consents}, consents


def wanted(step: FormStep, variables: dict[str, Any], holds: Holds) -> str:
    """The branch to what is missing, a confirmation included; empty where it is to be submitted.

    Forgets the answers of fields that count no more.
    """
    form = step.form
    if missing := _missing(form, step.at, variables, holds):
        return missing
    return "" if step.part == "submit" else "/summary" if form.confirm else "/submit"


def _missing(form: Form, at: str, variables: dict[str, Any], holds: Holds) -> str:
    if form.consent and at + _CONSENT not in variables:
        return "/consent"
    asked = [field.ask.into for field in asked_fields(form, variables, holds)]
    if not form.skip_known:
        for field in form.fields:
            if field.ask.into not in asked:
                variables.pop(field.ask.into, None)
    return next((into for into in asked if into not in variables), "")


def asked_fields(form: Form, variables: Mapping[str, object], holds: Holds) -> list[FormField]:
    """The fields whose condition holds.

    A condition sees the answers of the fields before its own, never those behind: so no two can turn each other round.
    """
    own = {field.ask.into for field in form.fields}
    seen = {name: value for name, value in variables.items() if name not in own}
    asked: list[FormField] = []
    for field in form.fields:
        if not field.when or holds(field.when, seen):
            asked.append(field)
            if field.ask.into in variables:
                seen[field.ask.into] = variables[field.ask.into]
    return asked


def record(form: Form, at: str, variables: Mapping[str, object], holds: Holds, now_s: float) -> FormRecord:
    """What was entered into a form of which nothing is missing."""
    values = {field.ask.into: variables[field.ask.into] for field in asked_fields(form, variables, holds)}
    return FormRecord(form=form.name, values=values, submitted_at=now_s, consent=str(variables.get(at + _CONSENT, "")))


def drop_out(step: FormStep, variables: dict[str, Any]) -> Goto | End | None:
    """Forget what was entered where the form was refused or cancelled, and tell where it goes on then."""
    form = step.form
    if step.part not in ("refused", "cancelled"):
        return None
    for name in (step.at + _CONSENT, *(field.ask.into for field in form.fields)):
        variables.pop(name, None)
    return form.on_refusal if step.part == "refused" else form.on_cancel
