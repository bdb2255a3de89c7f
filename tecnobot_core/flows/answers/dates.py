"""Days as people write them: "31/12/2026", "31 de diciembre", "pasado mañana"."""

import re
from collections.abc import Mapping
from datetime import date, timedelta

from ..folding import fold
from . import limits as bounds
from .refusals import AnswerRefused

YEARS = range(1900, 2101)
YEARS_AHEAD = 19  # of a year of two digits; the 80 others lie behind, as in dates of birth

_ISO = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})")
_NUMERIC = re.compile(r"([0-9]{1,2})\s*(?:([-/.])\s*|\s)([0-9]{1,2})\s*(?:\2\s*|\s)([0-9]{4}|[0-9]{2})")
_WITHOUT_YEAR = re.compile(r"([0-9]{1,2})\s*[-/]\s*([0-9]{1,2})")
_RUN_TOGETHER = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{4})")
_PIECES = re.compile(r"[0-9]+|[^\W\d_]+")

_DAYS_AWAY = {
    "hoy": 0, "hoje": 0, "today": 0,
    "manana": 1, "amanha": 1, "tomorrow": 1,
    "pasado manana": 2, "depois amanha": 2, "day after tomorrow": 2,
    "ayer": -1, "ontem": -1, "yesterday": -1,
}  # fmt: skip
_MONTHS = (
    ("enero", "janeiro", "january"),
    ("febrero", "fevereiro", "february"),
    ("marzo", "marco", "march"),
    ("abril", "april"),
    ("mayo", "maio", "may"),
    ("junio", "junho", "june"),
    ("julio", "julho", "july"),
    ("agosto", "august"),
    ("septiembre", "setiembre", "setembro", "september"),
    ("octubre", "outubro", "october"),
    ("noviembre", "novembro", "november"),
    ("diciembre", "dezembro", "december"),
)
_WEEKDAYS = (
    ("lunes", "segunda feira", "segunda", "monday"),
    ("martes", "terca feira", "terca", "tuesday"),
    ("miercoles", "quarta feira", "quarta", "wednesday"),
    ("jueves", "quinta feira", "quinta", "thursday"),
    ("viernes", "sexta feira", "sexta", "friday"),
    ("sabado", "saturday"),
    ("domingo", "sunday"),
)
_WEEKDAY = {name: number for number, names in enumerate(_WEEKDAYS) for name in names}
_FILLERS = frozenset(
    {"el", "para", "dia", "de", "del", "o", "no", "em", "on", "the", "of", "este", "mismo"}
    | {"ro", "er", "st", "nd", "rd", "th"}  # of "1ro", "1st"
)


def read_date(text: str, limits: Mapping[str, object], language: str, today: date) -> str:
    """A day in ISO form. Numbers are day, month, year; in "en" month, day, year; the year first everywhere.

    Without a year the next such day is meant, *today* counted. A year of two digits lies at most 19 years ahead. A day
    of the week is believed only when it is right.
    """
    day = _numeric(text.rstrip("."), language, today) or _in_words(fold(text), today)
    if day is None or day.year not in YEARS:
        raise AnswerRefused("not_a_date")
    first, last = bounds.day(limits, "min", today), bounds.day(limits, "max", today)
    if first is not None and day < first:
        raise AnswerRefused("too_early")
    if last is not None and day > last:
        raise AnswerRefused("too_late")
    return day.isoformat()


def _numeric(text: str, language: str, today: date) -> date | None:
    if match := _ISO.fullmatch(text):
        return _date(int(match[1]), int(match[3]), int(match[4]))
    if match := _WITHOUT_YEAR.fullmatch(text):
        return _next(*_ordered(match[1], match[2], language), today)
    if match := _RUN_TOGETHER.fullmatch(text):
        return _date(int(match[3]), *_ordered(match[1], match[2], language))
    if match := _NUMERIC.fullmatch(text):
        return _date(_year(match[4], today), *_ordered(match[1], match[3], language))
    return None


def _ordered(first: str, second: str, language: str) -> tuple[int, int]:
    """Month and day."""
    return (int(first), int(second)) if language == "en" else (int(second), int(first))


def _in_words(folded: str, today: date) -> date | None:
    words = [word for word in _PIECES.findall(folded) if word not in _FILLERS]
    if (days := _DAYS_AWAY.get(" ".join(words))) is not None:
        return today + timedelta(days=days)
    weekday = None
    for length in (2, 1):
        if weekday is None and (weekday := _WEEKDAY.get(" ".join(words[:length]))) is not None:
            words = words[length:]
    day = _named(words, today)
    return day if day is None or weekday in (None, day.weekday()) else None


def _named(words: list[str], today: date) -> date | None:
    """A day, the name of its month, and perhaps a year; the month may be first."""
    if len(words) not in (2, 3):
        return None
    if words[1].isdecimal() and not words[0].isdecimal():
        words[:2] = words[1], words[0]
    day, month = "1" if words[0] == "primero" else words[0], _month(words[1])
    if month is None or not re.fullmatch(r"[0-9]{1,2}", day):
        return None
    if len(words) == 2:
        return _next(month, int(day), today)
    if not re.fullmatch(r"[0-9]{4}|[0-9]{2}", words[2]):
        return None
    return _date(_year(words[2], today), month, int(day))


def _month(word: str) -> int | None:
    """The month that *word* names, or is the beginning of."""
    if len(word) < 3:
        return None
    return next((number for number, names in enumerate(_MONTHS, 1) if any(n.startswith(word) for n in names)), None)


def _year(written: str, today: date) -> int:
    if len(written) == 4:
        return int(written)
    latest = today.year + YEARS_AHEAD
    return latest - (latest - int(written)) % 100


def _next(month: int, day: int, today: date) -> date | None:
    """The next such day, *today* counted; a 29th of February may be eight years away."""
    candidates = (_date(year, month, day) for year in range(today.year, today.year + 9))
    return next((found for found in candidates if found is not None and found >= today), None)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
