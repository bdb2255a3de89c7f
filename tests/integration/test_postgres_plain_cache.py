"""PostgresCache: aiocache's commands, locks and decorators over PostgreSQL, over time and among processes."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import pytest
from aiocache import cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.plugins import HitMissRatioPlugin
from aiocache.serializers import NullSerializer, PickleSerializer, StringSerializer

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresCache, PostgresTier
from tecnobot_core.errors import StoreError
from tests.contracts.cache_tiers import A, lasting

pytestmark = pytest.mark.postgres


@pytest.fixture
async def cache(database: Database) -> AsyncIterator[PostgresCache]:
    async with PostgresCache(database, timeout=0) as cache:
        yield cache


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[PostgresCache]:
    """What another process would have."""
    async with Database(database_url) as other:
        yield PostgresCache(other)


async def pass_time(database: Database, seconds: float) -> None:
    await database.execute("UPDATE tecnobot.cache SET expires_at = expires_at - $1", seconds)


async def test_values_are_json_unless_something_else_is_wanted(cache: PostgresCache, database: Database) -> None:
    value = {"a": [1, None, "ñ", 0.5]}
    assert await cache.set("k", value)
    assert await cache.get("k") == value
    assert await cache.get("missing") is None
    assert await cache.get("missing", default=7) == 7
    stored = await database.fetchval("SELECT convert_from(data, 'UTF8') FROM tecnobot.cache")
    assert stored.replace(" ", "") in ('{"a":[1,null,"ñ",0.5]}', '{"a":[1,null,"\\u00f1",0.5]}')


@pytest.mark.parametrize(
    ("serializer", "value"),
    [(StringSerializer(), "texto"), (PickleSerializer(), {1, 2}), (NullSerializer(encoding=None), b"\0\xff")],
)
async def test_aiocaches_serializers_work(database: Database, serializer: Any, value: Any) -> None:
    cache = PostgresCache(database, serializer=serializer)
    await cache.set("k", value)
    assert await cache.get("k") == value


async def test_what_is_neither_text_nor_bytes_is_refused(database: Database) -> None:
    cache = PostgresCache(database, serializer=NullSerializer())
    with pytest.raises(TypeError, match="text and bytes, not list; give it a serializer"):
        await cache.set("k", [1])
    with pytest.raises(TypeError, match="a key is text, not int"):
        await cache.set(5, "x")


async def test_only_numbers_are_counted(cache: PostgresCache) -> None:
    for value in ("text", [1], 1.5, 2**63 - 1):
        await cache.set("k", value)
        with pytest.raises(TypeError, match="not an integer"):
            await cache.increment("k")
        assert await cache.get("k") == value


async def test_many_are_set_and_found_in_their_order(cache: PostgresCache) -> None:
    pairs = [(f"key{number}", number) for number in range(500)]
    assert await cache.multi_set([*pairs, ("key0", "last")], ttl=60)
    assert await cache.multi_set([])
    assert await cache.multi_get([]) == []
    assert await cache.multi_get(["key3", "missing", "key1", "key3", "key0"]) == [3, None, 1, 3, "last"]


async def test_what_is_there_is_deleted_once_and_not_added(cache: PostgresCache) -> None:
    assert await cache.add("k", 1)
    assert await cache.exists("k")
    with pytest.raises(ValueError, match="Key k already exists"):
        await cache.add("k", 2)
    assert await cache.get("k") == 1
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0
    assert not await cache.exists("k")


# Over time


async def test_what_has_expired_is_absent_for_every_command(cache: PostgresCache, database: Database) -> None:
    async def gone() -> None:
        await cache.set("k", 1, ttl=30)
        assert await cache.exists("k")
        await pass_time(database, 31)

    await gone()
    assert await cache.get("k") is None
    assert await cache.multi_get(["k"]) == [None]
    assert not await cache.exists("k")
    assert await cache.delete("k") == 0
    assert not await cache.expire("k", 60)
    assert await cache.add("k", 2, ttl=30)
    assert await cache.get("k") == 2
    await gone()
    assert await cache.increment("k", 5) == 5
    await pass_time(database, 1e6)
    assert await cache.get("k") == 5  # it counts anew, for ever


async def test_a_time_ends_by_the_clock_of_the_server(cache: PostgresCache) -> None:
    await cache.set("k", 1, ttl=0.05)
    async with asyncio.timeout(10):
        while await cache.get("k") is not None:
            await asyncio.sleep(0.005)


async def test_without_a_ttl_nothing_ends(cache: PostgresCache, database: Database) -> None:
    short = PostgresCache(database, ttl=10)
    await cache.set("none", 1)
    await cache.set("zero", 1, ttl=0)
    await short.set("default", 1)
    await short.set("own", 1, ttl=None)
    await pass_time(database, 9)
    assert await short.exists("default")
    await pass_time(database, 1e9)
    assert await cache.multi_get(["none", "zero", "default", "own"]) == [1, 1, None, 1]


async def test_another_time_may_be_given(cache: PostgresCache, database: Database) -> None:
    await cache.multi_set([["short", 1], ["long", 1]], ttl=30)
    assert await cache.expire("short", 10)
    assert await cache.expire("long", 0)
    await pass_time(database, 11)
    assert await cache.multi_get(["short", "long"]) == [None, 1]
    await pass_time(database, 1e9)
    assert await cache.get("long") == 1


async def test_counting_keeps_the_time(cache: PostgresCache, database: Database) -> None:
    await cache.set("k", 41, ttl=30)
    assert await cache.increment("k") == 42
    await pass_time(database, 31)
    assert await cache.increment("k") == 1


# Among processes


async def test_of_many_who_add_one_succeeds(cache: PostgresCache, other: PostgresCache) -> None:
    adds = [each.add("k", number) for number, each in enumerate([cache, other] * 10)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert [type(result) for result in results].count(ValueError) == 19
    assert results.count(True) == 1


async def test_every_increment_counts(cache: PostgresCache, other: PostgresCache) -> None:
    results = await asyncio.gather(*(each.increment("n", 2) for each in [cache, other] * 50))
    assert sorted(results) == list(range(2, 201, 2))
    assert await cache.increment("n", -200) == 0
    assert await cache.get("n") == 0


async def test_of_two_who_read_the_same_the_first_writes(cache: PostgresCache, other: PostgresCache) -> None:
    await cache.set("k", 1)
    async with OptimisticLock(cache, "k") as ours, OptimisticLock(other, "k") as theirs:
        await theirs.cas(2)
        with pytest.raises(OptimisticLockError):
            await ours.cas(3)
    assert await cache.get("k") == 2
    async with OptimisticLock(cache, "k") as lock:
        await lock.cas(4, ttl=60)
    assert await other.get("k") == 4


async def test_of_many_swaps_one_wins(cache: PostgresCache, other: PostgresCache) -> None:
    await cache.set("k", 0)
    token = await cache._gets(cache.build_key("k"))
    swaps = [each.set("k", number, _cas_token=token) for number, each in enumerate([cache, other] * 5, 1)]
    assert sorted(bool(done) for done in await asyncio.gather(*swaps)) == [False] * 9 + [True]


async def test_a_redlock_is_given_back_by_its_holder_only(cache: PostgresCache, other: PostgresCache) -> None:
    async with RedLock(cache, "k", lease=60):
        with pytest.raises(ValueError, match="already exists"):
            await other.add("k-lock", 1)
        assert await other._redlock_release(other.build_key("k-lock"), "somebody else's") == 0
        assert await other.exists("k-lock")
    assert not await other.exists("k-lock")


# Namespaces and keys


async def test_namespaces_cannot_be_mistaken_for_one_another(cache: PostgresCache, database: Database) -> None:
    await cache.set("bc", 1, namespace="a")
    await cache.set("c", 2, namespace="ab")
    await cache.set("abc", 3)
    assert await cache.get("bc", namespace="a") == 1
    assert await cache.get("c", namespace="ab") == 2
    assert await cache.get("abc") == 3
    own = PostgresCache(database, namespace="a")
    assert await own.get("bc") == 1
    assert await own.get("abc", namespace="") == 3
    await cache.clear(namespace="a")
    assert await own.get("bc") is None
    assert await cache.get("c", namespace="ab") == 2


async def test_clearing_leaves_what_is_not_its_own(cache: PostgresCache, database: Database) -> None:
    tier = PostgresTier(database)
    await tier.put_many([lasting(tier, A)])
    own = PostgresCache(database, namespace="a")
    await own.set("k", 1)
    await cache.set("k", 2)
    await own.clear()
    assert [await own.get("k"), await cache.get("k")] == [None, 2]
    await own.set("k", 1)
    await cache.clear()
    assert [await own.get("k"), await cache.get("k")] == [None, None]
    assert set(await tier.get_many([A])) == {A}


async def test_key_builders_and_enums(database: Database) -> None:
    class Key(Enum):
        K = "k"

    cache = PostgresCache(database, namespace="n", key_builder=lambda key, namespace: f"{key}!{namespace}")
    await cache.set("k", 1)
    assert await cache.get(Key.K) == 1
    assert await PostgresCache(database).get("k!n", namespace="n") == 1
    await cache.clear()
    assert await cache.get("k") is None


@pytest.mark.parametrize("key", ["", "ñ" * 3000, "\0", "\ud800", "'; DROP TABLE"])
async def test_keys_are_any_text(cache: PostgresCache, key: str) -> None:
    await cache.set(key, 1, namespace=key)
    assert await cache.get(key, namespace=key) == 1


# aiocache around it, and trouble


async def test_plugins_and_decorators(database: Database) -> None:
    calls = 0
    cache = PostgresCache(database, plugins=[HitMissRatioPlugin()])
    await cache.set("k", 1)
    await cache.get("k")
    await cache.get("missing")
    assert cache.hit_miss_ratio["hit_ratio"] == 0.5

    @cached(cache=PostgresCache, database=database, key="answer", ttl=60)  # type: ignore[untyped-decorator]
    async def answer() -> int:
        nonlocal calls
        calls += 1
        return 42

    assert [await answer(), await answer()] == [42, 42]
    assert calls == 1


async def test_aiocaches_time_limit(database: Database) -> None:
    cache = PostgresCache(database, timeout=0.1)
    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE tecnobot.cache IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await cache.get("k")
    await cache.set("k", 1)
    assert await cache.get("k") == 1


async def test_raw_is_sql(cache: PostgresCache) -> None:
    assert [tuple(row) for row in await cache.raw("SELECT $1::int + 1", 1)] == [(2,)]
    with pytest.raises(StoreError):
        await cache.raw("SELEC")


async def test_nothing_is_unpickled_unless_it_was_asked_for(cache: PostgresCache, database: Database) -> None:
    await cache.set("k", 1)
    await database.execute("UPDATE tecnobot.cache SET data = $1", pickle.dumps({"a": 1}, protocol=0))
    with pytest.raises(ValueError, match=r"Expecting value|Extra data|line 1"):
        await cache.get("k")


async def test_trouble_is_a_store_error(cache: PostgresCache, database: Database) -> None:
    await database.execute("DROP TABLE tecnobot.cache")
    for command in (cache.get("k"), cache.set("k", 1), cache.increment("k"), cache.clear()):
        with pytest.raises(StoreError, match="does not exist"):
            await command
