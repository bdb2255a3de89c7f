"""The cache's tier in PostgreSQL over time: its clock, its connection, and what it deletes."""

import asyncio
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.testing import FakeClock
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres

END_OTHER_BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def eventually(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(10):
        while not (condition() if isinstance(met := condition(), bool) else await met):
            await asyncio.sleep(0.002)


@pytest.fixture
async def tier(database: Database) -> AsyncIterator[PostgresTier]:
    async with PostgresTier(database) as tier:
        yield tier


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[Database]:
    """What another process would have."""
    async with Database(database_url) as other:
        yield other


def record(key: bytes, data: bytes = b"value", *, ttl_s: float = 60, tags: tuple[bytes, ...] = ()) -> Record:
    now = time.time()
    return Record(key, data, now, now + ttl_s, tags)


async def count(database: Database) -> int:
    n: int = await database.fetchval("SELECT count(*) FROM tecnobot.cache")
    return n


# Records


async def test_whatever_bytes_are_in_keys_and_tags_they_come_back(tier: PostgresTier) -> None:
    all_bytes = bytes(range(256))
    records = [
        Record(all_bytes, all_bytes[::-1], 1.1, 4e9 + 1 / 3, (all_bytes, b"", b'"{},\\')),
        Record(b"", b"", -1e9, math.inf),
        Record(b"NULL", b"NULL", 1.0, 4e9, (b"NULL",)),
    ]
    await tier.put_many(records)
    for one in records:
        assert await tier.get_many([one.key]) == {one.key: one}


async def test_more_is_put_than_one_statement_takes(tier: PostgresTier) -> None:
    chance = random.Random(1)
    records = {bytes([n]): record(bytes([n]), chance.randbytes(2**20)) for n in range(20)}
    await tier.put_many(list(records.values()))
    assert await tier.get_many(list(records)) == records


async def test_erasing_leaves_tags_that_only_look_alike(tier: PostgresTier, database: Database) -> None:
    await tier.put_many(
        [
            record(b"a", tags=(b"shop", b"ana")),
            record(b"expired", tags=(b"ana",), ttl_s=-1),
            record(b"ana", b"ana", tags=(b"an", b"a", b"anastasia")),
        ]
    )
    assert await tier.erase(b"ana") == 2
    assert await tier.get_many([b"ana"])
    assert await count(database) == 1


@pytest.mark.parametrize("remove", [lambda tier: tier.delete_many([b"k"]), lambda tier: tier.erase(b"t")])
async def test_what_is_being_written_by_another_process_is_removed_after_it(
    tier: PostgresTier, other: Database, remove: Callable[[PostgresTier], Awaitable[object]]
) -> None:
    await tier.put_many([record(b"k", b"old", tags=(b"t",))])
    async with other.transaction() as connection:
        await connection.execute("UPDATE tecnobot.cache SET data = 'new', expires_at = expires_at + 1")
        removing = asyncio.ensure_future(remove(tier))
        await eventually(lambda: is_waiting(other))
    await removing
    assert await tier.get_many([b"k"]) == {}


async def is_waiting(database: Database) -> bool:
    n: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return n > 0


async def test_who_writes_deletes_and_erases_in_any_order_locks_nobody_out(tier: PostgresTier, other: Database) -> None:
    keys = [n.to_bytes(2, "big") for n in range(200)]
    async with PostgresTier(other) as second:

        async def work(tier: PostgresTier, seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(10):
                await tier.put_many([record(key, tags=(key[1:],)) for key in chance.sample(keys, 150)])
                await tier.delete_many(chance.sample(keys, 100))
                await tier.erase(chance.choice(keys)[1:])

        await asyncio.gather(*(work(each, seed) for seed, each in enumerate([tier, second] * 3)))


# What it deletes


async def test_what_expired_first_is_deleted_first(tier: PostgresTier, database: Database) -> None:
    await tier.put_many([record(bytes([n]), ttl_s=-10 + n) for n in (3, 0, 2, 1)])
    await tier.put_many([record(b"fresh"), Record(b"for ever", b"", 0.0, math.inf)])
    assert await tier.purge(3) == 3
    rows = await database.fetch("SELECT key FROM tecnobot.cache ORDER BY key")
    assert [row["key"] for row in rows] == [b"\x03", b"for ever", b"fresh"]


async def test_what_has_expired_is_deleted_again_and_again(database: Database) -> None:
    clock = FakeClock()

    async def is_empty() -> bool:
        await clock.advance(60)
        return await count(database) == 0

    async with PostgresTier(database, upkeep_s=60, purge_batch=2, jitter=float, sleep=clock.sleep) as tier:
        for _ in range(2):
            await tier.put_many([record(bytes([n]), ttl_s=-1) for n in range(5)])
            await eventually(is_empty)


async def test_upkeep_goes_on_after_an_outage(database: Database) -> None:
    clock = FakeClock()
    async with PostgresTier(database, upkeep_s=60, jitter=float, sleep=clock.sleep) as tier:
        await tier.put_many([record(b"k", ttl_s=-1)])
        await database.execute("ALTER TABLE tecnobot.cache RENAME TO gone")
        await clock.advance(60)
        await asyncio.sleep(0.05)  # until it was refused
        await database.execute("ALTER TABLE tecnobot.gone RENAME TO cache")

        async def is_empty() -> bool:
            await clock.advance(60)
            return await count(database) == 0

        await eventually(is_empty)


async def test_marks_and_leases_are_deleted_once_an_hour(database: Database) -> None:
    clock = FakeClock()
    async with PostgresTier(database, upkeep_s=60, jitter=float, sleep=clock.sleep) as tier:
        await tier.mark([b"old"], tier.now() - 1e6)

        async def is_empty() -> bool:
            await clock.advance(60)
            n: int = await database.fetchval("SELECT count(*) FROM tecnobot.cache_mark")
            return n == 0

        await eventually(is_empty)
        assert clock.now >= 3600


# The clock


async def test_what_expires_is_told_by_the_servers_clock(database: Database) -> None:
    shift_s = 0.0
    async with PostgresTier(
        database, clock=lambda: time.time() + 3600, monotonic=lambda: time.monotonic() + shift_s
    ) as tier:
        await tier.put_many([record(b"minute", ttl_s=60), record(b"hour", ttl_s=3600)])
        assert (await tier.get_many([b"minute", b"hour"])).keys() == {b"minute", b"hour"}
        shift_s = 61
        assert (await tier.get_many([b"minute", b"hour"])).keys() == {b"hour"}
    assert await count(database) == 2


async def test_the_clock_is_measured_again(database: Database) -> None:
    jumps, sleeper = [0.0], FakeClock()
    async with PostgresTier(
        database, upkeep_s=60, jitter=float, monotonic=lambda: time.monotonic() + sum(jumps), sleep=sleeper.sleep
    ) as tier:

        async def is_right() -> bool:
            await sleeper.advance(60)
            return abs(tier.now() - time.time()) < 1

        for jump_s in (-500, 1000):  # as after a machine slept
            jumps.append(jump_s)
            assert abs(tier.now() - time.time()) > 400
            await eventually(is_right)


# The connection


async def test_while_the_connection_is_busy_the_others_answer(tier: PostgresTier, database: CountingDatabase) -> None:
    await tier.put_many([record(b"k")])
    database.taken = 0
    assert all(await asyncio.gather(*(tier.get_many([b"k"]) for _ in range(30))))
    assert database.taken == 29


async def test_after_it_was_lost_there_is_another(
    tier: PostgresTier, database: CountingDatabase, other: Database
) -> None:
    await tier.put_many([record(b"k")])
    await other.fetch(END_OTHER_BACKENDS)

    async def is_held_again() -> bool:
        try:
            found = await tier.get_many([b"k"])
        except StoreError:
            return False
        before = database.taken
        return bool(found) and bool(await tier.get_many([b"k"])) and database.taken == before

    await eventually(is_held_again)


async def test_one_that_broke_off_is_given_back_without_a_complaint(tier: PostgresTier) -> None:
    await eventually(lambda: held_by(tier) is not None)
    connection = tier._held._free
    assert connection is not None
    # Closed, and not cleaned up yet: what asyncpg does on a broken answer, and what a statement under way may find.
    connection._con._protocol.abort()  # type: ignore[attr-defined]
    tier._held._look.set()
    await eventually(lambda: tier._held._free not in (None, connection))
    assert await tier.get_many([b"k"]) == {}


async def test_after_reads_that_were_late_or_cancelled_it_is_used_again(
    database: CountingDatabase, other: Database
) -> None:
    async with PostgresTier(database, timeout_s=0.05) as tier:
        await tier.put_many([record(b"k")])
        async with other.transaction() as connection:
            await connection.execute("LOCK TABLE tecnobot.cache")
            reading = asyncio.create_task(tier.get_many([b"k"]))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
            late = await asyncio.gather(*(tier.get_many([b"k"]) for _ in range(5)), return_exceptions=True)
            assert all(isinstance(error, StoreError) and error.retryable for error in late), late

        async def is_held_again() -> bool:
            before = database.taken
            return bool(await tier.get_many([b"k"])) and database.taken == before

        await eventually(is_held_again)


async def test_what_the_server_refuses_does_not_cost_it(tier: PostgresTier, database: CountingDatabase) -> None:
    await database.execute("ALTER TABLE tecnobot.cache RENAME TO gone")
    database.taken = 0
    for _ in range(3):
        with pytest.raises(StoreError, match="does not exist"):
            await tier.get_many([b"k"])
    assert database.taken == 0
    await database.execute("ALTER TABLE tecnobot.gone RENAME TO cache")
    assert await tier.get_many([b"k"]) == {}


async def test_one_that_died_without_a_word_is_replaced(database: Database) -> None:
    clock = FakeClock()
    async with PostgresTier(database, sleep=clock.sleep) as tier:
        await eventually(lambda: held_by(tier) is not None)
        pid = held_by(tier)
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:

            async def is_replaced() -> bool:
                await clock.advance(5)
                return held_by(tier) not in (None, pid)

            await eventually(is_replaced)
            assert await tier.get_many([b"k"]) == {}
        finally:
            os.kill(pid, signal.SIGCONT)


def held_by(tier: PostgresTier) -> int | None:
    """The process that answers over the connection that is held, while it is free."""
    connection = tier._held._free
    return None if connection is None else connection.get_server_pid()


async def test_closing_gives_it_back_as_it_was(database_url: str, database: Database) -> None:
    async with Database(database_url, min_size=1, max_size=2) as small:
        for _ in range(5):
            async with PostgresTier(small):
                pass
        async with small.acquire() as first, small.acquire() as second:
            for connection in (first, second):
                assert await connection.fetchval("SELECT count(*) FROM pg_listening_channels()") == 0


async def test_a_database_that_is_closed_first_does_no_harm(database_url: str, database: Database) -> None:
    closing = Database(database_url)
    await closing.__aenter__()
    async with PostgresTier(closing) as tier:
        await closing.aclose()
        with pytest.raises((StoreError, LifecycleError)):
            await tier.get_many([b"k"])
