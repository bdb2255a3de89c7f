"""A manager is open once; a reading that fails ends nothing, and is told."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from tecnobot_core import ConfigurationError, LifecycleError, MemoryManager
from tecnobot_core.config import Settings
from tecnobot_core.events import BackgroundTaskFailed
from tecnobot_core.testing import FakeClock
from tests.live_bot import LiveBot


class Usage:
    """A probe that the test sets, and breaks with an error."""

    def __init__(self, used: int = 100) -> None:
        self.used = used
        self.reads = 0
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.used


def watchers() -> int:
    return sum(task.get_name() == "memory.watch" for task in asyncio.all_tasks())


async def test_who_opens_it_twice_is_told_and_the_first_goes_on() -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(1000, probe=usage, clock=clock, sleep=clock.sleep)
    opened = [memory.is_open]
    async with memory:
        opened.append(memory.is_open)
        with pytest.raises(LifecycleError, match="open already; open it once and share it"):
            await memory.__aenter__()
        assert watchers() == 1
        before = usage.reads
        await clock.advance(3)
        assert usage.reads >= before + 3
    assert [*opened, memory.is_open] == [False, True, False]
    assert watchers() == 0
    async with memory:
        assert watchers() == 1


async def test_a_bot_leaves_memory_open_that_was_open_and_closes_what_it_opened() -> None:
    for opens in (True, False):
        memory = MemoryManager(1000, probe=Usage(), sleep=_for_ever)
        if opens:
            await memory.__aenter__()
        async with LiveBot(memory=memory).running() as live:
            assert await live.says("hola")
            assert (memory.is_open, watchers()) == (True, 1)
        assert (memory.is_open, watchers()) == (opens, int(opens))
        await memory.aclose()
        assert watchers() == 0


async def _for_ever(seconds: float) -> None:
    await asyncio.Event().wait()


async def test_who_cannot_read_at_all_says_so_when_it_is_opened() -> None:
    usage = Usage()
    usage.error = PermissionError("no /proc")
    memory = MemoryManager(1000, probe=usage)
    with pytest.raises(PermissionError, match="no /proc"):
        async with memory:
            pass
    assert not memory.is_open
    assert watchers() == 0


async def test_a_probe_that_gives_no_number_is_a_reading_that_failed() -> None:
    usage = Usage()
    memory = MemoryManager(1000, probe=usage)
    await memory.check()
    usage.used = None  # type: ignore[assignment]
    statistics = await memory.check()
    assert statistics.used_bytes == 100
    assert statistics.reading_error.startswith("TypeError")


async def test_a_reading_that_fails_does_not_end_the_watch() -> None:
    clock, usage = FakeClock(), Usage()
    async with MemoryManager(1000, probe=usage, clock=clock, sleep=clock.sleep) as memory:
        await clock.advance(1.5)
        usage.error = OSError("once")
        await clock.advance(1)
        usage.error, usage.used = None, 850
        await clock.advance(1)
        assert memory.level == "warning"


async def test_failing_readings_are_told_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    clock, usage = FakeClock(), Usage()
    memory = MemoryManager(1000, probe=usage, clock=clock)
    told: list[BackgroundTaskFailed] = []
    memory.events.on(BackgroundTaskFailed, told.append)
    await memory.check()

    async def fail(error: Exception, times: int, after_s: float = 1.0) -> None:
        for _ in range(times):
            usage.error = error
            clock.now += after_s
            await memory.check()
            usage.error = None
            await memory.check()

    first, other, later = OSError("descriptor"), ValueError("number"), OSError("again")
    await fail(first, 100)
    assert told == [BackgroundTaskFailed("memory.reading", first)]
    await fail(other, 100, after_s=0.1)
    assert [event.error for event in told] == [first, other]
    await fail(later, 1, after_s=61)
    assert [event.error for event in told] == [first, other, later]
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info and record.exc_info[1] for record in records] == [first, other, later]


async def test_while_readings_fail_the_last_one_counts_and_that_is_said() -> None:
    usage = Usage(500)
    memory = MemoryManager(1000, probe=usage)
    before = await memory.check()
    assert (before.failed_readings, before.reading_error) == (0, "")
    usage.error = OSError("gone")
    for _ in range(2):
        await memory.check()
    failing = memory.statistics()
    assert (failing.used_bytes, failing.failed_readings, failing.reading_error) == (500, 3, "OSError: gone")
    async with memory.reserve(300):
        pass
    usage.error = None
    after = memory.statistics()
    assert after.failed_readings > 3
    assert after.reading_error == ""


async def test_nothing_follows_from_a_reading_that_failed() -> None:
    clock, usage, asked = FakeClock(), Usage(850), []

    def release(wanted: int) -> int:
        asked.append(wanted)
        return 0

    memory = MemoryManager(1000, probe=usage, clock=clock)
    await memory.check()
    memory.register("cache", release)
    usage.error = OSError("gone")
    for _ in range(5):
        clock.now += 5
        await memory.check()
    assert asked == []
    assert memory.history() == (850,)


def of_settings(warning: str) -> object:
    return Settings.from_env({"MEMORY_WARNING": warning})


def of_manager(warning: str) -> object:
    return MemoryManager(1000, warning=float(warning))


@pytest.mark.parametrize("make", [of_settings, of_manager])
def test_a_warning_that_could_never_be_left_is_refused(make: Callable[[str], object]) -> None:
    for warning in ("0.01", "0.05"):
        with pytest.raises(ValueError, match=r"0\.05"):
            make(warning)
    assert make("0.051")


def test_the_setting_says_what_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match=r"MEMORY_WARNING is 0\.05; wanted is more than 0\.05"):
        of_settings("0.05")


@pytest.mark.parametrize("name", ["interval_s", "deadline_s", "max_wait_s"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_times_that_cannot_be_are_refused(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0 s"):
        MemoryManager(1000, **{name: seconds})  # type: ignore[arg-type]
