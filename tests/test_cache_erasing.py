"""Who is erased in one process leaves the others too, however late they hear of it and in whichever order."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache.erasing import Erasures
from tecnobot_core.cache.ports import ERASED, Record
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeTier, SharedStore
from tests.virtual_time import run_virtually

SECRET = bytes(range(32))
POLICIES = {"mine": CachePolicy(3600, scope="user")}


def now() -> float:
    return asyncio.get_running_loop().time()


class Unmarked:
    """A tier that knows no marks, and so stores whatever it is given."""

    def __init__(self, tier: FakeTier) -> None:
        self.now, self.get_many, self.put_many = tier.now, tier.get_many, tier.put_many
        self.delete_many, self.erase = tier.delete_many, tier.erase


class Process:
    """A cache whose records and marks are in two stores."""

    def __init__(self, records: SharedStore, marks: SharedStore, hears_after_s: float = 0.0) -> None:
        self.tier = FakeTier(records)
        self.marks = FakeTier(marks, hears_after_s=hears_after_s)
        self.cache = HybridCache(
            store=Unmarked(self.tier), marks=self.marks, secret=SECRET, policies=POLICIES, clock=now
        )

    async def load(self, user: str = "ana", takes_s: float = 0.0) -> str:
        async def answer() -> str:
            await asyncio.sleep(takes_s)
            return f"{user} lives here"

        return await self.cache.get_or_load("q", answer, policy="mine", scope=user)

    def called(self, name: str) -> int:
        return sum(call == name for call, _ in self.tier.calls)


def test_what_was_written_before_the_erasing_was_heard_is_erased_again() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        one, late = Process(records, marks), Process(records, marks, hears_after_s=2.0)
        async with one.cache, late.cache:
            loading = asyncio.ensure_future(late.load(takes_s=1.0))
            await late.load("luis")
            await asyncio.sleep(0.5)
            assert await one.cache.erase("ana") == 0
            assert await loading == "ana lives here"
            await asyncio.sleep(1)
            assert len(records.records) == 2, "by now it is written"
            await asyncio.sleep(2)
            assert ["luis" in repr(record.data) for record in records.records.values()] == [True]
            assert len(late.cache._memory) == 1

    run_virtually(main())


def test_what_waits_to_be_written_when_it_is_heard_is_never_written() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        one, two = Process(records, marks), Process(records, marks)
        async with one.cache, two.cache:
            await two.load()
            assert two.cache.statistics()["store_pending"] == 1
            tag = one.cache._engine.space.scope_tag("ana")
            await FakeTier(marks).mark([tag, ERASED + tag], now())
            assert not two.cache._engine.guarded._writes.pending.sets  # type: ignore[union-attr]
            await asyncio.sleep(2)
            assert two.called("put_many") == 0
        assert not records.records

    run_virtually(main())


@pytest.mark.parametrize("first", ["ana", "luis"])
def test_erasures_that_are_heard_in_another_order_are_heard_all(first: str) -> None:
    async def main() -> None:
        marks = SharedStore(now)
        process = Process(SharedStore(now), marks)
        space = process.cache._engine.space
        async with process.cache:
            for user in ("ana", "luis", "zoe"):
                await process.load(user)
            await asyncio.sleep(5)
            at = {"ana": 3.1, "luis": 3.2}
            for user in (first, *(at.keys() - {first})):
                tag = space.scope_tag(user)
                await FakeTier(marks).mark([tag, ERASED + tag], at[user])
                await asyncio.sleep(1)
            assert len(process.cache._memory) == 1
            assert await process.load("zoe") == "zoe lives here"

    run_virtually(main())


def test_who_is_erased_while_the_store_is_down_leaves_it_when_it_is_back() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        process = Process(records, marks)
        async with process.cache:
            await process.load()
            await asyncio.sleep(1)
            process.tier.is_down = True
            tag = process.cache._engine.space.scope_tag("ana")
            await FakeTier(marks).mark([tag, ERASED + tag], now())
            await asyncio.sleep(20)
            assert len(records.records) == 1
            process.tier.is_down = False
            await asyncio.sleep(60)
            assert not records.records

    run_virtually(main())


def test_what_is_to_be_erased_yet_is_erased_before_the_cache_is_closed() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        process = Process(records, marks)
        async with process.cache:
            await process.load()
            await asyncio.sleep(1)
            tag = process.cache._engine.space.scope_tag("ana")
            await FakeTier(marks).mark([tag, ERASED + tag], now())
            assert len(records.records) == 1
        assert not records.records

    run_virtually(main())


def test_each_process_erases_once_and_who_opens_a_cache_erases_nobody_of_long_ago() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        one, two = Process(records, marks), Process(records, marks)
        async with one.cache, two.cache:
            await one.cache.erase("ana")
            await asyncio.sleep(1)
            assert (one.called("erase"), two.called("erase")) == (1, 1)
            for heard in marks.followers:
                heard(dict(marks.marks))  # as after trouble
            await asyncio.sleep(1)
            assert (one.called("erase"), two.called("erase")) == (1, 1)
        await asyncio.sleep(1000)
        three = Process(records, marks)
        async with three.cache:
            await asyncio.sleep(1)
            assert three.called("erase") == 0

    run_virtually(main())


def test_where_nothing_is_known_for_sure_nothing_is_left_in_memory_or_waits() -> None:
    async def main() -> None:
        records, marks = SharedStore(now), SharedStore(now)
        process = Process(records, marks)
        async with process.cache:
            await process.load()
            for heard in marks.followers:
                heard({b"": now()})
            assert len(process.cache._memory) == 0
            await asyncio.sleep(1)
            assert not records.records

    run_virtually(main())


def test_what_is_known_of_erasures_is_bounded() -> None:
    async def forget(tags: Any) -> None:
        left.append(set(tags))

    left: list[set[bytes]] = []
    erasures = Erasures(forget, left.clear, None, max_known=10)

    async def main() -> None:
        async with Tasks("test") as tasks:
            for number in range(100):
                erasures.hear({ERASED + b"%d" % number: float(number), b"%d" % number: float(number)}, tasks)
            await asyncio.sleep(1)
        assert left == [{b"%d" % number} for number in range(100)]
        assert len(erasures._known) == 10

    run_virtually(main())


def test_a_fake_tier_may_hear_late_and_hears_nothing_after_it_was_closed() -> None:
    async def main() -> None:
        tier = FakeTier(clock=now, hears_after_s=2.0)
        heard: list[Mapping[bytes, float]] = []
        following = asyncio.ensure_future(tier.follow(heard.append))
        await asyncio.sleep(1)
        await tier.mark([b"a"], 1.0)
        await asyncio.sleep(1.9)
        assert heard == [{}]
        await asyncio.sleep(0.2)
        assert heard == [{}, {b"a": 1.0}]
        await tier.mark([b"b"], 2.0)
        following.cancel()
        await asyncio.sleep(5)
        assert len(heard) == 2
        await tier.put_many([Record(b"a", b"x", 0.5, 99.0)])
        assert not tier.records

    run_virtually(main())
