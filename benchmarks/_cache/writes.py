"""What sets cost the database, and what a close and a kill lose of them."""

import asyncio
import json
import signal
import sys
from typing import Any

import asyncpg

from benchmarks._cache.worker import TTL_S, opened, text_1kb
from benchmarks._report import Report

N_SETS = 1000
N_KILLS = 3
WINDOW_S = 0.25
SAID_BEFORE_KILL = 300
# A transaction gets a number when it writes for the first time.
_SPENT = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
       (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint AS commits
"""


async def report_writes(report: Report, dsn: str) -> None:
    """Commits, WAL, and losses of sets of 1 KB."""
    connection = await asyncpg.connect(dsn)
    try:
        async with opened(dsn) as cache:
            await cache.get("connected")
            await asyncio.sleep(0.5)  # what opening writes
            await connection.execute("CHECKPOINT")
            before = await connection.fetchrow(_SPENT)
            for number in range(N_SETS):
                await cache.set(f"set:{number}", text_1kb(number), TTL_S)
        after = await connection.fetchrow(_SPENT)
    finally:
        await connection.close()
    assert before is not None
    assert after is not None
    n_commits = after["commits"] - before["commits"]
    wal_mb = (after["wal_bytes"] - before["wal_bytes"]) / 1e6
    what = f"6 {N_SETS:,} sets of 1 KB and a close"
    report.add(f"{what}: commits", n_commits, "", "at most 16", n_commits <= 16)
    report.add(f"{what}: WAL", wal_mb, "MB", "at most 0.05", wal_mb <= 0.05)
    lost = await _absent(dsn, {f"set:{number}": text_1kb(number) for number in range(N_SETS)})
    report.add(f"{what}: lost", len(lost), "", "0", not lost)
    windows_s = [await _lost_by_kill_s(dsn) for _ in range(N_KILLS)]
    worst_ms, window_ms = 1000 * max(windows_s), 1000 * WINDOW_S
    report.add(
        f"6 SIGKILL, worst of {N_KILLS}: sets of the last",
        worst_ms,
        "ms lost",
        f"at most {window_ms:g}",
        worst_ms <= window_ms,
    )


async def _lost_by_kill_s(dsn: str) -> float:
    """Seconds from the first set that the store does not have to the last one that was made."""
    command = (sys.executable, "-m", "benchmarks._cache.worker", "writer", dsn)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    said: list[dict[str, Any]] = []
    while len(said) < SAID_BEFORE_KILL:
        said.append(json.loads(await process.stdout.readline()))
    process.send_signal(signal.SIGKILL)
    rest, _ = await process.communicate()
    said += [json.loads(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    lost = await _absent(dsn, {f"written:{row['number']}": text_1kb(row["number"]) for row in said})
    await _forget(dsn, len(said))
    first = min((row["at"] for row in said if f"written:{row['number']}" in lost), default=said[-1]["at"])
    return float(said[-1]["at"] - first)


async def _absent(dsn: str, values: dict[str, str]) -> set[str]:
    """Keys that a new process would not find, or find with something else."""
    async with opened(dsn) as cache:
        found = await cache.multi_get(list(values))
    return {key for key, value in zip(values, found, strict=True) if value != values[key]}


async def _forget(dsn: str, n_keys: int) -> None:
    async with opened(dsn) as cache:
        for number in range(n_keys + 100):
            await cache.delete(f"written:{number}")
