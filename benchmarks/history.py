"""The last five of a million rows, in a normal chat and in a busy one, beside the index that the mission asks for."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import asyncpg
from tqdm import tqdm

from benchmarks._report import Report
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, PostgresConversations, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.database import Connection
from tecnobot_core.messages import ChatId

REQUIRES: list[str] = []
CHATBOT = "shop"
LAST = 5
ROWS = 1_000_000
ROWS_FOR_A_NORMAL_CHAT = 200
ROWS_FOR_A_HOT_CHAT = 1_000_000  # a tenth of all rows is in hot chats, so each holds 100,000
TURNS_AT_ONCE = 50_000
LOADS = 5_000
LITERAL_LOADS = {"normal": 1_000, "hot": 20}  # the busiest take a third of a second each
ROUNDS = 3
SEED = 0.4
FILL_DEADLINE_S = 3600

_CHATS = """
INSERT INTO tecnobot.chat (chatbot_id, phone_number)
SELECT $1, CASE WHEN n > $2::integer THEN 'hot' || (n - $2) ELSE 'normal' || n END
FROM generate_series(1, $2 + $3::integer) AS n
"""
# A question and its answer together, chats by chance, as on a real day: the rows of a chat are on as many pages, and
# the index grows in the middle.
_TURNS = """
INSERT INTO tecnobot.chat_history (chat_id, role, content, pinned, created_at)
SELECT chat_id, said.role, repeat('palabras de un mensaje ', 2 + number::integer % 4), number % 999 = 0,
       now() - make_interval(secs => ($5::bigint - number) * 6)
