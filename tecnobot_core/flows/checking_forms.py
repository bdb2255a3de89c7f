"""Whether a form can be filled in: fields that can be told apart, and times that fit each other."""

from .folding import fold
from .forms import timed
from .problems import Place, Problems, found
from .steps import Form

MAX_FIELDS = 50  # so many answers, one a line, are still a message that can be read


def check_form(form: Form, place: Place, problems: Problems) -> None:
    """Add to *problems* what is wrong with a form beyond its questions, which are checked like others."""
    if not form.fields:
        problems.add(place, "the form has no fields; give it at least one")
    if len(form.fields) > MAX_FIELDS:
        problems.add(place, f"the form has {len(form.fields):,} fields; at most {MAX_FIELDS}: make two forms of it")
        return
    variables: dict[str, int] = {}
    labels: dict[str, int] = {}
    for number, field in enumerate(form.fields, 1):
        here = place.at("fields").at(number - 1, field.ask.into)
        if (owner := variables.setdefault(field.ask.into, number)) != number:
            problems.add(here, f"into {found(field.ask.into)} keeps the answer of field {owner} already")
            continue
        label = field.ask.label or field.ask.into
        if (owner := labels.setdefault(fold(label), number)) != number:
            problems.add(here, f"the label {found(label)} names field {owner} already; write another one")
        _check_times(form, number, here, problems)


def _check_times(form: Form, number: int, place: Place, problems: Problems) -> None:
    own = form.fields[number - 1].ask
    ask = timed(form, own)
    if (own.remind_s is None) == (own.timeout_s is None) or ask.remind_s is None or ask.timeout_s is None:
        return  # both from one place, which is checked there
    if ask.remind_s >= ask.timeout_s:
        sentence = f"remind_s, {found(ask.remind_s)}, must be less than timeout_s, {found(ask.timeout_s)}"
        problems.add(place, f"{sentence}; one of them is that of the form")
