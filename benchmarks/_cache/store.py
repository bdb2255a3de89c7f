"""Hits of the store beside the driver's own fetch, over the embedded PostgreSQL; and the other figures that need it."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from benchmarks._cache.loading import report_loading, report_processes
from benchmarks._cache.worker import SECRET
from benchmarks._cache.writes import report_writes
from benchmarks._delivery.far import FarDatabase
from benchmarks._report import Report
from tecnobot_core import HybridCache
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, migrate
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Record

FETCH = "SELECT key, data, loaded_at, expires_at, tags FROM tecnobot.cache WHERE key = $1"
N_KEYS = 300
N_AT_ONCE = 32
ROUNDS = 40
TTL_S = 3600
WRITTEN_AFTER_S = 1.0

Ask = Callable[[int], Awaitable[object]]


async def report_store(report: Report) -> None:
    """All figures that need a database."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server:
            async with Database(server.dsn) as database:
                await migrate(database)
                await _report_hits(report, database, server.dsn)
            await _report_at_once(report, server.dsn)
            await report_loading(report)
            await report_processes(report, server.dsn)
            await report_writes(report, server.dsn)


async def _report_hits(report: Report, database: Database, dsn: str) -> None:
    connection, twin = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        tier = PostgresTier(database)
        async with GuardedTier(tier) as guarded, database.acquire() as pooled:
            now = tier.now()
            keys = [os.urandom(16) for _ in range(N_KEYS)]
            tags = (b"n" * 16, b"u" * 16)
            await tier.put_many([Record(key, os.urandom(1000), now, now + TTL_S, tags) for key in keys])
            us = await _p50_us(
                {
                    "raw": lambda n: connection.fetch(FETCH, keys[n]),
                    "twin": lambda n: twin.fetch(FETCH, keys[n]),
                    "pooled": lambda n: pooled.fetch(FETCH, keys[n]),
                    "tier": lambda n: guarded.get_many((keys[n],)),
                }
            )
        report.add("3 raw fetch on an owned connection, p50", us["raw"], "µs")
        report.add("3 control: the same fetch on a twin connection", us["twin"] / us["raw"], "× raw")
        ratio = us["tier"] / us["raw"]
        report.add("3 store hit, p50, tier behind its guard", ratio, "× raw", "at most 1.5", ratio <= 1.5)
        ratio = us["tier"] / us["pooled"]
        report.add("3 the same, over a connection that a pool lends for good", ratio, "× raw")
        async with HybridCache(store=PostgresTier(database), secret=SECRET) as cache:
            for number in range(N_KEYS):
                await cache.set(str(number), os.urandom(500).hex(), TTL_S)
            await asyncio.sleep(WRITTEN_AFTER_S)

            async def hit(number: int) -> None:
                assert await cache.get(str(number)) is not None

            us |= await _p50_us(
                {"raw": lambda n: connection.fetch(FETCH, keys[n]), "cache": hit}, between=lambda: cache.shrink(0)
            )
        ratio = us["cache"] / us["raw"]
        report.add("3 store hit, p50, HybridCache.get whole", ratio, "× raw")
    finally:
        await connection.close()
        await twin.close()


async def _p50_us(asks: dict[str, Ask], between: Callable[[], Any] = bool) -> dict[str, float]:
    """The median of the fastest round of each; all take turns, and before each of them *between* is called.

    The core that the scheduler gives to a server process makes one and the same fetch take 25 or 110 µs, and over
    110 µs everything is close to raw. The fastest round is that of the same core for all.
    """
    medians: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(ROUNDS):
        for name, ask in asks.items():
            between()
            took = []
            for number in range(N_KEYS):
                began = time.perf_counter()
                await ask(number)
                took.append((time.perf_counter() - began) * 1e6)
            medians[name].append(median(took))
    return {name: min(of_rounds) for name, of_rounds in medians.items()}


async def _report_at_once(report: Report, dsn: str) -> None:
    """Round trips that the misses of one moment make, as a proxy counts them."""
    async with (
        FarDatabase(dsn, 0) as proxy,
        Database(proxy.dsn) as database,
        HybridCache(store=PostgresTier(database, poll_s=TTL_S), secret=SECRET) as cache,
    ):
        await _miss(cache, "prepares")
        await asyncio.sleep(0.5)  # until nothing else is on the way
        before = proxy.round_trips
        await _miss(cache, "counted")
        n_queries = proxy.round_trips - before
    report.add(f"3 queries of {N_AT_ONCE} misses at once", n_queries, "", "1", n_queries == 1)


async def _miss(cache: HybridCache, name: str) -> None:
    await asyncio.gather(*(cache.get(f"{name}:{number}") for number in range(N_AT_ONCE)))