FROM (
    SELECT number, CASE WHEN number % 10 = 0 THEN $1::integer + floor(random() * $2::integer)
        ELSE floor(random() * $1) END + 1 AS chat_id
    FROM generate_series($3::bigint, $4::bigint) AS number
    OFFSET 0  -- one chance for both rows
) AS turn, (VALUES (1, 'user'), (2, 'assistant')) AS said (place, role)
ORDER BY number, place
"""
# What the mission asks for: one wide table, and an index by chatbot and phone number.
_LITERAL = """
CREATE TABLE literal_history AS
SELECT history.id, chatbot_id, phone_number, role, content, created_at
FROM tecnobot.chat_history AS history JOIN tecnobot.chat ON chat.id = chat_id
"""
_LITERAL_INDEX = "CREATE INDEX literal_history_chat ON literal_history (chatbot_id, phone_number)"
_LITERAL_LOAD = """
SELECT role, content FROM literal_history WHERE chatbot_id = $1 AND phone_number = $2
ORDER BY created_at DESC, id DESC LIMIT $3
"""
_INDEX_BYTES = "SELECT pg_indexes_size('tecnobot.chat_history')"
_LITERAL_BYTES = "SELECT pg_indexes_size('literal_history')"


Asked = tuple[str, tuple[object, ...]]  # a statement and what it is given


class Listener(Database):
    """Notes what a store asks, and answers nothing."""

    asked: Asked

    async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
        self.asked = query, args
        return []


@dataclass(frozen=True)
class Shape:
    """How many rows there are, and of which chats."""

    rows: int

    @property
    def chats(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {
            "normal": max(1, self.rows // ROWS_FOR_A_NORMAL_CHAT),
            "hot": max(1, self.rows // ROWS_FOR_A_HOT_CHAT),
        }

    def some(self, kind: str, n: int) -> list[str]:
        """The addresses of *n* chats of a *kind*, by chance; some come more than once."""
        return [f"{kind}{number}" for number in random.Random(SEED).choices(range(1, self.chats[kind] + 1), k=n)]


async def fill(connection: Connection, shape: Shape) -> None:
    """Write *shape* into both tables, into ours with its indexes in place, as they are in a bot."""
    normal, hot = shape.chats.values()
    await connection.execute(_CHATS, CHATBOT, normal, hot)
    await connection.execute("SELECT setseed($1)", SEED)
    turns = shape.rows // 2
    for first in tqdm(range(1, turns + 1, TURNS_AT_ONCE), "filling", disable=None):
        last = min(first + TURNS_AT_ONCE - 1, turns)
        await connection.execute(_TURNS, normal, hot, first, last, turns)
    await connection.execute(_LITERAL)
    await connection.execute(_LITERAL_INDEX)
    for table in ("tecnobot.chat", "tecnobot.chat_history", "literal_history"):
        await connection.execute(f"VACUUM ANALYZE {table}")


async def ours(chats: Sequence[str]) -> list[Asked]:
    """What ``PostgresConversations`` asks to load each of *chats*."""
    listener = Listener("")
    store = PostgresConversations(listener, CHATBOT)
    asked = []
    for chat in chats:
        await store.load(ChatId(chat), LAST)
        asked.append(listener.asked)
    return asked


def literal(chats: Sequence[str]) -> list[Asked]:
    """The same with the index of the mission."""
    return [(_LITERAL_LOAD, (CHATBOT, chat, LAST)) for chat in chats]


async def milliseconds(connection: Connection, loads: Sequence[Asked]) -> tuple[float, float]:
    """p50 and p99 of *loads*, one after the other over one connection.

    Of each the fastest of ROUNDS counts, so that what else the machine does falls out. The server's own cache, 16 MB,
    has long forgotten a chat when it comes again.
    """
    fastest = [float("inf")] * len(loads)
    for _ in range(ROUNDS):
        for place, (statement, arguments) in enumerate(loads):
            began = time.perf_counter()
            await connection.fetch(statement, *arguments)
            fastest[place] = min(fastest[place], (time.perf_counter() - began) * 1e3)
    percentiles = quantiles(fastest, n=100, method="inclusive")
    return percentiles[49], percentiles[98]


async def report_loads(report: Report, connection: Connection, shape: Shape) -> None:
    """The last five of normal and of hot chats, with both."""
    floor, _ = await milliseconds(connection, [("SELECT 1", ())] * LOADS)
    report.add("SELECT 1 over the same connection, p50", floor, "ms")
    p50s: dict[str, float] = {}
    for kind in shape.chats:
        p50, p99 = await milliseconds(connection, await ours(shape.some(kind, LOADS)))
        report.add(f"{kind} chat, p50", p50, "ms", "at most 0.15", p50 <= 0.15)
        report.add(f"{kind} chat, p99", p99, "ms", "at most 0.5", p99 <= 0.5)
        theirs, theirs_p99 = await milliseconds(connection, literal(shape.some(kind, LITERAL_LOADS[kind])))
        report.add(f"{kind} chat, literal index, p50", theirs / p50, "times ours")
        report.add(f"{kind} chat, literal index, p99", theirs_p99 / p99, "times ours")
        p50s[kind] = p50
    ratio = p50s["hot"] / p50s["normal"]
    report.add("hot chat against a normal one, p50", ratio, "times", "at most 2", ratio <= 2)


async def report_indexes(report: Report, connection: Connection, shape: Shape) -> None:
    """Bytes for each row: as inserts leave them, and as packed as they can be."""
    grown = await connection.fetchval(_INDEX_BYTES) / shape.rows
    await connection.execute("REINDEX TABLE tecnobot.chat_history")
    packed = await connection.fetchval(_INDEX_BYTES) / shape.rows
    report.add("indexes of history, as inserts leave them", grown, "B a row")
    report.add("indexes of history, after REINDEX", packed, "B a row", "at most 40", packed <= 40)
    report.add("literal index", await connection.fetchval(_LITERAL_BYTES) / shape.rows, "B a row")


async def measure(report: Report, shape: Shape, directory: Path | None) -> None:
    """Fill a private server with its usual settings, in a new folder of *directory*, and measure."""
    report.add("rows", shape.rows, "")
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        async with (
            EmbeddedPostgres(Path(folder) / "postgres") as server,
            Database(server.dsn, command_timeout_s=FILL_DEADLINE_S) as database,
        ):
            await migrate(database)
            await ensure_chatbot(database, CHATBOT)
            async with database.acquire() as connection:
                await fill(connection, shape)
                await report_loads(report, connection, shape)
                await report_indexes(report, connection, shape)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help=f"of history, {ROWS:,} or more; the goals are for 10,000,000"
    )
    parser.add_argument("--directory", type=Path, help="where the database is put: 500 bytes for each row")
    arguments = parser.parse_args(argv)
    if arguments.rows < ROWS:
        parser.error(f"with fewer than {ROWS:,} rows no chat is busy enough")
    report = Report("history", versions=("tecnobot-core", "asyncpg", "embedded-postgres"))
    asyncio.run(measure(report, Shape(arguments.rows), arguments.directory))
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
