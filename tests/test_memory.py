"""MemoryManager tells levels once and asks for release in order."""

import pytest

from tecnobot_core import MemoryManager
from tecnobot_core.events import MemoryCriticalBegan, MemoryPressureChanged
from tecnobot_core.memory import read_peak_rss_bytes, read_rss_bytes
from tecnobot_core.testing import FakeClock


class Usage:
    """A probe whose reading the test sets."""

    def __init__(self, used: int = 0) -> None:
        self.used = used

    def __call__(self) -> int:
        return self.used


async def test_each_crossing_is_told_once_and_levels_do_not_flutter() -> None:
    usage, told = Usage(), []
    memory = MemoryManager(1000, probe=usage)
    for level in ("warning", "critical", "normal"):
        memory.on(level, lambda event: told.append(event.level))
    for used in (500, 799, 800, 810, 790, 800, 899, 900, 870, 910, 849, 760, 749, 500):
        usage.used = used
        await memory.check()
    assert told == ["warning", "critical", "warning", "normal"]


async def test_releasers_are_asked_in_order_until_enough_is_free() -> None:
    usage, asked = Usage(850), []
    memory = MemoryManager(1000, probe=usage)

    async def cache(wanted: int) -> int:
        asked.append(("cache", wanted))
        return 60

    def histories(wanted: int) -> int:
        asked.append(("histories", wanted))
        return wanted

    def broken(wanted: int) -> int:
        raise RuntimeError("cannot")

    def forgetful(wanted: int) -> int:
        return None  # type: ignore[return-value]  # what a release without a return statement gives

    def never(wanted: int) -> int:
        raise AssertionError("enough was free")

    memory.register("never", never, priority=9)
    memory.register("histories", histories, priority=5)
    memory.register("cache", cache, priority=1)
    memory.register("broken", broken, priority=2)
    memory.register("forgetful", forgetful, priority=3)
    statistics = await memory.check()
    assert asked == [("cache", 100), ("histories", 40)]
    assert (statistics.level, statistics.released_bytes) == ("warning", 100)


def test_the_peak_is_never_below_a_reading() -> None:
    statistics = MemoryManager(1000, probe=lambda: 500).statistics()
    assert (statistics.used_bytes, statistics.peak_bytes) == (500, 500)


async def test_while_open_it_checks_every_interval() -> None:
    clock, usage = FakeClock(), Usage(100)
    memory = MemoryManager(1000, probe=usage, sleep=clock.sleep, interval_s=1)
    events: list[MemoryPressureChanged] = []
    memory.events.on(MemoryPressureChanged, events.append)
    async with memory:
        await clock.advance(5)
        usage.used = 950
        await clock.advance(1)
    assert events == [MemoryCriticalBegan("critical", 950, 1000)]
    assert memory.statistics().peak_bytes == 950


def test_the_reading_is_the_resident_size_of_this_process() -> None:
    ballast = bytearray(b"x" * 50_000_000)
    assert read_rss_bytes() > len(ballast)


def test_the_peak_stays_when_memory_is_given_back() -> None:
    ballast = bytearray(b"x" * 50_000_000)
    with_ballast = read_rss_bytes()
    del ballast
    assert read_peak_rss_bytes() >= with_ballast > read_rss_bytes() + 25_000_000


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="warning"):
        MemoryManager(1000, warning=0.9, critical=0.8)
    with pytest.raises(ValueError, match="limit_bytes"):
        MemoryManager(0)
