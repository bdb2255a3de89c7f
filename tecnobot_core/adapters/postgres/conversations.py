"""Conversations in PostgreSQL: read in one round trip, many turns written in another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import asyncpg

from ...delivery.ports import MAX_PINNED
from ...delivery.times import latest
from ...messages import ChatId, ChatMessage, Conversation, Position, ToolCall, Turn
from .database import Connection, Database
from .encoding import decode_position, encode_position
from .values import due_us, storable, to_json, to_us

# A chat without rows still gives one, for its position. A turn that began under an address which was linked since then
# is answered in the chat of the person.
_LOAD = """
SELECT conversation.position, tecnobot.us_of(chat.welcomed_at) AS welcomed_us,
       said.id, said.role, said.content, said.tool_calls, said.tool_call_id, said.pinned
FROM tecnobot.chat
LEFT JOIN tecnobot.conversation ON conversation.chat_id = chat.id
LEFT JOIN LATERAL (
    WITH newest AS (
        SELECT * FROM tecnobot.chat_history AS history WHERE history.chat_id = chat.id ORDER BY id DESC LIMIT $3
    )
    SELECT * FROM newest
    UNION ALL (
        SELECT * FROM tecnobot.chat_history AS history
        WHERE history.chat_id = chat.id AND pinned AND id < coalesce((SELECT min(id) FROM newest), 9223372036854775807)
        ORDER BY id DESC LIMIT $4
    )
) AS said ON true
WHERE chat.chatbot_id = $1 AND chat.phone_number = coalesce(
    (SELECT phone_number FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND alias = $2), $2
)
ORDER BY said.id
"""

# Of each chat one position comes in, the last; rows come in the order of their turns. Chats are written in one order by
# everybody, so that two batches cannot wait for each other.
_RECORD = """
WITH given AS (
    SELECT tecnobot.person($1, address) AS person, *
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
        AS given (address, position, due_us, welcomed_us, number)
), turn AS (
    SELECT DISTINCT ON (person) * FROM given ORDER BY person, number DESC
), written AS (
    INSERT INTO tecnobot.chat AS chat (chatbot_id, phone_number, welcomed_at)
    SELECT $1, person, max(tecnobot.at_us(welcomed_us)) FROM given GROUP BY person ORDER BY person
    ON CONFLICT (chatbot_id, phone_number) DO UPDATE SET
        last_seen = now(), welcomed_at = greatest(chat.welcomed_at, excluded.welcomed_at)
    RETURNING id AS chat_id, phone_number AS person
), appended AS (
    INSERT INTO tecnobot.chat_history (chat_id, role, content, tool_calls, tool_call_id, pinned)
    SELECT chat_id, role, content, tool_calls::jsonb, tool_call_id, pinned
    FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::boolean[]) WITH ORDINALITY
        AS said (address, role, content, tool_calls, tool_call_id, pinned, number)
    JOIN given USING (address) JOIN written USING (person)
    ORDER BY said.number
), entered AS (
    INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, variables, consent, submitted_at)
    SELECT $1, form, chat_id, answers::jsonb, variables::jsonb, consent, tecnobot.at_us(submitted_us)
    FROM unnest($12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bigint[]) WITH ORDINALITY
        AS record (address, form, answers, variables, consent, submitted_us, number)
    JOIN given USING (address) JOIN written USING (person)
    ORDER BY record.number
), ended AS (
    DELETE FROM tecnobot.conversation
    USING written JOIN turn USING (person)
    WHERE conversation.chat_id = written.chat_id AND turn.position IS NULL
)
INSERT INTO tecnobot.conversation (chat_id, chatbot_id, position, due_at)
SELECT chat_id, $1, turn.position::jsonb, tecnobot.at_us(due_us)
FROM turn JOIN written USING (person) WHERE turn.position IS NOT NULL
ON CONFLICT (chat_id) DO UPDATE SET position = excluded.position, due_at = excluded.due_at
"""

_PERSON = "SELECT tecnobot.person($1, $2)"

# The count sees the rows as they were before the statement; the chat takes them along. Keys of the outbox stay: they
# say nothing of a person, and must not be sent twice.
_DELETE = """
WITH forgotten AS (
    DELETE FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND phone_number = $2 RETURNING alias
), address AS (
    SELECT $2 AS address UNION SELECT alias FROM forgotten
), gone AS (
    DELETE FROM tecnobot.chat WHERE chatbot_id = $1 AND phone_number = $2 RETURNING id
), unanswered AS (
    DELETE FROM tecnobot.inbox WHERE chatbot_id = $1 AND body ->> 'chat' IN (SELECT address FROM address)
), unsent AS (
    UPDATE tecnobot.outbox SET state = 'expired', body = NULL, changed_at = now()
    WHERE chatbot_id = $1 AND body IS NOT NULL AND state IN ('waiting', 'taken')
        AND body ->> 'chat' IN (SELECT address FROM address)
)
SELECT count(*) FROM tecnobot.chat_history WHERE chat_id = (SELECT id FROM gone)
"""

_EXPORT = """
WITH person AS (
    SELECT coalesce((SELECT phone_number FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND alias = $2), $2) AS address
), kept AS (
    SELECT alias, seen_at FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND phone_number = (SELECT address FROM person)
), address AS (
    SELECT address FROM person UNION SELECT alias FROM kept
)
SELECT jsonb_build_object(
    'chat', person.address,
    'aliases', (SELECT coalesce(jsonb_agg(alias ORDER BY seen_at NULLS FIRST, alias), '[]') FROM kept),
    'first_seen', first_seen,
    'last_seen', last_seen,
    'welcomed_at', welcomed_at,
    'position', (SELECT position FROM tecnobot.conversation WHERE chat_id = chat.id),
    'history', (
        SELECT coalesce(jsonb_agg(to_jsonb(history) - 'chat_id' - 'id' ORDER BY id), '[]')
        FROM tecnobot.chat_history AS history WHERE chat_id = chat.id
    ),
    'records', (
        SELECT coalesce(jsonb_agg(to_jsonb(record) - '{chatbot_id,chat_id,id,variables}'::text[] ORDER BY id), '[]')
        FROM tecnobot.form_record AS record WHERE chat_id = chat.id
    ),
    'unanswered', (
        SELECT coalesce(jsonb_agg(body || jsonb_build_object('id', message_id) ORDER BY seq), '[]')
        FROM tecnobot.inbox WHERE inbox.chatbot_id = $1 AND body ->> 'chat' IN (SELECT address FROM address)
    ),
    'unsent', (
        SELECT coalesce(jsonb_agg(body || jsonb_build_object('key', key) ORDER BY outbox.id), '[]') FROM tecnobot.outbox
        WHERE outbox.chatbot_id = $1 AND body IS NOT NULL AND state IN ('waiting', 'taken')
            AND body ->> 'chat' IN (SELECT address FROM address)
    )
) FROM person LEFT JOIN tecnobot.chat ON chatbot_id = $1 AND phone_number = person.address
WHERE chat.id IS NOT NULL OR EXISTS (SELECT FROM kept)
"""


class PostgresConversations:
    """The conversations of one chatbot, which must exist (``ensure_chatbot``).

    Texts are stored with U+FFFD in the place of NUL and lone surrogates, which PostgreSQL cannot hold.
    """

    def __init__(self, database: Database, chatbot_id: str) -> None:
        self._database = database
        self._chatbot_id = chatbot_id

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        """The last *limit* rows, before them up to three older pinned ones, and the position: one round trip."""
        rows = await self._database.fetch(_LOAD, self._chatbot_id, _address(chat), limit, MAX_PINNED, idempotent=True)
        if not rows:
            return Conversation()
        history = tuple(_message(row) for row in rows if row["id"] is not None)
        position, welcomed_us = rows[0]["position"], rows[0]["welcomed_us"]
        return Conversation(
            history,
            None if position is None else decode_position(position),
            None if welcomed_us is None else welcomed_us / 1_000_000,
        )

    async def record(self, turns: Sequence[Turn]) -> None:
        """Write down what *turns* leave behind, all or nothing: one statement for all of them.

        A turn without a position ends the chat's flow. Of several turns of a chat the last one's position stays.
        """
        if turns:
            await self._database.execute(_RECORD, self._chatbot_id, *_chats(turns), *_rows(turns), *_records(turns))

    async def delete(self, chat: ChatId) -> int:
        """Forget *chat*, also what waits to be answered or sent; returns how many rows of history it had."""

        async def work(connection: Connection) -> int:
            # Asked first: it waits for a link that is being made, and the next statement sees what that has moved.
            person = await connection.fetchval(_PERSON, self._chatbot_id, _address(chat))
            count: int = await connection.fetchval(_DELETE, self._chatbot_id, person)
            return count

        return await self._database.transact(work)

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        """Everything held about *chat*: aliases, when it was seen, position, and history and forms, oldest first."""
        found: Mapping[str, object] | None = await self._database.fetchval(
            _EXPORT, self._chatbot_id, _address(chat), idempotent=True
        )
        return found or {"chat": _address(chat), "history": [], "position": None, "welcomed_at": None, "records": []}


def _address(chat: ChatId) -> str:
    return storable(chat.reveal())


def _chats(turns: Sequence[Turn]) -> list[list[object]]:
    """Columns: address, position or None, when it is due, when it was welcomed; one row for each chat."""
    last: dict[str, tuple[Position | None, float | None]] = {}
    for turn in turns:
        # Two addresses of one person: whichever comes last decides.
        _, before = last.pop(_address(turn.chat), (None, None))
        last[_address(turn.chat)] = turn.position, latest(before, turn.welcomed_at)
    rows = [
        (
            address,
            None if at is None else to_json(encode_position(at)),
            None if at is None else due_us(at.due_at),
            None if welcomed_at is None else to_us(welcomed_at),
        )
        for address, (at, welcomed_at) in last.items()
    ]
    return _columns(rows, 4)


def _records(turns: Sequence[Turn]) -> list[list[object]]:
    """Columns: address, form, answers, their names, consent, when it was submitted; one row for each record."""
    rows = [
        (
            _address(turn.chat),
            storable(record.form),
            to_json(dict(record.values)),
            to_json(list(record.values)),
            storable(record.consent),
            to_us(record.submitted_at),
        )
        for turn in turns
        for record in turn.records
    ]
    return _columns(rows, 6)


def _rows(turns: Sequence[Turn]) -> list[list[object]]:
    """Columns: address, role, content, tool calls, id of the answered call, pinned; one row for each message."""
    rows = [
        (
            _address(turn.chat),
            message.role,
            storable(message.content),
            to_json([asdict(call) for call in message.tool_calls]) if message.tool_calls else None,
            None if message.tool_call_id is None else storable(message.tool_call_id),
            message.pinned,
        )
        for turn in turns
        for message in turn.history
    ]
    return _columns(rows, 6)


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [[row[column] for row in rows] for column in range(width)]


def _message(row: asyncpg.Record) -> ChatMessage:
    calls = tuple(ToolCall(**call) for call in row["tool_calls"] or ())
    return ChatMessage(row["role"], row["content"], calls, row["tool_call_id"], row["pinned"])
