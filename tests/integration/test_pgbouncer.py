"""The pool behind a real PgBouncer, which in transaction mode lends each backend for one transaction."""

import asyncio
import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
import pytest

from benchmarks._delivery.far import FarDatabase
from tecnobot_core.adapters.postgres import Database, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.database import Connection
from tecnobot_core.adapters.postgres.migrate import MIGRATIONS
from tecnobot_core.adapters.postgres.pooler import LISTEN_DEADLINE_S, RawConnection, hears
from tecnobot_core.errors import StoreError
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage, Turn

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is missing: apt-get install pgbouncer"),
]

AS_ROOT = os.geteuid() == 0
PORT = 6432  # only the name of a socket in a folder of its own
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
Start = Callable[..., Awaitable[str]]


class PgBouncer:
    """A PgBouncer with *pool_size* connections to the server of *database_url*, reached at ``url`` while inside."""

    url: str

    def __init__(self, database_url: str, pool_mode: str = "transaction", pool_size: int = 3, **settings: int) -> None:
        self._parts = urlsplit(database_url)
        server = parse_qs(self._parts.query)
        self._server, self._port = Path(server["host"][0]), server["port"][0]
        self._settings = {"pool_mode": pool_mode, "default_pool_size": pool_size, **settings}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.url = self._parts._replace(query=urlencode({"host": self._directory, "port": PORT})).geturl()
        self._configure()
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        await self._stack.aclose()

    async def start(self) -> None:
        owner = self._server.stat()
        # It refuses to be root, and then may not walk to the server's folder, so it starts there.
        user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if AS_ROOT else {}
        command = [str(PROGRAM), str(self._directory / "pgbouncer.ini")]
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self._server, stdout=log, stderr=log, **user
            )
        await eventually(self._listens)

    async def stop(self) -> None:
        self._process.terminate()
        await self._process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._directory / f".s.PGSQL.{PORT}")
        except OSError:
            return False
        writer.close()
        return True

    def _configure(self) -> None:
        server = "/proc/self/cwd" if AS_ROOT else self._server
        settings = {
            "listen_addr": "",
            "listen_port": PORT,
            "unix_socket_dir": self._directory,
            "auth_type": "any",
            **self._settings,
        }
        lines = ["[databases]", f"* = host={server} port={self._port} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self._directory / "pgbouncer.ini").write_text("\n".join(lines))
        if AS_ROOT:
            os.chown(self._directory, self._server.stat().st_uid, self._server.stat().st_gid)


@pytest.fixture
async def start(database_url: str) -> AsyncIterator[Start]:
    """Starts a PgBouncer before the test's database; returns the address."""
    async with AsyncExitStack() as stack:

        async def start(*args: str | int, **settings: int) -> str:
            bouncer = await stack.enter_async_context(PgBouncer(database_url, *args, **settings))  # type: ignore[arg-type]
            return bouncer.url

        yield start


@pytest.fixture
async def url(start: Start) -> str:
    return await start()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def clients(url: str, n: int, *, cache_size: int = 100) -> AsyncIterator[list[RawConnection]]:
    opened = [await asyncpg.connect(url, statement_cache_size=cache_size) for _ in range(n)]
    try:
        yield opened
    finally:
        for client in opened:
            client.terminate()


# The trap


async def test_a_client_that_caches_statements_fails_behind_the_pooler(url: str) -> None:
    async def errors(client: RawConnection) -> int:
        count = 0
        for number in range(40):
            try:
                await client.fetchval("SELECT $1::int", number)
            except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
                count += 1
        return count

    async with clients(url, 6) as opened:
        for client in opened[:3]:
            await client.execute("BEGIN")  # so that there are three backends
        for client in opened[:3]:
            await client.execute("ROLLBACK")
        assert sum(await asyncio.gather(*map(errors, opened))) > 20


# The mode


async def test_the_mode_is_found_out_whatever_the_address(start: Start, database_url: str) -> None:
    modes = []
    for address in (await start("transaction"), await start("session", 20), database_url):
        async with Database(address) as database:
            modes.append(database.mode)
    assert modes == ["transaction", "session", "session"]


@pytest.mark.parametrize("round_robin", [0, 1])
@pytest.mark.parametrize("pool_size", [1, 2, 3])
async def test_the_mode_is_found_out_within_two_seconds_while_others_work(
    start: Start, pool_size: int, round_robin: int
) -> None:
    url = await start("transaction", pool_size, server_round_robin=round_robin)
    busy = True

    async def work(client: RawConnection) -> None:
        while busy:
            await client.fetchval("SELECT 1")

    async with clients(url, 3, cache_size=0) as others:
        working = [asyncio.create_task(work(other)) for other in others]
        for _ in range(5):
            began_at = time.monotonic()
            async with Database(url) as database:
                assert database.mode == "transaction"
            assert time.monotonic() - began_at < 2
        busy = False
        await asyncio.gather(*working)


async def test_a_single_connection_takes_any_pooler_for_one_in_transaction_mode(start: Start) -> None:
    for pool_mode in ("transaction", "session"):
        async with Database(await start(pool_mode), min_size=1, max_size=1) as database:
            assert database.mode == "transaction"


async def test_deafness_is_noticed_within_two_seconds(start: Start) -> None:
    async with clients(await start("transaction"), 2) as (listener, sender):
        began_at = time.monotonic()
        assert not await hears(listener, sender, LISTEN_DEADLINE_S)
        assert LISTEN_DEADLINE_S <= time.monotonic() - began_at < 2
    async with clients(await start("session"), 2) as (listener, sender):
        assert await hears(listener, sender, LISTEN_DEADLINE_S)


# Settings


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
async def test_connections_are_named_behind_both_kinds(start: Start, pool_mode: str) -> None:
    async with Database(await start(pool_mode), application_name="shop") as database:
        assert await database.fetchval("SELECT current_setting('application_name')") == "shop"


async def test_a_session_pooler_gets_the_limit_of_the_server(start: Start) -> None:
    async with Database(await start("session"), command_timeout_s=10) as database:
        assert await database.fetchval("SELECT current_setting('statement_timeout')") == "8s"


async def test_nothing_is_set_on_a_backend_that_others_use_too_and_its_missing_limit_is_told(
    start: Start, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = await start(pool_size=1)
    with caplog.at_level(logging.WARNING):
        async with Database(url, command_timeout_s=10) as database:
            assert await database.fetchval("SELECT current_setting('statement_timeout')") == "0"
    assert "ALTER ROLE CURRENT_USER SET statement_timeout = '8000ms'" in caplog.text
    caplog.clear()
    async with Database(database_url) as direct:
        await direct.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 1000', current_database()); END $$"
        )
    async with Database(await start(pool_size=1)):
        pass
    assert caplog.text == ""


async def test_a_statement_that_takes_too_long_is_cancelled_through_the_pooler(start: Start) -> None:
    async with Database(await start(pool_size=1), command_timeout_s=0.2) as database:
        with pytest.raises(StoreError, match="in time"):
            await database.execute("SELECT pg_sleep(60)")
        assert await database.fetchval("SELECT 1") == 1


async def test_a_setting_that_the_pooler_refuses_is_said_at_once(url: str) -> None:
    async def sleep(seconds: float) -> None:
        raise AssertionError("waited")

    with pytest.raises(StoreError, match="unsupported startup parameter: jit") as caught:
        async with Database(f"{url}&jit=off", sleep=sleep):
            pass
    assert caught.value.outcome == "permanent"


# Work


async def mixed_work(database: Database, worker: int, n: int) -> int:
    """*n* statements of all kinds, whose answers are right; returns how many there were."""

    async def in_transaction(connection: Connection) -> int:
        await connection.execute("UPDATE counter SET n = n + 1 WHERE worker = $1", worker)
        count: int = await connection.fetchval("SELECT n FROM counter WHERE worker = $1", worker)
        return count

    for number in range(n // 4):
        assert await database.fetchval("SELECT $1::int + $2::int", worker, number) == worker + number
        assert (await database.fetchrow("SELECT $1::jsonb AS x", {"n": number}))["x"] == {"n": number}  # type: ignore[index]
        assert await database.transact(in_transaction) == number + 1  # two statements
    return n // 4 * 4


@pytest.mark.parametrize("n_queries", [600, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_every_query_of_six_clients_over_three_backends_succeeds(url: str, n_queries: int) -> None:
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(Database(url, retry_for_s=0)) for _ in range(6)]
        await databases[0].execute("CREATE TABLE counter (worker int PRIMARY KEY, n int NOT NULL)")
        await databases[0].execute("INSERT INTO counter SELECT worker, 0 FROM generate_series(0, 5) AS worker")
        per_client = n_queries // 6 + 4
        done = await asyncio.gather(
            *(mixed_work(database, worker, per_client) for worker, database in enumerate(databases))
        )
        assert sum(done) >= n_queries
        assert await databases[0].fetchval("SELECT sum(n) FROM counter") == sum(done) // 4
        assert await databases[0].fetchval(BACKENDS) == 3


@pytest.mark.parametrize("pool_mode", ["transaction", "session"])
async def test_migrations_are_applied_once_by_many_programs_and_leave_no_lock(start: Start, pool_mode: str) -> None:
    url = await start(pool_mode, 20)

    async def apply() -> int:
        async with Database(url, min_size=1) as database:
            return len(await migrate(database))

    applied = await asyncio.gather(*(apply() for _ in range(8)))
    assert sorted(applied) == [0] * 7 + [len(list(MIGRATIONS.iterdir()))]
    async with Database(url) as database:
        assert await database.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_a_value_that_cannot_be_sent_does_not_keep_the_backend_from_others(start: Start) -> None:
    url = await start(pool_size=1)
    async with Database(url) as database, Database(url, command_timeout_s=2) as other:
        with pytest.raises(StoreError, match="cannot take a value"):
            await database.fetchval("SELECT $1::int", "x")
        assert await other.fetchval("SELECT 1") == 1


async def test_a_task_that_is_cancelled_anywhere_does_not_keep_the_backend_from_others(start: Start) -> None:
    url = await start(pool_size=1)
    async with Database(url) as database, Database(url, command_timeout_s=2) as other:
        for turns in range(60):
            statement = asyncio.create_task(database.fetchval("SELECT $1::int", 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            statement.cancel()
            await asyncio.wait([statement])
            assert await other.fetchval("SELECT 1") == 1


# Trouble


async def test_a_statement_that_no_backend_was_free_for_was_not_sent(start: Start) -> None:
    url = await start(pool_size=1, query_wait_timeout=1)
    async with Database(url, retry_for_s=0) as holder, Database(url, retry_for_s=0) as other:
        async with holder.transaction():
            with pytest.raises(StoreError, match="query_wait_timeout") as caught:
                async with other.acquire() as connection:
                    await connection.fetchval("SELECT 1")
        assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)
        assert await other.fetchval("SELECT 1") == 1


async def test_killed_backends_cost_idempotent_statements_nothing(url: str, database_url: str) -> None:
    async with Database(url) as database, Database(database_url, application_name="watcher") as watcher:
        for number in range(20):
            statements = [database.fetchval("SELECT $1::int", n, idempotent=True) for n in range(10)]
            answers = asyncio.gather(*statements)
            if number % 2:
                await asyncio.sleep(0)
            await watcher.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'tecnobot'"
            )
            assert await answers == list(range(10))


async def test_a_pooler_that_is_restarted_is_used_again(database_url: str) -> None:
    async with PgBouncer(database_url) as bouncer, Database(bouncer.url) as database:
        assert await database.fetchval("SELECT 1") == 1
        await bouncer.stop()
        waiting = asyncio.create_task(database.fetchval("SELECT 1", idempotent=True))
        await bouncer.start()
        assert await waiting == 1


@pytest.mark.parametrize(("through", "at_most"), [("the pooler", 4), ("nothing", 2)])
async def test_a_write_costs_few_round_trips(start: Start, database_url: str, through: str, at_most: int) -> None:
    url = await start("transaction", 3) if through == "the pooler" else database_url
    async with FarDatabase(url, 0.0) as far, Database(far.dsn) as database:
        assert database.mode == ("transaction" if through == "the pooler" else "session")
        await migrate(database)
        await ensure_chatbot(database, "shop")
        async with PostgresDelivery(database, "shop") as store:
            chat = ChatId("ana")
            await store.accept([InboundMessage(id="first", chat=chat, sent_at=0.0)])  # what every connection does once
            trips, commits = far.round_trips, store.commits
            for number in range(20):
                id = f"m{number}"
                await store.accept([InboundMessage(id=id, chat=chat, sent_at=0.0, text="hola")])
                answer = OutboundMessage(chat=chat, key=f"{id}/0", text="hola")
                turn = Turn(chat=chat, inbound=(id,), outcome="answered", answered_by="test", outgoing=(answer,))
                (entry,) = await store.commit([turn], taken=[answer.key])
                await store.move({entry.id: "sent"})
            assert store.commits - commits == 60
            assert (far.round_trips - trips) / 60 <= at_most
