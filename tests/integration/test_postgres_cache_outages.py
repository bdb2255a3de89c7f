"""What is lost when a process that writes is killed, and what a database that is killed costs the cache."""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, migrate
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.errors import StoreError
from tests.contracts.cache_tiers import A, B, eventually, following, lasting, said

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
WINDOW_S = 0.25
SLACK_S = 1.0  # of a machine that others use too


async def test_a_process_that_is_killed_loses_one_window(database: Database, database_url: str) -> None:
    command = (sys.executable, "-m", "tests.cache_process", database_url)
    writer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert writer.stdout is not None
    written: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while len(written) < 400:
            written.append(json.loads(await writer.stdout.readline()))
        writer.kill()
        killed_at = time.time()
        written += [json.loads(line) async for line in writer.stdout]
        await writer.wait()
    found = await PostgresTier(database).get_many([b"%d" % facts["number"] for facts in written])
    lost = [facts for facts in written if b"%d" % facts["number"] not in found]
    assert len(found) > 100
    # The window, and the batch that was under way.
    assert all(facts["at"] > killed_at - WINDOW_S - SLACK_S for facts in lost)


def kill_cluster(pid: int) -> None:
    server = psutil.Process(pid)
    for running in (server, *server.children(recursive=True)):
        running.kill()


async def test_a_database_that_is_killed_costs_nothing_and_is_used_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedPostgres(tmp_path / "postgres"))
        database = await stack.enter_async_context(Database(server.dsn))
        await migrate(database)
        told: list[bool] = []
        guarded = await stack.enter_async_context(
            GuardedTier(PostgresTier(database), changed=lambda is_open, reason: told.append(is_open))
        )
        assert guarded.marks is not None
        assert guarded.leases is not None
        heard = await stack.enter_async_context(following(guarded.marks))
        await guarded.put_many([lasting(guarded, A)])
        await guarded.flush()
        await guarded.marks.mark([A], 5.0)
        assert set(await guarded.get_many([A])) == {A}
        await eventually(lambda: said(heard == {A: 5.0}))

        kill_cluster(server.pid)
        while not guarded.is_broken:
            began_at = time.monotonic()
            assert await guarded.get_many([A]) == {}
            assert time.monotonic() - began_at < 0.25 + SLACK_S
        began_at = time.process_time()
        for _ in range(1000):
            assert await guarded.get_many([A]) == {}
        assert time.process_time() - began_at < 0.5
        await guarded.put_many([lasting(guarded, B)])
        with pytest.raises(StoreError):
            await guarded.delete_many([A])
        with pytest.raises(StoreError):
            await guarded.leases.acquire(A, 9)

        calls = heard.calls
        await stack.enter_async_context(EmbeddedPostgres(tmp_path / "postgres"))
        async with asyncio.timeout(60):
            while guarded.is_broken:
                await asyncio.sleep(0.01)
        assert told == [True, False]
        # What was committed outlives a crash.
        assert set(await guarded.get_many([A, B])) <= {A, B}
        await eventually(lambda: said(heard.calls > calls))
        await guarded.put_many([lasting(guarded, B)])
        await guarded.flush()
        assert set(await guarded.get_many([B])) == {B}
        assert await guarded.leases.acquire(A, 9)
        await guarded.marks.mark([B], 6.0)
        await eventually(lambda: said(heard == {A: 5.0, B: 6.0}))


async def test_a_database_that_is_down_keeps_nobody_from_opening(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedPostgres(tmp_path / "postgres"))
        database = await stack.enter_async_context(Database(server.dsn))
        await migrate(database)
        kill_cluster(server.pid)
        began_at = time.monotonic()
        async with GuardedTier(PostgresTier(database)) as guarded:
            assert await guarded.get_many([A]) == {}
        assert time.monotonic() - began_at < 1 + 2 * SLACK_S
