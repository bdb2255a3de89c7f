"""Invalidation reaches every process and every tier, and takes the same time however much it concerns."""

import asyncio
import pickle
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache.envelope import Entry, Envelope, NotJsonError
from tecnobot_core.cache.marks import KnownMarks
from tecnobot_core.cache.memory.values import _weigh, weigh
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.testing.tier import FakeTier, SharedStore
from tests.virtual_time import run_virtually

SECRET = bytes(range(32))
POLICIES = {"p": CachePolicy(3600), "mine": CachePolicy(3600, scope="user"), "other": CachePolicy(3600)}


class Loader:
    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        return self.calls


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def processes(store: SharedStore, count: int = 2) -> AsyncIterator[list[HybridCache]]:
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(
                HybridCache(
                    store=FakeTier(store), secret=SECRET, policies=POLICIES, clock=asyncio.get_running_loop().time
                )
            )
            for _ in range(count)
        ]


@pytest.mark.parametrize(
    ("what", "is_new"),
    [
        ({"tag": "menu"}, [True, False, True, False]),
        ({"namespace": "p"}, [True, True, False, False]),
        ({"scope": "ana"}, [False, False, True, False]),
        ({"key": "a", "policy": "p"}, [True, False, False, False]),
        ({"key": "a", "policy": "mine", "scope": "ana"}, [False, False, True, False]),
    ],
)
@pytest.mark.parametrize("with_store", [False, True])
def test_exactly_what_is_meant_is_loaded_again_in_every_process(
    what: dict[str, str], is_new: list[bool], with_store: bool
) -> None:
    async def ask(cache: HybridCache, load: Loader) -> list[int]:
        return [
            await cache.get_or_load("a", load, policy="p", tags=("menu", "prices")),
            await cache.get_or_load("b", load, policy="p"),
            await cache.get_or_load("a", load, policy="mine", scope="ana", tags=("menu",)),
            await cache.get_or_load("a", load, policy="other"),
        ]

    async def main() -> None:
        load = Loader()
        if not with_store:
            alone = HybridCache(policies=POLICIES)
            before = await ask(alone, load)
            await alone.invalidate(**what)
            assert [a != b for a, b in zip(before, await ask(alone, load), strict=True)] == is_new
            return
        async with processes(SharedStore(now)) as (one, two):
            before = await ask(one, load)
            assert await ask(two, load) == before
            await one.invalidate(**what)
            after = await ask(two, load)
            assert [a != b for a, b in zip(before, after, strict=True)] == is_new
            assert await ask(one, load) == after
            assert load.calls == 4 + sum(is_new)

    run_virtually(main())


async def test_a_namespace_of_the_face_is_invalidated_without_a_store_too() -> None:
    cache = HybridCache()
    await cache.set("k", 1, namespace="n")
    await cache.set("k", 2)
    await cache.invalidate(namespace="n")
    assert [await cache.get("k", namespace="n"), await cache.get("k")] == [None, 2]


def test_a_tag_counts_for_those_who_ask_with_it_though_it_was_stored_without() -> None:
    async def main() -> None:
        load = Loader()
        async with processes(SharedStore(now)) as (one, two):
            await one.get_or_load("k", load, policy="p")
            await one.invalidate(tag="menu")
            assert await two.get_or_load("k", load, policy="p", tags=("menu",)) == 2

    run_virtually(main())


async def test_invalidate_takes_one_thing_at_a_time() -> None:
    cache = HybridCache()
    for what in ({}, {"tag": "a", "scope": "b"}, {"key": "a", "tag": "b"}, {"key": "a", "namespace": "b"}):
        with pytest.raises(ValueError, match="takes one of"):
            await cache.invalidate(**what)


