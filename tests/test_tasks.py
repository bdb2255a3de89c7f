"""What an owner of background tasks can rely on."""

import asyncio
import os
import signal

import pytest

from tecnobot_core.errors import LifecycleError
from tecnobot_core.events import BackgroundTaskFailed, EventBus
from tecnobot_core.tasks import Tasks, stop_signals, wait_or_sleep
from tecnobot_core.testing import FakeClock


async def _fail(text: str) -> None:
    raise RuntimeError(text)


async def test_a_failure_is_published_at_once_and_raised_again_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[BackgroundTaskFailed] = []
    bus.on(BackgroundTaskFailed, heard.append)
    tasks = Tasks("part", on_failure=bus.task_failed)
    tasks.start(_fail("first"), "work")
    await tasks.wait()
    await asyncio.sleep(0)
    assert [(event.name, str(event.error)) for event in heard] == [("part.work", "first")]
    assert "background task part.work failed" in caplog.text
    with pytest.raises(RuntimeError, match="first"):
        await tasks.aclose()


async def test_several_failures_are_raised_as_a_group() -> None:
    tasks = Tasks("part")
    tasks.start(_fail("one"), "one")
    tasks.start(_fail("two"), "two")
    await tasks.wait()
    with pytest.raises(ExceptionGroup, match="background tasks of part failed") as caught:
        await tasks.aclose()
    assert sorted(map(str, caught.value.exceptions)) == ["one", "two"]


async def test_closing_cancels_and_waits() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async with Tasks("part") as tasks:
        task = tasks.start(work(), "work")
        await asyncio.sleep(0)
        assert task.get_name() == "part.work"
        assert len(tasks) == 1
    assert ended == [True]
    assert len(tasks) == 0


async def test_a_closed_owner_starts_nothing() -> None:
    tasks = Tasks("part")
    await tasks.aclose()
    with pytest.raises(LifecycleError, match="part is closed"):
        tasks.start(_fail("never"), "work")


async def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    clock, event = FakeClock(), asyncio.Event()
    async with Tasks("test") as tasks:
        early = tasks.start(wait_or_sleep(event, 10, sleep=clock.sleep), "early")
        await clock.advance(9)
        assert not early.done()
        await clock.advance(1)
        assert early.result() is False
        woken = tasks.start(wait_or_sleep(event, 10, sleep=clock.sleep), "woken")
        await clock.settle()
        event.set()
        assert await woken is True


async def test_a_signal_calls_stop_once() -> None:
    stopped = asyncio.Event()
    before = signal.getsignal(signal.SIGTERM)
    async with stop_signals(stopped.set):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stopped.wait(), 5)
    assert signal.getsignal(signal.SIGTERM) == before
