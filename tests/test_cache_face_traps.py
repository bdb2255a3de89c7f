"""What looks like a hit and is none, or the other way round: keys, times, sizes, namespaces and event loops."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache.envelope import Envelope, NotJsonError, TooBigError
from tecnobot_core.cache.face import MemoryFace
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.loading import RETRY_S
from tecnobot_core.cache.memory.values import MAX_COMPRESSED_BYTES
from tecnobot_core.cache.ports import Record
from tecnobot_core.testing import FakeClock
from tecnobot_core.testing.tier import FakeTier, SharedStore
from tests.virtual_time import run_virtually, virtually

SECRET = bytes(range(32))
DAY_S = 86_400
STALE = {"default": CachePolicy(10, stale_if_error_s=600)}


class Color(Enum):
    RED = 1


class Loader:
    """Gives v1, v2, …; *fails* after *takes_s*."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.calls = 0
        self.takes_s = takes_s
        self.fails = False

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise RuntimeError("down")
        return f"v{self.calls}"


def now() -> float:
    return asyncio.get_running_loop().time()


def cache_of(store: SharedStore | None, **options: Any) -> HybridCache:
    """One process: with *store* it has to be opened."""
    options.setdefault("clock", asyncio.get_running_loop().time)
    return HybridCache(store=None if store is None else FakeTier(store), secret=SECRET, **options)


async def written() -> None:
    """What was set is in the store."""
    await asyncio.sleep(1)


# Keys


@virtually
async def test_a_process_that_has_nothing_in_memory_finds_what_has_another_key_in_the_store() -> None:
    store = SharedStore(now)
    async with cache_of(store) as cache:
        await cache.set(5, "number")
        await cache.set(Color.RED, "enum")
        await cache.set("\0x", "mark")
        await cache.set("k", "namespace", namespace="app")
    for key, value in ((5, "number"), (Color.RED, "enum"), ("\0x", "mark"), ("\x003:appk", None), ([1], None)):
        async with cache_of(store) as fresh:
            assert await fresh.get(key) == value
    async with cache_of(store) as fresh:
        assert await fresh.get("k", namespace="app") == "namespace"


async def test_a_key_that_cannot_be_hashed_is_absent_until_it_is_set() -> None:
    cache = MemoryFace()
    assert await cache.get([1], default="absent") == "absent"
    await cache.set([1], "list")
    assert await cache.get([1]) == "list"


# Namespaces without a store


async def test_the_namespace_of_the_default_policy_is_what_was_loaded_or_set_without_another() -> None:
    cache, load = HybridCache(), Loader()
    await cache.set("set", 1)
    await cache.set("set", 1, namespace="n")
    for policy in ("default", "transcript"):
        assert await cache.get_or_load("k", load, policy=policy) == f"v{load.calls}"
    await cache.invalidate(namespace="default")
    assert [await cache.get("set"), await cache.get("set", namespace="n"), await cache.get("k")] == [None, None, None]
    assert [await cache.get_or_load("k", load, policy=policy) for policy in ("default", "transcript")] == ["v3", "v2"]


async def test_a_namespace_with_the_name_of_a_policy_is_invalidated_with_it_and_cleared_alone() -> None:
    cache, load = HybridCache(), Loader()

    async def found() -> list[Any]:
        return [await cache.get("k", namespace="faq"), await cache.get_or_load("k", load, policy="faq")]

    await cache.set("k", "set", namespace="faq")
    assert await found() == ["set", "v1"]
    await cache.clear(namespace="faq")
    assert await found() == [None, "v1"]
    await cache.set("k", "set", namespace="faq")
    await cache.invalidate(namespace="faq")
    assert await found() == [None, "v2"]


