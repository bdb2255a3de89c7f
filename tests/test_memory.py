"""MemoryManager tells levels once, reads sooner as the limit comes near, and refuses step by step."""

import gc
import math
from itertools import pairwise

import pytest

from tecnobot_core import MemoryManager
from tecnobot_core.events import Event, MemoryCriticalBegan, MemoryPressureChanged
from tecnobot_core.events.kinds import MemoryRecycleWanted, MemoryReleased
from tecnobot_core.memory import Priority
from tecnobot_core.memory.trend import Trend
from tecnobot_core.testing import FakeClock

MIB = 1024 * 1024


class Usage:
    """A probe whose reading the test sets, and from which releasers take."""

    def __init__(self, used: int = 0) -> None:
        self.used = used
        self.reads = 0

    def __call__(self) -> int:
        self.reads += 1
        return self.used

    def free(self, n_bytes: int) -> int:
        self.used -= n_bytes
        return n_bytes


async def read_every_second(memory: MemoryManager, clock: FakeClock, usage: Usage, *used: int) -> None:
    for usage.used in used:
        await memory.check()
        clock.now += 1


async def test_each_crossing_is_told_once_and_levels_do_not_flutter() -> None:
    usage, clock, told = Usage(), FakeClock(), []
    memory = MemoryManager(1000, probe=usage, clock=clock)
    for level in ("warning", "critical", "normal"):
        memory.on(level, lambda event: told.append(event.level))
    await read_every_second(memory, clock, usage, 500, 799, 800, 810, 790, 800, 899, 900, 870, 910)
    assert told == ["warning", "critical"]
    await read_every_second(memory, clock, usage, 849, 849, 849, 760, 749, 749, 749, 500)
    assert told == ["warning", "critical", "warning", "normal"]


async def test_a_level_is_left_only_when_it_was_calm_for_a_while() -> None:
    usage, clock = Usage(), FakeClock()
    memory = MemoryManager(1000, probe=usage, clock=clock)
    await read_every_second(memory, clock, usage, 900, 700, 700, 860, 700, 700)
    levels = [memory.level]
    await read_every_second(memory, clock, usage, 700)
    assert [*levels, memory.level] == ["critical", "normal"]


async def test_a_saw_tooth_of_a_thousand_steps_tells_each_crossing_once() -> None:
    usage, clock = Usage(), FakeClock()
    memory = MemoryManager(1000, probe=usage, clock=clock)
    told: list[str] = []
    memory.events.on(MemoryPressureChanged, lambda event: told.append(event.level))
    wave = [600 + 35 * (step if step < 10 else 20 - step) for step in range(20)]  # up to 950 and down again
    await read_every_second(memory, clock, usage, *(wave * 50))
    assert told == ["warning", "critical", "warning", "normal"] * 50


async def test_around_a_threshold_nothing_flutters() -> None:
    usage, clock = Usage(), FakeClock()
    memory = MemoryManager(1000, probe=usage, clock=clock)
    told: list[str] = []
    memory.events.on(MemoryPressureChanged, lambda event: told.append(event.level))
    await read_every_second(memory, clock, usage, *(int(800 + 20 * math.sin(step)) for step in range(1000)))
    assert told == ["warning"]


async def test_while_open_it_checks_every_interval() -> None:
    clock, usage = FakeClock(), Usage(100)
    memory = MemoryManager(1000, probe=usage, clock=clock, sleep=clock.sleep, interval_s=1)
    events: list[MemoryPressureChanged] = []
    memory.events.on(MemoryPressureChanged, events.append)
    async with memory:
        await clock.advance(5)
        usage.used = 950
        await clock.advance(1)
    assert events == [MemoryCriticalBegan("critical", 950, 1000)]
    assert memory.statistics().peak_bytes == 950


async def test_it_reads_once_a_second_when_calm_and_every_50_ms_under_pressure() -> None:
    clock, usage = FakeClock(), Usage(100)
    async with MemoryManager(1000, probe=usage, clock=clock, sleep=clock.sleep):
        await clock.advance(20.5)
        calm, usage.used = usage.reads, 850
        await clock.advance(1)
        pressed = usage.reads
        await clock.advance(1)
    assert calm == 1 + 21  # one before it watches
    assert usage.reads - pressed >= 20


async def test_it_reads_sooner_the_faster_memory_grows() -> None:
    clock = FakeClock()
    at: list[float] = []

    def growing() -> int:
        at.append(clock.now)
        return int(100 + 100 * clock.now)  # 800 after 7 s

    async with MemoryManager(1000, probe=growing, clock=clock, sleep=clock.sleep):
        await clock.advance(6.9)
    pauses = [later - sooner for sooner, later in pairwise(at) if later > sooner]
    assert pauses[0] == 1
    assert pauses == sorted(pauses, reverse=True)
    assert min(pauses) == pytest.approx(0.05)


async def test_memory_is_released_before_the_threshold_when_that_is_near() -> None:
    clock, usage, asked = FakeClock(), Usage(), []
    memory = MemoryManager(10_000, probe=usage, clock=clock)

    def release(wanted: int) -> int:
        asked.append(wanted)
        return usage.free(wanted)

    memory.register("cache", release)
    await read_every_second(memory, clock, usage, 6400, 6700, 7000, 7300)  # 9000 in 5.7 s
    assert asked == []
    await read_every_second(memory, clock, usage, 7600)
    assert memory.level == "normal"
    assert asked == [100]  # then 5 s at this slope lead to 9000


