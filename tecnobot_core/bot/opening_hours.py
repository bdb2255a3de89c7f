"""When somebody is there."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from ..errors import ConfigurationError
from .opening_days import DAY_MINUTES, WEEK, OpeningDays, read_days, show_day
from .opening_words import in_words
from .time_zones import time_zone

HORIZON_S = 366 * 86_400

_DAY = timedelta(days=1)
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class OpeningHours:
    """It is open while a clock on the wall in *timezone* shows a time of the day's hours.

    *weekly* has for each day, "mon" to "sun" or its name in Spanish, Portuguese or English, its ranges of time; a day
    that is left out is closed. The end of a range is not in it. "22:00-02:00" ends on the day after and belongs to the
    day on which it begins, whatever that next day is; "00:00-24:00" is the whole day. *holidays* are closed, once
    ("2026-12-25") or each year ("12-25"). *exceptions* have hours of their own, or an empty list, and win over holidays
    and the week; one of a single year wins over one of each year.

    Where the clocks go forward, hours that they leave out are not open; where they go back, hours that come twice are
    open twice.

    Raises ConfigurationError with all that is wrong, each problem with its field.
    """

    timezone: str
    weekly: Mapping[str, Sequence[str]] = field(hash=False)
    holidays: Sequence[str] = ()
    exceptions: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _days: OpeningDays = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems: list[str] = []
        try:
            object.__setattr__(self, "_zone", time_zone(self.timezone))
        except ConfigurationError as error:
            problems += [f"timezone: {problem}" for problem in error.problems]
        days = read_days(self.weekly, self.holidays, self.exceptions, problems)
        if problems:
            raise ConfigurationError(problems)
        weekly = {name: tuple(map(str, hours)) for name, hours in zip(WEEK, days.weekly, strict=True) if hours}
        exceptions = {show_day(day): tuple(map(str, hours)) for day, hours in days.exceptions.items()}
        # As they are read: what means the same is equal, and nobody changes it from outside.
        object.__setattr__(self, "_days", days)
        object.__setattr__(self, "weekly", MappingProxyType(weekly))
        object.__setattr__(self, "holidays", tuple(sorted(map(show_day, days.holidays))))
        object.__setattr__(self, "exceptions", MappingProxyType(exceptions))

    def is_open(self, at_s: float) -> bool:
        """Whether it is open at the Unix time *at_s*."""
        wall = self._wall(at_s)
        minute, day = wall.hour * 60 + wall.minute, wall.date()
        if any(start <= minute < end for start, end in self._days.on(day)):
            return True
        minute += DAY_MINUTES
        return any(minute < end for _, end in self._days.on(day - _DAY))

    def next_opening(self, at_s: float) -> float | None:
        """The first moment from *at_s* on at which it is open, itself included; None: none in the next 366 days."""
        if self.is_open(at_s):
            return at_s
        first_s = math.ceil(at_s)
        for begin_s, end_s, offset_s in self._stretches(first_s, first_s + HORIZON_S):
            opens = self._first_open(begin_s + offset_s, end_s + offset_s)
            if opens is not None:
                return float(opens - offset_s)
        return None

    def describe(self, at_s: float, language: str = "es") -> str:
        """When it is open next, said at *at_s* in "es", "pt" or "en": "hoy a las 16:00".

        "ahora" when it is open, empty when that is not to come within a year.
        """
        opens_s = self.next_opening(at_s)
        return "" if opens_s is None else in_words(self._wall(opens_s), self._wall(at_s), language)

    def to_json(self) -> dict[str, object]:
        """The four fields in JSON types; ``OpeningHours(**stored)`` is equal again."""
        return {
            "timezone": self.timezone,
            "weekly": {day: list(hours) for day, hours in self.weekly.items()},
            "holidays": list(self.holidays),
            "exceptions": {day: list(hours) for day, hours in self.exceptions.items()},
        }

    def _wall(self, at_s: float) -> datetime:
        return datetime.fromtimestamp(at_s, self._zone)

    def _stretches(self, begin_s: int, until_s: int) -> Iterator[tuple[int, int, int]]:
        """Times of at most a day through which the wall goes evenly: from, until, and how far it is ahead of UTC."""
        while begin_s < until_s:
            offset_s = self._offset_s(begin_s)
            end_s = min(begin_s + _DAY_S, until_s)
            if self._offset_s(end_s) != offset_s:
                before_s = begin_s
                while end_s - before_s > 1:
                    middle_s = (before_s + end_s) // 2
                    if self._offset_s(middle_s) == offset_s:
                        before_s = middle_s
                    else:
                        end_s = middle_s
            yield begin_s, end_s, offset_s
            begin_s = end_s

    def _offset_s(self, at_s: int) -> int:
        offset = self._wall(at_s).utcoffset()
        assert offset is not None  # a time zone has one at every time
        return offset // timedelta(seconds=1)

    def _first_open(self, begin: int, end: int) -> int | None:
        """The first second of *begin* to *end* at which it is open; both count on the wall, as if that were UTC."""
        opens = [
            first
            for number in range(begin // _DAY_S - 1, (end - 1) // _DAY_S + 1)
            for start, stop in self._days.on(date.fromordinal(_EPOCH_DAY + number))
            if (first := max(begin, number * _DAY_S + start * 60)) < min(end, number * _DAY_S + stop * 60)
        ]
        return min(opens, default=None)
