"""The words of a question as it is put now, and what its answer chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .forms import FormMenu, asked_fields
from .host import Host
from .menus import branch_of, chosen
from .phrases import Phrases
from .steps import Ask, Choice, FormField, Menu, Send

MAX_SUMMARY_CHARS = 4_096  # WhatsApp cuts what is longer
MAX_LINE_CHARS = 300  # of an answer that is shown again
_MIN_LINE_CHARS = 40

Asking: TypeAlias = Ask | Menu | FormMenu
Variables: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Question:
    """What is said, *choices* by the branch that each opens, and what is said to an answer that is *unknown*."""

    text: str
    choices: Mapping[str, Choice] = field(default_factory=dict)
    unknown: str = ""

    def put(self, text: str = "") -> Send:
        """The message that asks, with *text* in the place of its own."""
        return Send(text=text or self.text, buttons=tuple(choice.label for choice in self.choices.values()))

    def choose(self, text: str) -> tuple[str, Choice] | None:
        """The choice that *text* names, and its branch."""
        choice = chosen(self.choices.values(), text)
        return next(((branch, one) for branch, one in self.choices.items() if one is choice), None)


def question_of(step: Asking, variables: Variables, host: Host) -> Question:
    """The question of *step*, rendered."""
    match step:
        case Ask():
            return Question(host.render(step.text, variables))
        case Menu():
            choices = {branch_of(choice): choice for choice in step.choices}
            return Question(host.render(step.text, variables), choices, host.render(step.unknown, variables))
        case FormMenu():
            return _FORM_QUESTIONS[step.inquiry](step, variables, host)


def reminder_of(step: Asking, variables: Variables, host: Host) -> Send:
    """What is said to remind of a question."""
    question = question_of(step, variables, host)
    return question.put(host.render(step.reminder, variables) or f"{host.phrases.reminder}\n{question.text}")


def _consent(step: FormMenu, variables: Variables, host: Host) -> Question:
    phrases = host.phrases
    choices = {"yes": phrases.agree, "no": phrases.refuse}
    return Question(host.render(step.form.consent, variables), choices, phrases.unknown)


def _summary(step: FormMenu, variables: Variables, host: Host) -> Question:
    phrases, confirm = host.phrases, step.form.confirm
    heading = host.render(confirm, variables) if isinstance(confirm, str) else phrases.summary
    fields = _entered(step, variables, host)
    room = (MAX_SUMMARY_CHARS - len(heading)) // max(len(fields), 1) - 1
    limit = min(MAX_LINE_CHARS, max(room, _MIN_LINE_CHARS))
    lines = [_cut(f"{_label(field)}: {_shown(field, variables, host)}", limit) for field in fields]
    choices = {"confirm": phrases.confirm, "correct": phrases.correct, "cancel": phrases.cancel}
    return Question("\n".join([heading, *lines]), choices, phrases.unknown)


def _correct(step: FormMenu, variables: Variables, host: Host) -> Question:
    phrases: Phrases = host.phrases
    labels = {field.ask.into: Choice(label=_label(field)) for field in _entered(step, variables, host)}
    return Question(phrases.which, labels | {"/back": phrases.back}, phrases.unknown)


_FORM_QUESTIONS = {"consent": _consent, "summary": _summary, "correct": _correct}


def _entered(step: FormMenu, variables: Variables, host: Host) -> list[FormField]:
    return [field for field in asked_fields(step.form, variables, host.holds) if field.ask.into in variables]


def _label(field: FormField) -> str:
    return field.ask.label or field.ask.into


def _shown(field: FormField, variables: Variables, host: Host) -> str:
    # A file has no words of its own.
    return " ".join(host.render(f"{{{field.ask.into}}}", variables).split()) if field.ask.type != "file" else "✔"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
