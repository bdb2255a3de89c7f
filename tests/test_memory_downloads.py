"""Whatever downloads do, each ends in bounded time, memory stays below "critical", and all bytes come back."""

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core import MemoryManager
from tecnobot_core.errors import MemoryBusyError
from tests.virtual_time import run_virtually

LIMIT, CRITICAL, LARGEST = 1000, 900, 500
MAX_WAIT_S = 10.0
TENTHS = st.integers(0, 50).map(lambda tenths: tenths / 10)


class LinkLostError(Exception):
    """What breaks a download off."""


@dataclass(frozen=True)
class Download:
    """Begins, reserves *n*, fills it for a time, grows, fills that, shrinks; or fails, or is cancelled at a moment."""

    n: int
    begins_s: float
    takes_s: float
    grows: int
    shrinks: int
    fails: bool
    cancelled_at_s: float | None


DOWNLOADS = st.builds(
    Download,
    n=st.integers(0, LARGEST + 50),
    begins_s=TENTHS,
    takes_s=TENTHS,
    grows=st.integers(0, 200),
    shrinks=st.integers(0, 100),
    fails=st.booleans(),
    cancelled_at_s=st.none() | st.integers(0, 300).map(lambda tenths: tenths / 10),
)


class Machine:
    """What is in memory: a base, a cache that can be released, and what downloads have filled."""

    def __init__(self, base: int, cache: int) -> None:
        self.base, self.cache = base, cache
        self.landed = self.most = 0

    def __call__(self) -> int:
        used = self.base + self.cache + self.landed
        self.most = max(self.most, used)
        return used

    def release(self, wanted: int) -> int:
        freed = min(wanted, self.cache)
        self.cache -= freed
        return freed


@given(st.lists(DOWNLOADS, max_size=12), st.integers(0, 500), st.integers(0, 400))
@settings(max_examples=75, deadline=None)
def test_downloads_that_fail_and_are_cancelled_leave_nothing(downloads: list[Download], base: int, cache: int) -> None:
    machine = Machine(base, cache)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        memory = MemoryManager(LIMIT, probe=machine, clock=loop.time, find_trim=lambda: None, max_wait_s=MAX_WAIT_S)
        memory.register("cache", machine.release)
        ends = await asyncio.gather(*(run(memory, machine, download) for download in downloads), return_exceptions=True)
        for download, end in zip(downloads, ends, strict=True):
            # One wait to begin and one to grow, and the work.
            assert isinstance(end, float), end
            assert end <= download.begins_s + 2 * MAX_WAIT_S + 2 * download.takes_s + 0.1
        left = memory.statistics().reservations
        assert (left.reserved_bytes, left.expected_bytes, left.leases, left.waiting) == (0, 0, 0, 0)
        assert machine.landed == 0
        async with asyncio.timeout(MAX_WAIT_S), memory.reserve(min(LARGEST, CRITICAL - base)):
            pass  # and all of it can be had again

    run_virtually(main())
    assert machine.most <= CRITICAL


async def run(memory: MemoryManager, machine: Machine, download: Download) -> float:
    """When it ended; an exception where it ended as nobody said."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(carry_out(memory, machine, download))
    if download.cancelled_at_s is not None:
        loop.call_at(download.cancelled_at_s, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled() and not isinstance(error := task.exception(), MemoryBusyError | LinkLostError | None):
        raise AssertionError("it ended as nobody said") from error
    return loop.time()


async def carry_out(memory: MemoryManager, machine: Machine, download: Download) -> None:
    landed = 0

    async def fill(n: int) -> None:
        nonlocal landed
        await asyncio.sleep(download.takes_s)
        landed += n
        machine.landed += n
        machine()
        lease.landed(n)

    await asyncio.sleep(download.begins_s)
    async with memory.reserve(download.n) as lease:
        try:
            await fill(download.n)
            if download.fails:
                raise LinkLostError
            await lease.grow(download.grows)
            await fill(download.grows)
        finally:
            machine.landed -= landed
        lease.shrink(download.shrinks)
