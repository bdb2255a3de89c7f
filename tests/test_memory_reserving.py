"""Bytes are granted before they come: in order, never for ever, and all of them come back."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable

import pytest

from tecnobot_core import LifecycleError, MemoryManager
from tecnobot_core.errors import MemoryBusyError
from tecnobot_core.events.kinds import MemoryRefused
from tecnobot_core.memory import Lease, Priority, ReservationStatistics
from tests.virtual_time import run_virtually


class Machine:
    """Memory that holds a base, a cache that can be released, and what leases have landed."""

    def __init__(self, base: int = 0, cache: int = 0) -> None:
        self.base = base
        self.cache = cache
        self.landed = 0

    def __call__(self) -> int:
        return self.base + self.cache + self.landed

    def release(self, wanted: int) -> int:
        freed = min(wanted, self.cache)
        self.cache -= freed
        return freed

    def manager(self, *, max_wait_s: float = 10.0) -> MemoryManager:
        loop = asyncio.get_running_loop()
        memory = MemoryManager(1000, probe=self, clock=loop.time, find_trim=lambda: None, max_wait_s=max_wait_s)
        memory.register("cache", self.release)
        return memory


def reservations(memory: MemoryManager) -> ReservationStatistics:
    return memory.statistics().reservations


def virtually(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test whose waiting takes no time."""

    def test() -> None:
        async def main() -> None:
            await scenario()

        run_virtually(main())

    test.__name__ = scenario.__name__
    return test


@virtually
async def test_a_reservation_that_fits_is_granted_at_once_and_given_back() -> None:
    memory = Machine(base=500).manager()
    async with memory.reserve(400) as lease:
        assert lease.reserved_bytes == 400
        assert reservations(memory).expected_bytes == 400
    assert reservations(memory) == ReservationStatistics(0, 0, 0, 0, 0, 0.0, 0, 0)


@virtually
async def test_more_than_half_the_limit_is_refused_at_once() -> None:
    memory = Machine().manager()
    told: list[MemoryRefused] = []
    memory.on("refused", told.append)
    async with memory.reserve(500):
        pass
    began = asyncio.get_running_loop().time()
    with pytest.raises(
        MemoryBusyError, match="501 bytes for a film are never granted; wanted are at most 500"
    ) as raised:
        async with memory.reserve(501, kind="a film"):
            pass
    assert asyncio.get_running_loop().time() == began
    assert raised.value.retry_after_s is None
    assert told == [MemoryRefused(501, 0.0, "too_big")]
    assert reservations(memory).leases == 0


@virtually
async def test_who_waits_has_memory_released_though_the_level_is_normal() -> None:
    machine = Machine(base=100, cache=600)
    memory = machine.manager()
    async with memory.reserve(350):
        assert machine.cache == 450  # as much as was missing
        assert memory.level == "normal"
    assert reservations(memory).waited_s == 0


@virtually
async def test_a_wait_is_bounded_and_then_says_when_to_come_again() -> None:
    memory = Machine(base=800).manager(max_wait_s=10.0)
    told: list[MemoryRefused] = []
    memory.on("refused", told.append)
    began = asyncio.get_running_loop().time()
    with pytest.raises(MemoryBusyError, match=r"no room for 200 bytes of media within 10\.0 s") as raised:
        async with memory.reserve(200):
            pass
    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert raised.value.retry_after_s == 10
    assert [event.reason for event in told] == ["busy"]
    assert (reservations(memory).waiting, reservations(memory).refused) == (0, 1)


@virtually
async def test_histories_are_never_given_up_for_a_download() -> None:
    machine = Machine(base=400, cache=400)
    memory = machine.manager(max_wait_s=1.0)
    memory.register("cache", machine.release, priority=Priority.HISTORIES)
    with pytest.raises(MemoryBusyError):
        async with memory.reserve(200):
            pass
    assert machine.cache == 400


@virtually
async def test_those_who_wait_are_served_in_order() -> None:
    memory = Machine().manager()
    served: list[str] = []

    async def take(name: str, n_bytes: int) -> None:
        async with memory.reserve(n_bytes):
            served.append(name)
            await asyncio.sleep(1)

    await asyncio.gather(take("first", 500), take("big", 450), take("small", 50), take("last", 400))
    assert served == ["first", "big", "small", "last"]


@virtually
async def test_one_who_waits_is_served_when_memory_falls_by_itself() -> None:
    machine = Machine(base=800)
    memory = machine.manager()

    async def fall() -> None:
        await asyncio.sleep(3)
        machine.base = 100

    async with asyncio.TaskGroup() as group:
        group.create_task(fall())
        async with memory.reserve(400):
            waited_s = asyncio.get_running_loop().time()
    assert 3 <= waited_s < 3.2