def test_the_face_hears_what_other_processes_delete_and_clear() -> None:
    async def main() -> None:
        async with processes(SharedStore(now)) as (one, two):
            await one.set("a", 1, namespace="x")
            await one.set("a", 2, namespace="xy")
            await one.set("a", 3)
            await asyncio.sleep(1)  # until it is written
            assert await two.multi_get(["a"], namespace="x") == [1]
            assert [await two.get("a", namespace="xy"), await two.get("a")] == [2, 3]
            await one.clear(namespace="x")
            assert [await two.get("a", namespace=name) for name in ("x", "xy", None)] == [None, 2, 3]
            await one.delete("a")
            assert [await two.get("a"), await two.get("a", namespace="xy")] == [None, 2]
            await one.clear()
            assert await two.get("a", namespace="xy") is None
            await two.set("a", 4)
            await asyncio.sleep(1)
            assert await one.get("a") == 4

    run_virtually(main())


def test_a_namespace_is_cleared_at_once_and_its_memory_is_given_back_soon_after() -> None:
    async def main() -> None:
        async with processes(SharedStore(now), 1) as (cache,):
            await cache.multi_set([(str(number), number) for number in range(1000)], namespace="x")
            await cache.set("0", "kept", namespace="xy")
            assert await cache.clear(namespace="x")
            assert not await cache.exists("0", namespace="x")
            assert await cache.multi_get(["1", "999"], namespace="x") == [None, None]
            assert cache.statistics()["entries"] > 900, "nobody waited until all were gone"
            await cache.set("500", "new", namespace="x")
            await asyncio.sleep(1)
            assert cache.statistics()["entries"] == 2
            assert await cache.get("500", namespace="x") == "new"
            assert await cache.get("0", namespace="xy") == "kept"

    run_virtually(main())


def test_a_closed_cache_with_a_store_clears_nothing() -> None:
    async def main() -> None:
        cache = HybridCache(store=FakeTier(SharedStore(now)), secret=SECRET)
        with pytest.raises(LifecycleError, match="while it is open"):
            await cache.clear(namespace="x")

    run_virtually(main())


def test_the_face_keeps_its_times_and_what_is_no_json_in_memory_only() -> None:
    async def main() -> None:
        async with processes(SharedStore(now)) as (one, two):
            await one.set("a", 1, ttl=10)
            await one.set("t", [1])
            await asyncio.sleep(1)
            await one.set("t", (1, 2))
            assert await two.get("a") == 1
            assert [await one.get("t"), await two.get("t")] == [(1, 2), None]
            await asyncio.sleep(9)
            assert [await one.get("a"), await two.get("a")] == [None, None]
            await one.set("c", 1, ttl=10)
            await one.expire("c", 100)
            await asyncio.sleep(11)
            assert [await one.get("c"), await two.get("c"), await two.increment("c")] == [1, 1, 2]

    run_virtually(main())


def test_what_is_too_big_for_the_store_stays_in_memory() -> None:
    async def main() -> None:
        noise = random.Random(6).randbytes(300_000)
        async with processes(SharedStore(now)) as (one, two):
            await one.set("k", b"small")
            await asyncio.sleep(1)
            await one.set("k", noise)
            assert [await one.get("k"), await two.get("k")] == [noise, None]

    run_virtually(main())


def test_what_is_set_while_the_store_is_asked_stays() -> None:
    async def main() -> None:
        store = SharedStore(now)
        tier = FakeTier(store)
        clock = asyncio.get_running_loop().time
        async with (
            processes(store, 1) as (other,),
            HybridCache(store=tier, secret=SECRET, policies=POLICIES, clock=clock) as cache,
        ):
            await other.set("k", "old")
            await asyncio.sleep(1)
            tier.takes_s = 0.1
            asking = asyncio.ensure_future(cache.get("k"))
            await asyncio.sleep(0.05)
            await cache.set("k", "new")
            assert [await asking, await cache.get("k")] == ["new", "new"]

    run_virtually(main())


def test_what_came_from_the_store_takes_a_new_time_too() -> None:
    async def main() -> None:
        load = Loader()
        async with processes(SharedStore(now)) as (one, two):
            await one.set("k", "set", ttl=10)
            await asyncio.sleep(1)
            assert await two.get("k") == "set"
            await two.expire("k", 100)
            await asyncio.sleep(20)
            found: Any = await two.get_or_load("k", load)
            assert found == "set"
            assert two.statistics()["default.store_hits"] == 1

    run_virtually(main())


