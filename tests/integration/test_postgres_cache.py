"""The cache's store in a real PostgreSQL."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database, migrate
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.testing import FaultyProxy
from tests.contracts.cache_tiers import (
    ANA,
    LUIS,
    A,
    B,
    Client,
    Clients,
    LeasesContract,
    MarksContract,
    RecordsContract,
    eventually,
    following,
    lasting,
    said,
)
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def shared_url(postgres_dsn: str) -> Iterator[str]:
    """A migrated database for all tests of a contract, which empty it."""
    url = urlsplit(postgres_dsn)._replace(path="/cache_contracts").geturl()

    async def make() -> None:
        await execute(postgres_dsn, "CREATE DATABASE cache_contracts")
        async with Database(url) as database:
            await migrate(database)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()
        yield url
        thread.submit(asyncio.run, execute(postgres_dsn, "DROP DATABASE cache_contracts WITH (FORCE)")).result()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def shared(shared_url: str) -> AsyncIterator[Database]:
    async with Database(shared_url) as database:
        await database.execute("TRUNCATE tecnobot.cache, tecnobot.cache_mark, tecnobot.cache_lease")
        yield database


class TestPostgresTier(RecordsContract, MarksContract, LeasesContract):
    @pytest.fixture
    async def clients(self, shared: Database) -> AsyncIterator[Clients]:
        async with PostgresTier(shared) as one, PostgresTier(shared) as two:
            yield Clients(Client(one, one, one), Client(two, two, two))


class TestGuardedPostgresTier(RecordsContract, MarksContract, LeasesContract):
    @pytest.fixture
    async def clients(self, shared: Database) -> AsyncIterator[Clients]:
        async with GuardedTier(PostgresTier(shared)) as one, GuardedTier(PostgresTier(shared)) as two:
            yield Clients(Client(one, one.marks, one.leases), Client(two, two.marks, two.leases))


class TestUnopenedPostgresTier(RecordsContract, MarksContract, LeasesContract):
    """Without a connection of its own: as behind a pooler in transaction mode, and before the first one is made."""

    @pytest.fixture
    def clients(self, shared: Database) -> Clients:
        one, two = PostgresTier(shared, poll_s=0.01), PostgresTier(shared, poll_s=0.01)
        return Clients(Client(one, one, one), Client(two, two, two))


@pytest.fixture
async def tier(database: Database) -> AsyncIterator[PostgresTier]:
    async with PostgresTier(database) as tier:
        yield tier


# The connection that it holds


async def test_it_answers_over_one_connection_of_its_own(database: CountingDatabase, tier: PostgresTier) -> None:
    taken = database.taken
    await tier.put_many([lasting(tier, A)])
    for _ in range(20):
        await tier.get_many([A])
    assert database.taken == taken
    await asyncio.gather(*(tier.get_many([A]) for _ in range(3)))
    assert database.taken == taken + 2


async def test_it_is_as_good_when_it_is_opened_again_in_another_event_loop(database_url: str) -> None:
    pauses: Counter[float] = Counter()

    async def pause(seconds: float) -> None:
        pauses[seconds] += 1
        await asyncio.sleep(seconds)

    database = Database(database_url)
    tier = PostgresTier(database, timeout_s=1.0, jitter=lambda seconds: seconds, sleep=pause)

    async def is_marked() -> bool:
        with suppress(StoreError):
            await tier.mark([B], tier.now())
            return True
        return False

    async def use() -> None:
        async with database:
            await migrate(database)
            async with tier, following(tier) as heard:
                assert tier._held.listening, "it was waited for"
                await tier.put_many([lasting(tier, A)])
                assert set(await tier.get_many([A])) == {A}
                async with database.transaction() as connection, asyncio.timeout(5):
                    await connection.execute("LOCK TABLE tecnobot.cache IN ACCESS EXCLUSIVE MODE")
                    with pytest.raises(StoreError):
                        await tier.get_many([A])
                await execute(database_url, END_OTHER_BACKENDS)
                await eventually(is_marked)
                await eventually(lambda: said(B in heard and tier._held.listening))

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, use())
        await execute(database_url, "TRUNCATE tecnobot.cache_mark")
    long = {seconds: count for seconds, count in pauses.items() if seconds >= 30}
    assert max(long.values()) < 15, "who waits for what is of another loop does not wait at all"


async def test_of_a_pool_of_one_connection_it_holds_none(database: Database, database_url: str) -> None:
    async with Database(database_url, min_size=1, max_size=1) as small, PostgresTier(small) as tier:
        await tier.put_many([lasting(tier, A)])
        assert set(await tier.get_many([A])) == {A}
        assert await small.fetchval("SELECT 1") == 1


END_OTHER_BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_told(
    database_url: str, tier: PostgresTier
) -> None:
    async with following(tier) as heard:
        await eventually(lambda: said(heard.calls > 0))
        await tier.acquire(A, 30)
        waiting = asyncio.create_task(tier.wait(A, 30))
        await asyncio.sleep(0.05)
        await execute(database_url, END_OTHER_BACKENDS)
        # While nobody listens, and without a word.
        await execute(
            database_url,
            f"INSERT INTO tecnobot.cache_mark VALUES ('\\x{B.hex()}', 5); DELETE FROM tecnobot.cache_lease",
        )
        await eventually(lambda: said(heard == {B: 5.0}))
        async with asyncio.timeout(5):
            await waiting
    await tier.put_many([lasting(tier, A)])
    assert set(await tier.get_many([A])) == {A}


async def test_a_cancelled_read_does_not_spoil_the_connection(database: Database, tier: PostgresTier) -> None:
    await tier.put_many([lasting(tier, A)])
    async with database.transaction() as connection:
        await connection.execute("LOCK TABLE tecnobot.cache IN ACCESS EXCLUSIVE MODE")
        reading = asyncio.create_task(tier.get_many([A]))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    for _ in range(10):
        assert set(await tier.get_many([A])) == {A}


@pytest.mark.parametrize("is_prepared", [False, True])
async def test_an_answer_that_does_not_come_is_a_store_error_in_time(database: Database, is_prepared: bool) -> None:
    async with PostgresTier(database, timeout_s=0.1) as tier:
        if is_prepared:
            assert await tier.get_many([A]) == {}
        async with database.transaction() as connection:
            await connection.execute("LOCK TABLE tecnobot.cache IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):  # over its own connection, then over the pool
                began_at = time.monotonic()
                with pytest.raises(StoreError):
                    await tier.get_many([A])
                assert time.monotonic() - began_at < 1.5
        assert await tier.get_many([A]) == {}


async def test_whoever_asks_over_the_pool_does_not_wait_until_a_connection_is_repaired(
    database: Database, database_url: str
) -> None:
    parts = urlsplit(database_url)
    server = parse_qs(parts.query)
    socket = Path(server["host"][0]) / f".s.PGSQL.{server['port'][0]}"
    async with FaultyProxy(socket) as proxy:
        query = urlencode({"host": proxy.host, "port": proxy.port, "sslmode": "disable"})
        async with Database(parts._replace(query=query).geturl(), close_timeout_s=0.1) as far:
            tier = PostgresTier(far, timeout_s=0.5)
            assert await tier.get_many([A]) == {}
            proxy.stalled = True
            began_at = time.monotonic()
            with pytest.raises(StoreError, match="in time"):
                await tier.get_many([A])
            assert time.monotonic() - began_at < 2.0
            proxy.stalled = False


async def test_a_table_that_was_changed_costs_one_answer(database: Database, tier: PostgresTier) -> None:
    await tier.put_many([lasting(tier, A)])
    assert set(await tier.get_many([A])) == {A}
    await database.execute("ALTER TABLE tecnobot.cache ALTER loaded_at TYPE real")
    with suppress(StoreError):
        await tier.get_many([A])
    for _ in range(3):
        assert set(await tier.get_many([A])) == {A}


async def test_a_database_without_tables_is_a_store_error(database_url: str) -> None:
    async with Database(database_url) as empty, PostgresTier(empty) as tier:
        for _ in range(2):
            with pytest.raises(StoreError, match=r"tecnobot\.cache"):
                await tier.get_many([A])


async def test_it_is_opened_once_and_may_be_closed_twice(database: Database) -> None:
    tier = PostgresTier(database)
    async with tier:
        with pytest.raises(LifecycleError, match="open already"):
            await tier.__aenter__()
        await tier.aclose()
    async with tier:
        assert await tier.get_many([A]) == {}


# Rows


async def test_rows_of_somebody_else_are_skipped_and_counted(database: Database, tier: PostgresTier) -> None:
    await tier.put_many([lasting(tier, A)])
    for number, (loaded, expires, tags) in enumerate(
        [("NaN", "Infinity", "{}"), ("1", "NaN", "{}"), ("1", "Infinity", "{NULL}"), ("1", "Infinity", "{{a},{b}}")]
    ):
        await database.execute(
            f"INSERT INTO tecnobot.cache VALUES ($1, 'x', '{loaded}', '{expires}', '{tags}')", b"%d" % number
        )
    assert set(await tier.get_many([A, b"0", b"1", b"2", b"3"])) == {A}
    assert await tier.get_many([b"0"]) == {}
    assert tier.unreadable == 5


async def test_expired_rows_are_deleted_by_small_batches(database: Database, tier: PostgresTier) -> None:
    await tier.put_many([lasting(tier, b"%d" % n, keep_s=-9) for n in range(25)] + [lasting(tier, A)])
    assert [await tier.purge(10) for _ in range(4)] == [10, 10, 5, 0]
    assert await database.fetchval("SELECT count(*) FROM tecnobot.cache") == 1


async def test_two_who_delete_what_has_expired_do_not_wait_for_each_other(
    database: Database, tier: PostgresTier
) -> None:
    await tier.put_many([lasting(tier, b"%d" % n, keep_s=-9) for n in range(20)])
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM tecnobot.cache ORDER BY expires_at LIMIT 10 FOR UPDATE")
        async with asyncio.timeout(5):
            assert await tier.purge(20) == 10


async def test_while_it_is_open_it_deletes_what_has_expired(database: Database) -> None:
    rounds: list[float] = []
    go = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds != 77:
            return await asyncio.sleep(seconds)
        rounds.append(seconds)
        await go.wait()
        go.clear()

    async with PostgresTier(database, upkeep_s=77, purge_batch=10, jitter=lambda s: s, sleep=sleep) as tier:
        await tier.put_many([lasting(tier, b"%d" % n, keep_s=-9) for n in range(25)])
        await eventually(lambda: said(bool(rounds)))
        go.set()

        async def is_empty() -> bool:
            return bool(await database.fetchval("SELECT count(*) = 0 FROM tecnobot.cache"))

        await eventually(is_empty)


async def test_a_mark_stays_as_long_as_a_record_needs_it(database: Database, tier: PostgresTier) -> None:
    now = tier.now()
    await tier.mark([ANA], now - 95_000)
    await tier.mark([LUIS], now - 94_000)
    await tier.mark([A], now - 1)
    await tier.put_many([Record(b"k", b"x", now - 94_500, now + 60)])
    await tier.acquire(A, -4000)
    await tier.acquire(B, -4)
    await tier.purge_marks()
    left = await database.fetch("SELECT tag FROM tecnobot.cache_mark")
    assert {row["tag"] for row in left} == {LUIS, A}
    await tier.delete_many([b"k"])
    await tier.purge_marks()
    assert await database.fetchval("SELECT array_agg(tag) FROM tecnobot.cache_mark") == [A]
    assert await database.fetchval("SELECT array_agg(key) FROM tecnobot.cache_lease") == [B]


async def test_marks_that_are_committed_later_than_younger_ones_are_seen_by_polling(database: Database) -> None:
    tier = PostgresTier(database, poll_s=0.01)
    async with following(tier) as heard:
        await eventually(lambda: said(heard.calls > 0))
        async with database.transaction() as slow:
            await slow.execute("INSERT INTO tecnobot.cache_mark VALUES ($1, 1)", A)
            await tier.mark([B], 2.0)
            await eventually(lambda: said(heard == {B: 2.0}))
        await eventually(lambda: said(heard == {A: 1.0, B: 2.0}))


async def test_polling_tells_each_mark_once(database: Database) -> None:
    tier = PostgresTier(database, poll_s=0.005)
    async with following(tier) as heard:
        await tier.mark([A], 1.0)
        await eventually(lambda: said(heard == {A: 1.0}))
        calls = heard.calls
        await asyncio.sleep(0.1)
        assert heard.calls <= calls + 1


async def test_releasing_tells_nobody_where_nobody_waits(database_url: str, tier: PostgresTier) -> None:
    told: list[object] = []
    listener = await asyncpg.connect(database_url)
    try:
        await listener.add_listener("tecnobot_cache", lambda *args: told.append(args[-1]))
        await tier.acquire(A, 30)
        await tier.release(A)
        await tier.acquire(B, 30)
        waiting = asyncio.create_task(tier.wait(B, 30))
        await asyncio.sleep(0.05)
        await tier.release(B)
        await waiting
        await listener.execute("NOTIFY tecnobot_cache, 'the end'")
        await eventually(lambda: said("the end" in told))
        assert len(told) == 2
    finally:
        await listener.close()


async def test_foreign_notifications_are_ignored(database: Database, tier: PostgresTier) -> None:
    async with following(tier) as heard:
        for payload in ("", "x", "released ", "released 12", "m" * 7000):
            await database.execute("SELECT pg_notify('tecnobot_cache', $1)", payload)
        await tier.mark([A], 1.0)
        await eventually(lambda: said(heard == {A: 1.0}))


# The clock


async def test_now_is_the_clock_of_the_server_whatever_the_machine_says(database: Database) -> None:
    machine = 0.0
    async with PostgresTier(database, clock=lambda: machine) as tier:
        assert abs(tier.now() - time.time()) < 0.5
        machine = 9e9
        assert abs(tier.now() - time.time()) < 0.5


# Disk


async def test_a_thousand_sets_cost_sixteen_commits_and_hardly_any_wal(database: Database, tier: PostgresTier) -> None:
    async def spent() -> tuple[int, int]:
        await database.execute("SELECT pg_stat_force_next_flush()")
        row = await database.fetchrow(
            "SELECT xact_commit, pg_current_wal_lsn() - '0/0' AS wal FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        assert row is not None
        return row["xact_commit"], int(row["wal"])

    async with GuardedTier(tier_of(tier)) as guarded:
        for number in range(1000):
            await guarded.put_many([lasting(guarded, b"%d" % number, b"x" * 1000, tags=(ANA, LUIS))])
        _, wal = await spent()
        await guarded.flush()
        _, wal_after = await spent()
        assert guarded.statistics.batches == 16
        assert wal_after - wal <= 50_000
    assert await database.fetchval("SELECT count(*) FROM tecnobot.cache") == 1000


def tier_of(tier: PostgresTier) -> Any:
    """*tier* without its face of a context manager: it is open already."""

    class Opened:
        now, get_many, put_many = tier.now, tier.get_many, tier.put_many
        delete_many, erase = tier.delete_many, tier.erase

    return Opened()


@pytest.mark.parametrize(
    ("table", "persistence"), [("cache", "unlogged"), ("cache_lease", "unlogged"), ("cache_mark", "permanent")]
)
async def test_marks_outlive_a_crash_and_what_can_be_lost_is_not_logged(
    database: Database, table: str, persistence: str
) -> None:
    query = "SELECT relpersistence::text FROM pg_class WHERE oid = $1::text::regclass"
    assert await database.fetchval(query, f"tecnobot.{table}") == persistence[0]


async def test_an_owner_may_have_the_values_logged(database: Database, tier: PostgresTier) -> None:
    await tier.put_many([lasting(tier, A)])
    await database.execute("ALTER TABLE tecnobot.cache SET LOGGED")
    assert set(await tier.get_many([A])) == {A}
    await tier.put_many([lasting(tier, B)])
    assert set(await tier.get_many([A, B])) == {A, B}


async def test_writers_in_any_order_do_not_lock_each_other_out(database: Database) -> None:
    keys = [b"%d" % number for number in range(50)]
    async with AsyncExitStack() as stack:
        tiers = [await stack.enter_async_context(PostgresTier(database)) for _ in range(3)]

        async def work(tier: PostgresTier, turn: int) -> None:
            for _ in range(15):
                order = keys[turn:] + keys[:turn]
                await tier.put_many([lasting(tier, key) for key in order])
                await tier.delete_many(order[::-1])

        await asyncio.gather(*(work(tier, 17 * number) for number, tier in enumerate(tiers)))