@virtually
async def test_for_a_burst_memory_is_released_once_not_for_each() -> None:
    machine = Machine(base=100, cache=795)
    memory = machine.manager()

    async def take() -> None:
        async with memory.reserve(20):
            await asyncio.sleep(1)

    await asyncio.gather(*(take() for _ in range(5)))
    assert memory.statistics().releasers["cache"].asked == 2  # for the first, and for those that came meanwhile
    assert machine.cache == 795 - 95


@virtually
async def test_a_cancelled_one_leaves_the_queue_and_the_next_is_served() -> None:
    memory = Machine(base=400).manager()
    served: list[int] = []

    async def take(n_bytes: int) -> None:
        async with memory.reserve(n_bytes):
            served.append(n_bytes)

    async with memory.reserve(200):
        first, second = asyncio.ensure_future(take(450)), asyncio.ensure_future(take(300))
        await asyncio.sleep(1)
        assert reservations(memory).waiting == 2
        first.cancel()
        await asyncio.wait([first, second])
    assert served == [300]
    assert first.cancelled()
    assert reservations(memory).reserved_bytes == 0


@virtually
async def test_one_who_comes_to_the_front_has_memory_released() -> None:
    machine = Machine(base=500)
    memory = machine.manager()
    served_s: list[float] = []

    async def take(n_bytes: int) -> None:
        async with memory.reserve(n_bytes):
            served_s.append(asyncio.get_running_loop().time())

    first, second = asyncio.ensure_future(take(450)), asyncio.ensure_future(take(300))
    await asyncio.sleep(1)
    machine.cache = 200
    first.cancel()
    await asyncio.wait([first, second])
    assert [1 <= at_s < 1.2 for at_s in served_s] == [True]
    assert machine.cache == 100


@virtually
async def test_one_cancelled_in_the_moment_of_its_grant_gives_back() -> None:
    machine = Machine(base=400)
    memory = machine.manager()

    async def take() -> None:
        async with memory.reserve(450):
            raise AssertionError("it was cancelled")

    blocker = memory.reserve(200)
    await blocker.__aenter__()
    waiting = asyncio.ensure_future(take())
    await asyncio.sleep(1.05)
    await blocker.__aexit__(None, None, None)  # grants
    assert reservations(memory).reserved_bytes == 450
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert reservations(memory) == ReservationStatistics(0, 0, 0, 0, 1, 1.05, 0, 0)


@virtually
async def test_one_cancelled_in_the_moment_it_grows_keeps_what_it_had() -> None:
    memory = Machine(base=400).manager()
    async with memory.reserve(100) as lease:
        async with memory.reserve(350):
            growing = asyncio.ensure_future(lease.grow(200))
            await asyncio.sleep(1.05)
        assert lease.reserved_bytes == 300
        growing.cancel()
        await asyncio.wait([growing])
        assert lease.reserved_bytes == 100


@virtually
async def test_what_has_landed_is_not_counted_twice() -> None:
    machine = Machine(base=100)
    memory = machine.manager()
    async with memory.reserve(400) as first:
        machine.landed += 400
        first.landed(400)
        assert reservations(memory).expected_bytes == 0
        async with memory.reserve(400):
            pass
        machine.landed += 100  # more than was reserved: the reading tells
        first.landed(100)
        assert reservations(memory).expected_bytes == 0
    assert reservations(memory).waits == 0


@virtually
async def test_a_lease_grows_and_shrinks_with_what_comes() -> None:
    memory = Machine(base=300).manager()
    async with memory.reserve(100) as lease:
        await lease.grow(300)
        assert reservations(memory).reserved_bytes == 400
        lease.shrink(150)
        assert reservations(memory).reserved_bytes == 250
        with pytest.raises(MemoryBusyError, match="never granted"):
            await lease.grow(251)
        lease.shrink(1000)
        assert lease.reserved_bytes == 0
        for n_bytes in (-1,):
            with pytest.raises(ValueError, match="n_bytes"):
                lease.shrink(n_bytes)
            with pytest.raises(ValueError, match="n_bytes"):
                await lease.grow(n_bytes)
            with pytest.raises(ValueError, match="n_bytes"):
                memory.reserve(n_bytes)
    lease.close()
    with pytest.raises(LifecycleError, match="given back"):
        await lease.grow(1)
    assert reservations(memory).reserved_bytes == 0