def test_a_clean_close_loses_nothing_and_what_was_invalidated_stays_so_after_a_restart() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store, 1) as (cache,):
            for key in "ab":
                await cache.get_or_load(key, load, policy="p", tags=(key,))
            await cache.set("face", "x" * 5000)
            await cache.invalidate(tag="b")
        async with processes(store, 1) as (cache,):
            assert await cache.get("face") == "x" * 5000
            assert [await cache.get_or_load(key, load, policy="p", tags=(key,)) for key in "ab"] == [1, 3]

    run_virtually(main())


def test_a_load_that_began_before_an_invalidation_is_not_kept_nor_joined() -> None:
    async def main() -> None:
        calls = []

        async def load() -> int:
            calls.append(1)
            value = len(calls)
            await asyncio.sleep(1)
            return value

        async with processes(SharedStore(now)) as (one, two):
            first = asyncio.ensure_future(one.get_or_load("k", load, policy="p", tags=("menu",)))
            await asyncio.sleep(0.5)
            await two.invalidate(tag="menu")
            second = asyncio.ensure_future(one.get_or_load("k", load, policy="p", tags=("menu",)))
            assert [await first, await second] == [1, 2]
            assert await two.get_or_load("k", load, policy="p", tags=("menu",)) == 2

    run_virtually(main())


def test_what_could_not_be_told_is_told_when_the_store_is_back() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store) as (one, two):
            await one.get_or_load("k", load, policy="p", tags=("menu",))
            assert await two.get_or_load("k", load, policy="p", tags=("menu",)) == 1
            store.is_down = True
            await one.invalidate(tag="menu")
            assert one.statistics()["marks_untold"] == 1
            assert await one.get_or_load("k", load, policy="p", tags=("menu",)) == 2
            store.is_down = False
            await asyncio.sleep(10)
            assert one.statistics()["marks_untold"] == 0
            assert await two.get_or_load("k", load, policy="p", tags=("menu",)) == 3

    run_virtually(main())


def test_before_its_marks_are_known_a_store_is_not_read() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store, 1) as (cache,):
            await cache.get_or_load("k", load, policy="p")
            await cache.invalidate(namespace="p")
        deaf = FakeTier(store)

        async def fails(heard: Any) -> None:
            if now() < 10:
                raise StoreError("not yet", retryable=True)
            await FakeTier(store).follow(heard)

        deaf.follow = fails  # type: ignore[method-assign]
        clock = asyncio.get_running_loop().time
        async with HybridCache(store=deaf, secret=SECRET, policies=POLICIES, clock=clock) as cache:
            assert now() < 5
            assert (await cache.explain("k", policy="p")).store == "is not read before its marks are known"
            assert await cache.get_or_load("k", load, policy="p") == 2
            await asyncio.sleep(12)
            assert await cache.get_or_load("new", load, policy="p") == 3
            cache.shrink(0)
            assert await cache.get_or_load("new", load, policy="p") == 3

    run_virtually(main())


def test_a_store_without_marks_says_that_it_cannot_remember_them() -> None:
    class TierAlone:
        def __init__(self, tier: FakeTier) -> None:
            self.now, self.get_many, self.put_many = tier.now, tier.get_many, tier.put_many
            self.delete_many, self.erase = tier.delete_many, tier.erase

    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with HybridCache(store=TierAlone(FakeTier(store)), secret=SECRET, policies=POLICIES) as cache:
            await cache.get_or_load("k", load, policy="p")
            await asyncio.sleep(1)
            assert store.records
            await cache.invalidate(key="k", policy="p")
            assert not store.records
            assert await cache.get_or_load("k", load, policy="p") == 2
            with pytest.raises(StoreError, match="keeps no marks"):
                await cache.invalidate(namespace="p")
            assert await cache.get_or_load("k", load, policy="p") == 3

    run_virtually(main())


