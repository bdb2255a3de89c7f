"""The pool over a real server: opening while it is down, bounded waits, errors, and lost connections."""

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.translation import translate
from tecnobot_core.errors import LifecycleError, StoreError

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


async def connections(database: Database) -> int:
    count: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tecnobot'"
    )
    return count


# Opening


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
        with pytest.raises(StoreError, match="in time") as caught:
            await database.execute("SELECT pg_sleep(60)")
        assert caught.value.retryable
        assert await database.fetchval("SELECT 1") == 1


async def test_a_cancelled_statement_gives_its_connection_back(database_url: str) -> None:
    async with Database(database_url, min_size=2, max_size=2) as database:
        statement = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
        await eventually(lambda: _runs(database, "pg_sleep"))
        statement.cancel()
        with pytest.raises(asyncio.CancelledError):
            await statement
        async with database.acquire(), database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_closing_does_not_wait_for_a_statement_that_never_ends(database_url: str) -> None:
    async with asyncio.timeout(10):
        async with Database(database_url, close_timeout_s=0.05) as database:
            statement = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
            await eventually(lambda: _runs(database, "pg_sleep"))
        with pytest.raises(StoreError):
            await statement


async def _runs(database: Database, what: str) -> bool:
    running: bool = await database.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE query LIKE '%' || $1 || '%' AND state = 'active' AND pid <> pg_backend_pid())",
        what,
    )
    return running


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


# Errors and lost connections


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ConnectionRefusedError(111, "refused"), True),
        (TimeoutError(), True),
        (asyncpg.ConnectionDoesNotExistError("gone"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.SerializationError("again"), True),
        (asyncpg.DeadlockDetectedError("again"), True),
        (asyncpg.LockNotAvailableError("locked"), True),
        (asyncpg.TooManyConnectionsError("full"), True),
        (asyncpg.CannotConnectNowError("starting"), True),
        (asyncpg.AdminShutdownError("stopping"), True),
        (asyncpg.ReadOnlySQLTransactionError("replica"), True),
        (asyncpg.DiskFullError("full"), True),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.UndefinedTableError("no table"), False),
        (asyncpg.InvalidPasswordError("no"), False),
        (asyncpg.InsufficientPrivilegeError("no"), False),
        (asyncpg.InvalidCatalogNameError("no database"), False),
        (asyncpg.UntranslatableCharacterError("no"), False),
        (asyncpg.exceptions.OutdatedSchemaCacheError("old"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_says_whether_trying_again_may_help(error: Exception, retryable: bool) -> None:
    assert translate(error).retryable is retryable


@pytest.mark.parametrize("kind", [asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError])
def test_a_transaction_pooler_is_named_with_its_cure(kind: type[asyncpg.PostgresError]) -> None:
    assert "statement_cache_size=0" in str(translate(kind("prepared statement")))


async def test_a_lost_connection_is_an_error_once_and_then_replaced(database: Database) -> None:
    with pytest.raises(StoreError) as caught:
        await database.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.retryable
    assert await database.fetchval("SELECT 1") == 1


async def test_a_database_that_goes_away_and_comes_back_is_told_in_two_lines(
    road: Road, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    road.open()
    async with Database(road.url, min_size=2) as database:
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