@virtually
async def test_one_who_grows_goes_before_those_who_hold_nothing() -> None:
    memory = Machine().manager()
    served: list[str] = []

    async def come() -> None:
        async with memory.reserve(450):
            served.append("newcomer")

    async def grow(lease: Lease) -> None:
        await lease.grow(60)  # after which there is no room for the newcomer
        served.append("grown")

    async with memory.reserve(400) as lease:
        async with memory.reserve(450):
            newcomer = asyncio.ensure_future(come())
            await asyncio.sleep(1)
            growing = asyncio.ensure_future(grow(lease))
            await asyncio.sleep(1)
        await growing
        assert served == ["grown"]
    await newcomer
    assert served == ["grown", "newcomer"]


@virtually
async def test_of_two_who_wait_for_each_other_the_second_is_refused_at_once() -> None:
    memory = Machine(base=50).manager()

    async def fill() -> float:
        async with memory.reserve(400) as lease:
            await asyncio.sleep(0.01)
            await lease.grow(100)
            return asyncio.get_running_loop().time()

    first, second = await asyncio.gather(fill(), fill(), return_exceptions=True)
    assert isinstance(first, float) != isinstance(second, float)
    assert min(one for one in (first, second) if isinstance(one, float)) < 1
    assert reservations(memory).reserved_bytes == 0


@virtually
async def test_a_leaked_lease_comes_back_and_is_logged() -> None:
    memory = Machine().manager()
    lease: Lease | None = await memory.reserve(400, kind="voice notes").__aenter__()
    assert lease is not None
    lease = None
    gc.collect()
    assert reservations(memory).reserved_bytes == 0
    assert reservations(memory).leaked == 1


@virtually
async def test_nothing_is_granted_at_once_however_full_memory_is() -> None:
    memory = Machine(base=500).manager()
    async with memory.reserve(350):
        waiting = asyncio.ensure_future(memory.reserve(300).__aenter__())
        await asyncio.sleep(1)
        async with memory.reserve(0) as lease:
            assert lease.reserved_bytes == 0
            await lease.grow(0)
        assert asyncio.get_running_loop().time() == 1
        waiting.cancel()
        await asyncio.wait([waiting])
    assert reservations(memory).waits == 1


@virtually
async def test_what_landed_is_no_negative_number() -> None:
    memory = Machine().manager()
    async with memory.reserve(10) as lease:
        with pytest.raises(ValueError, match="n_bytes must be at least 0, not -1"):
            lease.landed(-1)


@virtually
async def test_a_reservation_is_entered_once() -> None:
    memory = Machine().manager()
    reservation = memory.reserve(1)
    async with reservation:
        with pytest.raises(LifecycleError, match="once"):
            await reservation.__aenter__()


RUNS = 10_000
LANES = 20


@virtually
async def test_ten_thousand_that_come_go_fail_and_are_cancelled_leave_nothing() -> None:
    chance = random.Random(7)
    machine = Machine(base=100, cache=700)
    memory = machine.manager(max_wait_s=10.0)
    ends = dict.fromkeys(("done", "failed", "cancelled", "busy"), 0)
    most = 0

    async def download(n_bytes: int) -> None:
        nonlocal most
        async with memory.reserve(n_bytes) as lease:
            left = n_bytes
            try:
                while left > 0:
                    await asyncio.sleep(chance.random() / 100)
                    part = min(left, chance.randint(100, 300))
                    left -= part
                    machine.landed += part
                    lease.landed(part)
                    most = max(most, machine())
                    if chance.random() < 0.02:
                        raise ZeroDivisionError
                if chance.random() < 0.2:
                    await lease.grow(chance.randint(0, 100))
                if chance.random() < 0.2:
                    lease.shrink(chance.randint(0, 50))
            finally:
                machine.landed -= n_bytes - left

    async def one() -> None:
        task = asyncio.ensure_future(download(chance.randint(0, 450)))
        if chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.random(), task.cancel)
        began = asyncio.get_running_loop().time()
        await asyncio.wait([task])
        assert asyncio.get_running_loop().time() - began < 25  # two waits of 10 s at most, and the work
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, ZeroDivisionError | MemoryBusyError), error
        end = "cancelled" if task.cancelled() else "busy" if isinstance(error, MemoryBusyError) else "failed"
        ends["done" if error is None and not task.cancelled() else end] += 1

    async def lane() -> None:
        for _ in range(RUNS // LANES):
            await one()
            if chance.random() < 0.1:
                room = 900 - machine() - reservations(memory).expected_bytes  # it is not asked for, so it must not take
                machine.cache += min(chance.randint(0, 100), max(room, 0))

    await asyncio.gather(*(lane() for _ in range(LANES)))
    assert sum(ends.values()) == RUNS
    assert all(n > 50 for name, n in ends.items() if name != "busy"), ends
    statistics = reservations(memory)
    assert (statistics.reserved_bytes, statistics.expected_bytes, statistics.leases, statistics.waiting) == (0, 0, 0, 0)
    assert machine.landed == 0
    assert 850 < most <= 900