@pytest.mark.parametrize("is_waiting", [False, True])
def test_erasing_somebody_reaches_both_tiers_all_processes_and_what_is_not_written_yet(is_waiting: bool) -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store) as (one, two):
            slow = asyncio.Event()

            async def personal() -> str:
                await slow.wait()
                return "Ana lives here"

            loading = [
                asyncio.ensure_future(cache.get_or_load(key, personal, policy="mine", scope="ana"))
                for cache, key in ((one, "late"), (two, "later"))
            ]
            for user in ("ana", "an", "anab"):
                await one.get_or_load("k", load, policy="mine", scope=user)
            await one.get_or_load("k", load, policy="p", scope="ana")
            if not is_waiting:
                await asyncio.sleep(1)
                assert await two.get_or_load("k", load, policy="mine", scope="ana") == 1
            assert await one.erase("ana") == 2
            slow.set()
            assert await asyncio.gather(*loading) == ["Ana lives here"] * 2
            await asyncio.sleep(1)
            tag = one._engine.space.scope_tag("ana")
            assert not [record for record in store.records.values() if tag in record.tags]
            assert len(one._memory) == 2
            assert [await one.get_or_load("k", load, policy="mine", scope=user) for user in ("an", "anab")] == [2, 3]
            assert await two.get_or_load("k", load, policy="mine", scope="ana") == 5
            assert "Ana" not in repr(store.records)

    run_virtually(main())


def test_erasing_that_the_store_did_not_do_is_an_error_and_nothing_counts() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store) as (one, _):
            await one.get_or_load("k", load, policy="mine", scope="ana")
            store.is_down = True
            with pytest.raises(StoreError):
                await one.erase("ana")
            store.is_down = False
            assert await one.get_or_load("k", load, policy="mine", scope="ana") == 2
            await asyncio.sleep(10)
            assert await one.erase("ana") >= 1

    run_virtually(main())


def test_rows_that_are_damaged_or_foreign_are_skipped_and_counted() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store) as (one, two):
            for key in "abcdef":
                await one.get_or_load(key, load, policy="p")
        records = dict(store.records)
        keys = list(records)
        damages = [
            b"", b"garbage", records[keys[3]].data[:-1], records[keys[0]].data,  # the last is another key's
            Envelope(bytes(32)).seal(keys[4], 1, fresh_until=1e9, load_s=0),
        ]  # fmt: skip
        for digest, data in zip(keys, damages, strict=False):
            store.records[digest] = replace(records[digest], data=data)
        async with processes(store, 1) as (two,):
            assert [await two.get_or_load(key, load, policy="p") for key in "abcdef"] == [7, 8, 9, 10, 11, 6]
            assert two.statistics()["p.unreadable"] == 2 * 5  # looked at once more when the lease was had

    run_virtually(main())


# Envelopes


@pytest.mark.parametrize(
    "value", ["", "ñandú " * 400, b"", b"\xff" * 3000, None, True, 0, -1.5, 10**30, [1, [None]], {"a": {"": 1.0}}]
)
def test_what_goes_into_an_envelope_comes_back_the_same(value: object) -> None:
    data = Envelope(SECRET).seal(b"k", value, fresh_until=12.5, load_s=0.5)
    opened, fresh_until, load_s = Envelope(SECRET).open(b"k", data)
    assert (opened, type(opened), fresh_until, load_s) == (value, type(value), 12.5, 0.5)
    assert len(data) < 1200


@pytest.mark.parametrize(
    "value", [(1,), {1: 2}, {"a": (1,)}, {1}, float("nan"), float("inf"), "\ud800", ["\ud800"], object(), [10**5000],
              type("S", (str,), {})("x")]
)  # fmt: skip
def test_what_json_would_change_goes_into_no_envelope(value: object) -> None:
    with pytest.raises(NotJsonError):
        Envelope(SECRET).seal(b"k", value, fresh_until=0, load_s=0)


def test_a_deep_value_goes_into_no_envelope_and_a_text_that_does_not_get_smaller_is_not_compressed() -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(NotJsonError):
        Envelope(SECRET).seal(b"k", deep, fresh_until=0, load_s=0)
    noise = random.Random(6).randbytes(3000)
    overhead = len(Envelope(SECRET).seal(b"k", b"", fresh_until=0, load_s=0))
    assert len(Envelope(SECRET).seal(b"k", noise, fresh_until=0, load_s=0)) == 3000 + overhead


# Marks


