"""Parts give memory back in order, until the system has it, and never more than wanted."""

import asyncio
import contextlib
import ctypes
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest

from tecnobot_core import MemoryManager
from tecnobot_core.errors import MemoryBusyError
from tecnobot_core.memory import Priority, ReleaserStatistics
from tecnobot_core.memory.heap import Heap, find_trim
from tecnobot_core.testing import FakeClock
from tests.virtual_time import run_virtually, virtually

MIB = 1024 * 1024


class Machine:
    """Memory of which freed bytes stay in the process until it is trimmed; a probe, a releaser and a trim."""

    def __init__(self, used: int, *, returns: float = 1.0) -> None:
        self.used = used
        self.untrimmed = 0
        self.trims = 0
        self.clock = FakeClock()
        self.asked: list[tuple[str, int]] = []
        self._returns = returns  # what share of freed bytes a trim gives back

    def __call__(self) -> int:
        return self.used

    def frees(self, name: str, *, at_once: bool = True, most: int = 10**12, says: float = 1.0) -> Callable[[int], int]:
        left = most

        def release(wanted: int) -> int:
            nonlocal left
            self.asked.append((name, wanted))
            freed = min(wanted, left)
            left -= freed
            if at_once:
                self.used -= freed
            else:
                self.untrimmed += freed
            return int(freed * says)

        return release

    def trim(self) -> None:
        self.trims += 1
        self.used -= int(self.untrimmed * self._returns)
        self.untrimmed = 0

    def manager(self, limit: int = 1000, *, trims: bool = True) -> MemoryManager:
        return MemoryManager(limit, probe=self, clock=self.clock, find_trim=lambda: self.trim if trims else None)

    async def check(self, memory: MemoryManager, *, after_s: float = 1.0) -> None:
        self.clock.now += after_s
        await memory.check()


def of(memory: MemoryManager, name: str) -> ReleaserStatistics:
    return memory.statistics().releasers[name]


async def test_releasers_are_asked_in_order_until_enough_is_free() -> None:
    machine = Machine(850)
    memory = machine.manager()

    async def cache(wanted: int) -> int:
        return machine.frees("cache", most=60)(wanted)

    def broken(wanted: int) -> int:
        raise RuntimeError("cannot")

    def forgetful(wanted: int) -> int:
        return None  # type: ignore[return-value]  # what a release without a return statement gives

    memory.register("never", machine.frees("never"), priority=9)
    memory.register("media", machine.frees("media"), priority=5)
    memory.register("cache", cache, priority=1)
    memory.register("broken", broken, priority=2)
    memory.register("forgetful", forgetful, priority=3)
    statistics = await memory.check()
    assert machine.asked == [("cache", 100), ("media", 40)]
    assert (statistics.level, statistics.released_bytes, statistics.returned_bytes) == ("warning", 100, 100)
    assert [of(memory, name).failures for name in ("cache", "broken", "forgetful")] == [0, 1, 1]


