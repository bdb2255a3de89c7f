"""Records as rows of ``tecnobot.cache``."""

from collections.abc import Iterator, Sequence
from typing import Any

from ....cache.ports import Record

# The statement's own time, and STABLE, so that an index may use it.
NOW = "extract(epoch FROM statement_timestamp())::double precision"

# Of one key by itself: half the time of looking for any of an array of one. Whoever asks looks whether it has expired,
# for which the server would take longer.
GET = "SELECT key, data, loaded_at, expires_at, tags FROM tecnobot.cache WHERE key = $1"
GET_MANY = "SELECT key, data, loaded_at, expires_at, tags FROM tecnobot.cache WHERE key = ANY ($1::bytea[])"
CLOCKS_APART_S = 5.0


def _newest(column: str) -> str:
    """What a column becomes where there is a row. What began to load last stays, in whichever order it is written.

    A row from the future is that of a server whose clock was set back.
    """
    is_newer = f"kept.loaded_at > excluded.loaded_at AND kept.loaded_at < {NOW} + {CLOCKS_APART_S}"
    return f"{column} = CASE WHEN {is_newer} THEN kept.{column} ELSE excluded.{column} END"


# Rows are always locked in the order of their keys, so that no two writers wait for each other. What was marked since
# it began to load is left out, whoever writes it: it counts for nobody, and may be of somebody who was erased.
PUT = f"""
INSERT INTO tecnobot.cache AS kept (key, data, loaded_at, expires_at, tags)
SELECT key, data, loaded_at, expires_at, tags::bytea[]
FROM unnest($1::bytea[], $2::bytea[], $3::double precision[], $4::double precision[], $5::text[])
    AS given (key, data, loaded_at, expires_at, tags)
WHERE NOT EXISTS (
    SELECT FROM tecnobot.cache_mark AS mark
    WHERE mark.tag = ANY (given.tags::bytea[] || given.key) AND mark.at >= given.loaded_at
)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    {_newest("data")}, {_newest("loaded_at")}, {_newest("expires_at")}, {_newest("tags")}
"""
# Found again by key: where a put was waited for, the row is no longer where it was locked.
DELETE = """
WITH found AS MATERIALIZED (SELECT key FROM tecnobot.cache WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE)
DELETE FROM tecnobot.cache USING found WHERE cache.key = found.key
"""
ERASE = """
WITH found AS MATERIALIZED (
    SELECT key FROM tecnobot.cache WHERE tags @> ARRAY[$1::bytea] ORDER BY key FOR UPDATE
), gone AS (
    DELETE FROM tecnobot.cache USING found WHERE cache.key = found.key RETURNING true
)
SELECT count(*) AS n FROM gone
"""
# What somebody else is deleting already is left to him.
PURGE = f"""
WITH gone AS (
    DELETE FROM tecnobot.cache WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM tecnobot.cache WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
    )) RETURNING true
)
SELECT count(*) AS n FROM gone
"""

MAX_ROWS = 1000  # of one statement
MAX_STATEMENT_BYTES = 16 * 1024 * 1024


def statements(records: Sequence[Record]) -> Iterator[tuple[list[Any], ...]]:
    """The arguments of ``PUT`` for *records*, of which the last of each key counts; several where they are many."""
    chunk: list[Record] = []
    size_bytes = 0
    for record in {record.key: record for record in records}.values():
        if chunk and (len(chunk) == MAX_ROWS or size_bytes + len(record.data) > MAX_STATEMENT_BYTES):
            yield _columns(chunk)
            chunk, size_bytes = [], 0
        chunk.append(record)
        size_bytes += len(record.data)
    if chunk:
        yield _columns(chunk)


def record_of(row: Any) -> Record | None:
    """The record in *row*; None where somebody wrote what cannot be one."""
    key, data, loaded_at, expires_at, tags = row
    if loaded_at != loaded_at or expires_at != expires_at:
        return None
    for tag in tags:  # of every hit: a third of the time that a set of their types takes
        if type(tag) is not bytes:
            return None
    return Record(key, data, loaded_at, expires_at, tuple(tags))


def _columns(records: Sequence[Record]) -> tuple[list[Any], ...]:
    return (
        [record.key for record in records],
        [record.data for record in records],
        [record.loaded_at for record in records],
        [record.expires_at for record in records],
        [_array(record.tags) for record in records],
    )


def _array(tags: Sequence[bytes]) -> str:
    """As text: an array of arrays must have the same number of items in each."""
    return "{" + ",".join([f'"\\\\x{tag.hex()}"' for tag in tags]) + "}"