def test_what_has_no_tag_is_invalidated_with_everything() -> None:
    marks = KnownMarks(lambda: 1.0)
    before = marks.stamp()
    marks.add_for_all(marks.stamp())
    assert [marks.counts(at, ()) for at in (before, marks.stamp())] == [False, True]
    assert marks.outdated_by(before, ()) == b""


def test_within_one_tick_what_begins_after_a_mark_counts_and_what_began_before_does_not() -> None:
    marks = KnownMarks(lambda: 1_000_000_000.0)
    before = marks.stamp()
    marks.add({b"t": marks.stamp()})
    after = marks.stamp()
    assert [marks.counts(at, (b"x", b"t")) for at in (before, after)] == [False, True]
    assert marks.counts(before, (b"x",))
    assert [marks.outdated_by(at, (b"x", b"t")) for at in (before, after)] == [b"t", None]


def test_what_begins_after_a_mark_was_heard_counts_though_the_clock_was_set_back() -> None:
    time_s = [1000.0]
    marks = KnownMarks(lambda: time_s[0])
    marks.add({b"t": 5000.0})
    time_s[0] = 10.0
    assert marks.counts(marks.stamp(), (b"t",))


def test_marks_are_bounded_and_forgetting_some_never_makes_something_count() -> None:
    marks = KnownMarks(iter(range(10_000)).__next__, max_marks=100)
    stamps = []
    for number in range(1000):
        stamps.append(marks.stamp())
        marks.add({b"%d" % number: marks.stamp()})
    assert len(marks) <= 100
    assert not any(marks.counts(stamp, (b"%d" % number,)) for number, stamp in enumerate(stamps))
    assert marks.counts(marks.stamp(), (b"1",))


async def test_invalidation_does_not_look_at_entries() -> None:
    cache, load = HybridCache(64 * 2**20, policies=POLICIES), Loader()
    took_s = []
    for count in (100, 20_000):
        for number in range(count):
            await cache.get_or_load(str(number), load, policy="p", tags=("menu",))
        rounds = []
        for _ in range(20):
            began = time.perf_counter()
            await cache.invalidate(tag="menu")
            rounds.append(time.perf_counter() - began)
        took_s.append(min(rounds))
    assert took_s[1] < 5 * took_s[0]


@pytest.mark.parametrize("value", [[1], "ñ\ud800", b"\0", None, ""])
@pytest.mark.parametrize("retry_at", [None, 3.0])
@pytest.mark.parametrize("tags", [(), (bytes(16), b"x" * 16), (b"short",)])
def test_an_entry_is_the_same_after_it_was_cold(value: object, retry_at: float | None, tags: tuple[bytes, ...]) -> None:
    entry = Entry(value, 1.0, 2.0, tags, retry_at)
    again = pickle.loads(pickle.dumps(entry))
    assert [getattr(again, name) for name in Entry.__slots__] == [getattr(entry, name) for name in Entry.__slots__]


def test_an_entry_weighs_what_its_parts_weigh() -> None:
    parts = [Entry("x" * 100, 1.5, 2.5, (b"a" * 16, b"b" * 16)), Entry(["x"] * 100, 1.5, 2.5, ())]
    for entry in parts:
        assert weigh(entry) == pytest.approx(_weigh(entry, set(), 0), rel=0.1)


def test_who_is_erased_leaves_the_memory_of_other_processes_at_once() -> None:
    async def main() -> None:
        store, load = SharedStore(now), Loader()
        async with processes(store) as (one, two):
            for cache in (one, two):
                for user in ("ana", "an", "2\0an"):
                    for key in ("a", "b"):
                        await cache.get_or_load(key, load, policy="mine", scope=user)
                await cache.get_or_load("ana", load, policy="p")
                await cache.set("ana", 1)
            await asyncio.sleep(1)
            before = len(two._memory)
            await one.invalidate(scope="an")
            await asyncio.sleep(1)
            assert len(two._memory) == before  # what is only invalidated goes when it is asked for
            await one.erase("ana")
            await asyncio.sleep(1)
            assert len(two._memory) == before - 2
            await two.erase("2\0an")
            await asyncio.sleep(1)
            assert (len(one._memory), len(two._memory)) == (before - 4, before - 4)

    run_virtually(main())
