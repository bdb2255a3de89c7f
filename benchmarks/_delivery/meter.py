"""What a run cost, as database and disk count it."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from tecnobot_core.adapters.postgres import Database

SECTOR_BYTES = 512  # in the kernel's statistics, whatever the device's own is
SECTORS_WRITTEN = 6  # Documentation/block/stat.rst

# A transaction gets a number when it writes for the first time; one that only reads gets none.
_READ = """
SELECT (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint AS writing_transactions,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
       (SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal') AS wal_syncs
"""
_ROWS = """
SELECT (SELECT count(*) FROM tecnobot.chat_history JOIN tecnobot.chat ON chat.id = chat_id WHERE chatbot_id = $1),
       (SELECT count(*) FROM tecnobot.outbox WHERE chatbot_id = $1 AND state = 'sent'),
       (SELECT count(*) FROM tecnobot.inbox_key WHERE chatbot_id = $1),
       (SELECT count(*) FROM tecnobot.inbox WHERE chatbot_id = $1)
"""
_STILL_THERE = """
SELECT count(*) FROM pg_sleep(0.01), pg_stat_activity WHERE application_name = $1
"""


@dataclass(frozen=True)
class Reading:
    """Counters; the difference of two tells what lies between them. Device bytes are 0 where they cannot be read."""

    writing_transactions: int
    wal_bytes: int
    wal_syncs: int
    device_bytes: int

    def since(self, earlier: "Reading") -> dict[str, float]:
        """What was counted since *earlier*."""
        return {field.name: getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self)}


class Meter:
    """Reads through *database* what the server counts, and what the device under *directory* does."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._statistics = device_statistics(directory)

    async def read(self, application_name: str) -> Reading:
        """The counters now, when all of *application_name* have left: a server process tells its counts as it ends."""
        while await self._database.fetchval(_STILL_THERE, application_name):
            pass
        row = await self._database.fetchrow(_READ)
        assert row is not None
        return Reading(**row, device_bytes=device_bytes_written(self._statistics))

    async def begin(self) -> None:
        """Bring everything to the disk, and begin a WAL file, so that no run pays for filling one with zeros."""
        await self._database.execute("SELECT pg_switch_wal()")
        await self.checkpoint()

    async def checkpoint(self) -> None:
        """Bring everything to the disk."""
        await self._database.execute("CHECKPOINT")

    async def rows(self, chatbot_id: str) -> list[int]:
        """How many rows are left: history, sent, known ids, inbox."""
        row = await self._database.fetchrow(_ROWS, chatbot_id)
        assert row is not None
        return list(row.values())


def device_statistics(directory: Path) -> Path | None:
    """Where the kernel counts for the device under *directory*; None where it does not."""
    device = directory.stat().st_dev
    statistics = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return statistics if statistics.exists() else None


def device_bytes_written(statistics: Path | None) -> int:
    """Bytes since the machine started."""
    return 0 if statistics is None else int(statistics.read_text().split()[SECTORS_WRITTEN]) * SECTOR_BYTES
