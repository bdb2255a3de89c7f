"""What people entered into forms, for the owner: listed, as CSV, deleted."""

import csv
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

import asyncpg

from ...messages import ChatId
from .database import Database
from .values import storable

PAGE = 250  # records that are read at once; writing so many keeps the event loop for some milliseconds

_FORMS = "SELECT form, count(*) AS n FROM tecnobot.form_record WHERE chatbot_id = $1 GROUP BY form ORDER BY form"
_RECORDS = """
SELECT record.id, chat.phone_number, record.answers::text, record.consent, record.submitted_at
FROM tecnobot.form_record AS record JOIN tecnobot.chat ON chat.id = record.chat_id
WHERE record.chatbot_id = $1 AND record.form = $2 AND record.id > $3 ORDER BY record.id LIMIT $4
"""
# In the order in which they first came, those of one record in the order of its form.
_VARIABLES = """
SELECT name FROM tecnobot.form_record, jsonb_array_elements_text(
    -- Whoever wrote a row by hand need not have named them.
    CASE WHEN variables = '[]' THEN (SELECT jsonb_agg(key) FROM jsonb_object_keys(answers) AS key) ELSE variables END
) WITH ORDINALITY AS variable (name, place)
WHERE chatbot_id = $1 AND form = $2 GROUP BY name ORDER BY min(id), min(place)
"""
_ONE_LOOK = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_DELETE = """
DELETE FROM tecnobot.form_record
WHERE chatbot_id = $1 AND form = $2 AND ($3::timestamptz IS NULL OR submitted_at < $3)
"""
_DELETE_ONE = "DELETE FROM tecnobot.form_record WHERE chatbot_id = $1 AND form = $2 AND id = $3"

# A cell that begins so is a formula for spreadsheet programs: https://owasp.org/www-community/attacks/CSV_Injection
# Also where signs are as wide as letters, and in a second line of a cell that is pasted.
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
# A telephone or a number begins like one, and is none.
_NUMBER = re.compile(r"[+-]?[0-9][0-9., ]*")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One completed form; ``id`` grows with time. ``submitted_at`` is in Unix seconds."""

    id: int
    chat: ChatId
    values: Mapping[str, Any] = field(repr=False)
    consent: str
    submitted_at: float


class PostgresForms:
    """The records of the forms of one chatbot."""

    def __init__(self, database: Database, chatbot_id: str) -> None:
        self._database = database
        self._chatbot_id = chatbot_id

    async def forms(self) -> dict[str, int]:
        """How many records each form has, by its name."""
        rows = await self._database.fetch(_FORMS, self._chatbot_id, idempotent=True)
        return {row["form"]: row["n"] for row in rows}

    async def records(self, form: str, *, after: int = 0, limit: int = PAGE) -> Sequence[StoredRecord]:
        """The first *limit* records of *form* with an id above *after*, oldest first."""
        rows = await self._database.fetch(_RECORDS, self._chatbot_id, storable(form), after, limit, idempotent=True)
        return [_read(row) for row in rows]

    async def write_csv(self, form: str, file: TextIO, *, columns: Sequence[str] | None = None) -> int:
        """Write all records of *form*, a page at a time, and return how many; open *file* with ``newline=""``.

        Columns: submitted_at (ISO, UTC), chat, consent, then the variables: *columns*, or all in the order in which
        they first came. Begin the file with U+FEFF for spreadsheet programs. A text that such a program would run as a
        formula gets an apostrophe before it; telephones and numbers stay as they are.

        What is submitted meanwhile is not in it. Raises StoreError, perhaps after a part was written.
        """
        writer = csv.writer(file)
        n = 0
        async with aclosing(self._pages(form, columns)) as pages:
            # Written out here, where trouble with the file is not taken for trouble with the database.
            async for names, page in pages:
                if n == 0:
                    writer.writerow(["submitted_at", "chat", "consent", *map(_cell, names)])
                writer.writerows(_cells(record, names) for record in page)
                n += len(page)
        return n

    async def delete(self, form: str, *, before: float | None = None) -> int:
        """Delete the records of *form*, all or those submitted *before* a Unix time; return how many."""
        at = None if before is None else datetime.fromtimestamp(before, UTC)
        tag = await self._database.execute(_DELETE, self._chatbot_id, storable(form), at, idempotent=True)
        return int(tag.removeprefix("DELETE "))

    async def delete_record(self, form: str, id: int) -> bool:
        """Delete one record; False when there was none."""
        tag = await self._database.execute(_DELETE_ONE, self._chatbot_id, storable(form), id, idempotent=True)
        return tag == "DELETE 1"

    async def _pages(
        self, form: str, columns: Sequence[str] | None
    ) -> AsyncGenerator[tuple[Sequence[str], Sequence[StoredRecord]], None]:
        """The variables with each page of records, at least once; all as they are at one moment."""
        asked = (self._chatbot_id, storable(form))
        async with self._database.transaction(idempotent=True) as connection:
            # Otherwise a record that comes between could have a variable without a column.
            await connection.execute(_ONE_LOOK)
            names = columns
            if names is None:
                names = [row["name"] for row in await connection.fetch(_VARIABLES, *asked)]
            rows, after = None, 0
            while rows is None or len(rows) == PAGE:
                rows = await connection.fetch(_RECORDS, *asked, after, PAGE)
                yield names, [_read(row) for row in rows]
                after = rows[-1]["id"] if rows else after


def _read(row: asyncpg.Record) -> StoredRecord:
    id, address, answers, consent, submitted_at = row
    return StoredRecord(id, ChatId(address), json.loads(answers), consent, submitted_at.timestamp())


def _cells(record: StoredRecord, names: Sequence[str]) -> list[str]:
    at = datetime.fromtimestamp(record.submitted_at, UTC).isoformat(timespec="seconds")
    values = [record.chat.reveal(), record.consent, *(record.values.get(name) for name in names)]
    return [at, *map(_cell, values)]


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value
        case {"name": str(name)} if name:
            return _cell(name)
        case {"address": str(address)}:
            return _cell(address)
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
    return str(value)
