"""What an owner of background tasks can rely on."""

import asyncio
import os
import signal

import pytest

from tecnobot_core.errors import LifecycleError
from tecnobot_core.events import BackgroundTaskFailed, EventBus
from tecnobot_core.tasks import Running, Tasks, TimeLimit, stop_signals, wait_or_sleep
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


async def test_cancelling_an_owner_after_a_failure_is_still_a_cancellation() -> None:
    async def own() -> None:
        async with Tasks("part") as tasks:
            tasks.start(_fail("earlier"), "work")
            await asyncio.Event().wait()

    async with Tasks("test") as tasks:
        owner = tasks.start(own(), "own")
        await FakeClock().settle()
        owner.cancel()
        await asyncio.wait([owner])
        assert owner.cancelled()


async def test_signals_go_to_the_inner_listener_then_to_the_outer_and_then_to_whoever_listened_before() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with stop_signals(lambda: heard.put_nowait("outer")), stop_signals(lambda: heard.put_nowait("inner")):
        for number, expected in ((signal.SIGTERM, "inner"), (signal.SIGINT, "outer")):
            os.kill(os.getpid(), number)
            assert await asyncio.wait_for(heard.get(), 5) == expected
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_the_outer_listener_hears_again_when_the_inner_one_is_gone() -> None:
    stopped = asyncio.Event()
    async with stop_signals(stopped.set):
        async with stop_signals(bool):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stopped.wait(), 5)


async def test_what_takes_too_long_is_cancelled_and_what_does_not_is_left_alone() -> None:
    limit = TimeLimit(0.01)
    with limit():
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), limit() as running:
        await asyncio.Event().wait()
    assert running.expired
    await asyncio.sleep(0)  # nothing of the cancellation is left behind
    with limit() as running:
        await asyncio.sleep(0)
    assert not running.expired


async def test_many_run_under_one_limit_and_each_ends_at_its_own_time() -> None:
    loop, limit, ended = asyncio.get_running_loop(), TimeLimit(0.02), []

    async def hang(number: int, begins_after_s: float) -> None:
        await asyncio.sleep(begins_after_s)
        began_at = loop.time()
        with pytest.raises(TimeoutError), limit():
            await asyncio.Event().wait()
        ended.append((number, loop.time() - began_at))

    await asyncio.gather(*(hang(number, number * 0.005) for number in range(5)))
    assert [number for number, _ in ended] == [0, 1, 2, 3, 4]
    assert all(took_s >= 0.0199 for _, took_s in ended)


async def test_a_cancellation_by_others_stays_one_under_a_limit() -> None:
    async def run() -> None:
        with TimeLimit(60)():
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_work_itself_is_not_that_of_the_limit() -> None:
    with pytest.raises(TimeoutError), TimeLimit(60)() as running:
        raise TimeoutError
    assert not running.expired


async def test_both_cancellations_in_one_moment_end_as_the_callers() -> None:
    limit = TimeLimit(60)

    async def run() -> None:
        with limit() as running:
            started.append(running)
            await asyncio.Event().wait()

    started: list[Running] = []
    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    started[0].expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