@virtually
async def test_with_a_store_namespaces_and_policies_are_apart_in_the_same_way() -> None:
    store, load = SharedStore(now), Loader()
    async with cache_of(store) as one, cache_of(store) as two:

        async def found() -> list[Any]:
            await written()
            in_namespace = [await cache.get("k", namespace="default") for cache in (one, two)]
            bare = [await cache.get("k") for cache in (one, two)]
            return [*in_namespace, *bare, await one.get_or_load("l", load)]

        await one.set("k", 1, namespace="default")
        await one.set("k", 2)
        assert await found() == [1, 1, 2, 2, "v1"]
        await one.clear(namespace="default")
        assert await found() == [None, None, 2, 2, "v1"]
        await one.set("k", 1, namespace="default")
        await one.invalidate(namespace="default")
        assert await found() == [None, None, None, None, "v2"]


@virtually
async def test_what_was_loaded_in_a_namespace_is_cleared_with_it_in_every_process() -> None:
    store, load = SharedStore(now), Loader()
    async with cache_of(store, namespace="app") as one, cache_of(store, namespace="app") as two:
        await one.get_or_load("k", load)
        await written()
        assert await two.get("k") == "v1"
        await one.clear(namespace="app")
        assert [await one.get("k"), await two.get("k"), await two.get_or_load("k", load)] == [None, None, "v2"]


# Times


@virtually
async def test_what_was_set_for_longer_than_a_store_keeps_it_is_found_for_as_long_as_that_is() -> None:
    store = SharedStore(now)
    times_s = (29 * DAY_S, 31 * DAY_S, 60 * DAY_S, float("inf"), None)
    async with cache_of(store) as one, cache_of(store) as two:
        for ttl_s in times_s:
            await one.set(f"{ttl_s}", 1, ttl=ttl_s)
        await written()
        assert [await two.get(f"{ttl_s}") for ttl_s in times_s] == [1, 1, 1, 1, 1]
        await asyncio.sleep(29 * DAY_S)
        assert [await two.get(f"{ttl_s}") for ttl_s in times_s] == [None, 1, 1, 1, 1]
        await asyncio.sleep(DAY_S)
        assert [await two.get(f"{ttl_s}") for ttl_s in times_s] == [None, None, None, None, None]
        assert [await one.get(f"{ttl_s}") for ttl_s in times_s] == [None, 1, 1, 1, 1]


@virtually
async def test_what_was_set_for_longer_than_its_policy_loads_is_a_hit_of_get_or_load_too() -> None:
    store, load = SharedStore(now), Loader()
    async with cache_of(store) as one, cache_of(store) as two:
        await one.set("k", "set", ttl=3600)
        await written()
        assert await two.get_or_load("k", load) == "set"
        await asyncio.sleep(3000)
        assert [await cache.get_or_load("k", load) for cache in (one, two)] == ["set", "set"]
        assert two.statistics()["default.saved_s"] == 0  # nobody knows how long it would take to load
        await asyncio.sleep(600)
        assert await two.get_or_load("k", load) == "v1"


@virtually
async def test_what_was_loaded_lives_no_longer_than_the_policy_that_reads_it_says() -> None:
    store, load = SharedStore(now), Loader()
    async with (
        cache_of(store, policies={"default": CachePolicy(3600)}) as one,
        cache_of(store, policies={"default": CachePolicy(60)}) as two,
    ):
        await one.get_or_load("k", load)
        await written()
        assert await two.get("k") is None
        assert "would live longer than its policy says" in str(await two.explain("k"))
        assert await two.get_or_load("k", load) == "v2"


@virtually
async def test_that_there_is_nothing_may_be_kept_longer_than_what_there_is() -> None:
    store, calls = SharedStore(now), []
    policies = {"p": CachePolicy(60, negative_ttl_s=600)}

    async def load() -> None:
        calls.append(1)

    async with cache_of(store, policies=policies) as one, cache_of(store, policies=policies) as two:
        for cache in (one, two):
            await cache.get_or_load("k", load, policy="p")
            await asyncio.sleep(100)
        assert len(calls) == 1


