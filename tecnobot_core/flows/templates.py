"""Texts with variables in braces: "Hola {name}, son {order.total}"."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from .expressions import NAME, look_up

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(NAME)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATES = {"en": "{0.month:02}/{0.day:02}/{0.year:04}"}
_DAY_FIRST = "{0.day:02}/{0.month:02}/{0.year:04}"
_TRUTHS = {"en": ("no", "yes"), "pt": ("não", "sim")}
_SPANISH_TRUTHS = ("no", "sí")


def render(text: str, variables: Mapping[str, object], *, language: str = "es") -> str:
    """*text* with the values of *variables* in the place of their names; what a customer typed is never a template.

    Missing variables, null and mappings are empty; lists are joined by ", "; floats have no exponent; dates, also in
    ISO text, and truths are as *language* ("es", "en", "pt") writes them; decimals kept as text stay as they are. A
    brace that ``check_template`` would refuse stays as well.
    """

    def value(piece: re.Match[str]) -> str:
        if piece[0] in ("{{", "}}"):
            return piece[0][0]
        name = (piece[1] or "").strip()
        return _shown(look_up(variables, name), language) if _NAME.fullmatch(name) else piece[0]

    return _PIECE.sub(value, text)


def check_template(text: str) -> None:
    """Raise ValueError, with the place counted from 1, unless every brace of *text* belongs to a name or is doubled."""
    for piece in _PIECE.finditer(text):
        if piece[0] in ("{{", "}}"):
            continue
        where = f"character {piece.start() + 1}"
        if piece[1] is None:
            wrong = "is never closed" if piece[0] == "{" else "closes nothing"
            raise ValueError(f"{where}: the brace {piece[0]} {wrong}; for a brace itself write {piece[0] * 2}")
        name = piece[1].strip()
        if not name:
            raise ValueError(f"{where}: the name in braces is empty; write a variable, like {{name}}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{where}: {name!r} is not a variable; a name has letters, digits, _ and dots between")


def _shown(value: object, language: str) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(shown for item in value if (shown := _one(item, language)))
    return _one(value, language)


def _one(value: object, language: str) -> str:
    """The text of what is neither list nor mapping; those are empty."""
    if isinstance(value, str):
        return _shown_date(date.fromisoformat(value), language) if _is_iso_date(value) else value
    if isinstance(value, bool):
        return _TRUTHS.get(language, _SPANISH_TRUTHS)[value]
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return _shown_date(value, language)
    return str(value) if isinstance(value, int) else ""


def _shown_date(value: date, language: str) -> str:
    day = _DATES.get(language, _DAY_FIRST).format(value)
    return f"{day} {value:%H:%M}" if isinstance(value, datetime) else day


def _is_iso_date(text: str) -> bool:
    if not _ISO_DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
