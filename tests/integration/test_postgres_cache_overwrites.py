"""What is written over in PostgreSQL is heard by every process that can listen."""

import asyncio
import json
import math
import struct
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core import HybridCache
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import EVERYTHING
from tests.contracts.cache_tiers import (
    A,
    B,
    Client,
    Clients,
    Heard,
    OverwritesContract,
    eventually,
    said,
    superseding,
)
from tests.integration.test_pgbouncer import PROGRAM, PgBouncer

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
SECRET = bytes(range(32))
END_OTHER_BACKENDS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# At a line with a key and a value sets it, at one with a key alone says what it gets.
PROCESS = """
import asyncio, json, sys
from tecnobot_core import HybridCache
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier

async def main(dsn):
    async with Database(dsn) as database, HybridCache(store=PostgresTier(database), secret=bytes(range(32))) as cache:
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            key, *value = json.loads(line)
            answer = await cache.set(key, *value, ttl=3600) if value else await cache.get(key)
            print(json.dumps(answer), flush=True)

asyncio.run(main(sys.argv[1]))
"""


class TestPostgresTier(OverwritesContract):
    @pytest.fixture
    async def clients(self, database: Database) -> AsyncIterator[Clients]:
        async with PostgresTier(database) as one, PostgresTier(database) as two:
            yield Clients(Client(one, overwrites=one), Client(two, overwrites=two))


class TestGuardedPostgresTier(OverwritesContract):
    @pytest.fixture
    async def clients(self, database: Database) -> AsyncIterator[Clients]:
        async with GuardedTier(PostgresTier(database)) as one, GuardedTier(PostgresTier(database)) as two:
            yield Clients(Client(one, overwrites=one.overwrites), Client(two, overwrites=two.overwrites))


@pytest.fixture
async def tier(database: Database) -> AsyncIterator[PostgresTier]:
    async with PostgresTier(database) as tier:
        yield tier


def heard_by(tier: PostgresTier) -> Heard:
    heard = Heard()
    tier.on_overwritten(heard)
    return heard


async def test_keys_of_any_bytes_are_told_but_for_huge_ones(tier: PostgresTier) -> None:
    heard = heard_by(tier)
    keys = [b"", b"\0", b"k" * 300, b"\xff" * 500]
    for at in (1.0, 2.0):
        await tier.put_many([superseding(key, at) for key in [*keys, b"k" * 501]])
    await eventually(lambda: said(heard.keys() == set(keys)))


async def test_a_row_from_the_future_is_written_over(tier: PostgresTier) -> None:
    now = tier.now()
    await tier.put_many(
        [superseding(A, now + 3600, b"before the clock was set back"), superseding(B, now + 2, b"kept")]
    )
    await tier.put_many([superseding(A, now, b"after it"), superseding(B, now, b"of a clock that is behind")])
    assert {key: record.data for key, record in (await tier.get_many([A, B])).items()} == {A: b"after it", B: b"kept"}


async def test_what_is_not_understood_is_not_heard(tier: PostgresTier) -> None:
    heard = heard_by(tier)
    endless = b64encode(A + struct.pack(">d", math.inf)).decode()
    for said_by_somebody in ("", "?", "AAAA", "é" * 9, endless):
        tier._heard(f"overwritten {said_by_somebody}")
    assert heard == {}


async def test_after_a_lost_connection_something_may_have_been_missed(database_url: str, tier: PostgresTier) -> None:
    heard = heard_by(tier)
    async with Database(database_url) as other:
        await other.fetch(END_OTHER_BACKENDS)
    await eventually(lambda: said(heard == {EVERYTHING: math.inf}))


async def test_behind_a_pooler_it_is_told_and_not_heard(database_url: str, tier: PostgresTier) -> None:
    if PROGRAM is None:
        pytest.skip("pgbouncer is missing: apt-get install pgbouncer")
    heard = heard_by(tier)
    async with (
        PgBouncer(database_url, "transaction", 5) as bouncer,
        Database(bouncer.url, max_size=3) as database,
        PostgresTier(database) as pooled,
    ):
        deaf = heard_by(pooled)
        for at in (1.0, 2.0):
            await pooled.put_many([superseding(A, at)])
        await eventually(lambda: said(heard == {A: 2.0}))
        assert deaf == {}


async def test_a_batch_is_one_transaction_and_one_notification_for_many_keys(
    database: Database, tier: PostgresTier
) -> None:
    payloads: list[str] = []
    tier._held._heard = payloads.append
    keys = [b"%016d" % number for number in range(1000)]
    transactions = []
    for at in (1.0, 2.0):
        before = await database.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        await tier.put_many([superseding(key, at) for key in keys])
        after = await database.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        transactions.append(after - before)
    assert transactions == [1, 1]
    await tier.mark([A], 1.0)  # by then all before is heard
    await eventually(lambda: said("marked" in payloads))
    assert len(payloads) - 1 <= 5
    assert max(len(payload) for payload in payloads) < 7500


@asynccontextmanager
async def worker(dsn: str) -> AsyncIterator[Callable[..., Any]]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, dsn, cwd=ROOT, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def answer() -> Any:
        async with asyncio.timeout(30):
            return json.loads(await stdout.readline())

    async def ask(*key_and_value: object) -> Any:
        stdin.write(json.dumps(key_and_value).encode() + b"\n")
        return await answer()

    try:
        assert await answer() == "ready"
        yield ask
    finally:
        process.kill()
        await process.communicate()


async def test_processes_hear_what_another_sets_and_one_that_was_cut_off_asks_again(
    database: Database, database_url: str
) -> None:
    async def until(ask: Callable[..., Any], value: str) -> float:
        began = time.monotonic()
        await eventually(lambda: is_answer(ask, value))
        return time.monotonic() - began

    async def is_answer(ask: Callable[..., Any], value: str) -> bool:
        found: bool = await ask("k") == value
        return found

    async with (
        worker(database_url) as one,
        worker(database_url) as two,
        Database(database_url) as pool,
        HybridCache(store=PostgresTier(pool), secret=SECRET) as ours,
    ):
        for writer, value in ((one, "first"), (two, "second"), (one, "third")):
            await writer("k", value)
            for reader in (one, two, ours.get):
                await until(reader, value)  # which would take an hour
        async with Database(database_url) as other:
            await other.fetch(END_OTHER_BACKENDS)
            # As a process that was not cut off would write it.
            await other.execute("DELETE FROM tecnobot.cache")
        for reader in (one, two, ours.get):
            await eventually(lambda reader=reader: is_nothing(reader))  # type: ignore[misc]


async def is_nothing(ask: Callable[..., Any]) -> bool:
    return await ask("k") is None