@pytest.mark.parametrize("with_store", [False, True])
def test_the_face_gives_nothing_that_is_stale(with_store: bool) -> None:
    @virtually
    async def main() -> None:
        store, load = SharedStore(now) if with_store else None, Loader()
        async with cache_of(store, policies=STALE) as one, cache_of(store, policies=STALE) as two:
            await one.get_or_load("k", load)
            await written()
            found = [await one.get("k"), await two.get("k")]
            assert found == ["v1", "v1" if with_store else None]
            await asyncio.sleep(50)
            for cache in (one, two):
                assert [await cache.get("k"), await cache.exists("k"), await cache.multi_get(["k"])] == [
                    None,
                    False,
                    [None],
                ]
            load.fails = True
            assert await one.get_or_load("k", load) == "v1"  # it is there all the same
            await one.add("k", "added")
            assert await one.get("k") == "added"

    main()


@virtually
async def test_what_was_loaded_takes_the_time_that_it_is_given() -> None:
    cache, load = cache_of(None, policies=STALE), Loader()
    for key in "abc":
        await cache.get_or_load(key, load)
    assert await cache.expire("a", 100)
    assert await cache.expire("b", 1)
    await asyncio.sleep(5)
    assert [await cache.get(key) for key in "abc"] == ["v1", None, "v3"]
    await asyncio.sleep(50)
    assert [await cache.get(key) for key in "abc"] == ["v1", None, None]
    assert await cache.get_or_load("a", load) == "v1"
    await asyncio.sleep(50)
    assert await cache.get("a") is None


@virtually
async def test_a_counter_that_was_loaded_ends_when_it_is_not_fresh_any_more() -> None:
    cache = cache_of(None, policies=STALE)

    async def load() -> int:
        return 5

    await cache.get_or_load("n", load)
    assert await cache.increment("n") == 6
    await asyncio.sleep(9)
    assert await cache.get("n") == 6
    await asyncio.sleep(1)
    assert await cache.get("n") is None


@virtually
async def test_what_is_set_while_a_load_fails_keeps_its_own_time() -> None:
    cache, load = cache_of(None, policies=STALE), Loader(takes_s=5)
    load.fails = True
    caller = asyncio.ensure_future(cache.get_or_load("k", load))
    await asyncio.sleep(1)
    await cache.set("k", "set", ttl=10)
    assert await caller == "set"
    await asyncio.sleep(5)
    assert await cache.get_or_load("k", load) == "set"
    await asyncio.sleep(RETRY_S)
    assert await cache.get("k") is None


# Sizes


