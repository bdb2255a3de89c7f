"""The limits of a question, as its owner wrote them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import get_args

from ...errors import FlowError
from ...messages import MessageKind
from ..folding import fold
from ..steps import AnswerType, Ask

TODAY = "today"


def check_limits(ask: Ask) -> None:
    """Raise FlowError, naming the limit and what is wanted, unless ``read_answer`` can use type and limits of *ask*.

    "min" and "max" are both included: characters of a text, values of an integer or a decimal (a number, or its text),
    days of a date (a date, its ISO text, or "today"). "choices" are the labels of a choice, "kinds" the kinds of media
    that a file may have.
    """
    if ask.type not in get_args(AnswerType):
        raise FlowError(f"the type {ask.type!r} is unknown; use {', '.join(get_args(AnswerType))}")
    allowed = _ALLOWED.get(ask.type, ())
    if unknown := sorted(str(name) for name in ask.limits if name not in allowed):
        raise FlowError(f"limit {unknown[0]!r}: a {ask.type} has {_listed(allowed)}")
    if read := _BOUNDS.get(ask.type):
        _check_order(read(ask.limits, "min"), read(ask.limits, "max"))
    if ask.type == "choice":
        labels(ask.limits)
    if ask.type == "file":
        kinds(ask.limits)


def characters(limits: Mapping[str, object], name: str) -> int | None:
    """A limit that counts characters."""
    count = number(limits, name)
    if count is not None and (count < 0 or count % 1):
        raise _wrong(name, "a number of characters", limits[name])
    return None if count is None else int(count)


def number(limits: Mapping[str, object], name: str) -> Decimal | None:
    """A limit that is a number; a float counts as it is written."""
    value = limits.get(name)
    if value is None:
        return None
    try:
        read = Decimal(str(value))
    except InvalidOperation as error:
        raise _wrong(name, "a number", value) from error
    if not read.is_finite():
        raise _wrong(name, "a number", value)
    return read


def day(limits: Mapping[str, object], name: str, today: date) -> date | None:
    """A limit that is a day."""
    value = limits.get(name)
    if value == TODAY:
        return today
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise _wrong(name, f"a date like 2026-12-31, or {TODAY}", value) from error


def labels(limits: Mapping[str, object]) -> Sequence[str]:
    """The choices: texts that can be told apart once folded."""
    found = _texts(limits, "choices")
    if not found:
        raise _wrong("choices", "a list of texts", limits.get("choices"))
    seen: set[str] = set()
    for label in found:
        if not (folded := fold(label)) or folded in seen:
            raise FlowError(f"limit 'choices': {label!r} is empty or the same as another one; each wants its own words")
        seen.add(folded)
    return found


def kinds(limits: Mapping[str, object]) -> Sequence[str]:
    """The kinds of media that are taken; none stands for all that have bytes."""
    if limits.get("kinds") is None:
        return _FILES
    found = _texts(limits, "kinds")
    if not found or not set(found) <= set(_FILES):
        raise _wrong("kinds", f"a list out of {', '.join(_FILES)}", limits["kinds"])
    return found


_FILES: tuple[MessageKind, ...] = ("voice", "audio", "image", "video", "document", "sticker")
_ALLOWED: Mapping[AnswerType, Sequence[str]] = {
    "text": ("min", "max"),
    "integer": ("min", "max"),
    "decimal": ("min", "max"),
    "date": ("min", "max"),
    "choice": ("choices",),
    "file": ("kinds",),
}


def _fixed_day(limits: Mapping[str, object], name: str) -> date | None:
    """The day of a limit, where it is the same every day."""
    return day(limits, name, date.min) if limits.get(name) != TODAY else None


_BOUNDS: Mapping[AnswerType, Callable[[Mapping[str, object], str], int | Decimal | date | None]] = {
    "text": characters,
    "integer": number,
    "decimal": number,
    "date": _fixed_day,
}


def _check_order(smallest: int | Decimal | date | None, largest: int | Decimal | date | None) -> None:
    if smallest is not None and largest is not None and smallest > largest:  # type: ignore[operator]
        raise FlowError(f"limit 'min': {smallest} is more than the max, {largest}; nothing would be taken")


def _texts(limits: Mapping[str, object], name: str) -> Sequence[str]:
    value = limits.get(name)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, "a list of texts", value)
    return value


def _listed(names: Sequence[str]) -> str:
    return f"the limits {', '.join(names)}" if names else "no limits"


def _wrong(name: str, wanted: str, value: object) -> FlowError:
    return FlowError(f"limit {name!r}: wanted is {wanted}, not {value!r:.80}")
