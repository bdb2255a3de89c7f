"""When somebody is there, by the clock on the wall, and how that is told."""

import sys
import zoneinfo
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.bot.opening_hours import HORIZON_S, OpeningHours
from tecnobot_core.errors import ConfigurationError

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MEXICO, MADRID = "America/Mexico_City", "Europe/Madrid"
ALWAYS = {day: ["00:00-24:00"] for day in WEEK}


def at(text: str, zone: str = MEXICO, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def wall(at_s: float | None, zone: str = MEXICO) -> str:
    assert at_s is not None
    return datetime.fromtimestamp(at_s, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def hours(*ranges: str, zone: str = MEXICO, **more: Any) -> OpeningHours:
    """The same hours on every day."""
    return OpeningHours(timezone=zone, weekly={day: list(ranges) for day in WEEK}, **more)


def problems(**fields: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        OpeningHours(**{"timezone": MEXICO, "weekly": {}, **fields})
    return list(caught.value.problems)


# A day


def test_a_range_begins_with_its_first_minute_and_ends_before_its_last() -> None:
    shop = hours("09:00-14:00", "16:00-19:00")
    seen = {time: shop.is_open(at(f"2026-11-23T{time}")) for time in ("08:59:59", "09:00:00", "13:59:59", "14:00:00")}
    assert list(seen.values()) == [False, True, True, False]
    assert not shop.is_open(at("2026-11-23T15:59"))
    assert shop.is_open(at("2026-11-23T16:00"))


def test_a_day_that_is_left_out_is_closed() -> None:
    shop = OpeningHours(timezone=MEXICO, weekly={"mon": ["09:00-14:00"]})
    assert shop.is_open(at("2026-11-23T10:00"))  # a Monday
    assert not shop.is_open(at("2026-11-24T10:00"))


def test_the_zone_decides_whose_day_it_is() -> None:
    moment = at("2026-11-23T10:00")
    assert OpeningHours(MEXICO, {"mon": ["09:00-11:00"]}).is_open(moment)
    assert not OpeningHours("Asia/Tokyo", {"mon": ["09:00-11:00"]}).is_open(moment)
    assert OpeningHours("Asia/Tokyo", {"tue": ["00:00-02:00"]}).is_open(moment)


def test_a_range_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    bar = OpeningHours(timezone=MEXICO, weekly={"fri": ["22:00-02:00"]}, holidays=["2026-11-28"])
    assert not bar.is_open(at("2026-11-27T01:00"))
    assert bar.is_open(at("2026-11-27T23:00"))
    assert bar.is_open(at("2026-11-28T01:59"))  # the holiday begins when the bar closes
    assert not bar.is_open(at("2026-11-28T02:00"))


def test_a_holiday_keeps_its_night_closed_too() -> None:
    bar = OpeningHours(timezone=MEXICO, weekly={"fri": ["22:00-02:00"]}, holidays=["2026-11-27"])
    assert not bar.is_open(at("2026-11-28T01:00"))


def test_midnight_may_be_written_as_the_end_of_a_day() -> None:
    assert hours("18:00-24:00") == hours("18:00-00:00")
    late = OpeningHours(timezone=MEXICO, weekly={"mon": ["18:00-24:00"]})
    assert late.is_open(at("2026-11-23T23:59"))
    assert not late.is_open(at("2026-11-24T00:00"))
    assert OpeningHours(timezone=MEXICO, weekly=ALWAYS).is_open(at("2026-11-24T00:00"))


# Days that are unlike the others


def test_a_holiday_is_closed_once_or_each_year() -> None:
    shop = hours("09:00-14:00", holidays=["2026-12-25", "01-01"])
    days = ("2026-12-25", "2027-12-25", "2027-01-01", "2028-01-01")
    assert [shop.is_open(at(f"{day}T10:00")) for day in days] == [False, True, False, False]


def test_the_29th_of_february_is_a_holiday_of_leap_years_alone() -> None:
    shop = hours("09:00-14:00", holidays=["02-29"])
    days = ("2028-02-29", "2027-02-28", "2027-03-01")
    assert [shop.is_open(at(f"{day}T10:00")) for day in days] == [False, True, True]


def test_an_exception_wins_over_a_holiday_and_over_the_week() -> None:
    shop = hours("09:00-18:00", holidays=["12-24"], exceptions={"2026-12-24": ["10:00-12:00"], "2026-11-23": []})
    assert shop.is_open(at("2026-12-24T11:00"))
    assert not shop.is_open(at("2026-12-24T09:30"))
    assert not shop.is_open(at("2027-12-24T11:00"))
    assert not shop.is_open(at("2026-11-23T11:00"))


def test_an_exception_of_one_year_wins_over_that_of_each_year() -> None:
    shop = hours("09:00-18:00", exceptions={"12-24": ["10:00-12:00"], "2026-12-24": []})
    assert not shop.is_open(at("2026-12-24T11:00"))
    assert shop.is_open(at("2027-12-24T11:00"))


# What comes next


def test_the_next_opening_is_the_first_moment_that_is_open() -> None:
    shop = hours("09:00-14:00", "16:00-19:00")
    assert wall(shop.next_opening(at("2026-11-23T07:00"))) == "2026-11-23 09:00"
    assert wall(shop.next_opening(at("2026-11-23T14:00"))) == "2026-11-23 16:00"
    assert wall(shop.next_opening(at("2026-11-23T19:00"))) == "2026-11-24 09:00"


def test_what_is_open_opens_now() -> None:
    moment = at("2026-11-23T10:00") + 0.25
    assert hours("09:00-14:00").next_opening(moment) == moment


def test_a_fraction_of_a_second_before_it_opens_counts() -> None:
    opens = at("2026-11-23T09:00")
    assert hours("09:00-14:00").next_opening(opens - 0.001) == opens


def test_nothing_within_a_year_is_none() -> None:
    assert OpeningHours(timezone=MEXICO, weekly={}).next_opening(at("2026-11-23T10:00")) is None
    leap = OpeningHours(timezone=MEXICO, weekly={}, exceptions={"02-29": ["09:00-10:00"]})
    assert leap.next_opening(at("2026-11-23T10:00")) is None
    assert wall(leap.next_opening(at("2027-11-23T10:00"))) == "2028-02-29 09:00"
    far = OpeningHours(timezone=MEXICO, weekly={}, exceptions={"2027-11-23": ["09:00-10:00"]})
    assert wall(far.next_opening(at("2026-11-23T10:00"))) == "2027-11-23 09:00"


# When the clocks change: in Madrid from 2:00 to 3:00 on 28 March 2027, and from 3:00 to 2:00 on 31 October 2027


def test_hours_that_the_clocks_leave_out_are_not_open() -> None:
    night = hours("02:15-02:45", zone=MADRID)
    assert wall(night.next_opening(at("2027-03-28T01:59", MADRID)), MADRID) == "2027-03-29 02:15"


def test_it_opens_when_the_clocks_jump_into_its_hours() -> None:
    night = hours("02:30-04:00", zone=MADRID)
    opens = night.next_opening(at("2027-03-28T01:00", MADRID))
    assert opens == at("2027-03-28T01:00", MADRID) + 3600
    assert wall(opens, MADRID) == "2027-03-28 03:00"


def test_hours_that_come_twice_are_open_twice() -> None:
    night = hours("02:15-02:45", zone=MADRID)
    first = at("2027-10-31T02:15", MADRID)
    assert night.next_opening(at("2027-10-31T01:00", MADRID)) == first
    assert night.next_opening(first + 30 * 60) == first + 3600
    assert wall(night.next_opening(first + 3600 + 30 * 60), MADRID) == "2027-11-01 02:15"


def test_clocks_that_go_back_into_the_hours_open_it_again() -> None:
    night = hours("01:00-02:30", zone=MADRID)
    closes = at("2027-10-31T02:30", MADRID)
    assert night.next_opening(closes) == closes + 30 * 60  # 3:00 becomes 2:00


def test_a_day_that_a_country_skipped_has_no_hours() -> None:
    island = hours("09:00-10:00", zone="Pacific/Apia")  # after 29 December 2011 came the 31st
    evening = at("2011-12-29T20:00", "Pacific/Apia")
    assert wall(island.next_opening(evening), "Pacific/Apia") == "2011-12-31 09:00"


# Against a walk from minute to minute, which reads the clock on the wall and the words of the owner

ZONES = (
    MADRID,
    "Europe/London",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "UTC",
)
CHANGES = {  # UTC; Lord Howe goes by half an hour
    MADRID: ("2027-03-28T01:00", "2027-10-31T01:00"),
    "Europe/London": ("2027-03-28T01:00", "2027-10-31T01:00"),
    "America/New_York": ("2027-03-14T07:00", "2027-11-07T06:00"),
    "America/Santiago": ("2027-04-04T03:00", "2027-09-05T04:00"),
    "Australia/Lord_Howe": ("2027-04-03T15:00", "2027-10-02T15:30"),
    "Asia/Kathmandu": ("2027-02-28T12:00", "2027-12-31T18:15"),
    "UTC": ("2028-02-28T12:00", "2027-12-31T12:00"),
}


def test_the_changes_that_are_tried_are_changes() -> None:
    for zone in ZONES[:5]:
        for change in CHANGES[zone]:
            moment = datetime.fromisoformat(change).replace(tzinfo=UTC)
            before, after = ((moment + timedelta(seconds=s)).astimezone(ZoneInfo(zone)) for s in (-1, 0))
            assert before.utcoffset() != after.utcoffset(), (zone, change)


class Asked:
    """Whether it is open, as a person finds out: today's hours, and those of yesterday that went on."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.of = cache(self._of)

    def _of(self, day: date) -> list[list[str]]:
        names = day.isoformat(), day.isoformat()[5:]
        closed = any(name in self.fields["holidays"] for name in names)
        usual = [] if closed else self.fields["weekly"].get(WEEK[day.weekday()], [])
        hours = next((e[name] for name in names if name in (e := self.fields["exceptions"])), usual)
        return [span.split("-") for span in hours]

    def __call__(self, shown: datetime) -> bool:
        clock, day = f"{shown.hour:02}:{shown.minute:02}", shown.date()
        today = any(start <= clock < end or end <= start <= clock for start, end in self.of(day))
        return today or any(end <= start and clock < end for start, end in self.of(day - timedelta(days=1)))


@st.composite
def ranges(draw: st.DrawFn) -> list[str]:
    """Up to three ranges of a day, the last of which may go over midnight."""
    step = draw(st.sampled_from([1, 30]))
    minutes = sorted(draw(st.sets(st.integers(0, 1439).map(lambda minute: minute // step * step), max_size=6)))
    spans: list[tuple[int, int]] = list(pairwise(minutes))[::2]
    if spans and spans[0][0] and draw(st.booleans()):
        spans[-1] = (spans[-1][0], draw(st.integers(0, spans[0][0] - 1)))
    return [f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in spans]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, dict[str, Any], float]:
    zone = draw(st.sampled_from(ZONES))
    change = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    near = [(change.date() + timedelta(days=days)).isoformat() for days in (-1, 0, 1, 2)]
    days = st.sampled_from([*near, *(day[5:] for day in near)])
    fields = {
        "weekly": draw(st.dictionaries(st.sampled_from(WEEK), ranges())),
        "holidays": draw(st.lists(days, max_size=2)),
        "exceptions": draw(st.dictionaries(days, ranges(), max_size=2)),
    }
    start = change.timestamp() + draw(st.integers(-24 * 60, 6 * 60)) * 60 + draw(st.sampled_from([0, 0.5, 31]))
    return zone, fields, start


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_walk_from_minute_to_minute_finds_the_same(case: tuple[str, dict[str, Any], float]) -> None:
    zone, fields, start = case
    opening_hours = OpeningHours(timezone=zone, **fields)
    info = ZoneInfo(zone)
    walk = [start, *((start // 60 + step) * 60 for step in range(1, 36 * 60))]
    asked = Asked(fields)
    seen = [asked(datetime.fromtimestamp(moment, info)) for moment in walk]
    assert [opening_hours.is_open(moment) for moment in walk[::7]] == seen[::7]
    expected = next((moment for moment, is_open in zip(walk, seen, strict=True) if is_open), None)
    found = opening_hours.next_opening(start)
    assert found == expected if expected is not None else found is None or found > walk[-1]
    assert found is None or found - start <= HORIZON_S + 1


# In words


@pytest.mark.parametrize(
    ("moment", "es", "pt", "en"),
    [
        ("2026-11-23T15:00", "hoy a las 16:00", "hoje às 16:00", "today at 16:00"),
        ("2026-11-23T20:00", "mañana a las 9:05", "amanhã às 9:05", "tomorrow at 9:05"),
        ("2026-11-23T10:00", "ahora", "agora", "now"),
        (
            "2026-11-24T20:00",
            "el lunes 30 de noviembre a las 9:00",
            "na segunda-feira, 30 de novembro, às 9:00",
            "on Monday 30 November at 9:00",
        ),
        (
            "2026-12-31T20:00",
            "el sábado 2 de enero a la 1:30",
            "no sábado, 2 de janeiro, à 1:30",
            "on Saturday 2 January at 1:30",
        ),
    ],
)
def test_the_next_opening_is_told_as_people_say_it(moment: str, es: str, pt: str, en: str) -> None:
    shop = OpeningHours(
        timezone=MEXICO,
        weekly={"mon": ["09:00-14:00", "16:00-19:00"], "tue": ["09:05-10:00"]},
        exceptions={"2027-01-02": ["01:30-02:00"]},
    )
    assert [shop.describe(at(moment), language) for language in ("es", "pt", "en")] == [es, pt, en]


def test_what_does_not_open_within_a_year_is_told_with_no_words() -> None:
    assert OpeningHours(timezone=MEXICO, weekly={}).describe(at("2026-11-23T10:00")) == ""


def test_other_languages_are_told_in_spanish() -> None:
    assert hours("09:00-10:00").describe(at("2026-11-23T08:00"), "fr") == "hoy a las 9:00"


# What an owner writes


@pytest.mark.parametrize("name", ["wed", "Wednesday", "mié", "MIÉRCOLES", "miercoles", "qua", "quarta-feira", "quarta"])
def test_days_have_their_names_in_three_languages(name: str) -> None:
    assert OpeningHours(timezone=MEXICO, weekly={name: ["9:00 – 14:00"]}).weekly == {"wed": ("09:00-14:00",)}


def test_hours_are_kept_in_one_form_and_written_as_they_are_read() -> None:
    shop = OpeningHours(
        timezone=MEXICO,
        weekly={"sun": [], "lunes": ["16:00-19:00", "9:00-14:00"]},
        holidays=["2026-12-25", "12-25", "12-25"],
        exceptions={"12-24": ["09:00-13:00"], "2026-11-16": []},
    )
    assert shop.to_json() == {
        "timezone": MEXICO,
        "weekly": {"mon": ["09:00-14:00", "16:00-19:00"]},
        "holidays": ["12-25", "2026-12-25"],
        "exceptions": {"12-24": ["09:00-13:00"], "2026-11-16": []},
    }
    again = OpeningHours(**shop.to_json())  # type: ignore[arg-type]
    assert (again, hash(again)) == (shop, hash(shop))


def test_hours_cannot_be_changed_from_outside() -> None:
    weekly = {"mon": ["09:00-14:00"]}
    shop = OpeningHours(timezone=MEXICO, weekly=weekly)
    weekly["mon"].clear()
    assert shop.is_open(at("2026-11-23T10:00"))
    with pytest.raises(TypeError):
        shop.weekly["tue"] = ["09:00-14:00"]  # type: ignore[index]


def test_every_mistake_is_told_at_once_with_its_field() -> None:
    told = problems(
        timezone="Mexico_City",
        weekly={"mon": ["9-14", "09:00-14:00", "13:00-15:00"], "lunes": [], "lunedi": [], "tue": "09:00-10:00"},
        holidays=["25-12", "2026-02-29", 5],
        exceptions={"2026-13-01": [], "2026-12-24": None},
    )
    date_wanted = 'wanted is a day of the calendar like "2026-12-25", or "12-25" for each year, not'
    assert told == [
        "timezone: wanted is the name of a time zone, like America/Mexico_City, not 'Mexico_City'; "
        "did you mean America/Mexico_City?",
        'weekly, mon, range 1: wanted is text like "09:00-14:00" or "22:00-02:00", not \'9-14\'',
        "weekly, mon, range 3: 13:00-15:00 and 09:00-14:00 have hours in common; write one range",
        "weekly, lunes: mon is there twice; write all its hours in one list",
        "weekly: wanted is a day, mon tue wed thu fri sat sun or its name, not 'lunedi'",
        "weekly, tue: wanted is a list, not '09:00-10:00'",
        f"holidays: {date_wanted} '25-12'",
        f"holidays: {date_wanted} '2026-02-29'",
        f"holidays: {date_wanted} 5",
        f"exceptions: {date_wanted} '2026-13-01'",
        "exceptions, 2026-12-24: wanted is a list, not nothing",
    ]


@pytest.mark.parametrize(
    "text", ["", "09:00", "24:00-02:00", "09:60-10:00", "09:00-24:01", "09:00-09:00", "٠٩:٠٠-١٠:٠٠", "9am-5pm", "-"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    (told,) = problems(weekly={"mon": [text]})
    assert told.startswith("weekly, mon, range 1: wanted is text like")


@pytest.mark.parametrize("bad", [None, 5, "mon", ["mon"]])
def test_objects_and_lists_of_the_wrong_kind_are_refused(bad: object) -> None:
    assert [told.partition(":")[0] for told in problems(weekly=bad, exceptions=bad)] == ["weekly", "exceptions"]
    assert [told.partition(":")[0] for told in problems(holidays={"12-25": True})] == ["holidays"]


@pytest.mark.parametrize("zone", ["", "America", "../etc/passwd", "Mars/Olympus", "a" * 5000, "a\x00b", 5, None])
def test_a_zone_that_is_none_is_refused(zone: object) -> None:
    (told,) = problems(timezone=zone)
    assert told.startswith("timezone: wanted is the name of a time zone")
    assert len(told) < 250


@pytest.fixture
def no_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a database of time zones."""
    for name in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.reset_tzpath(to=[])
    ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.usefixtures("no_zones")
def test_a_machine_without_zones_says_what_to_install() -> None:
    assert problems(timezone=MEXICO) == [
        "timezone: this machine has no database of time zones; install one with: pip install tzdata"
    ]
