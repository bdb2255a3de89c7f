"""A store behind its guard: gathered, written behind, left alone while it is broken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.guarded.breaker import FIRST_DELAY_S, MAX_DELAY_S
from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.testing import FakeClock, FakeTier
from tests.contracts.cache_tiers import A, B, lasting

TAG = b"tag" * 5
WINDOW_S = 0.25
BROKEN = StoreError("gone", retryable=True)
SHORT_S = 0.01  # a time limit of the event loop, which no clock of a test can move


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
def store(clock: FakeClock) -> FakeTier:
    return FakeTier(clock=clock, sleep=clock.sleep)


def guard(store: Any, clock: FakeClock, **how: Any) -> GuardedTier:
    return GuardedTier(store, random=lambda: 1.0, sleep=clock.sleep, **how)


@pytest.fixture
async def guarded(store: FakeTier, clock: FakeClock) -> AsyncIterator[GuardedTier]:
    async with guard(store, clock) as guarded:
        yield guarded
        store.is_down = store.hangs = False


def queries(store: FakeTier, name: str = "get_many") -> list[int]:
    return [n for called, n in store.calls if called == name]


async def break_it(guarded: GuardedTier, store: FakeTier) -> None:
    """Let the breaker open."""
    store.is_down = True
    while not guarded.is_broken:
        await guarded.get_many([b"?"])
    store.calls.clear()


async def heal(guarded: GuardedTier, store: FakeTier, clock: FakeClock) -> None:
    store.is_down = False
    await clock.advance(2 * MAX_DELAY_S)
    assert not guarded.is_broken
    await clock.advance(WINDOW_S)


# Reads


async def together(guarded: GuardedTier, *keys: bytes) -> list[Mapping[bytes, Record]]:
    return list(await asyncio.gather(*(guarded.get_many([key]) for key in keys)))


async def test_the_reads_of_one_tick_are_one_query(guarded: GuardedTier, store: FakeTier) -> None:
    await store.put_many([lasting(store, b"%d" % n, b"%d" % n) for n in range(0, 32, 2)])
    found = await asyncio.gather(*(guarded.get_many([b"%d" % n]) for n in range(32)))
    assert [set(records) for records in found] == [{b"%d" % n} if n % 2 == 0 else set() for n in range(32)]
    assert queries(store) == [32]
    assert (guarded.statistics.reads, guarded.statistics.queries) == (32, 1)


async def test_a_key_that_many_read_is_asked_for_once(guarded: GuardedTier, store: FakeTier) -> None:
    await store.put_many([lasting(store, A)])
    found = await asyncio.gather(*(guarded.get_many([A, B]) for _ in range(9)))
    assert [set(records) for records in found] == [{A}] * 9
    assert queries(store) == [2]


async def test_a_later_read_is_a_query_of_its_own(guarded: GuardedTier, store: FakeTier) -> None:
    await guarded.get_many([A])
    await guarded.get_many([A])
    assert queries(store) == [1, 1]


async def test_queries_stay_within_a_thousand_keys(guarded: GuardedTier, store: FakeTier) -> None:
    await asyncio.gather(*(guarded.get_many([b"%d-%d" % (n, key) for key in range(600)]) for n in range(3)))
    assert queries(store) == [600, 600, 600]


@pytest.mark.parametrize("who", [0, 1, 2])
async def test_cancelling_one_reader_takes_nothing_from_the_others(
    guarded: GuardedTier, store: FakeTier, who: int
) -> None:
    await store.put_many([lasting(store, key) for key in (A, B, b"c")])
    for passes in range(3):  # while they gather, and while the store is asked
        readers = [asyncio.create_task(guarded.get_many([key])) for key in (A, B, b"c")]
        store.hangs = True
        for _ in range(passes):
            await asyncio.sleep(0)
        readers[who].cancel()
        store.hangs = False
        found = await asyncio.gather(*readers, return_exceptions=True)
        assert isinstance(found.pop(who), asyncio.CancelledError)
        assert [len(records) for records in found] == [1, 1]  # type: ignore[arg-type]


async def test_a_store_that_fails_is_a_miss_for_everybody(guarded: GuardedTier, store: FakeTier) -> None:
    await store.put_many([lasting(store, A)])
    store.errors.append(BROKEN)
    assert await together(guarded, A, A) == [{}, {}]
    assert guarded.statistics.unanswered == 1
    assert set(await guarded.get_many([A])) == {A}


async def test_a_store_that_does_not_answer_is_a_miss_in_time(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock, read_timeout_s=SHORT_S, write_timeout_s=SHORT_S) as guarded:
        store.hangs = True
        for _ in range(3):
            assert await together(guarded, A, B) == [{}, {}]
        assert guarded.is_broken
        store.hangs = False


async def test_a_mistake_in_a_store_is_raised_and_keeps_nobody_waiting(clock: FakeClock) -> None:
    class Mistaken(FakeTier):
        async def get_many(self, keys: Any) -> Any:
            raise KeyError("?")

    async with guard(Mistaken(clock=clock), clock) as guarded:
        found = await asyncio.gather(*(guarded.get_many([A]) for _ in range(3)), return_exceptions=True)
    assert isinstance(found[0], KeyError)
    assert found[1:] == [{}, {}]


# Writes


async def test_sets_are_gathered_and_written_by_sixty_four(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    for number in range(1000):
        await guarded.put_many([lasting(guarded, b"%d" % number)])
    await clock.advance(WINDOW_S - 0.01)
    assert store.calls == []
    await clock.advance(0.01)
    assert queries(store, "put_many") == [64] * 15 + [40]
    assert guarded.pending == 0
    assert (guarded.statistics.written, guarded.statistics.batches) == (1000, 16)


async def test_of_one_key_only_the_last_set_of_a_window_is_written(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    for number in range(1000):
        await guarded.put_many([lasting(guarded, b"%d" % (number % 10), b"%d" % number)])
    await clock.advance(WINDOW_S)
    assert queries(store, "put_many") == [10]
    assert {record.data for record in store.records.values()} == {b"%d" % number for number in range(990, 1000)}
    assert guarded.statistics.replaced == 990


async def test_batches_stay_within_a_megabyte(guarded: GuardedTier, store: FakeTier) -> None:
    await guarded.put_many([lasting(guarded, b"%d" % number, bytes(400_000)) for number in range(9)])
    await guarded.flush()
    assert queries(store, "put_many") == [3, 3, 3]


async def test_a_later_set_has_a_window_of_its_own(guarded: GuardedTier, store: FakeTier, clock: FakeClock) -> None:
    for key in (A, B):
        await guarded.put_many([lasting(guarded, key)])
        await clock.advance(WINDOW_S)
    assert queries(store, "put_many") == [1, 1]


async def test_what_waits_is_read_as_if_it_were_written(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await store.put_many([lasting(store, A, b"old"), lasting(store, B, b"b")])
    await guarded.put_many([lasting(guarded, A, b"new", keep_s=0.2)])
    found = await guarded.get_many([A, B])
    assert {record.data for record in found.values()} == {b"new", b"b"}
    assert queries(store) == [1]
    await clock.advance(0.2)
    assert set(await guarded.get_many([A, B])) == {B}


async def test_what_is_being_written_or_deleted_is_read_as_if_it_were(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock) as guarded:
        await store.put_many([lasting(store, A, b"old"), lasting(store, B, b"old")])
        slow = Slow(store)
        await guarded.put_many([lasting(guarded, A, b"new")])
        flushing = asyncio.create_task(guarded.flush())
        await slow.reached()
        assert (await guarded.get_many([A]))[A].data == b"new"
        slow.pass_on()
        await flushing
        deleting = asyncio.create_task(guarded.delete_many([B]))
        await slow.reached()
        assert await guarded.get_many([B]) == {}
        slow.pass_on()
        await deleting


class Slow:
    """Writes of *store* wait until they are let pass."""

    def __init__(self, store: FakeTier) -> None:
        self._at = asyncio.Event()
        self._pass = asyncio.Event()
        self._put, self._delete = store.put_many, store.delete_many
        store.put_many = self._wait(store.put_many)  # type: ignore[method-assign]
        store.delete_many = self._wait(store.delete_many)  # type: ignore[method-assign]

    def _wait(self, call: Callable[[Any], Awaitable[None]]) -> Any:
        async def slow(what: Any) -> None:
            self._at.set()
            await self._pass.wait()
            self._pass.clear()
            await call(what)

        return slow

    async def reached(self) -> None:
        await self._at.wait()
        self._at.clear()

    def pass_on(self) -> None:
        self._pass.set()


async def test_a_delete_is_done_at_once_and_reaches_what_is_not_written(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await store.put_many([lasting(store, B)])
    await guarded.put_many([lasting(guarded, A)])
    await guarded.delete_many([A, B])
    assert store.records == {}
    assert await guarded.get_many([A, B]) == {}
    await clock.advance(WINDOW_S)
    assert store.records == {}


async def test_a_delete_comes_after_the_write_that_is_under_way(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    slow = Slow(store)
    await guarded.put_many([lasting(guarded, A)])
    flushing = asyncio.create_task(guarded.flush())
    await slow.reached()
    deleting = asyncio.create_task(guarded.delete_many([A]))
    await clock.settle()
    assert await guarded.get_many([A]) == {}
    slow.pass_on()
    await slow.reached()
    slow.pass_on()
    await asyncio.gather(flushing, deleting)
    assert store.records == {}


async def test_a_set_after_a_delete_stays(guarded: GuardedTier, store: FakeTier) -> None:
    await guarded.delete_many([A])
    await guarded.put_many([lasting(guarded, A)])
    await guarded.flush()
    assert set(store.records) == {A}


async def test_erasing_reaches_what_is_not_written_and_what_is_being_written(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await store.put_many([lasting(store, b"old", tags=(TAG,)), lasting(store, b"other")])
    await store.put_many([lasting(store, B, b"before")])
    slow = Slow(store)
    await guarded.put_many([lasting(guarded, A, tags=(TAG,))])
    flushing = asyncio.create_task(guarded.flush())
    await slow.reached()
    await guarded.put_many([lasting(guarded, B, b"after", tags=(TAG,)), lasting(guarded, b"c")])
    erasing = asyncio.create_task(guarded.erase(TAG))
    await clock.settle()
    for _ in range(3):
        slow.pass_on()
        await clock.settle()
    assert await erasing == 3
    await flushing
    await clock.advance(WINDOW_S)
    slow.pass_on()
    await clock.settle()
    # What B was before must not come back either.
    assert set(store.records) == {b"other", b"c"}


async def test_closing_writes_everything(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock) as guarded:
        await guarded.put_many([lasting(guarded, b"%d" % number) for number in range(100)])
    assert len(store.records) == 100
    await guarded.aclose()


async def test_closing_while_the_store_is_broken_waits_for_nothing(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock) as guarded:
        await guarded.put_many([lasting(guarded, A)])
        await break_it(guarded, store)
    assert store.calls == []
    assert guarded.statistics.dropped == 1


async def test_it_may_be_opened_again(store: FakeTier, clock: FakeClock) -> None:
    guarded = guard(store, clock)
    for key in (A, B):
        async with guarded:
            with pytest.raises(LifecycleError, match="open already"):
                await guarded.__aenter__()
            await guarded.put_many([lasting(guarded, key)])
            await clock.advance(WINDOW_S)
            assert key in store.records


async def test_before_it_is_open_only_flushing_writes(store: FakeTier, clock: FakeClock) -> None:
    guarded = guard(store, clock)
    await guarded.put_many([lasting(guarded, A)])
    assert set(await guarded.get_many([A])) == {A}
    async with guarded:
        await clock.advance(WINDOW_S)
        assert set(store.records) == {A}


async def test_sets_above_the_limit_are_dropped_and_leave_no_older_value(store: FakeTier, clock: FakeClock) -> None:
    await store.put_many([lasting(store, B, b"old")])
    async with guard(store, clock, max_pending_bytes=1500) as guarded:
        await guarded.put_many([lasting(guarded, A, bytes(1000)), lasting(guarded, B, bytes(1000))])
        assert set(await guarded.get_many([A, B])) == {A}
        await guarded.flush()
        assert set(store.records) == {A}
        assert guarded.statistics.dropped == 1
        await guarded.put_many([lasting(guarded, B, bytes(1000))])
        await guarded.flush()
    assert set(store.records) == {A, B}


async def test_whoever_is_cancelled_while_flushing_loses_nothing(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    slow = Slow(store)
    await guarded.put_many([lasting(guarded, A)])
    flushing = asyncio.create_task(guarded.flush())
    await slow.reached()
    flushing.cancel()
    await clock.settle()
    slow.pass_on()
    await clock.advance(WINDOW_S)
    assert set(store.records) == {A}


async def test_what_a_cancelled_flush_leaves_is_older_than_what_was_set_meanwhile(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    slow = Slow(store)
    await guarded.put_many([lasting(guarded, key, b"old", tags=(TAG,)) for key in (A, B)])
    flushing = asyncio.create_task(guarded.flush())
    await slow.reached()
    await guarded.put_many([lasting(guarded, A, b"new")])
    erasing = asyncio.create_task(guarded.erase(TAG))
    await clock.settle()
    flushing.cancel()
    for _ in range(4):
        slow.pass_on()
        await clock.advance(WINDOW_S)
    assert await erasing == 1
    assert {key: record.data for key, record in store.records.items()} == {A: b"new"}


async def test_a_key_waits_once_whatever_is_to_be_done_with_it(guarded: GuardedTier, store: FakeTier) -> None:
    store.errors.append(BROKEN)
    with pytest.raises(StoreError):
        await guarded.delete_many([A])
    assert guarded.pending == 1
    await guarded.put_many([lasting(guarded, A)])
    assert guarded.pending == 1
    slow = Slow(store)
    flushing = asyncio.create_task(guarded.flush())
    await slow.reached()
    await guarded.put_many([lasting(guarded, A)])
    store.errors.append(BROKEN)
    slow.pass_on()
    await flushing
    assert guarded.pending == 1
    slow.pass_on()


async def test_one_failed_write_is_dropped_and_the_rest_is_written(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await guarded.put_many([lasting(guarded, b"%d" % number) for number in range(100)])
    store.errors.append(BROKEN)
    await clock.advance(WINDOW_S)
    await clock.advance(WINDOW_S)
    assert len(store.records) == 36
    assert guarded.statistics.dropped == 64
    assert guarded.pending == 0


# The breaker


async def test_a_broken_store_costs_nothing(guarded: GuardedTier, store: FakeTier) -> None:
    await break_it(guarded, store)
    assert await guarded.get_many([A]) == {}
    await guarded.put_many([lasting(guarded, A)])
    assert await guarded.get_many([A]) == {}
    await guarded.flush()
    with pytest.raises(StoreError, match="until that is back"):
        await guarded.delete_many([B])
    with pytest.raises(StoreError, match="broken"):
        await guarded.erase(TAG)
    assert store.calls == []
    assert guarded.statistics.dropped == 1


async def test_it_opens_after_failures_without_a_success_between(guarded: GuardedTier, store: FakeTier) -> None:
    store.errors.extend([BROKEN, BROKEN, None, BROKEN, BROKEN])
    for _ in range(5):
        await guarded.get_many([A])
    assert not guarded.is_broken
    store.errors.append(BROKEN)
    await guarded.put_many([lasting(guarded, A)])
    await guarded.flush()
    assert guarded.is_broken
    assert (guarded.statistics.failures, guarded.statistics.openings) == (5, 1)


async def test_it_asks_by_itself_whether_the_store_is_back_less_and_less_often(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await break_it(guarded, store)
    asked_at = []
    for _ in range(2000):
        await clock.advance(FIRST_DELAY_S / 2)
        if store.calls:
            asked_at.append(clock.now)
            store.calls.clear()
    gaps = [later - earlier for earlier, later in zip([1000.0, *asked_at], asked_at, strict=False)]
    assert gaps[:7] == [0.5, 1, 2, 4, 8, 16, 30]
    assert set(gaps[7:]) == {30}


async def test_it_heals_and_tells_both(store: FakeTier, clock: FakeClock) -> None:
    told: list[tuple[bool, str]] = []
    async with guard(store, clock, changed=lambda is_open, reason: told.append((is_open, reason))) as guarded:
        await break_it(guarded, store)
        await clock.advance(FIRST_DELAY_S)
        assert guarded.is_broken
        store.is_down = False
        await clock.advance(2 * FIRST_DELAY_S)
        store.errors.extend([BROKEN, BROKEN])  # of three, as if there had been none before
        for _ in range(2):
            await guarded.get_many([A])
        assert not guarded.is_broken
        await guarded.put_many([lasting(guarded, A)])
        await guarded.flush()
        assert set(await guarded.get_many([A])) == {A}
    assert told == [(True, "the fake store is down"), (False, "")]


async def test_what_was_deleted_or_set_meanwhile_is_deleted_when_it_is_back(
    guarded: GuardedTier, store: FakeTier, clock: FakeClock
) -> None:
    await store.put_many([lasting(store, key, b"old") for key in (A, B, b"c", b"d")])
    await guarded.put_many([lasting(guarded, b"c", b"pending")])
    await break_it(guarded, store)
    with pytest.raises(StoreError):
        await guarded.delete_many([A])
    await guarded.put_many([lasting(guarded, B, b"new")])
    await clock.advance(WINDOW_S)
    await heal(guarded, store, clock)
    assert set(store.records) == {b"d"}
    assert guarded.pending == 0


async def test_it_remembers_so_many_keys(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock, max_kept=10) as guarded:
        await break_it(guarded, store)
        await guarded.put_many([lasting(guarded, b"%d" % number) for number in range(25)])
        assert guarded.pending == 10
        assert guarded.statistics.forgotten_deletes == 15
        await heal(guarded, store, clock)
        assert queries(store, "delete_many") == [10]


# Leases and marks


async def test_leases_and_marks_of_a_broken_store_are_errors_at_once(guarded: GuardedTier, store: FakeTier) -> None:
    assert guarded.leases is not None
    assert guarded.marks is not None
    assert await guarded.leases.acquire(A, 9)
    await guarded.marks.mark([A], 9.0)
    await break_it(guarded, store)
    leases = guarded.leases
    for call in (leases.acquire(A, 9), leases.renew(A, 9), leases.wait(A, 9), guarded.marks.mark([A], 9.0)):
        with pytest.raises(StoreError, match="not asked"):
            await call
    assert store.calls == []


async def test_leases_that_are_not_answered_open_the_breaker_too(store: FakeTier, clock: FakeClock) -> None:
    async with guard(store, clock, write_timeout_s=SHORT_S) as guarded:
        assert guarded.leases is not None
        store.hangs = True
        for _ in range(3):
            with pytest.raises(StoreError, match=r"within 0\.01 s"):
                await guarded.leases.acquire(A, 9)
        assert guarded.is_broken
        store.hangs = False


async def test_leases_and_marks_may_be_somebody_elses(clock: FakeClock) -> None:
    records, others = FakeTier(clock=clock), FakeTier(clock=clock)
    async with guard(records, clock, marks=others, leases=others) as guarded:
        assert guarded.leases is not None
        assert guarded.marks is not None
        await guarded.leases.acquire(A, 9)
        await guarded.marks.mark([B], 9.0)
    assert [name for name, _ in others.calls] == ["acquire", "mark"]


# Whatever happens

keys = st.sampled_from([A, B, b"c"])
steps = st.one_of(
    st.tuples(st.just("put"), keys),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("erase"), keys),
    st.tuples(st.just("advance"), st.sampled_from([0.01, WINDOW_S, 1.0])),
    st.tuples(st.just("down"), st.booleans()),
    st.tuples(st.just("error"), st.just(BROKEN)),
    st.tuples(st.just("read"), keys),
)


@settings(max_examples=150, deadline=None)
@given(plan=st.lists(steps, max_size=25))
async def test_nothing_older_than_the_last_write_is_ever_read(plan: list[tuple[str, Any]]) -> None:
    clock = FakeClock(1000.0)
    store = FakeTier(clock=clock, sleep=clock.sleep)
    newest: dict[bytes, bytes | None] = {}
    faults = False
    async with guard(store, clock) as guarded:

        async def is_right(key: bytes) -> None:
            found = (await guarded.get_many([key])).get(key)
            expected = newest.get(key)
            assert found is None or found.data == expected
            if not faults:
                assert (found and found.data) == expected

        for number, (step, what) in enumerate(plan):
            if step == "put":
                newest[what] = b"%d" % number
                await guarded.put_many([Record(what, b"%d" % number, 1.0, 9e9, (what + b"tag",))])
            elif step in ("delete", "erase"):
                try:
                    await (guarded.delete_many([what]) if step == "delete" else guarded.erase(what + b"tag"))
                    newest[what] = None
                except StoreError:
                    if step == "delete":
                        newest[what] = None  # it will be
                    faults = True
            elif step == "advance":
                await clock.advance(what)
            elif step == "down":
                store.is_down = what
                faults |= what
            elif step == "error":
                store.errors.append(what)
                faults = True
            else:
                await is_right(what)
        store.errors.clear()
        store.is_down = False
        await clock.advance(2 * MAX_DELAY_S)
        await clock.advance(WINDOW_S)
        await guarded.flush()
        for key in (A, B, b"c"):
            await is_right(key)
            record = store.records.get(key)
            assert record is None or record.data == newest.get(key)


async def test_a_read_that_nobody_can_join_is_asked_at_once(guarded: GuardedTier, store: FakeTier) -> None:
    reading = guarded.get_many([A])
    with pytest.raises(StopIteration):
        reading.send(None)
    assert queries(store) == [1]
