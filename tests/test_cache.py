"""HybridCache remembers, asks once, and tells what it does."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from aiocache.lock import RedLock
from aiocache.plugins import HitMissRatioPlugin
from aiocache.serializers import JsonSerializer

from tecnobot_core import CachePolicy, ConfigurationError, HybridCache
from tecnobot_core.events import CacheTierFailed, CacheTierRecovered, Event, EventBus
from tecnobot_core.testing import FakeClock
from tecnobot_core.testing.tier import FakeTier, SharedStore

SECRET = bytes(range(32))


class Loader:
    """Gives 1, 2, 3…"""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        return self.calls


async def test_it_is_an_aiocache_backend() -> None:
    cache = HybridCache(namespace="n:", serializer=JsonSerializer(), plugins=[HitMissRatioPlugin()])
    assert await cache.set("a", {"x": 1})
    assert await cache.get("a") == {"x": 1}
    assert await cache.multi_set([("b", 2), ("c", 3)])
    assert await cache.multi_get(["a", "b", "zz"]) == [{"x": 1}, 2, None]
    assert await cache.delete("b") == 1
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("c", 4)
    async with RedLock(cache, "lock", lease=5):
        assert await cache.exists("lock-lock")
    assert await cache.clear(namespace="n:")
    assert await cache.get("a") is None
    assert cache.hit_miss_ratio["total"] == 5


async def test_a_policy_sets_how_long() -> None:
    clock, load = FakeClock(), Loader()
    cache = HybridCache(clock=clock, policies={"price": CachePolicy(60)})
    assert await cache.get_or_load("k", load, policy="price") == 1
    await clock.advance(59)
    assert await cache.get_or_load("k", load, policy="price") == 1
    await clock.advance(1)
    assert await cache.get_or_load("k", load, policy="price") == 2


async def test_an_unknown_policy_is_an_error_with_all_names() -> None:
    with pytest.raises(ConfigurationError, match="no cache policy 'prize'; there are: price, default"):
        await HybridCache(policies={"price": CachePolicy(60)}).get_or_load("k", Loader(), policy="prize")


async def test_a_policy_of_scope_user_never_answers_without_or_across_users() -> None:
    cache, load = HybridCache(), Loader()
    for nobody in (None, ""):
        with pytest.raises(ValueError, match="per user; pass scope="):
            await cache.get_or_load("k", load, policy="reply", scope=nobody)
    asked = [("ana", "k"), ("beto", "k"), ("a", "b|k"), ("a|b", "k"), ("a", "k")]
    values = [await cache.get_or_load(key, load, policy="reply", scope=scope) for scope, key in asked]
    assert values == [1, 2, 3, 4, 5]
    assert await cache.get_or_load("k", load, policy="profile", scope="ana") == 6


@pytest.mark.parametrize("tags", [(), ("menu",)])
async def test_without_a_policy_and_scope_the_key_is_that_of_the_face(tags: tuple[str, ...]) -> None:
    cache = HybridCache(namespace="n")
    load: Any = Loader()
    assert await cache.get_or_load("k", load, tags=tags) == 1
    assert [await cache.get("k"), await cache.exists("k"), await cache.multi_get(["k"])] == [1, True, [1]]
    assert await cache.increment("k") == 2
    assert await cache.get_or_load("k", load, tags=tags) == 2
    await cache.delete("k")
    assert await cache.get_or_load("k", load, tags=tags) == 2
    await cache.set("k", "set")
    assert await cache.get_or_load("k", load, tags=tags) == "set"
    await cache.clear(namespace="n")
    assert await cache.get_or_load("k", load, tags=tags) == 3
    assert await cache.get_or_load("k", load, scope="ana") == 4


async def test_nothing_is_a_value_that_is_kept() -> None:
    cache, calls = HybridCache(), []

    async def load() -> str | None:
        calls.append(1)
        return None

    assert [await cache.get_or_load("k", load) for _ in range(2)] == [None, None]
    assert len(calls) == 1


async def test_nobody_outside_can_write_the_memory_key_of_a_policy() -> None:
    keys = set()
    for _ in range(3):
        cache = HybridCache()
        await cache.get_or_load("k", Loader(), policy="reply", scope="ana")
        keys |= set(cache._memory)
    assert len(keys) == 3


@pytest.mark.parametrize("change", ["set", "delete", "clear", "increment"])
async def test_what_changes_a_key_while_it_loads_is_newer_than_the_load(change: str) -> None:
    cache, gate = HybridCache(), asyncio.Event()

    async def load() -> str:
        await gate.wait()
        return "old"

    caller = asyncio.ensure_future(cache.get_or_load("k", load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await {
        "set": lambda: cache.set("k", "new"),
        "delete": lambda: cache.delete("k"),
        "clear": lambda: cache.clear(),
        "increment": lambda: cache.increment("k"),
    }[change]()
    gate.set()
    assert await caller == "old"
    assert await cache.get("k") == {"set": "new", "increment": 1}.get(change)


async def test_release_gives_back_what_is_wanted() -> None:
    cache = HybridCache()
    for number in range(100):
        await cache.set(str(number), bytes(10_000))
    before = cache.statistics()["used_bytes"]
    assert cache.release(250_000) >= 250_000
    assert cache.statistics()["used_bytes"] <= before - 250_000
    assert cache.shrink(0) > 0
    assert [cache.statistics()[name] for name in ("entries", "used_bytes")] == [0, 0]


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        HybridCache(0)


# What people look at


async def test_statistics_are_live_numbers_by_name() -> None:
    cache, load = HybridCache(), Loader()
    statistics = cache.statistics()
    assert dict(statistics).keys() == set(statistics)
    assert len(statistics) == len(list(statistics))
    await cache.get_or_load("k", load, policy="transcript")
    await cache.get_or_load("k", load, policy="transcript")
    names = ("memory_hits", "misses", "loads", "saved_calls")
    assert [statistics[f"transcript.{name}"] for name in names] == [1, 1, 1, 1]
    assert all(isinstance(value, int | float) for value in statistics.values())
    with pytest.raises(KeyError):
        statistics["transcript.hints"]


async def test_evictions_and_bytes_are_told_for_each_policy() -> None:
    cache = HybridCache(400_000, policies={"p": CachePolicy(60), "mine": CachePolicy(60, scope="user")})
    statistics = cache.statistics()

    async def load() -> str:
        return "x" * 1_000

    for number in range(400):
        await cache.get_or_load(f"{number}", load, policy="p")
        await cache.get_or_load(f"{number}", load, policy="mine", scope="ana")
        await cache.set(f"{number}", "x" * 500, ttl=60)
        await cache.get_or_load(f"{number}", load, tags=("t",))  # was set, so nothing is loaded
        await cache.get_or_load(f"{number}", load, scope="luis")  # as what is kept without a policy
    policies = ("default", "p", "mine")
    await statistics.look_slowly()
    assert sum(statistics[f"{name}.used_bytes"] for name in policies) == statistics["used_bytes"]
    assert sum(statistics[f"{name}.evictions"] for name in policies) == statistics["evictions"] > 1_000
    kept = {name: statistics[f"{name}.loads"] - statistics[f"{name}.evictions"] for name in ("p", "mine")}
    for name, n_entries in kept.items():
        assert n_entries > 0
        assert statistics[f"{name}.used_bytes"] / n_entries == pytest.approx(1_500, rel=0.2)
    assert statistics["default.evictions"] == 800 - (statistics["entries"] - sum(kept.values()))
    cache.shrink(0)
    assert [statistics[f"{name}.used_bytes"] for name in policies] == [0, 0, 0]
    assert [statistics[f"{name}.evictions"] for name in policies] == [800, 400, 400]


async def test_an_explanation_says_why_a_lookup_hits_or_misses() -> None:
    clock, load = FakeClock(), Loader()
    policies = {"p": CachePolicy(10, stale_if_error_s=50), "mine": CachePolicy(10, scope="user", store=False)}
    store = SharedStore(FakeClock(1e9))
    tier = FakeTier(store)
    cache = HybridCache(store=tier, secret=SECRET, clock=clock, policies=policies)

    async def why(key: str = "k", **where: Any) -> str:
        return str(await cache.explain(key, **where))

    async with cache:
        assert await why(policy="p") == (
            "miss: memory does not have it: it was never kept here, has expired, or had to go; "
            "the store does not have it"
        )
        await cache.get_or_load("k", load, policy="p", tags=("menu",))
        size_bytes = len(next(iter(store.records.values())).data)
        assert await why(policy="p") == f"hit: memory has it; the store has it for 60.0 s, {size_bytes} bytes"
        assert (await cache.explain("k", policy="p")).digest == next(iter(store.records)).hex()
        await clock.advance(12)
        assert "memory has one that is stale for 2.0 s" in await why(policy="p")
        await cache.invalidate(tag="menu")
        assert "memory has one that was invalidated" in await why(policy="p")
        assert "the store has one that was invalidated" in await why(policy="p")
        assert "is not used by the policy 'mine'" in await why(policy="mine", scope="ana")
        await cache.set("face", 1)
        assert (await why("face")).startswith("hit: memory has it")
    assert "the store does not exist" in str(await HybridCache().explain("k"))


async def test_a_store_that_breaks_and_heals_is_told() -> None:
    events, told, load = EventBus(), list[Event](), Loader()
    events.on(Event, told.append)
    store = SharedStore(FakeClock(1e9))
    cache = HybridCache(store=FakeTier(store), secret=SECRET, events=events)
    async with cache:
        store.is_down = True
        for number in range(5):
            await cache.get_or_load(str(number), load, policy="transcript")
        assert [type(event) for event in told] == [CacheTierFailed]
        store.is_down = False
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert isinstance(told[0], CacheTierFailed)
    assert "down" in told[0].reason
    assert isinstance(told[1], CacheTierRecovered)
    assert 0 < told[1].outage_s < 60


async def test_what_was_found_to_count_is_looked_at_again_after_every_invalidation() -> None:
    cache, load = HybridCache(policies={"p": CachePolicy(60)}), Loader()

    async def ask() -> int:
        return await cache.get_or_load("k", load, policy="p", tags=("menu",))

    assert [await ask() for _ in range(3)] == [1, 1, 1]
    await cache.invalidate(tag="another")
    assert [await ask() for _ in range(3)] == [1, 1, 1]
    await cache.invalidate(tag="menu")
    assert [await ask() for _ in range(3)] == [2, 2, 2]
    assert cache.statistics()["p.memory_hits"] == 7


async def test_a_value_that_is_found_again_and_again_ends_at_its_time() -> None:
    clock, load = FakeClock(), Loader()
    cache = HybridCache(clock=clock, policies={"p": CachePolicy(60), "short": CachePolicy(1.5)})
    for second in range(120):
        assert await cache.get_or_load("k", load, policy="p") == 1 + second // 60
        await clock.advance(0.999)
        assert await cache.get_or_load("k", load, policy="p") == 1 + second // 60
        await clock.advance(0.001)
    load = Loader()
    for number in range(12):
        assert await cache.get_or_load("k", load, policy="short") == 1 + number // 3
        await clock.advance(0.5)


async def test_a_value_that_was_found_ends_when_it_is_given_less_time() -> None:
    clock, load = FakeClock(), Loader()
    cache = HybridCache(clock=clock, policies={"p": CachePolicy(60)})
    assert [await cache.get_or_load("k", load, policy="p") for _ in range(3)] == [1, 1, 1]
    (key,) = await cache.raw("keys")
    await cache.raw("expire", key, clock() + 1)
    assert [await cache.get_or_load("k", load, policy="p") for _ in range(3)] == [1, 1, 1]
    await clock.advance(1)
    assert [await cache.get_or_load("k", load, policy="p") for _ in range(2)] == [2, 2]


async def test_a_key_of_the_face_that_was_loaded_may_be_given_less_time() -> None:
    clock, load = FakeClock(), Loader()
    cache = HybridCache(clock=clock)
    assert [await cache.get_or_load("k", load, tags=["menu"]) for _ in range(3)] == [1, 1, 1]
    assert await cache.expire("k", 1)
    assert await cache.get_or_load("k", load, tags=["menu"]) == 1
    await clock.advance(1)
    assert [await cache.get_or_load("k", load, tags=["menu"]) for _ in range(2)] == [2, 2]


async def test_many_scopes_and_keys_stay_apart() -> None:
    cache = HybridCache(policies={"mine": CachePolicy(60, scope="user"), "all": CachePolicy(60)})

    async def value(text: str) -> str:
        return text

    scopes = [f"{number}" for number in range(1500)]  # more than those whose prefixes are known at a time
    for _ in range(2):
        for scope in scopes:
            for key in ("1", "11"):
                expected = f"{scope}/{key}"
                answer = await cache.get_or_load(key, lambda e=expected: value(e), policy="mine", scope=scope)  # type: ignore[misc]
                assert answer == expected
        assert await cache.get_or_load("1", lambda: value("all"), policy="all") == "all"
    assert cache.statistics()["mine.loads"] == 3000
    for nobody in (None, ""):
        with pytest.raises(ValueError, match="per user"):
            await cache.get_or_load("1", lambda: value("x"), policy="mine", scope=nobody)


async def test_memory_is_given_back_in_slices_too() -> None:
    cache = HybridCache(8 * 2**20)
    for number in range(4000):
        await cache.set(f"k{number}", f"{number:1000}")
    used_bytes, turns = int(cache.statistics()["used_bytes"]), 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(take_turns())
    freed_bytes = await cache.release_slowly(used_bytes // 4)
    assert freed_bytes >= used_bytes // 4
    assert cache.statistics()["used_bytes"] == used_bytes - freed_bytes
    assert await cache.shrink_slowly(used_bytes // 2) > 0
    assert cache.statistics()["used_bytes"] <= used_bytes // 2
    assert turns >= 5
    assert await cache.release_slowly(2 * used_bytes) > 0
    assert cache.statistics()["used_bytes"] == 0
    task.cancel()


WHAT_IT_LOADS = """
import asyncio, sys
sys.modules["redis"] = None
import aiocache, json
before = set(sys.modules)
from tecnobot_core import HybridCache
cache = HybridCache()
asyncio.run(cache.set("k", 1))
print(*(set(sys.modules) - before))
"""


def test_a_cache_alone_loads_neither_openssl_nor_what_a_store_needs() -> None:
    done = subprocess.run([sys.executable, "-c", WHAT_IT_LOADS], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tecnobot_core.cache.memory" in loaded
    assert not loaded & {"_hashlib", "random", "tecnobot_core.cache.guarded", "tecnobot_core.cache.keys"}
