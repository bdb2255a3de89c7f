"""HybridCache remembers, asks once, forgets in time, and stays in its budget."""

import asyncio
import itertools
import tracemalloc

import pytest
from aiocache.lock import RedLock
from aiocache.plugins import HitMissRatioPlugin
from aiocache.serializers import JsonSerializer

from tecnobot_core import CachePolicy, ConfigurationError, HybridCache
from tecnobot_core.cache import DEFAULT_POLICIES, policies_with
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock


async def test_it_is_an_aiocache_backend() -> None:
    cache = HybridCache(namespace="n:", serializer=JsonSerializer(), plugins=[HitMissRatioPlugin()])
    assert await cache.set("a", {"x": 1})
    assert await cache.get("a") == {"x": 1}
    assert await cache.multi_set([("b", 2), ("c", 3)])
    assert await cache.multi_get(["a", "b", "zz"]) == [{"x": 1}, 2, None]
    assert await cache.exists("b")
    assert await cache.delete("b") == 1
    assert not await cache.exists("b")
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("c", 4)
    async with RedLock(cache, "lock", lease=5):
        assert await cache.exists("lock-lock")
    assert not await cache.exists("lock-lock")
    assert await cache.clear(namespace="n:")
    assert await cache.get("a") is None
    assert cache.hit_miss_ratio["total"] == 5


async def test_counters_keep_their_expiry() -> None:
    clock = FakeClock()
    cache = HybridCache(clock=clock)
    await cache.set("n", 1, ttl=10)
    assert await cache.increment("n", 2) == 3
    await clock.advance(10)
    assert await cache.increment("n") == 1


async def test_an_expired_key_is_absent() -> None:
    clock = FakeClock()
    cache = HybridCache(clock=clock)
    await cache.set("a", 1, ttl=5)
    await cache.set("b", 1)
    assert await cache.expire("b", 7)
    await clock.advance(5)
    assert [await cache.get("a"), await cache.get("b")] == [None, 1]
    await clock.advance(2)
    assert not await cache.exists("b")
    assert cache.statistics()["entries"] == 0


async def test_the_least_recently_used_goes_first_and_the_budget_holds() -> None:
    cache = HybridCache(max_bytes=1600)
    for key in "abc":
        await cache.set(key, bytes(250))
    await cache.get("a")
    await cache.set("d", bytes(250))
    assert [await cache.exists(key) for key in "abcd"] == [True, False, True, True]
    await cache.set("huge", bytes(2000))
    assert not await cache.exists("huge")
    assert cache.statistics()["used_bytes"] <= 1600


async def test_small_entries_count_with_the_memory_that_they_take() -> None:
    cache, numbers = HybridCache(), itertools.count(1000)

    async def load() -> int:
        return next(numbers)

    tracemalloc.start()
    for number in range(5000):
        await cache.get_or_load(f"a key of an everyday length {number}", load)
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.statistics()["used_bytes"] == pytest.approx(taken_bytes, rel=0.2)


async def test_release_gives_back_what_is_wanted() -> None:
    cache = HybridCache()
    for number in range(10):
        await cache.set(str(number), bytes(1000))
    before = cache.statistics()["used_bytes"]
    assert cache.release(2500) >= 2500
    assert cache.statistics()["used_bytes"] <= before - 2500
    assert cache.shrink(0) > 0
    assert cache.statistics() == {"entries": 0, "used_bytes": 0, "max_bytes": cache.statistics()["max_bytes"]}


async def test_many_callers_load_once() -> None:
    cache, loads, gate = HybridCache(), [], asyncio.Event()

    async def load() -> str:
        loads.append(1)
        await gate.wait()
        return "value"

    async with Tasks("test") as tasks:
        callers = [tasks.start(cache.get_or_load("k", load), f"caller{n}") for n in range(10)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*callers) == ["value"] * 10
    assert await cache.get_or_load("k", load) == "value"
    assert len(loads) == 1


async def test_an_error_reaches_everyone_who_waits_and_is_not_remembered() -> None:
    cache, gate = HybridCache(), asyncio.Event()

    async def fails() -> str:
        await gate.wait()
        raise RuntimeError("no answer")

    async def works() -> str:
        return "value"

    callers = [asyncio.ensure_future(cache.get_or_load("k", fails)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert [str(error) for error in await asyncio.gather(*callers, return_exceptions=True)] == ["no answer"] * 3
    assert await cache.get_or_load("k", works) == "value"


async def test_a_value_that_cannot_be_kept_is_an_error_for_everyone_who_waits() -> None:
    cache, gate = HybridCache(), asyncio.Event()

    class Unpicklable:
        def __reduce__(self) -> str:
            raise TypeError("cannot be pickled")

    async def load() -> object:
        await gate.wait()
        return Unpicklable()

    callers = [asyncio.ensure_future(cache.get_or_load("k", load)) for _ in range(2)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in results] == ["cannot be pickled"] * 2


async def test_cancelling_the_one_who_loads_cancels_nobody_else() -> None:
    cache, loads, gate = HybridCache(), [], asyncio.Event()

    async def load() -> str:
        loads.append(1)
        await gate.wait()
        return "value"

    first = asyncio.ensure_future(cache.get_or_load("k", load))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(cache.get_or_load("k", load))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == "value"
    assert len(loads) == 2


async def test_a_policy_of_scope_user_never_answers_without_or_across_users() -> None:
    cache = HybridCache()

    async def load() -> str:
        return "mine"

    async def load_other() -> str:
        return "yours"

    for nobody in (None, ""):
        with pytest.raises(ValueError, match="per user; pass scope="):
            await cache.get_or_load("k", load, policy="reply", scope=nobody)
    assert await cache.get_or_load("k", load, policy="reply", scope="ana") == "mine"
    assert await cache.get_or_load("k", load_other, policy="reply", scope="beto") == "yours"
    assert await cache.get_or_load("b|k", load, policy="reply", scope="a") == "mine"
    assert await cache.get_or_load("k", load_other, policy="reply", scope="a|b") == "yours"


async def test_a_policy_sets_how_long() -> None:
    clock, loads = FakeClock(), []

    async def load() -> int:
        loads.append(1)
        return len(loads)

    cache = HybridCache(clock=clock, policies={"price": CachePolicy(60)})
    assert await cache.get_or_load("k", load, policy="price") == 1
    await clock.advance(59)
    assert await cache.get_or_load("k", load, policy="price") == 1
    await clock.advance(1)
    assert await cache.get_or_load("k", load, policy="price") == 2


def test_times_of_policies_can_be_set_by_name() -> None:
    policies = policies_with({"reply": 5})
    assert policies["reply"] == CachePolicy(5, scope="user")
    assert policies["transcript"] == DEFAULT_POLICIES["transcript"]
    with pytest.raises(ConfigurationError, match="no cache policy 'repli'; there are: default, reply"):
        policies_with({"repli": 5})


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        HybridCache(0)
