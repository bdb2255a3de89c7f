"""The pool over a real server: opening while it is down, bounded waits, errors, and lost connections."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.database import SLOW_ACQUIRE_S, Connection
from tecnobot_core.adapters.postgres.pooler import Mode, RawConnection, detect_mode
from tecnobot_core.adapters.postgres.translation import Outcome, translate
from tecnobot_core.errors import LifecycleError, StoreError
from tecnobot_core.events import DatabaseAcquireSlow, EventBus
from tecnobot_core.testing import FaultyProxy

pytestmark = pytest.mark.postgres

NOWHERE = "postgresql://bot:s3cret@127.0.0.1:1/shop"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, min_size=1, max_size=1) as database:
        yield database


class Road:
    """The way to the server: a link to the directory of its socket, which can be taken away."""

    def __init__(self, url: str, directory: str) -> None:
        parts = urlsplit(url)
        settings = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._server = settings["host"]
        self._link = Path(directory, "db")
        self.url = parts._replace(query=urlencode({**settings, "host": str(self._link)})).geturl()

    def open(self) -> None:
        self._link.symlink_to(self._server)

    def close(self) -> None:
        self._link.unlink()


@pytest.fixture
def road(database_url: str) -> Iterator[Road]:
    with tempfile.TemporaryDirectory() as directory:  # short: the path of a socket has at most 107 characters
        yield Road(database_url, directory)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[FaultyProxy]:
    settings = parse_qs(urlsplit(database_url).query)
    async with FaultyProxy(Path(settings["host"][0], f".s.PGSQL.{settings['port'][0]}")) as proxy:
        yield proxy


def through(proxy: FaultyProxy, url: str) -> str:
    return urlsplit(url)._replace(netloc=f"postgres@{proxy.host}:{proxy.port}", query="").geturl()


async def connections(database: Database) -> int:
    count: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tecnobot'"
    )
    return count


# Opening


async def test_a_direct_connection_is_a_session_found_out_over_the_first_connections(
    database_url: str, proxy: FaultyProxy
) -> None:
    async with Database(through(proxy, database_url)) as database:
        assert database.mode == "session"
        assert (proxy.accepted, proxy.connections) == (2, 2)


class Client:
    """A connection that gets an answer from each of *pids* in turn, and hears notifications or does not."""

    def __init__(self, *pids: int, hears: bool) -> None:
        self._pids = iter(pids)
        self._hears = hears

    async def copy_from_query(self, query: str, *, output: Callable[[bytes], Awaitable[None]]) -> None:
        await output(b"%d\n" % next(self._pids))

    def get_server_pid(self) -> int:
        return -1

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        if self._hears:
            callback(self, 1, channel, "")

    async def remove_listener(self, channel: str, callback: Callable[..., None]) -> None:
        pass

    async def execute(self, query: str) -> None:
        pass


@pytest.mark.parametrize(
    ("first", "second", "hears", "mode"),
    [
        ((1, 1), (2, 2), True, "session"),
        ((1, 1), (2, 2), False, "transaction"),  # its backends are its own by chance only
        ((1, 1), (1, 1), True, "transaction"),
        ((1, 2), (2, 1), True, "transaction"),
        ((1, 3), (2, 2), True, "transaction"),
        ((1, 1), (2, 3), True, "transaction"),
    ],
)
async def test_a_session_is_a_backend_of_its_own_that_hears(
    first: tuple[int, int], second: tuple[int, int], hears: bool, mode: Mode
) -> None:
    clients = cast("list[RawConnection]", [Client(*first, hears=hears), Client(*second, hears=hears)])
    assert await detect_mode(clients, deadline_s=0.01) == mode


async def test_a_pool_of_one_holds_one_connection_also_while_it_opens(database_url: str, proxy: FaultyProxy) -> None:
    async with Database(through(proxy, database_url), min_size=1, max_size=1) as database:
        assert database.mode == "session"
        assert proxy.accepted == 1


async def test_the_minimum_of_connections_is_open_and_named(database_url: str) -> None:
    async with Database(database_url) as database:
        assert await connections(database) == 2


async def test_a_burst_opens_more_connections_and_rest_closes_them(database_url: str) -> None:
    async with Database(database_url, idle_s=0.05) as database:
        await asyncio.gather(*(database.execute("SELECT pg_sleep(0.05)") for _ in range(8)))

        async def only_the_minimum_is_left() -> bool:
            return await connections(database) == 2

        await eventually(only_the_minimum_is_left)


async def test_a_database_that_is_down_is_told_in_one_line_and_awaited_ever_longer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/shop could not be opened within 30 s") as caught:
        async with Database(NOWHERE, open_timeout_s=30, sleep=sleep):
            pass
    assert caught.value.retryable
    assert slept == [0.25, 0.5, 1, 2, 4, 8, 10]
    assert [record.name for record in caplog.records] == ["tecnobot_core.adapters.postgres"]
    assert caplog.records[0].exc_info is None
    assert "s3cret" not in caplog.text + str(caught.value)


async def test_a_database_that_comes_up_is_used(road: Road, caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[float] = []

    async def sleep(seconds: float) -> None:
        attempts.append(seconds)
        if len(attempts) == 3:
            road.open()

    async with Database(road.url, sleep=sleep) as database:
        assert await database.fetchval("SELECT 1") == 1
    assert len(attempts) == 3
    assert ["does not answer" in line or "answers again" in line for line in caplog.messages] == [True, True]


async def test_what_waiting_cannot_cure_is_said_at_once(database_url: str) -> None:
    async def sleep(seconds: float) -> None:
        raise AssertionError("waited")

    missing = urlsplit(database_url)._replace(path="/no_such_database").geturl()
    with pytest.raises(StoreError, match="no_such_database") as caught:
        async with Database(missing, sleep=sleep):
            pass
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "dsn",
    ["mysql://bot:s3cret@host/shop", "postgres://bot:s3cret/1@host:x/shop", "postgres://bot:s3#cret@host/a", "s3cret"],
)
async def test_an_address_that_cannot_be_read_is_refused_without_repeating_it(dsn: str) -> None:
    database = Database(dsn, open_timeout_s=0)
    with pytest.raises(StoreError, match="cannot be read; it should be postgresql://") as caught:
        async with database:
            pass
    assert "s3" not in f"{caught.value}{database}"


async def test_using_a_closed_database_says_what_to_do(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(LifecycleError, match="async with"):
        await database.fetch("SELECT 1")
    async with database:
        with pytest.raises(LifecycleError, match="already"):
            await database.__aenter__()
    with pytest.raises(LifecycleError):
        await database.fetch("SELECT 1")
    await database.aclose()


def test_without_asyncpg_the_error_holds_the_line_that_installs_it() -> None:
    program = "import sys; sys.modules['asyncpg'] = None; import tecnobot_core.adapters.postgres"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert "MissingDependencyError" in result.stderr
    assert "pip install 'tecnobot-core[postgres]'" in result.stderr


# Waiting


async def test_waiting_for_a_connection_has_an_end(database_url: str) -> None:
    async with Database(database_url, min_size=1, max_size=1, acquire_timeout_s=0.05) as database:
        async with database.acquire():
            with pytest.raises(StoreError, match=r"within 0\.05 s: 1 are in use") as caught:
                await database.fetch("SELECT 1")
        assert caught.value.retryable
        assert await database.fetchval("SELECT 1") == 1


async def test_waiting_for_an_answer_has_an_end_and_the_connection_lives_on(database_url: str) -> None:
    async with Database(database_url, min_size=1, max_size=1, command_timeout_s=0.05) as database:
        with pytest.raises(StoreError, match=r"in time|statement timeout"):
            await database.execute("SELECT pg_sleep(60)")
        assert await database.fetchval("SELECT 1") == 1


async def test_the_server_gives_up_before_the_client_so_that_the_outcome_is_known(database_url: str) -> None:
    async with Database(database_url, command_timeout_s=2) as database:
        assert await database.fetchval("SHOW statement_timeout") == "1600ms"
        with pytest.raises(StoreError, match="canceling statement due to statement timeout") as caught:
            await database.execute("SELECT pg_sleep(60)")
    assert (caught.value.outcome, caught.value.retryable) == ("rolled_back", True)


async def test_a_database_that_falls_silent_is_not_waited_for_longer_than_promised(
    database_url: str, proxy: FaultyProxy
) -> None:
    async with Database(through(proxy, database_url), command_timeout_s=0.1, close_timeout_s=0.1) as database:
        proxy.stalled = True
        with pytest.raises(StoreError, match="in time") as caught:
            await database.fetchval("SELECT 1", idempotent=True)
        assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)
        assert proxy.accepted == 3  # two, and the one that carries the wish to cancel: nothing was begun again


async def test_a_long_wait_for_a_connection_is_told(database_url: str) -> None:
    now, bus, heard = [0.0], EventBus(), list[float]()
    bus.on(DatabaseAcquireSlow, lambda event: heard.append(event.waited_s))

    async with Database(
        database_url, min_size=1, max_size=1, acquire_timeout_s=0.05, events=bus, clock=lambda: now[0]
    ) as database:
        async with database.acquire():
            waiting = asyncio.create_task(database.fetchval("SELECT 1"))
            await asyncio.sleep(0)
            now[0] += SLOW_ACQUIRE_S + 0.5
            with pytest.raises(StoreError, match="no database connection"):
                await waiting
        await database.fetchval("SELECT 1")
    assert heard == [SLOW_ACQUIRE_S + 0.5]


async def test_a_cancelled_statement_gives_its_connection_back(database_url: str) -> None:
    async with Database(database_url, min_size=2, max_size=2) as database:
        statement = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
        await eventually(lambda: _run(database, "pg_sleep"))
        statement.cancel()
        with pytest.raises(asyncio.CancelledError):
            await statement
        async with database.acquire(), database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_closing_does_not_wait_for_a_statement_that_never_ends(database_url: str) -> None:
    async with asyncio.timeout(10):
        async with Database(database_url, close_timeout_s=0.05) as database:
            statement = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
            await eventually(lambda: _run(database, "pg_sleep"))
        with pytest.raises(StoreError):
            await statement


async def _run(database: Database, what: str, n: int = 1) -> bool:
    running: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE '%' || $1 || '%' AND state = 'active' AND pid <> pg_backend_pid()",
        what,
    )
    return running == n


# Transactions and values


async def insert(database: Database, *numbers: int) -> None:
    async with database.transaction() as connection:
        for number in numbers:
            await connection.execute("INSERT INTO t VALUES ($1)", 1 // number if number == 0 else number)


async def test_a_transaction_is_kept_or_undone_as_a_whole(database: Database) -> None:
    await database.execute("CREATE TABLE t (x int PRIMARY KEY)")
    await insert(database, 1)
    with pytest.raises(StoreError, match="23505"):
        await insert(database, 2, 1)
    with pytest.raises(ZeroDivisionError):
        await insert(database, 3, 0)
    assert [row["x"] for row in await database.fetch("SELECT x FROM t")] == [1]


@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], "text", 1.5, None, True])
async def test_jsonb_comes_back_as_it_was(database: Database, value: object) -> None:
    assert await database.fetchval("SELECT jsonb_build_array($1::jsonb)", value) == [value]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\x00b", "a\ufffdb"),
        ("\ud800\udc00", "\ufffd\ufffd"),
        ({"k\x00": ("\udfff",)}, {"k\ufffd": ["\ufffd"]}),
        ("\\u0000", "\\u0000"),
        ("\\\x00", "\\\ufffd"),
    ],
)
async def test_what_jsonb_cannot_hold_is_replaced(database: Database, value: object, kept: object) -> None:
    assert await database.fetchval("SELECT $1::jsonb", value) == kept


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, {(1,): 2}])
async def test_what_is_not_json_is_refused(database: Database, value: object) -> None:
    with pytest.raises(StoreError, match=r"not JSON") as caught:
        await database.execute("SELECT $1::jsonb", value)
    assert not caught.value.retryable


@pytest.mark.parametrize("query", ["SELECT $1::int", "SELECT $1::text::int", "SELECT $1::text::jsonb"])
async def test_an_error_does_not_repeat_the_value(database: Database, query: str) -> None:
    with pytest.raises(StoreError) as caught:
        await database.execute(query, "+34600123456 ñ")
    assert "34600" not in str(caught.value)
    assert not caught.value.retryable


# What became of a statement


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(111, "refused"), "unknown"),
        (TimeoutError(), "unknown"),
        (asyncpg.ConnectionDoesNotExistError("gone"), "unknown"),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle of operation: query_wait_timeout"), "not_sent"),
        (asyncpg.exceptions.ProtocolViolationError("server conn crashed?"), "unknown"),
        (asyncpg.exceptions.ProtocolViolationError("unsupported startup parameter: jit"), "permanent"),
        (asyncpg.ClientCannotConnectError("no"), "not_sent"),
        (asyncpg.ConnectionRejectionError("no"), "not_sent"),
        (asyncpg.InterfaceError("connection is closed"), "unknown"),
        (asyncpg.InterfaceError("another operation is in progress"), "permanent"),
        (asyncpg.exceptions.InternalClientError("cannot switch to state 12"), "unknown"),
        (asyncpg.SerializationError("again"), "rolled_back"),
        (asyncpg.DeadlockDetectedError("again"), "rolled_back"),
        (asyncpg.StatementCompletionUnknownError("who knows"), "unknown"),
        (asyncpg.LockNotAvailableError("locked"), "rolled_back"),
        (asyncpg.ObjectNotInPrerequisiteStateError("not ready"), "permanent"),
        (asyncpg.TooManyConnectionsError("full"), "not_sent"),
        (asyncpg.CannotConnectNowError("starting"), "not_sent"),
        (asyncpg.AdminShutdownError("stopping"), "unknown"),
        (asyncpg.DatabaseDroppedError("gone"), "permanent"),
        (asyncpg.QueryCanceledError("too long"), "rolled_back"),
        (asyncpg.IdleInTransactionSessionTimeoutError("too long"), "rolled_back"),
        (asyncpg.ReadOnlySQLTransactionError("replica"), "rolled_back"),
        (asyncpg.DiskFullError("full"), "rolled_back"),
        (asyncpg.PostgresIOError("broken"), "rolled_back"),
        (asyncpg.UniqueViolationError("twice"), "permanent"),
        (asyncpg.UndefinedTableError("no table"), "permanent"),
        (asyncpg.InvalidPasswordError("no"), "permanent"),
        (asyncpg.InsufficientPrivilegeError("no"), "permanent"),
        (asyncpg.InvalidCatalogNameError("no database"), "permanent"),
        (asyncpg.UntranslatableCharacterError("no"), "permanent"),
        (asyncpg.exceptions.OutdatedSchemaCacheError("old"), "permanent"),
    ],
    ids=lambda value: f"{type(value).__name__}: {value}" if isinstance(value, Exception) else value,
)
def test_an_error_says_what_became_of_the_statement(error: Exception, outcome: str) -> None:
    careful, repeatable = translate(error), translate(error, idempotent=True)
    assert careful.outcome == repeatable.outcome == outcome
    assert careful.retryable is (outcome in ("not_sent", "rolled_back"))
    assert repeatable.retryable is (outcome != "permanent")


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), asyncpg.AdminShutdownError("stopping")])
@pytest.mark.parametrize("lost", ["not_sent", "rolled_back"])
def test_a_connection_lost_before_anything_counts_is_no_riddle(error: Exception, lost: Outcome) -> None:
    assert translate(error, lost=lost).outcome == lost


@pytest.mark.parametrize("kind", [asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError])
def test_a_transaction_pooler_is_named_with_its_cure(kind: type[asyncpg.PostgresError]) -> None:
    assert "statement_cache_size=0" in str(translate(kind("prepared statement")))


async def in_transaction(database: Database, work: Callable[[Connection], Awaitable[None]]) -> None:
    async with database.transaction() as connection:
        await work(connection)


async def test_a_transaction_that_is_lost_before_its_commit_is_known_to_be_undone(
    database_url: str, proxy: FaultyProxy
) -> None:
    async with Database(through(proxy, database_url)) as database:

        async def work(connection: Connection) -> None:
            await connection.execute("CREATE TABLE t (x int)")
            proxy.cut()
            await connection.execute("SELECT 1")

        with pytest.raises(StoreError) as caught:
            await in_transaction(database, work)
        assert (caught.value.outcome, caught.value.retryable) == ("rolled_back", True)
        assert await database.fetchval("SELECT to_regclass('t')") is None


async def test_a_commit_whose_answer_is_lost_is_unknown_and_may_have_happened(
    database_url: str, proxy: FaultyProxy
) -> None:
    async with Database(through(proxy, database_url)) as database:

        async def work(connection: Connection) -> None:
            await connection.execute("CREATE TABLE t (x int)")
            proxy.lose_answers = True

        with pytest.raises(StoreError) as caught:
            await in_transaction(database, work)
        proxy.lose_answers = False
        assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
        assert await database.fetchval("SELECT to_regclass('t')") == "t"


# Trying again


def fails(n: int, state: str) -> str:
    """A statement that counts how often it runs, and fails the first *n* times."""
    return (
        "DO $$ BEGIN IF nextval('attempts') <= "
        f"{n} THEN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'again'; END IF; END $$"
    )


@pytest.fixture
async def counting(database_url: str) -> AsyncIterator[Database]:
    async def sleep(seconds: float) -> None:
        pass

    async with Database(database_url, sleep=sleep) as database:
        await database.execute("CREATE SEQUENCE attempts")  # which counts on where a transaction is undone
        yield database


async def attempts(database: Database) -> int:
    count: int = await database.fetchval("SELECT last_value FROM attempts")
    return count


async def test_what_was_rolled_back_is_tried_again_five_times_at_most(counting: Database) -> None:
    await counting.execute(fails(4, "40001"))
    assert await attempts(counting) == 5
    with pytest.raises(StoreError, match="40P01") as caught:
        await counting.execute(fails(100, "40P01"))
    assert caught.value.outcome == "rolled_back"
    assert await attempts(counting) == 10


async def test_what_can_never_work_is_tried_once(counting: Database) -> None:
    with pytest.raises(StoreError, match="23505"):
        await counting.execute(fails(1, "23505"), idempotent=True)
    assert await attempts(counting) == 1


async def test_a_deadline_that_was_missed_is_not_begun_again(counting: Database) -> None:
    with pytest.raises(StoreError, match="57014") as caught:
        await counting.execute(fails(1, "57014"), idempotent=True)
    assert caught.value.retryable
    assert await attempts(counting) == 1


async def test_a_whole_transaction_is_done_again(counting: Database) -> None:
    await counting.execute("CREATE TABLE t (x int)")

    async def work(connection: Connection) -> int:
        await connection.execute("INSERT INTO t VALUES (1)")
        await connection.execute(fails(2, "40001"))
        count: int = await connection.fetchval("SELECT count(*) FROM t")
        return count

    assert await counting.transact(work) == 1
    assert await attempts(counting) == 3
    assert await counting.fetchval("SELECT count(*) FROM t") == 1


@pytest.mark.parametrize(("idempotent", "times"), [(True, 2), (False, 1)])
async def test_an_answer_that_was_lost_is_asked_for_again_only_where_twice_is_as_once(
    database_url: str, proxy: FaultyProxy, idempotent: bool, times: int
) -> None:
    async def sleep(seconds: float) -> None:
        proxy.lose_answers = False

    async with Database(through(proxy, database_url), sleep=sleep) as database:
        await database.execute("CREATE TABLE t (x int)")
        # Known to asyncpg, so that the first answer is that to the statement itself.
        insert = "INSERT INTO t SELECT x FROM unnest($1::int[]) AS x"
        async with database.acquire() as one, database.acquire() as other:
            await one.execute(insert, [])
            await other.execute(insert, [])
        proxy.lose_answers = True
        error: StoreError | None = None
        try:
            await database.execute(insert, [1], idempotent=idempotent)
        except StoreError as caught:
            error = caught
        proxy.lose_answers = False
        assert (error is None) is idempotent
        if error is not None:
            assert (error.outcome, error.retryable) == ("unknown", False)
        assert await database.fetchval("SELECT count(*) FROM t") == times


async def test_a_statement_waits_out_a_short_outage(database_url: str, proxy: FaultyProxy) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            await proxy.listen()

    async with Database(through(proxy, database_url), sleep=sleep, jitter=lambda delay_s: delay_s) as database:
        await proxy.refuse()
        proxy.cut()
        assert await database.fetchval("SELECT 1", idempotent=True) == 1
    assert slept == [0.05, 0.1, 0.2]


async def test_in_a_long_outage_calls_fail_at_once(database_url: str, proxy: FaultyProxy) -> None:
    now, slept = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async with Database(
        through(proxy, database_url), min_size=0, clock=lambda: now[0], sleep=sleep, jitter=lambda delay_s: delay_s
    ) as database:
        await proxy.refuse()
        proxy.cut()
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            await database.fetchval("SELECT 1")
        assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)
        assert 25 < sum(slept) <= 30
        assert max(slept) == 5
        slept.clear()
        now[0] += 5
        with pytest.raises(StoreError, match="cannot be reached"):
            await database.fetchval("SELECT 1")
        assert slept == []
        await proxy.listen()
        assert await database.fetchval("SELECT 1") == 1


# Statements that stop half way


async def states(database: Database) -> set[str]:
    rows = await database.fetch(
        "SELECT state FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'tecnobot' AND pid <> pg_backend_pid()"
    )
    return {row["state"] for row in rows}


async def test_a_value_that_cannot_be_sent_leaves_no_statement_behind(database_url: str) -> None:
    async with (
        Database(database_url, command_timeout_s=0.5) as database,
        Database(database_url, application_name="watcher") as watcher,
    ):
        with pytest.raises(StoreError, match="cannot take a value"):
            await database.fetchval("SELECT $1::int", "x")
        assert await states(watcher) == {"idle"}


async def test_a_task_that_is_cancelled_anywhere_leaves_no_statement_behind(database_url: str) -> None:
    async with (
        Database(database_url, statement_cache_size=0) as database,
        Database(database_url, application_name="watcher") as watcher,
    ):
        for turns in range(60):
            statement = asyncio.create_task(database.fetchval("SELECT $1::int", 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            statement.cancel()
            await asyncio.wait([statement])
            assert await states(watcher) == {"idle"}


# Lost connections


async def test_a_lost_connection_is_an_error_once_and_then_replaced(database: Database) -> None:
    with pytest.raises(StoreError) as caught:
        await database.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.outcome == "unknown"
    assert await database.fetchval("SELECT 1") == 1


async def test_a_database_that_goes_away_and_comes_back_is_told_in_two_lines(
    road: Road, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    road.open()
    async with Database(road.url, min_size=2, retry_for_s=0) as database:
        road.close()
        await _cut_off(database_url)
        for _ in range(3):
            with pytest.raises(StoreError, match="cannot be reached"):
                await database.fetchval("SELECT 1")
        road.open()
        assert await database.fetchval("SELECT 1") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]
    assert not any(record.exc_info for record in caplog.records)


async def _cut_off(url: str) -> None:
    async with Database(url, min_size=1, application_name="cutter") as other:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'tecnobot'"
        )

        async def nobody_is_left() -> bool:
            return await connections(other) == 0

        await eventually(nobody_is_left)


async def many_queries(database: Database, n: int) -> None:
    answers = await asyncio.gather(*(database.fetchval("SELECT $1::int", i, idempotent=True) for i in range(n)))
    assert answers == list(range(n))


async def test_connections_cut_in_the_middle_are_replaced_and_none_is_left_over(
    database_url: str, proxy: FaultyProxy
) -> None:
    async with (
        Database(through(proxy, database_url), max_size=4) as database,
        Database(database_url, application_name="watcher") as watcher,
    ):
        sleeping = [asyncio.create_task(database.execute("SELECT pg_sleep(60)")) for _ in range(4)]
        await eventually(lambda: _run(watcher, "pg_sleep", 4))
        assert proxy.cut() == 4
        await asyncio.wait(sleeping)
        errors = [statement.exception() for statement in sleeping]
        assert [error.outcome for error in errors if isinstance(error, StoreError)] == ["unknown"] * 4
        await many_queries(database, 50)
        assert proxy.connections <= 4
        await watcher.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%sleep(60)'")

        async def only_the_pool_is_left() -> bool:
            return await connections(watcher) == proxy.connections

        await eventually(only_the_pool_is_left)


async def test_killed_backends_cost_idempotent_statements_nothing(database_url: str) -> None:
    async with Database(database_url, max_size=4) as database, Database(database_url, application_name="w") as watcher:
        busy = True

        async def work() -> int:
            done = 0
            while busy:
                assert await database.fetchval("SELECT 7 FROM pg_sleep(0.001)", idempotent=True) == 7
                done += 1
            return done

        async def kill_one() -> bool:
            killed: int = await watcher.fetchval(
                "WITH busy AS (SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tecnobot' AND state = 'active' LIMIT 1)"
                " SELECT count(pg_terminate_backend(pid)) FROM busy"
            )
            return killed == 1

        async def at_most_the_pool() -> bool:
            return await connections(watcher) <= 4

        workers = [asyncio.create_task(work()) for _ in range(6)]
        for _ in range(20):
            await eventually(kill_one)
            await eventually(at_most_the_pool)
        busy = False
        assert min(await asyncio.gather(*workers)) > 0


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_a_database_that_is_restarted_is_used_again(end: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedPostgres(Path(directory, "db"), options={"fsync": "off"})
        async with server, Database(server.dsn, max_size=4) as database:
            await many_queries(database, 20)
            if end == "killed":
                os.kill(server.pid, signal.SIGKILL)
            await server.aclose()
            waiting = asyncio.create_task(many_queries(database, 20))
            async with server:
                await waiting
                assert await connections(database) <= 4
