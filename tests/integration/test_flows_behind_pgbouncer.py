"""Changes of flows behind a real PgBouncer: polled in transaction mode, heard in session mode."""

import asyncio
import logging

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate
from tecnobot_core.flows import Flow, FlowRepository
from tests.integration.test_pgbouncer import PROGRAM, PgBouncer

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is missing: apt-get install pgbouncer"),
]


@pytest.mark.parametrize(("pool_mode", "poll_s"), [("transaction", 0.01), ("session", 1e6)])
async def test_changes_are_served(
    database_url: str, caplog: pytest.LogCaptureFixture, pool_mode: str, poll_s: float
) -> None:
    async with PgBouncer(database_url, pool_mode, 20) as bouncer, Database(bouncer.url) as database:
        assert database.can_listen == (pool_mode == "session")
        await migrate(database)
        await ensure_chatbot(database, "shop")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            repository = FlowRepository(PostgresFlowStore(database), "shop", poll_s=poll_s)
            await repository.load()
            watching = asyncio.create_task(repository.watch())
            async with Database(database_url) as other:
                for number in range(20):
                    await PostgresFlowStore(other).put("shop", Flow("f").on(f"palabra{number}").say("x"))
                    async with asyncio.timeout(5):
                        while repository.match(f"palabra{number}") is None:
                            await asyncio.sleep(0.002)
            watching.cancel()
            await asyncio.wait([watching])
        assert caplog.text == ""