async def test_the_next_is_asked_when_what_was_freed_did_not_reach_the_system() -> None:
    machine = Machine(850, returns=0.1)
    memory = machine.manager()
    memory.register("dicts", machine.frees("dicts", at_once=False), priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    await machine.check(memory)
    assert machine.asked == [("dicts", 100), ("media", 90)]
    assert (of(memory, "dicts").estimated_bytes, of(memory, "dicts").actual_bytes) == (100, 10)
    assert (of(memory, "media").estimated_bytes, of(memory, "media").actual_bytes) == (90, 90)


async def test_what_a_trim_will_give_back_is_not_asked_for_again() -> None:
    machine = Machine(780)
    memory = machine.manager()
    memory.register("small", machine.frees("small", at_once=False), priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    machine.used = 805
    await machine.check(memory)
    machine.used = 770  # 20 above the goal: less than a trim is worth
    await machine.check(memory)
    assert machine.asked == [("small", 55), ("small", 20)]
    assert machine.trims == 1  # 55 + 20 are worth it
    assert machine.used == 770 - 75


async def test_a_part_whose_word_is_worth_little_is_demoted_but_asked_before_histories() -> None:
    machine = Machine(950, returns=0.1)
    memory = machine.manager()
    memory.register("dicts", machine.frees("dicts", at_once=False), priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    memory.register("histories", machine.frees("histories"), priority=Priority.HISTORIES)
    for _ in range(3):
        machine.used = 950
        await machine.check(memory)
    assert of(memory, "dicts").demoted
    assert machine.asked.count(("dicts", 200)) == 3
    machine.asked.clear()
    machine.used = 950
    await machine.check(memory)
    assert [name for name, _ in machine.asked] == ["media"]
    machine._returns = 1.0
    memory.unregister("media")
    machine.used = 950
    await machine.check(memory, after_s=10)
    assert [name for name, _ in machine.asked] == ["media", "dicts"]
    assert not of(memory, "dicts").demoted


async def test_histories_are_asked_at_critical_only_and_only_until_that_is_left() -> None:
    machine = Machine(880)
    memory = machine.manager()
    memory.register("histories", machine.frees("histories"), priority=Priority.HISTORIES)
    memory.register("cache", machine.frees("cache", most=10))
    await machine.check(memory)
    assert (memory.level, machine.asked) == ("warning", [("cache", 130)])
    machine.used = 950
    await machine.check(memory)
    assert machine.asked == [("cache", 130), ("cache", 200), ("histories", 100)]
    assert machine.used == 850


async def test_a_releaser_is_left_alone_for_a_while_shorter_at_critical() -> None:
    machine = Machine(850)
    memory = machine.manager()
    memory.register("empty", machine.frees("empty", most=0))
    asked = []
    for used, after_s in ((850, 0), (850, 0.5), (850, 0.5), (950, 0.05), (950, 0.05), (950, 0.1)):
        machine.used = used
        await machine.check(memory, after_s=after_s)
        asked.append(len(machine.asked))
    assert asked == [1, 1, 2, 2, 3, 4]


def test_a_releaser_that_takes_too_long_is_cancelled_and_the_next_is_asked() -> None:
    machine = Machine(850)
    ended: list[str] = []

    async def slow(wanted: int) -> int:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("slow")
        return wanted

    async def main() -> float:
        memory = machine.manager()
        memory.register("slow", slow, priority=1)
        memory.register("media", machine.frees("media"), priority=2)
        began = asyncio.get_running_loop().time()
        await memory.check()
        assert of(memory, "slow").failures == 1
        return asyncio.get_running_loop().time() - began

    assert run_virtually(main()) == 1
    assert (ended, machine.asked) == (["slow"], [("media", 100)])


class Stubborn:
    """A releaser that does not heed cancellation until it is over, at *ends_at* of the loop's time."""

    def __init__(self, ends_at: float, error: Exception | None = None) -> None:
        self.ends_at = ends_at
        self.error = error
        self.asked_at: list[float] = []

    async def __call__(self, wanted: int) -> int:
        loop = asyncio.get_running_loop()
        self.asked_at.append(loop.time())
        while (left_s := self.ends_at - loop.time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left_s)
        if self.error is not None:
            raise self.error
        return 0


def on_loop_time(machine: Machine) -> MemoryManager:
    loop = asyncio.get_running_loop()
    return MemoryManager(1000, probe=machine, clock=loop.time, find_trim=lambda: None)


@virtually
async def test_a_releaser_that_ignores_cancellation_holds_up_nobody() -> None:
    machine, stubborn, loop = Machine(950), Stubborn(ends_at=40), asyncio.get_running_loop()
    memory = on_loop_time(machine)
    memory.register("stubborn", stubborn, priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    async with memory.reserve(10):
        assert loop.time() == 1  # its deadline
    assert machine.asked == [("media", 60)]
    assert (of(memory, "stubborn").failures, of(memory, "stubborn").late) == (1, True)


@virtually
async def test_a_releaser_that_was_cancelled_is_not_asked_again_before_it_ended() -> None:
    machine, stubborn = Machine(850), Stubborn(ends_at=39.5)
    memory = on_loop_time(machine)
    memory.register("stubborn", stubborn)
    for _ in range(50):
        await memory.check()
        await asyncio.sleep(1)
    assert stubborn.asked_at[0] == 0
    assert 39.5 <= stubborn.asked_at[1] <= 41.5
    assert not of(memory, "stubborn").late


@virtually
async def test_a_wait_is_bounded_whatever_a_releaser_does() -> None:
    machine, stubborn, loop = Machine(950), Stubborn(ends_at=100), asyncio.get_running_loop()
    memory = on_loop_time(machine)
    memory.register("stubborn", stubborn)
    with pytest.raises(MemoryBusyError):
        async with memory.reserve(10):
            pass
    assert loop.time() == pytest.approx(10)


@virtually
async def test_who_is_cancelled_while_it_waits_cancels_the_releaser() -> None:
    machine, loop = Machine(950), asyncio.get_running_loop()
    memory = on_loop_time(machine)
    ended_at: list[float] = []

    async def slow(wanted: int) -> int:
        try:
            await asyncio.sleep(100)
        finally:
            ended_at.append(loop.time())
        return 0

    memory.register("slow", slow)
    check = asyncio.ensure_future(memory.check())
    await asyncio.sleep(0.5)
    check.cancel()
    await asyncio.wait([check])
    await asyncio.sleep(0)
    assert (check.cancelled(), ended_at) == (True, [0.5])


def test_closing_tells_of_a_releaser_that_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> float:
        machine, loop = Machine(850), asyncio.get_running_loop()
        memory = on_loop_time(machine)
        memory.register("stubborn", Stubborn(ends_at=40))
        memory.register("polite", lambda wanted: asyncio.sleep(30, 0))
        async with memory:
            await asyncio.sleep(1.5)  # the first is late, the second is asked
            began = loop.time()
        return loop.time() - began

    assert run_virtually(main()) == 1
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["releasers were cancelled and do not end: stubborn"]


def test_a_releaser_that_fails_late_is_logged_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        memory = on_loop_time(Machine(850))
        memory.register("stubborn", Stubborn(ends_at=5, error=ZeroDivisionError("late")))
        await memory.check()
        assert "stubborn failed" not in caplog.text
        await asyncio.sleep(5)

    run_virtually(main())
    assert "the releaser stubborn failed" in caplog.text
    assert "ZeroDivisionError: late" in caplog.text


async def test_a_plain_releaser_that_tells_of_something_cancelled_stops_nobody() -> None:
    machine = Machine(850)
    memory = machine.manager()
    gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    gone.cancel()
    memory.register("gone", lambda wanted: gone.result(), priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    await memory.check()
    assert machine.asked == [("media", 100)]
    assert of(memory, "gone").failures == 1


async def test_a_releaser_that_was_cancelled_by_others_stops_nobody() -> None:
    machine = Machine(850)
    memory = machine.manager()

    async def cancelled(wanted: int) -> int:
        raise asyncio.CancelledError

    memory.register("cancelled", cancelled, priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    await memory.check()
    assert machine.asked == [("media", 100)]


async def test_two_checks_at_once_do_not_release_twice() -> None:
    machine = Machine(850)
    memory = machine.manager()

    async def slow(wanted: int) -> int:
        await asyncio.sleep(0)
        return machine.frees("slow")(wanted)

    memory.register("slow", slow)
    memory.register("media", machine.frees("media"), priority=1)
    await asyncio.gather(memory.check(), memory.check())
    assert machine.asked == [("slow", 100)]


async def test_a_name_that_is_registered_again_takes_the_place_of_the_old() -> None:
    machine = Machine(850)
    memory = machine.manager()
    memory.register("cache", machine.frees("old"))
    memory.register("cache", machine.frees("new"))
    await memory.check()
    assert machine.asked == [("new", 100)]


async def test_without_a_trim_nothing_is_waited_for() -> None:
    machine = Machine(850)
    memory = machine.manager(trims=False)
    memory.register("stays", machine.frees("stays", at_once=False), priority=1)
    memory.register("media", machine.frees("media"), priority=2)
    await memory.check()
    assert machine.asked == [("stays", 100), ("media", 100)]


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_trims_are_rare_and_worth_it() -> None:
    clock, trim = FakeClock(), Counted()
    heap = Heap(512 * MIB, clock=clock, trim=trim, collect=Counted())
    heap.note_freed(15 * MIB)
    assert not heap.trim(urgent=True)
    heap.note_freed(1 * MIB)
    assert heap.trim(urgent=False)
    heap.note_freed(16 * MIB)
    assert not heap.trim(urgent=True)
    clock.now += 0.25
    assert not heap.trim(urgent=False)
    assert heap.trim(urgent=True)
    heap.note_freed(1)
    clock.now += 5
    assert not heap.trim(urgent=False)
    assert heap.trim(urgent=False, exhausted=True)
    clock.now += 5
    assert not heap.trim(urgent=False, exhausted=True)  # nothing was freed since
    assert trim.calls == heap.trims == 3


def test_a_full_collection_comes_at_most_every_half_minute() -> None:
    clock, trim, collect = FakeClock(), Counted(), Counted()
    heap = Heap(512 * MIB, clock=clock, trim=trim, collect=collect)
    assert [heap.collect(), heap.collect()] == [True, False]
    clock.now += 30
    assert heap.collect()
    assert (collect.calls, heap.collections, trim.calls) == (2, 2, 2)


async def test_garbage_is_collected_at_critical_before_histories_are_asked() -> None:
    machine = Machine(850)
    machine.untrimmed = 200  # in cycles, as it were: only a collection and a trim give it back
    memory = machine.manager()
    memory.register("histories", machine.frees("histories"), priority=Priority.HISTORIES)
    await machine.check(memory)
    assert memory.statistics().collections == 0
    machine.used = 950
    await machine.check(memory)
    assert memory.statistics().collections == 1
    assert (machine.asked, machine.used) == ([], 750)


def has_glibc() -> bool:
    try:
        return hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    except (OSError, TypeError):
        return False


def test_the_c_library_is_asked_for_its_trim() -> None:
    trim = find_trim()
    assert (trim is not None) == has_glibc()
    if trim is not None:
        assert trim() in (0, 1)


TRIM_SCRIPT = """
import asyncio
from tecnobot_core.memory import MemoryManager, read_rss_bytes
MIB = 2**20
entries = {n: bytes(10_000) for n in range(10_000)}
used = read_rss_bytes()
memory = MemoryManager(int(used / 0.95))

def release(wanted):
    freed = 0
    for n in list(entries):
        if n % 10 and freed < wanted:  # the survivors keep the pages' neighbours
            freed += len(entries.pop(n))
    return freed

memory.register("entries", release)
statistics = asyncio.run(memory.check())
print(statistics.releasers["entries"].actual_bytes / statistics.releasers["entries"].estimated_bytes)
"""


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_what_is_freed_here_and_there_reaches_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", TRIM_SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= 0.8


MAPPING_SCRIPT = """
import asyncio
from tecnobot_core.memory import MemoryManager, read_rss_bytes

async def main():
    for _ in range(3):
        bytes(30_000_000)  # freed: glibc would keep what is smaller in the heap from now on
    async with MemoryManager(2**40):
        blocks = [b"x" * 1_000_000 for _ in range(100)]
        full = read_rss_bytes()
        del blocks[:99]  # the last one holds the heap's end
        print(full - read_rss_bytes())

asyncio.run(main())
"""


@pytest.mark.skipif(not has_glibc(), reason="needs glibc")
def test_while_open_big_blocks_go_back_as_they_are_freed() -> None:
    done = subprocess.run([sys.executable, "-c", MAPPING_SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 90_000_000


async def test_freed_buffers_are_trimmed_before_anybody_is_asked() -> None:
    machine = Machine(0)
    memory = machine.manager()
    memory.register("cache", machine.frees("cache"))
    async with memory.reserve(100) as lease:
        machine.used = 850
        lease.landed(100)
    machine.untrimmed = 100
    await machine.check(memory)
    assert (machine.asked, machine.used) == ([], 750)


async def test_nobody_is_asked_out_of_turn_while_another_has_more_to_give() -> None:
    machine = Machine(950)
    memory = machine.manager()
    memory.register("media", machine.frees("media", at_once=False), priority=1)
    memory.register("histories", machine.frees("histories"), priority=Priority.HISTORIES)
    await machine.check(memory)
    machine.used = 950
    await machine.check(memory, after_s=0.05)  # media is left alone for 0.1 s
    assert [name for name, _ in machine.asked] == ["media"]


async def test_one_whose_bytes_go_at_once_is_asked_again_sooner_at_critical() -> None:
    machine = Machine(850)
    memory = machine.manager()
    memory.register("media", machine.frees("media"))
    asked = []
    for used, after_s in ((850, 0), (850, 0.5), (850, 0.5), (950, 0.015), (950, 0.015), (950, 0.015), (950, 0.015)):
        machine.used = used
        await machine.check(memory, after_s=after_s)
        asked.append(len(machine.asked))
    assert asked == [1, 1, 2, 2, 3, 3, 4]


async def test_a_failing_releaser_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(850)
    memory = machine.manager()
    memory.register("liar", lambda wanted: -5)
    await memory.check()
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in failures] == ["the releaser liar failed"]
