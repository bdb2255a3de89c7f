"""PostgresCache among processes, over time and in trouble."""

import asyncio
import pickle
from collections.abc import AsyncIterator

import pytest
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresCache
from tecnobot_core.errors import StoreError

pytestmark = pytest.mark.postgres


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


async def test_many_are_set_and_found_in_their_order(cache: PostgresCache) -> None:
    pairs = [(f"key{number}", number) for number in range(500)]
    assert await cache.multi_set([*pairs, ("key0", "last")], ttl=60)
    assert await cache.multi_set([])
    assert await cache.multi_get([]) == []
    assert await cache.multi_get(["key3", "missing", "key1", "key3", "key0"]) == [3, None, 1, 3, "last"]


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
    await cache.set("n", 41, ttl=60)
    assert await cache.increment("n") == 42


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


async def test_a_redlock_is_given_back_by_its_holder_only(cache: PostgresCache, other: PostgresCache) -> None:
    async with RedLock(cache, "k", lease=60):
        assert await other._redlock_release(other.build_key("k-lock"), "somebody else's") == 0
        assert await other.exists("k-lock")
    assert not await other.exists("k-lock")


async def test_trouble_is_a_store_error(database_url: str, database: Database) -> None:
    await database.execute("DROP TABLE tecnobot.cache")
    cache = PostgresCache(database)
    for command in (cache.get("k"), cache.set("k", 1), cache.increment("k"), cache.clear()):
        with pytest.raises(StoreError, match="does not exist"):
            await command
