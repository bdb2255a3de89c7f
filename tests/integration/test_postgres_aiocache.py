"""PostgresCache: what aiocache documents of a backend, over the table of the cache."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from enum import Enum

import pytest
from aiocache import cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.plugins import HitMissRatioPlugin
from aiocache.serializers import NullSerializer, PickleSerializer, StringSerializer

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresCache, PostgresTier
from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import StoreError

pytestmark = pytest.mark.postgres


class Key(Enum):
    ANA = "ana"


@pytest.fixture
def cache(database: Database) -> PostgresCache:
    return PostgresCache(database)


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[PostgresCache]:
    """What another process would have."""
    async with Database(database_url) as other:
        yield PostgresCache(other)


async def pass_time(database: Database, seconds: float) -> None:
    await database.execute("UPDATE tecnobot.cache SET expires_at = expires_at - $1", seconds)


async def test_values_are_kept_as_json(cache: PostgresCache, other: PostgresCache, database: Database) -> None:
    value = {"name": "Añá", "list": [1, 2.5, None, True], "emoji": "🤖"}
    assert await cache.set("k", value)
    assert await other.get("k") == value
    assert await other.get("missing") is None
    assert await other.get("missing", default=7) == 7
    data = await database.fetchval("SELECT data FROM tecnobot.cache")
    assert data.startswith(b'{"name"')


async def test_a_later_set_counts(cache: PostgresCache, other: PostgresCache) -> None:
    await cache.set("k", 1)
    await other.set("k", 2)
    assert await cache.get("k") == 2


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


async def test_without_a_ttl_nothing_ends(database: Database) -> None:
    cache = PostgresCache(database)
    short = PostgresCache(database, ttl=10)
    await cache.set("none", 1)
    await cache.set("zero", 1, ttl=0)
    await short.set("default", 1)
    await short.set("own", 1, ttl=None)
    await pass_time(database, 1e9)
    assert await cache.multi_get(["none", "zero", "default", "own"]) == [1, 1, None, 1]


async def test_expire_changes_when_a_value_ends(cache: PostgresCache, database: Database) -> None:
    await cache.multi_set([("short", 1), ("ever", 1)], ttl=100)
    assert await cache.expire("short", 10)
    assert await cache.expire("ever", 0)
    await pass_time(database, 50)
    assert await cache.multi_get(["short", "ever"]) == [None, 1]


async def test_many_are_set_and_found_in_their_order(cache: PostgresCache) -> None:
    pairs = [(f"key{number}", number) for number in range(500)]
    assert await cache.multi_set([*pairs, ("key0", "last")], ttl=60)
    assert await cache.multi_set([])
    assert await cache.multi_get([]) == []
    assert await cache.multi_get(["key3", "missing", "key1", "key3", "key0"]) == [3, None, 1, 3, "last"]


async def test_add_refuses_a_key_that_is_there(cache: PostgresCache, other: PostgresCache) -> None:
    assert await cache.add("k", 1)
    with pytest.raises(ValueError, match="Key k already exists"):
        await other.add("k", 2)
    assert await cache.get("k") == 1


async def test_of_many_who_add_one_succeeds(cache: PostgresCache, other: PostgresCache) -> None:
    adds = [each.add("k", number) for number, each in enumerate([cache, other] * 10)]
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert [type(result) for result in results].count(ValueError) == 19
    assert results.count(True) == 1


async def test_delete_tells_how_many(cache: PostgresCache) -> None:
    await cache.set("k", 1)
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0


async def test_every_increment_counts(cache: PostgresCache, other: PostgresCache) -> None:
    results = await asyncio.gather(*(each.increment("n", 2) for each in [cache, other] * 50))
    assert sorted(results) == list(range(2, 201, 2))
    assert await cache.increment("n", -200) == 0
    assert await cache.get("n") == 0
    await cache.set("n", 41, ttl=60)
    assert await cache.increment("n") == 42


@pytest.mark.parametrize("value", ["text", 1.5, {"a": 1}, 2**63])
async def test_what_is_no_integer_is_not_incremented(cache: PostgresCache, value: object) -> None:
    await cache.set("k", value)
    with pytest.raises(TypeError, match="Value is not an integer"):
        await cache.increment("k")
    assert await cache.get("k") == value


async def test_clear_empties_a_namespace_and_nothing_else(database: Database) -> None:
    shop, bakery, both = (PostgresCache(database, namespace=name) for name in ("shop", "bakery", None))
    for cache in (shop, bakery, both):
        await cache.set("k", cache.namespace)
    async with PostgresTier(database) as tier:
        hybrid = Record(b"h" * 16, b"", tier.now(), tier.now() + 60, (b"shop",))
        await tier.put_many([hybrid])
        await shop.clear()
        assert [await cache.get("k") for cache in (shop, bakery, both)] == [None, "bakery", None]
        await both.set("k", "both")
        await both.clear(namespace="bakery")
        assert [await cache.get("k") for cache in (shop, bakery, both)] == [None, None, "both"]
        await shop.set("k", "again")
        await both.clear()
        assert [await cache.get("k") for cache in (shop, bakery, both)] == [None, None, None]
        assert await tier.get_many([hybrid.key]) == {hybrid.key: hybrid}


async def test_a_namespace_is_no_part_of_the_key(database: Database) -> None:
    cache = PostgresCache(database, namespace="ab")
    await cache.set("c", 1)
    assert await cache.get("c", namespace="ab") == 1
    for key, namespace in (("bc", "a"), ("abc", ""), ("", "abc"), ("abc", None)):
        assert await PostgresCache(database).get(key, namespace=namespace) is None


async def test_keys_are_text_or_an_enum_of_text(database: Database) -> None:
    cache = PostgresCache(database)
    await cache.set(Key.ANA, 1)
    assert await cache.get("ana") == 1
    await cache.set("\ud800", 2)
    assert await cache.get("\ud800") == 2
    with pytest.raises(TypeError, match="a key is text, not int"):
        await cache.get(5)


async def test_a_key_builder_makes_the_key(database: Database) -> None:
    built = PostgresCache(database, key_builder=lambda key, namespace: f"{namespace}/{key}", namespace="ns")
    await built.set("k", 1)
    assert await PostgresCache(database, namespace="ns").get("ns/k") == 1


async def test_other_serializers_work(database: Database) -> None:
    pickles = PostgresCache(database, serializer=PickleSerializer(), namespace="pickle")
    await pickles.set("k", {1, 2})
    assert await pickles.get("k") == {1, 2}
    texts = PostgresCache(database, serializer=StringSerializer(), namespace="text")
    await texts.set("k", 12)
    assert await texts.get("k") == "12"
    raw = PostgresCache(database, serializer=NullSerializer(encoding=None), namespace="raw")
    await raw.multi_set([("k", b"\x00\xff"), ("n", 5)])
    assert await raw.multi_get(["k", "n"]) == [b"\x00\xff", b"5"]
    with pytest.raises(TypeError, match="keeps text and bytes, not dict"):
        await raw.set("k", {})


async def test_nothing_is_unpickled_unless_it_was_asked_for(database: Database) -> None:
    cache = PostgresCache(database)
    await cache.set("k", 1)
    await database.execute("UPDATE tecnobot.cache SET data = $1", pickle.dumps({"a": 1}, protocol=0))
    with pytest.raises(ValueError, match=r"Expecting value|Extra data|line 1"):
        await cache.get("k")


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


async def test_a_redlock_is_given_back_by_its_holder(cache: PostgresCache, other: PostgresCache) -> None:
    async with RedLock(cache, "k", lease=60):
        lock = cache.build_key("k-lock")
        assert await other._redlock_release(lock, "somebody else's") == 0
        assert await other.exists("k-lock")
    assert not await other.exists("k-lock")


async def test_decorators_and_plugins_work(database: Database) -> None:
    calls = 0
    cache = PostgresCache(database, plugins=[HitMissRatioPlugin()])

    async def load(name: str) -> str:
        nonlocal calls
        calls += 1
        return name.upper()

    decorator = cached(key_builder=lambda function, name: name)
    decorator.cache = cache
    assert [await decorator.decorator(load, "ana"), await decorator.decorator(load, "ana")] == ["ANA", "ANA"]
    assert calls == 1
    assert cache.hit_miss_ratio["hits"] == 1


async def test_raw_is_sql(cache: PostgresCache) -> None:
    rows = await cache.raw("SELECT $1::integer + 1 AS n", 4)
    assert [row["n"] for row in rows] == [5]


async def test_trouble_is_a_store_error(database_url: str, database: Database) -> None:
    await database.execute("DROP TABLE tecnobot.cache")
    cache = PostgresCache(database)
    for command in (cache.get("k"), cache.set("k", 1), cache.increment("k"), cache.clear()):
        with pytest.raises(StoreError, match="does not exist"):
            await command
