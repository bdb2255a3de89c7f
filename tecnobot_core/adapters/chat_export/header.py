"""What stands before a message: its date and time, in the form that the phone's system and language chose."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

# Left-to-right and right-to-left marks, embeddings and isolates: WhatsApp puts them around names, numbers and notices.
MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SPACE = "[ \u00a0\u202f]"
_DATE = r"([0-9]{4}|[0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4}|[0-9]{1,2})"
_CLOCK = rf"([0-9]{{1,2}})[:.]([0-9]{{2}})(?:[:.]([0-9]{{2}}))?(?:{_SPACE}?([AaPp])\.?{_SPACE}?[Mm]\.?)?"
_YEARS = range(2000, 2100)  # WhatsApp began in 2009; two digits stand for years of this century


class Form(StrEnum):
    """How the lines of a file are laid out."""

    ANDROID = "android"  # 31/12/2024, 9:05 p. m. - Ana: hola
    IOS = "ios"  # [31/12/24, 21:05:00] Ana: hola
    PLAIN = "plain"  # hola


class DateOrder(StrEnum):
    """Which number of a date is which. A year that comes first has four digits and the month follows it."""

    DAY_FIRST = "day-first"
    MONTH_FIRST = "month-first"
    YEAR_FIRST = "year-first"


PATTERNS = {
    Form.ANDROID: re.compile(rf"[{MARKS}]*{_DATE},?{_SPACE}{_CLOCK}{_SPACE}[-–]{_SPACE}(.*)", re.DOTALL),
    Form.IOS: re.compile(rf"[{MARKS}]*\[{_DATE},?{_SPACE}{_CLOCK}\]{_SPACE}?(.*)", re.DOTALL),
}


class Header(NamedTuple):
    """A date as written, a time of day, and the *rest* of the line: a sender and a text, or a notice."""

    date: tuple[str, str, str]
    hour: int
    minute: int
    second: int
    half: str  # "a", "p", or empty on a 24 h clock
    rest: str


def read_header(form: Form, text: str) -> Header | None:
    """The header that *text* begins with, its date not looked at yet."""
    match = PATTERNS[form].match(text)
    if match is None:
        return None
    first, _, second, third, hour, minute, seconds, half, rest = match.groups()
    return Header((first, second, third), int(hour), int(minute), int(seconds or 0), half.lower() if half else "", rest)


@lru_cache(maxsize=256)
def read_date(order: DateOrder, written: tuple[str, str, str]) -> date | None:
    """The date that *written* means under *order*; None when it means none."""
    if order is DateOrder.YEAR_FIRST:
        year, month, day = written
    elif order is DateOrder.MONTH_FIRST:
        month, day, year = written
    else:
        day, month, year = written
    if len(year) not in (2, 4) or len(day) > 2 or len(month) > 2:
        return None
    if order is DateOrder.YEAR_FIRST and len(year) == 2:
        return None
    number = int(year) + (2000 if len(year) == 2 else 0)
    try:
        return date(number, int(month), int(day)) if number in _YEARS else None
    except ValueError:
        return None


def read_time(header: Header, order: DateOrder, tz: tzinfo) -> float | None:
    """Unix seconds of a clock that stands in *tz*; None for a date or time that does not exist."""
    day = read_date(order, header.date)
    hour = header.hour
    if day is None or (header.half and hour > 12):
        return None
    if header.half:
        hour = hour % 12 + (12 if header.half == "p" else 0)
    try:
        return datetime(day.year, day.month, day.day, hour, header.minute, header.second, tzinfo=tz).timestamp()
    except ValueError:
        return None


@dataclass(slots=True)
class DateEvidence:
    """Decides which order the dates of a whole file are in.

    The order with the fewest impossible dates wins; among equals the one under which time runs back least often,
    because an export is sorted by time; among equals the first of ``DateOrder``.
    """

    impossible: dict[DateOrder, int] = field(default_factory=lambda: dict.fromkeys(DateOrder, 0))
    backwards: dict[DateOrder, int] = field(default_factory=lambda: dict.fromkeys(DateOrder, 0))
    _latest: dict[DateOrder, date] = field(default_factory=dict)
    _last_written: tuple[str, str, str] | None = None
    _order_matters: bool = False

    def add(self, written: tuple[str, str, str]) -> None:
        """Weigh the next date of the file."""
        if written == self._last_written:
            return
        self._last_written = written
        for order in DateOrder:
            day = read_date(order, written)
            if day is None:
                self.impossible[order] += 1
                continue
            self.backwards[order] += day < self._latest.get(order, day)
            self._latest[order] = day
        self._order_matters |= int(written[0]) != int(written[1])

    def decide(self) -> tuple[DateOrder, str]:
        """The order, and a sentence for people where the dates alone did not tell; else an empty one."""
        ranked = sorted(DateOrder, key=lambda order: (self.impossible[order], self.backwards[order]))
        best, other = ranked[:2]
        if not self._order_matters or self.impossible[best] < self.impossible[other]:
            return best, ""
        if self.backwards[best] < self.backwards[other]:
            return best, f"dates were read {best}: no date tells, but read {other} the messages would not be in order"
        return best, f"dates were read {best}: nothing in the file tells whether they are {best} or {other}"