async def test_a_prediction_asks_for_nothing_while_there_is_much_room() -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(10_000, probe=usage, clock=clock)
    memory.register("cache", usage.free)
    await read_every_second(memory, clock, usage, 1000, 3000, 5000, 6900)
    assert memory.statistics().released_bytes == 0


async def test_the_seconds_that_are_left_are_told() -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(10_000, probe=usage, clock=clock)
    await read_every_second(memory, clock, usage, 1000, 1100, 1200, 1300, 1400, 1500)
    statistics = memory.statistics()
    assert statistics.slope_bytes_per_s == pytest.approx(100)
    assert statistics.seconds_to_critical == pytest.approx(75)
    assert memory.history() == (1000, 1100, 1200, 1300, 1400, 1500)


def test_the_peak_is_never_below_a_reading() -> None:
    statistics = MemoryManager(1000, probe=lambda: 500).statistics()
    assert (statistics.used_bytes, statistics.peak_bytes) == (500, 500)


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="warning"):
        MemoryManager(1000, warning=0.9, critical=0.8)
    with pytest.raises(ValueError, match="limit_bytes"):
        MemoryManager(0)


async def test_attachments_are_closed_at_critical_and_messages_when_releasing_did_not_help() -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(1000, probe=usage, clock=clock)
    admitted = []
    for usage.used in (899, 950, 970, 930, 899, 849):
        await memory.check()
        admitted.append((memory.admits_media, memory.admits_messages))
    assert admitted == [(True, True), (False, True), (False, False), (False, False), (False, True), (False, True)]
    clock.now += 10
    await memory.check()
    assert memory.admits_media
    memory.register("cache", lambda wanted: usage.free(wanted))
    usage.used = 990
    await memory.check()
    assert memory.admits_messages


async def test_a_new_process_is_wanted_once_and_only_by_those_who_opted_in() -> None:
    for recycle_after_s, wanted in ((None, []), (30.0, [MemoryRecycleWanted(960, 1000)])):
        clock, usage = FakeClock(), Usage()
        memory = MemoryManager(1000, probe=usage, clock=clock, recycle_after_s=recycle_after_s)
        told: list[Event] = []
        memory.on("recycle", told.append)
        await read_every_second(memory, clock, usage, *[960] * 25, 940, *[960] * 30)
        assert told == []
        await read_every_second(memory, clock, usage, *[960] * 60)
        assert told == wanted


async def test_what_was_released_is_told() -> None:
    usage = Usage(850)
    told: list[Event] = []
    memory = MemoryManager(1000, probe=usage)
    memory.on("released", told.append)
    memory.register("cache", lambda wanted: usage.free(60))
    statistics = await memory.check()
    assert told == [MemoryReleased(100, 60, 60)]
    assert (statistics.released_bytes, statistics.returned_bytes) == (60, 60)


async def test_handlers_can_be_taken_off_and_a_broken_one_stops_nothing() -> None:
    usage, clock = Usage(), FakeClock()
    told: list[Event] = []
    memory = MemoryManager(1000, probe=usage, clock=clock)

    def broken(event: Event) -> None:
        raise RuntimeError("cannot")

    memory.on("warning", broken)
    memory.on("warning", told.append)
    await read_every_second(memory, clock, usage, 850)
    assert len(told) == 1
    memory.off("warning", told.append)
    await read_every_second(memory, clock, usage, 500, 500, 500, 850)
    assert len(told) == 1


async def test_it_can_be_opened_again() -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(1000, probe=usage, clock=clock, sleep=clock.sleep)
    for _ in range(2):
        before = usage.reads
        async with memory:
            await clock.advance(3)
        assert usage.reads >= before + 3
    await memory.aclose()


async def test_what_lives_at_the_start_is_left_out_of_collections_while_open() -> None:
    before = gc.get_freeze_count()  # some that Python froze
    assert before < 1000
    async with MemoryManager(1000, probe=lambda: 0):
        assert gc.get_freeze_count() > 1000
        async with MemoryManager(1000, probe=lambda: 0):
            pass
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() <= before


async def test_releasers_hold_what_they_say_and_the_rest_is_unmanaged() -> None:
    memory = MemoryManager(1000, probe=lambda: 500)

    def broken() -> int:
        raise RuntimeError("cannot tell")

    memory.register("cache", lambda wanted: 0, priority=Priority.REPLIES, held=lambda: 200)
    memory.register("files", lambda wanted: 0)
    memory.register("broken", lambda wanted: 0, held=broken)
    statistics = memory.statistics()
    assert statistics.releasers["cache"].held_bytes == 200
    assert statistics.releasers["files"].held_bytes is None
    assert statistics.releasers["broken"].held_bytes is None
    assert statistics.unmanaged_bytes == 300


def test_readings_of_less_than_a_second_have_no_slope() -> None:
    trend = Trend()
    slopes = []
    for now, used in ((0.0, 0), (0.5, 100), (0.9, 200), (1.5, 300)):
        trend.add(now, used)
        slopes.append(trend.slope_bytes_per_s)
    assert slopes[:3] == [0.0, 0.0, 0.0]
    assert slopes[3] > 100
