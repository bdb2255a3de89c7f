"""Which hours a day has: of a week, of holidays, and of days that are unlike the others."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, TypeAlias

from ..flows.folding import fold
from ..flows.problems import found

DAY_MINUTES = 24 * 60
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# By the day of the week, from Monday; Portuguese also says "segunda-feira".
_NAMES = (
    "mon monday lun lunes seg segunda",
    "tue tuesday mar martes ter terca",
    "wed wednesday mie miercoles qua quarta",
    "thu thursday jue jueves qui quinta",
    "fri friday vie viernes sex sexta",
    "sat saturday sab sabado",
    "sun sunday dom domingo",
)
_WEEKDAY = {name: number for number, names in enumerate(_NAMES) for name in names.split()}
_RANGE = re.compile(r"\s*([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})\s*")
_DATE = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")
_LEAP_YEAR = 2000


class Hours(NamedTuple):
    """From one minute of a day to another, which may be of the day after: up to 2880. The last one is not in it."""

    start: int
    end: int

    def __str__(self) -> str:
        end = self.end if self.end <= DAY_MINUTES else self.end - DAY_MINUTES
        return f"{_clock(self.start)}-{_clock(end)}"


Day: TypeAlias = tuple[int | None, int, int]
"""Year, month and day; without a year, that of each year."""


@dataclass(frozen=True, slots=True)
class OpeningDays:
    """The hours of every date: those of its exception, else none on a holiday, else those of its day of the week."""

    weekly: tuple[tuple[Hours, ...], ...]
    holidays: frozenset[Day]
    exceptions: Mapping[Day, tuple[Hours, ...]]

    def on(self, day: date) -> tuple[Hours, ...]:
        """The hours that begin on *day*, earliest first."""
        once, yearly = (day.year, day.month, day.day), (None, day.month, day.day)
        if self.exceptions:
            hours = self.exceptions.get(once)
            if hours is None:
                hours = self.exceptions.get(yearly)
            if hours is not None:
                return hours
        return () if once in self.holidays or yearly in self.holidays else self.weekly[day.weekday()]


def read_days(weekly: object, holidays: object, exceptions: object, problems: list[str]) -> OpeningDays:
    """The days as an owner writes them. What is wrong is added to *problems*, with its place."""
    return OpeningDays(
        _read_week(weekly, problems),
        frozenset(day for day, _ in _read_dates("holidays", _listed("holidays", holidays, problems), problems)),
        {
            day: _read_hours(f"exceptions, {text}", value, problems)
            for (day, text), value in _keyed("exceptions", exceptions, problems)
        },
    )


def show_day(day: Day) -> str:
    """*day* as it is written: "2026-12-25", or "12-25" for each year."""
    year, month, number = day
    return f"{month:02}-{number:02}" if year is None else f"{year:04}-{month:02}-{number:02}"


def _read_week(weekly: object, problems: list[str]) -> tuple[tuple[Hours, ...], ...]:
    if not isinstance(weekly, Mapping):
        problems.append(f'weekly: wanted is an object like {{"mon": ["09:00-14:00"]}}, not {found(weekly)}')
        weekly = {}
    week: dict[int, tuple[Hours, ...]] = {}
    for name, value in weekly.items():
        number = _weekday(name)
        if number is None:
            problems.append(f"weekly: wanted is a day, {' '.join(WEEK)} or its name, not {found(name)}")
        elif number in week:
            problems.append(f"weekly, {name}: {WEEK[number]} is there twice; write all its hours in one list")
        else:
            week[number] = _read_hours(f"weekly, {name}", value, problems)
    return tuple(week.get(number, ()) for number in range(7))


def _weekday(name: object) -> int | None:
    return _WEEKDAY.get(fold(name).removesuffix(" feira")) if isinstance(name, str) else None


def _read_hours(place: str, value: object, problems: list[str]) -> tuple[Hours, ...]:
    """The ranges of one day; none means closed."""
    read: list[Hours] = []
    for number, text in enumerate(_listed(place, value, problems), 1):
        hours = _range(text) if isinstance(text, str) else None
        where = f"{place}, range {number}"
        if hours is None:
            problems.append(f'{where}: wanted is text like "09:00-14:00" or "22:00-02:00", not {found(text)}')
        elif (other := next((o for o in read if hours.start < o.end and o.start < hours.end), None)) is not None:
            problems.append(f"{where}: {hours} and {other} have hours in common; write one range")
        else:
            read.append(hours)
    return tuple(sorted(read))


def _range(text: str) -> Hours | None:
    if (match := _RANGE.fullmatch(text)) is None:
        return None
    start, end = (60 * int(match[group]) + int(match[group + 1]) for group in (1, 3))
    if int(match[2]) > 59 or int(match[4]) > 59 or start >= DAY_MINUTES or end > DAY_MINUTES or start == end:
        return None
    return Hours(start, end if end > start else end + DAY_MINUTES)


def _keyed(name: str, value: object, problems: list[str]) -> Iterator[tuple[tuple[Day, str], object]]:
    """Days of an object, each with what it holds."""
    if not isinstance(value, Mapping):
        problems.append(f'{name}: wanted is an object like {{"2026-12-24": ["09:00-13:00"]}}, not {found(value)}')
        return
    for day, text in _read_dates(name, value, problems):
        yield (day, text), value[text]


def _read_dates(name: str, texts: Iterable[object], problems: list[str]) -> Iterator[tuple[Day, str]]:
    for text in texts:
        day = _date(text) if isinstance(text, str) else None
        if day is None or not isinstance(text, str):
            wanted = 'wanted is a day of the calendar like "2026-12-25", or "12-25" for each year'
            problems.append(f"{name}: {wanted}, not {found(text)}")
        else:
            yield day, text


def _date(text: str) -> Day | None:
    if (match := _DATE.fullmatch(text)) is None:
        return None
    year = int(match[1]) if match[1] else None
    month, day = int(match[2]), int(match[3])
    try:
        date(_LEAP_YEAR if year is None else year, month, day)
    except ValueError:
        return None
    return year, month, day


def _listed(place: str, value: object, problems: list[str]) -> Sequence[object]:
    if isinstance(value, list | tuple):
        return value
    problems.append(f"{place}: wanted is a list, not {found(value)}")
    return ()


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