def noise_of(size_bytes: int) -> str:
    return random.Random(6).randbytes(size_bytes // 2).hex()


@virtually
async def test_the_size_that_counts_is_the_one_before_compression() -> None:
    store = SharedStore(now)
    policies = {"p": CachePolicy(60, max_item_bytes=10_000), "default": CachePolicy(60, max_item_bytes=10_000)}

    async def load(length: int) -> str:
        return "x" * length

    async with cache_of(store, policies=policies) as cache:
        await cache.get_or_load("big", lambda: load(10_001), policy="p")
        await cache.set("big", "x" * 10_001)
        assert cache.statistics()["p.unkept"] == 1
        assert len(cache._memory) == 1
        await cache.get_or_load("small", lambda: load(10_000), policy="p")
        await cache.set("small", "x" * 10_000)
    assert len(store.records) == 2
    assert all(len(record.data) < 1000 for record in store.records.values())


@pytest.mark.parametrize(
    "value",
    [
        bytes(10_000_000),
        "é" * 10_000_000,
        "é" * 600,
        ["x" * 1001],
        list(range(1001)),
        [[]] * 501,
        {f"{number:09}": 1 for number in range(100)},
        [{"a": [noise_of(600), noise_of(600)]}],
    ],
)
def test_what_is_too_big_is_not_written_out_to_find_that_out(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zlib.compress", None)
    with pytest.raises(TooBigError):
        Envelope(SECRET).seal(b"k", value, fresh_until=0, load_s=0, max_bytes=1000)


@pytest.mark.parametrize("items", [[0] * 1001, [[]] * 1002, ["four"] * 201, [{"key": 1}] * 130, [{"": []}] * 251])
def test_a_big_value_is_given_up_before_the_whole_of_it_was_looked_at(items: list[Any]) -> None:
    items = [*items, object()]  # which is no JSON
    with pytest.raises(NotJsonError):
        Envelope(SECRET).seal(b"k", items, fresh_until=0, load_s=0)
    with pytest.raises(TooBigError):
        Envelope(SECRET).seal(b"k", items, fresh_until=0, load_s=0, max_bytes=1000)


@pytest.mark.parametrize(
    "value",
    [
        b"x" * 1000,
        "é" * 500,
        ["x" * 996],
        [1] * 499,
        {"a": {"b": [None, True, 1.5, "\n" * 300]}},
        [[], {}] * 100,
        {f"k{n:03}": 1 for n in range(111)},
    ],
)
def test_what_is_not_too_big_is_written(value: Any) -> None:
    data = Envelope(SECRET).seal(b"k", value, fresh_until=0, load_s=0, max_bytes=1000)
    assert Envelope(SECRET).open(b"k", data)[0] == value


def test_what_would_take_long_to_compress_is_written_as_it_is() -> None:
    sizes = [
        len(Envelope(SECRET).seal(b"k", b"x" * n_bytes, fresh_until=0, load_s=0))
        for n_bytes in (MAX_COMPRESSED_BYTES, MAX_COMPRESSED_BYTES + 1)
    ]
    assert sizes[0] < 10_000
    assert sizes[1] > MAX_COMPRESSED_BYTES


# What people look at


@virtually
async def test_an_explanation_is_right_about_what_the_store_has() -> None:
    store, load = SharedStore(now), Loader()
    policies = {"p": CachePolicy(10, stale_if_error_s=600)}

    async def why(cache: HybridCache) -> tuple[bool, str]:
        explanation = await cache.explain("k", policy="p")
        return explanation.is_hit, explanation.store

    async with cache_of(store, policies=policies) as one, cache_of(store, policies=policies) as two:
        await one.get_or_load("k", load, policy="p")
        size_bytes = len(next(iter(store.records.values())).data)
        assert await why(two) == (True, f"has it for 610.0 s, {size_bytes} bytes")
        await asyncio.sleep(50)
        assert await why(two) == (False, "has one that is stale for 40.0 s")
        key, record = next(iter(store.records.items()))
        async with HybridCache(store=FakeTier(store), secret=SECRET[::-1], policies=policies, clock=now) as stranger:
            stranger._engine.digest = lambda *_: key  # type: ignore[method-assign]
            assert await why(stranger) == (False, "has one that cannot be read: damaged, or of another secret")
        assert record.data
        store.is_down = True
        assert await why(two) == (False, "does not answer: the fake store is down")
        counts = two.statistics()
        assert [counts[f"store_{name}"] for name in ("reads", "queries", "failures")] == [0, 0, 0]
    assert await why(two) == (False, "is not open")


@virtually
async def test_an_explanation_knows_what_is_not_written_yet() -> None:
    async with cache_of(SharedStore(now)) as cache:
        await cache.set("k", 1)
        cache.shrink(0)
        assert (await cache.explain("k")).is_hit
        await cache.delete("k")
        assert not (await cache.explain("k")).is_hit


@pytest.mark.parametrize("with_store", [False, True])
def test_raw_gives_the_value_and_not_what_holds_it(with_store: bool) -> None:
    @virtually
    async def main() -> None:
        async with cache_of(SharedStore(now) if with_store else None) as cache:
            await cache.get_or_load("l", Loader(), tags=["menu"])
            await cache.set("k", "set")
            assert [await cache.raw("get", "k"), await cache.raw("get", "l")] == ["set", "v1"]
            await cache.invalidate(tag="menu")
            assert await cache.raw("get", "l", "absent") == "absent"
            assert await cache.raw("get", "l", default="absent") == "absent"

    main()


# Event loops


def in_a_loop_that_is_left(work: Callable[[], Awaitable[object]]) -> None:
    """Run *work* in a loop that is closed as it is, with whatever runs in it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending"
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()


async def never() -> str:
    await asyncio.get_running_loop().create_future()
    return ""


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_load_that_was_left_in_another_loop_holds_nobody_up(is_opened: bool) -> None:
    cache = HybridCache()

    async def leave() -> None:
        caller = asyncio.ensure_future(cache.get_or_load("k", never))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not caller.done()
        assert cache.statistics()["loading"] == 1

    async def ask() -> str:
        async with asyncio.timeout(10):
            return await cache.get_or_load("k", Loader())

    async def ask_opened() -> str:
        async with cache:
            return await ask()

    in_a_loop_that_is_left(leave)
    assert asyncio.run(ask_opened() if is_opened else ask()) == "v1"
    assert cache.statistics()["loading"] == 0
    gc.collect()  # here, and not in somebody else's test


def test_a_cache_with_a_store_may_be_opened_again_in_another_loop() -> None:
    store = SharedStore(FakeClock(1e9))
    tier = FakeTier(store)
    tier.takes_s = 0.001  # so that writers wait for one another
    cache = HybridCache(store=tier, secret=SECRET)
    load = Loader(takes_s=0.001)

    async def use(name: str) -> None:
        async with cache, asyncio.timeout(10):
            many = (
                cache.get_or_load(f"{name}{number % 5}", load, policy="transcript")
                for _ in range(5)
                for number in range(5)
            )
            await asyncio.gather(*many)
            guarded = cache._engine.guarded
            assert guarded is not None
            await cache.set("k", 1)
            await asyncio.gather(guarded.flush(), guarded.delete_many([b"waits for it"]))
            store.is_down = True
            await cache.invalidate(tag="menu")
            assert cache.statistics()["marks_untold"] == 1
            store.is_down = False
            while cache.statistics()["marks_untold"]:
                await asyncio.sleep(0.001)

    for name in "ab":
        asyncio.run(use(name))
    assert load.calls == 10


def test_a_store_that_does_not_answer_is_not_waited_for_in_another_loop_either() -> None:
    tier = FakeTier(SharedStore(FakeClock(1e9)))
    cache = HybridCache(store=tier, secret=SECRET, clock=FakeClock())

    async def use() -> None:
        async with cache:
            assert await cache.get("k") is None
            tier.hangs = False

    for hangs in (False, True):
        tier.hangs = hangs
        run_virtually(use())


@virtually
async def test_what_is_set_is_written_after_a_tier_was_closed_with_a_write_that_had_not_begun() -> None:
    store = SharedStore(now)
    guarded = GuardedTier(FakeTier(store))
    for key in (b"a", b"b"):
        async with guarded:
            await guarded.put_many([Record(key, b"", 0, 1e9)])
            if key == b"b":
                await written()
                assert len(store.records) == 2


@virtually
async def test_what_was_not_told_when_a_cache_was_closed_is_told_when_it_is_open_again() -> None:
    store = SharedStore(now)
    cache = cache_of(store)
    async with cache:
        store.is_down = True
        await cache.invalidate(tag="menu")
    store.is_down = False
    async with cache:
        await written()
        assert cache.statistics()["marks_untold"] == 0
    assert len(store.marks) == 1


@virtually
async def test_what_was_invalidated_while_a_cache_was_closed_does_not_count_when_it_is_open_again() -> None:
    store, load = SharedStore(now), Loader()
    policies = {"p": CachePolicy(3600)}

    class Slow(FakeTier):
        async def follow(self, heard: Callable[[Any], None]) -> None:
            await asyncio.sleep(1)
            await super().follow(heard)

    closed = HybridCache(store=Slow(store), secret=SECRET, policies=policies, clock=now)
    async with closed:
        await closed.get_or_load("k", load, policy="p", tags=["menu"])
        await written()
    async with cache_of(store, policies=policies) as other:
        await other.invalidate(tag="menu")
    async with closed:
        assert await closed.get_or_load("k", load, policy="p", tags=["menu"]) == "v2"


@virtually
async def test_a_store_that_was_broken_when_the_cache_was_closed_is_tried_again_when_it_is_open() -> None:
    store, load = SharedStore(now), Loader()
    cache = cache_of(store)
    async with cache:
        store.is_down = True
        for number in range(5):
            await cache.get_or_load(f"{number}", load, policy="transcript")
        assert cache.statistics()["store_is_broken"]
    store.is_down = False
    async with cache:
        await asyncio.sleep(5)
        assert not cache.statistics()["store_is_broken"]
