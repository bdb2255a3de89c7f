"""What a crash takes from the cache, and what it does not; and how a server that has logged values comes to this."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.adapters.postgres.migrate import MIGRATIONS
from tecnobot_core.cache import HybridCache
from tecnobot_core.errors import StoreError
from tecnobot_core.messages import ChatId, InboundMessage
from tests.contracts.cache_tiers import ANA, A, B, eventually, following, lasting, said
from tests.crash.servers import kill_cluster, new_folder

pytestmark = pytest.mark.postgres

SECRET = b"s" * 32


@asynccontextmanager
async def private_server() -> AsyncIterator[EmbeddedPostgres]:
    with new_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres") as server:
            yield server


async def crash(server: EmbeddedPostgres, database: Database) -> None:
    """Return when *server* is back."""
    killed = server.pid
    kill_cluster(killed)

    async def is_back() -> bool:
        try:
            return server.pid != killed and await database.fetchval("SELECT true", idempotent=True) is True
        except StoreError:
            return False

    await eventually(is_back)


async def count(database: Database, table: str) -> int:
    return int(await database.fetchval(f"SELECT count(*) FROM tecnobot.{table}", idempotent=True))


async def test_a_crash_takes_the_values_and_leaves_marks_and_messages() -> None:
    async with private_server() as server, Database(server.dsn) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        messages = [
            InboundMessage(id=f"m{number}", chat=ChatId("521"), sent_at=0.0, text="hola") for number in range(20)
        ]
        async with PostgresDelivery(database, "shop") as delivery:
            await delivery.accept(messages)
        async with PostgresTier(database) as tier:
            early = lasting(tier, B, tags=(ANA,))
            await tier.put_many([lasting(tier, A)])
            await tier.mark([ANA], tier.now() + 1)
            assert await tier.acquire(A, 60)
            await crash(server, database)
            assert await count(database, "cache") == 0
            assert await count(database, "inbox") == 20
            async with following(tier) as heard:
                await eventually(lambda: said(set(heard) == {ANA}))
                # What was being loaded when it was marked is still known to be old after the crash.
                await tier.put_many([early])
                assert await tier.get_many([B]) == {}
            assert await tier.acquire(A, 60)
            assert await tier.renew(A, 60)


async def test_a_stop_in_order_takes_nothing() -> None:
    with new_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres") as server, Database(server.dsn) as database:
            await migrate(database)
            await PostgresTier(database).put_many([lasting(PostgresTier(database), A)])
        async with EmbeddedPostgres(folder / "postgres") as server, Database(server.dsn) as database:
            assert await count(database, "cache") == 1


async def test_who_was_erased_stays_so_after_a_crash_and_after_a_stop() -> None:
    with new_folder() as folder:
        for crashes in (True, False):
            async with EmbeddedPostgres(folder / "postgres") as server, Database(server.dsn) as database:
                await migrate(database)
                async with HybridCache(store=PostgresTier(database), secret=SECRET) as cache:
                    await cache.get_or_load("q", answer, policy="reply", scope="ana")
                    assert await cache.erase("ana") == 1
                if crashes:
                    await crash(server, database)
            async with EmbeddedPostgres(folder / "postgres") as server, Database(server.dsn) as database:
                assert await count(database, "cache") == 0
                assert await count(database, "cache_mark") > 0


async def answer() -> str:
    return "ana's"


# Coming from logged values


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The migrations up to the one that made the values unlogged."""
    for entry in MIGRATIONS.iterdir():
        if entry.name < "0008":
            shutil.copyfile(str(entry), tmp_path / entry.name)
    return tmp_path


async def test_values_go_and_marks_leases_and_rights_stay(database_url: str, before: Path) -> None:
    async with Database(database_url) as database:
        await migrate(database, directory=before)
        # What an owner may have done.
        await database.execute("ALTER TABLE tecnobot.cache_mark SET UNLOGGED")
        await database.execute("CREATE VIEW public.size AS SELECT sum(length(data)) AS n FROM tecnobot.cache")
        async with PostgresTier(database) as tier:
            await tier.put_many([lasting(tier, A, b"x" * 1000)])
            await tier.mark([ANA], 5.0)
            assert await tier.acquire(B, 60)
            assert await migrate(database) == ["0008_unlogged_cache.sql"]
            assert await tier.get_many([A]) == {}
            assert await count(database, "cache_mark") == 1
            assert await tier.renew(B, 60)
            await tier.put_many([lasting(tier, A, b"y" * 10)])
            assert await database.fetchval("SELECT n FROM public.size") == 10
        query = "SELECT relpersistence::text FROM pg_class WHERE oid = 'tecnobot.cache_mark'::regclass"
        assert await database.fetchval(query) == "p"


async def test_who_reads_and_writes_meanwhile_notices_nothing(database_url: str, before: Path) -> None:
    async with Database(database_url) as database:
        await migrate(database, directory=before)
        async with PostgresTier(database) as tier:
            migrated = asyncio.ensure_future(migrate(database))
            rounds = 0
            while not migrated.done() or rounds < 50:
                record = lasting(tier, b"%d" % rounds)
                await tier.put_many([record])
                found = await tier.get_many([record.key])
                assert found in ({}, {record.key: record})
                rounds += 1
            assert await migrated == ["0008_unlogged_cache.sql"]
