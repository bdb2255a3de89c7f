"""Work in a thread has ended when whoever waited for it goes on."""

import asyncio
import gc
import threading

import pytest

from tecnobot_core.tasks import in_thread


async def test_work_in_a_thread_gives_its_result_or_its_error() -> None:
    assert await in_thread(threading.current_thread) is not threading.main_thread()
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_work_in_a_thread_has_ended_when_it_was_cancelled_however_often(fails: bool) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    unseen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        ended.set()
        if fails:
            raise ZeroDivisionError

    waiting = asyncio.create_task(in_thread(work))
    async with asyncio.timeout(10):
        while not begun.is_set():
            await asyncio.sleep(0)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
    assert waiting.cancelled()
    del waiting
    await asyncio.sleep(0)  # the loop lets go of what it has called
    gc.collect()
    assert unseen == []
