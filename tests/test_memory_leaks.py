"""What grows is found: by type and line on demand, by the number of messages always."""

import asyncio
import tracemalloc

import pytest

from tecnobot_core import MemoryManager


class Forgotten:
    """What somebody keeps by mistake."""


async def test_a_search_names_the_type_and_the_line_that_grow() -> None:
    kept: list[Forgotten] = []
    texts: list[str] = []

    async def leak(seconds: float) -> None:
        assert tracemalloc.is_tracing()
        kept.extend(Forgotten() for _ in range(500))
        texts.extend("x" * (10_000 + n) for n in range(200))

    memory = MemoryManager(2**40, sleep=leak)
    report = await memory.find_leaks(30)
    grown = {growth.type_name.rpartition(".")[2]: growth.grown for growth in report.types}
    assert grown["Forgotten"] == 500
    assert report.lines[0].place.startswith(__file__)
    assert report.lines[0].n_bytes > 2_000_000
    assert report.window_s == 30
    assert report.tracing_bytes > 0
    assert not tracemalloc.is_tracing()


async def test_a_trace_that_somebody_else_began_goes_on() -> None:
    tracemalloc.start()
    try:
        await MemoryManager(2**40, sleep=_at_once).find_leaks(1)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


async def test_a_search_that_is_cancelled_traces_no_longer() -> None:
    async def long(seconds: float) -> None:
        await asyncio.Event().wait()

    search = asyncio.ensure_future(MemoryManager(2**40, sleep=long).find_leaks(1))
    await asyncio.sleep(0)
    assert tracemalloc.is_tracing()
    search.cancel()
    await asyncio.wait([search])
    assert not tracemalloc.is_tracing()


async def test_a_window_must_have_a_length() -> None:
    with pytest.raises(ValueError, match="window_s must be above 0, not 0"):
        await MemoryManager(2**40).find_leaks(0)


async def test_what_a_thousand_messages_leave_behind_is_told() -> None:
    used, told = 10_000, []
    memory = MemoryManager(1_000_000, probe=lambda: used)
    await memory.check()
    for _ in range(8):
        memory.count_messages(500)
        used += 250
        await memory.check()  # each second reading is of too few messages
        told.append(memory.statistics().bytes_per_1000_messages)
    assert told[:3] == [None] * 3
    assert told[3:] == pytest.approx([500.0] * 5)
    assert memory.statistics().messages == 4000


async def _at_once(seconds: float) -> None:
    pass
