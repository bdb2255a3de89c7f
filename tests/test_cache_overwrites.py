"""What one process sets over an older value is heard by the others, which forget theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache.marks import KnownMarks
from tecnobot_core.cache.overwriting import Overwritten
from tecnobot_core.testing import TellingStore, TellingTier
from tests.virtual_time import run_virtually

SECRET = bytes(range(32))
POLICIES = {"p": CachePolicy(3600), "stale": CachePolicy(10, stale_while_revalidate_s=3600)}
WINDOW_S = 0.25  # of writes


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def processes(store: TellingStore, count: int = 2) -> AsyncIterator[list[HybridCache]]:
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(
                HybridCache(store=TellingTier(store), secret=SECRET, policies=POLICIES, clock=now)
            )
            for _ in range(count)
        ]


async def written() -> None:
    await asyncio.sleep(WINDOW_S + 0.01)


def test_what_is_set_over_an_older_value_is_found_elsewhere_when_it_is_written() -> None:
    async def main() -> None:
        async with processes(TellingStore(now), 3) as (one, *others):
            await one.set("k", "old")
            await one.set("other", "stays")
            await written()
            assert [await cache.get("k") for cache in others] == ["old", "old"]
            assert await others[0].get("other") == "stays"
            await one.multi_set([("k", "new"), ("unknown", 1)])
            await written()
            queries = others[0].statistics()["store_queries"]
            assert [await cache.get("k") for cache in others] == ["new", "new"]
            assert [await cache.get("k") for cache in others] == ["new", "new"]
            assert await others[0].get("other") == "stays"
            assert others[0].statistics()["store_queries"] - queries == 1  # the other key is in memory still
            assert await others[0].increment("unknown") == 2
            await written()
            assert await one.get("unknown") == 2

    run_virtually(main())


def test_whoever_asks_with_a_loader_gets_it_too() -> None:
    async def load() -> str:
        return "loaded"

    async def main() -> None:
        async with processes(TellingStore(now)) as (one, two):
            for value in ("old", "new"):
                await one.set("k", value)
                await written()
                for _ in range(3):
                    assert await two.get_or_load("k", load) == value

    run_virtually(main())


def test_the_writer_keeps_its_newer_copy_and_asks_nobody() -> None:
    async def main() -> None:
        async with processes(TellingStore(now)) as (one, two):
            for number in range(3):
                await one.set("k", number)
                assert await one.get("k") == number
                await written()
                assert await one.get("k") == number
                await two.get("k")
            assert one.statistics()["store_queries"] == 0
            assert one.statistics()["default.invalidated"] == 0

    run_virtually(main())


def test_of_two_who_set_at_about_the_same_time_all_have_the_later_one_in_the_end() -> None:
    async def main() -> None:
        async with processes(TellingStore(now), 3) as (one, two, three):
            await one.set("k", "first")
            await written()
            await asyncio.gather(*(cache.get("k") for cache in (two, three)))
            await two.set("before", 1)  # so its window ends first
            await asyncio.sleep(0.1)
            await one.set("k", "by one")
            await asyncio.sleep(0.01)
            await two.set("k", "by two")
            await written()
            assert [await cache.get("k") for cache in (one, two, three)] == ["by two"] * 3

    run_virtually(main())


def test_a_value_that_was_read_before_it_was_written_over_is_not_kept_after_it() -> None:
    async def main() -> None:
        store = TellingStore(now)
        async with processes(store) as (one, two):
            await one.set("k", "old")
            await written()
            record = dict(store.records)
            await one.set("k", "new")
            tier: Any = two._engine.guarded._tier  # type: ignore[union-attr]

            async def get_many(keys: Any) -> Any:
                await asyncio.sleep(0.2)
                return record  # as it was when it was asked for

            await asyncio.sleep(0.1)
            tier.get_many = get_many
            assert await two.get("k") in (None, "old")
            del tier.get_many
            await written()
            assert await two.get("k") == "new"

    run_virtually(main())


def test_what_is_loaded_again_is_not_told() -> None:
    async def main() -> None:
        store = TellingStore(now)
        told: list[Any] = []
        store.listeners.append(told.append)
        version = 0

        async def load() -> int:
            nonlocal version
            version += 1
            return version

        async with processes(store) as caches:
            for _ in range(3):
                for cache in caches:
                    await cache.get_or_load("k", load, policy="stale")
                    await cache.get_or_load("k", load)
                await asyncio.sleep(400)
            assert version > 4
            assert told == []

    run_virtually(main())


def test_who_was_cut_off_asks_the_store_again_and_keeps_what_only_memory_has() -> None:
    async def main() -> None:
        store = TellingStore(now)
        only_here = object()
        async with processes(store) as (one, two):
            await one.set("k", "old")
            await two.set("mine", only_here)
            await two.get_or_load("k", lambda: asyncio.sleep(0, "loaded"), policy="p")
            await written()
            assert await two.get("k") == "old"
            store.is_cut_off = True
            await one.set("k", "new")
            await written()
            assert await two.get("k") == "old"  # until its time
            store.hear_again()
            await asyncio.sleep(0.01)
            assert await two.get("k") == "new"
            assert await two.get("mine") is only_here
            hits = two.statistics()["p.memory_hits"]
            await two.get_or_load("k", lambda: asyncio.sleep(0, "again"), policy="p")
            assert two.statistics()["p.memory_hits"] == hits + 1

    run_virtually(main())


def test_a_cache_that_was_closed_for_a_while_asks_the_store_again() -> None:
    async def main() -> None:
        store = TellingStore(now)
        async with processes(store, 1) as (one,):
            closed = HybridCache(store=TellingTier(store), secret=SECRET, policies=POLICIES, clock=now)
            await one.set("k", "old")
            await written()
            async with closed:
                assert await closed.get("k") == "old"
            store.is_cut_off = True
            await one.set("k", "new")
            await written()
            store.is_cut_off = False
            async with closed:
                await asyncio.sleep(0.01)
                assert await closed.get("k") == "new"

    run_virtually(main())


def test_what_others_write_over_all_day_is_not_remembered_for_ever() -> None:
    async def main() -> None:
        store = TellingStore(now)
        async with processes(store) as (one, two):
            engine = two._engine
            Overwritten(  # as the cache's own, with less patience
                TellingTier(store), two._memory, engine.marks, engine.flights, two._digest,
                {rules.prefix for rules in engine.rules.values()}, max_known=50,
            ).open()  # fmt: skip
            for version in range(3):
                for number in range(40):
                    await one.set(f"{version % 2}:{number}", version)
                await written()
                await two.multi_get([f"{version % 2}:{number}" for number in range(40)])
            for version in range(3, 6):
                for number in range(40):
                    await one.set(f"{version % 2}:{number}", version)
                await written()
            await asyncio.sleep(0.01)
            assert engine.marks.overwritten <= 50
            for number in range(40):
                assert [await two.get(f"{kind}:{number}") for kind in (0, 1)] == [4, 5]

    run_virtually(main())


def test_an_explanation_says_that_it_was_written_over() -> None:
    async def main() -> None:
        async with processes(TellingStore(now)) as (one, two):
            for value in ("old", "new"):
                await one.set("k", value)
                await written()
                if value == "old":
                    await two.get("k")
            explained = str(await two.explain("k"))
            assert explained.startswith("hit: memory has one that was written over by another process")

    run_virtually(main())


def test_what_was_heard_longest_ago_is_forgotten_first() -> None:
    marks = KnownMarks(lambda: 1000.0)
    for overwritten in ({b"a": 1.0, b"b": 1.0}, {b"a": 2.0}):
        marks.add_overwritten(overwritten)
    marks.forget_overwritten(1)
    assert [marks.is_overwritten(key) for key in (b"a", b"b")] == [True, False]


@pytest.mark.parametrize("is_later", [False, True])
def test_stamps_are_later_than_what_was_written_over_whatever_the_clock_does(is_later: bool) -> None:
    marks = KnownMarks(lambda: 1000.0)
    marks.add_overwritten({b"k": 1500.0 if is_later else 500.0})
    stamp = marks.stamp()
    assert marks.counts(stamp, (b"k",))
    assert stamp > (1500.0 if is_later else 999.0)
