"""aiocache's own commands and locks over PostgreSQL."""

import asyncio
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
from tests.contracts.cache_tiers import A, eventually, lasting

pytestmark = pytest.mark.postgres


@pytest.fixture
async def cache(database: Database) -> AsyncIterator[PostgresCache]:
    async with PostgresCache(database, timeout=0) as cache:
        yield cache


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


async def test_many_at_once(cache: PostgresCache) -> None:
    await cache.multi_set([["a", 1], ["b", 2], ["a", 3]])
    assert await cache.multi_get(["b", "c", "a", "b"]) == [2, None, 3, 2]
    await cache.multi_set([])
    assert await cache.multi_get([]) == []


async def test_time_to_live(cache: PostgresCache, database: Database) -> None:
    for key, ttl in (("a", 0.05), ("b", None), ("c", 0), ("d", 60)):
        await cache.set(key, 1, ttl=ttl)
    await eventually(lambda: absent(cache, "a"))
    assert await cache.multi_get(["a", "b", "c", "d"]) == [None, 1, 1, 1]
    assert not await cache.exists("a")
    assert await cache.delete("a") == 0
    assert not await cache.expire("a", 10)
    assert await cache.expire("b", 0.05)
    await eventually(lambda: absent(cache, "b"))
    assert await cache.expire("d", 0)
    assert await database.fetchval("SELECT count(*) FROM tecnobot.cache WHERE expires_at = 'Infinity'") == 2
    default = PostgresCache(database, ttl=60)
    left_s = "SELECT min(expires_at) - extract(epoch FROM now())::float8 FROM tecnobot.cache WHERE data = '5'"
    await default.set("e", 5)
    assert 55 < await database.fetchval(left_s) <= 60


async def absent(cache: PostgresCache, key: str) -> bool:
    return await cache.get(key) is None


async def test_add_only_what_is_not_there_or_has_expired(cache: PostgresCache) -> None:
    assert await cache.add("k", 1, ttl=0.05)
    with pytest.raises(ValueError, match="Key k already exists"):
        await cache.add("k", 2)
    await eventually(lambda: absent(cache, "k"))
    assert await cache.add("k", 3)
    assert await cache.get("k") == 3


async def test_delete_and_exists(cache: PostgresCache) -> None:
    await cache.set("k", 1)
    assert await cache.exists("k")
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0
    assert not await cache.exists("k")


async def test_counting_is_atomic(cache: PostgresCache, database: Database) -> None:
    others = [PostgresCache(database, timeout=0) for _ in range(3)]
    await asyncio.gather(*(other.increment("k", 2) for other in others for _ in range(50)))
    assert await cache.increment("k", -1) == 299
    assert await cache.get("k") == 299


async def test_counting_keeps_the_time_and_begins_anew_after_it(cache: PostgresCache) -> None:
    await cache.set("k", 5, ttl=0.1)
    assert await cache.increment("k") == 6
    await eventually(lambda: absent(cache, "k"))
    assert await cache.increment("k") == 1


async def test_only_numbers_are_counted(cache: PostgresCache) -> None:
    for value in ("text", [1], 1.5, 2**63 - 1):
        await cache.set("k", value)
        with pytest.raises(TypeError, match="not an integer"):
            await cache.increment("k")
        assert await cache.get("k") == value


async def test_a_value_is_swapped_only_where_it_is_still_the_same(cache: PostgresCache) -> None:
    await cache.set("k", "a")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("b")
    async with OptimisticLock(cache, "k") as lock:
        await cache.set("k", "c")
        with pytest.raises(OptimisticLockError):
            await lock.cas("d")
    assert await cache.get("k") == "c"


async def test_of_many_swaps_one_wins(cache: PostgresCache) -> None:
    await cache.set("k", 0)
    token = await cache._gets(cache.build_key("k"))
    swapped = await asyncio.gather(*(cache.set("k", number, _cas_token=token) for number in range(1, 11)))
    assert sorted(bool(done) for done in swapped) == [False] * 9 + [True]


async def test_aiocaches_lock(cache: PostgresCache) -> None:
    async with RedLock(cache, "k", lease=5):
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("k-lock", 1)
    assert not await cache.exists("k-lock")


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
