"""Brings the tables up to date: numbered SQL files, each applied once, whoever starts first."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from ...errors import StoreError
from .database import Connection, Database

logger = logging.getLogger(__package__)

MIGRATIONS: Traversable = files(__package__) / "migrations"

_LOCK = 0x7EC_0B07  # any number, as long as every starter takes the same
_TIMEOUT_S = 600.0  # for each file, and for waiting until another starter has done the work

_SET_UP = """
CREATE TABLE tecnobot.migration (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tecnobot.migration ENABLE ROW LEVEL SECURITY
"""

# From everybody, and from the two roles that Supabase's public API acts as. Functions of an extension may belong to the
# server's owner; they stay as they are, behind the schema.
_LOCK_UP = """
DO $lock_up$
DECLARE
    everybody text := (
        SELECT concat_ws(', ', 'PUBLIC', string_agg(quote_ident(rolname), ', ')) FROM pg_roles
        WHERE rolname IN ('anon', 'authenticated')
    );
    ours text := (
        SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc
        WHERE pronamespace = 'tecnobot'::regnamespace AND pg_has_role(proowner, 'USAGE')
    );
BEGIN
    EXECUTE 'REVOKE ALL ON SCHEMA tecnobot FROM ' || everybody;
    EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA tecnobot FROM ' || everybody;
    EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA tecnobot FROM ' || everybody;
    IF ours IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %s', ours, everybody);
    END IF;
END
$lock_up$
"""


@dataclass(frozen=True, slots=True)
class _Migration:
    name: str
    sql: str = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(database: Database, *, directory: Traversable = MIGRATIONS) -> Sequence[str]:
    """Apply the files of *directory* that were not applied yet, in one transaction; returns their names.

    Any number of programs may do this at the same time. Raises StoreError, and changes nothing, when a file fails, when
    an applied file was edited, and when the database is newer than this code.
    """
    migrations = _read(directory)
    async with database.transaction() as connection:
        # In place of the server's limit, which is for everyday statements.
        await connection.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT_S:g}s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_TIMEOUT_S)
        await _require_utf8(connection)
        applied = await _applied(connection)
        waiting = _waiting(migrations, applied)
        for migration in waiting:
            await _apply(connection, migration)
        if waiting:
            await connection.execute(_LOCK_UP)
    for migration in waiting:
        logger.info("applied migration %s", migration.name)
    return [migration.name for migration in waiting]


def _read(directory: Traversable) -> list[_Migration]:
    found = [entry for entry in directory.iterdir() if entry.name.endswith(".sql")]
    # Read as text, so that the line ends of a checkout do not change the checksum.
    return sorted((_Migration(e.name, e.read_text("utf-8")) for e in found), key=lambda migration: migration.name)


async def _require_utf8(connection: Connection) -> None:
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the database has the encoding {encoding}; create it with ENCODING 'UTF8' and TEMPLATE template0",
            retryable=False,
        )


async def _applied(connection: Connection) -> Mapping[str, str]:
    if await connection.fetchval("SELECT to_regclass('tecnobot.migration')") is None:
        # Asked first, because IF NOT EXISTS demands the right to create even when there is nothing to create.
        if await connection.fetchval("SELECT to_regnamespace('tecnobot')") is None:
            await connection.execute("CREATE SCHEMA tecnobot")
        await connection.execute(_SET_UP)
    rows = await connection.fetch("SELECT name, sha256 FROM tecnobot.migration")
    return {row["name"]: row["sha256"] for row in rows}


def _waiting(migrations: Sequence[_Migration], applied: Mapping[str, str]) -> list[_Migration]:
    known = {migration.name: migration.sha256 for migration in migrations}
    if unknown := sorted(set(applied) - set(known)):
        raise StoreError(
            f"the database is newer than this program: it has the migration {unknown[-1]}, which is not known here; "
            "install the version of tecnobot-core that made it",
            retryable=False,
        )
    if edited := [name for name, sha256 in applied.items() if known[name] != sha256]:
        raise StoreError(
            f"the migration {edited[0]} was edited after it was applied; restore it and put the change in a new file",
            retryable=False,
        )
    return [migration for migration in migrations if migration.name not in applied]


async def _apply(connection: Connection, migration: _Migration) -> None:
    try:
        await connection.execute(migration.sql, timeout=_TIMEOUT_S)
    except asyncpg.PostgresError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise StoreError(
            f"the migration {migration.name} failed, nothing was changed: {error.args[0]}{hint}", retryable=False
        ) from error
    await connection.execute(
        "INSERT INTO tecnobot.migration (name, sha256) VALUES ($1, $2)", migration.name, migration.sha256
    )
