"""Copies and checks a session's database; run as a process of its own: ``python -I -S <this file> <verb> <path> …``.

Of its own because two copies of SQLite in one process share the file's locks without knowing of each other: closing a
file in one lets go what the other one holds, and the database is damaged.
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

WAIT_S = 10.0
PAGES_AT_ONCE = 512
PAUSE_S = 0.01  # between pages, so that the library can write

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def check(path: Path) -> dict[str, object]:
    """The ``accounts`` of which the database *path* holds keys; sqlite3.Error or ValueError when it is damaged."""
    with closing(_open(path)) as database:
        found = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
        if found != ["ok"]:
            raise ValueError(f"integrity check: {found[0]}")
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "whatsmeow_device" not in tables:
            return {"accounts": []}
        return {"accounts": [row[0] for row in database.execute("SELECT jid FROM whatsmeow_device")]}


def copy(source: Path, target: Path) -> dict[str, object]:
    """Copy *source*, which may be in use, to *target*, checked and on disk; ``accounts`` and ``size_bytes``."""
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # it holds the account's keys
    with closing(_open(source)) as live, closing(sqlite3.connect(unfinished)) as saved:
        live.backup(saved, pages=PAGES_AT_ONCE, sleep=PAUSE_S)
        saved.execute("PRAGMA journal_mode = delete")  # one file that needs no other
    facts = check(unfinished)
    _sync(unfinished)
    os.replace(unfinished, target)
    _sync(target.parent)
    return {**facts, "size_bytes": target.stat().st_size}


def _open(path: Path) -> sqlite3.Connection:
    # Not read-only: a file in WAL mode that nobody has open cannot be read without making its index.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_S)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(verb: str, *paths: str) -> int:
    """Do *verb*; print what it found, or why it failed, as JSON. 0, or 1 after a failure."""
    try:
        facts = {"check": check, "copy": copy}[verb](*map(Path, paths))  # type: ignore[operator]
    except (OSError, ValueError, sqlite3.Error) as error:
        # Of what is locked, or cannot be read for now, nothing is known.
        damaged = isinstance(error, ValueError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        print(json.dumps({"error": f"{error}", "damaged": damaged}))  # noqa: T201 - whoever started it reads it
        return 1
    print(json.dumps(facts))  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
