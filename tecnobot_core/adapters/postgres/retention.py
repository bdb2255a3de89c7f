"""What is old is deleted, a little at a time."""

import math

from ...errors import ConfigurationError
from .database import Connection, Database

_CHATS_AT_ONCE = 500  # looked through by one statement; each costs two descents of the index of its history

# The rows of a chat lie in the index from the oldest to the newest, so those before its first young one are old: no row
# of the table is looked at but them and that one, and no further index is kept up to date for it.
_PURGE_ROWS = """
WITH visited AS MATERIALIZED (
    SELECT id, phone_number FROM tecnobot.chat
    WHERE chatbot_id = $1 AND phone_number > $2 ORDER BY phone_number LIMIT $3
), deleted AS (
    DELETE FROM tecnobot.chat_history WHERE ctid = ANY (ARRAY(
        SELECT old.row FROM visited CROSS JOIN LATERAL (
            SELECT ctid AS row FROM tecnobot.chat_history AS history
            WHERE history.chat_id = visited.id AND NOT pinned AND history.id < coalesce(
                (
                    SELECT young.id FROM tecnobot.chat_history AS young
                    WHERE young.chat_id = visited.id AND young.created_at >= now() - make_interval(secs => $4)
                    ORDER BY young.id LIMIT 1
                ),
                9223372036854775807
            )
            ORDER BY history.id LIMIT $5
        ) AS old LIMIT $5
    )) RETURNING true
)
SELECT (SELECT max(phone_number) FROM visited) AS last, (SELECT count(*) FROM deleted) AS n
"""

# Chats that are being written to are not waited for: they are seen again at this moment. One that was welcomed stays,
# without a word of what was said: who comes back is not to be welcomed again.
_PURGE_CHATS = """
WITH gone AS (
    DELETE FROM tecnobot.chat WHERE id = ANY (ARRAY(
        SELECT id FROM tecnobot.chat
        WHERE chatbot_id = $1 AND phone_number > $2 AND phone_number <= $3
          AND last_seen < now() - make_interval(secs => $4)
          AND NOT EXISTS (SELECT FROM tecnobot.chat_history WHERE chat_id = chat.id)
          AND NOT EXISTS (SELECT FROM tecnobot.conversation WHERE chat_id = chat.id)
          AND NOT EXISTS (SELECT FROM tecnobot.form_record WHERE chat_id = chat.id)
          AND welcomed_at IS NULL
        FOR UPDATE SKIP LOCKED
    )) RETURNING phone_number
)
DELETE FROM tecnobot.chat_alias WHERE chatbot_id = $1 AND phone_number = ANY (ARRAY(SELECT phone_number FROM gone))
"""
_NO_LINKS = "SELECT pg_advisory_xact_lock_shared(tecnobot.lease_lock($1))"


# The key of a message that is not done stays: without it the message could be accepted beside itself.
_PURGE_KEYS = """
DELETE FROM tecnobot.inbox_key WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM tecnobot.inbox_key AS key
    WHERE chatbot_id = $1 AND accepted_at < now() - make_interval(secs => $2) AND NOT EXISTS (
        SELECT FROM tecnobot.inbox WHERE inbox.chatbot_id = key.chatbot_id AND inbox.message_id = key.message_id
    ) LIMIT $3
))
"""
_PURGE_ENTRIES = """
DELETE FROM tecnobot.outbox WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM tecnobot.outbox
    WHERE chatbot_id = $1 AND changed_at < now() - make_interval(secs => $2) AND state NOT IN ('waiting', 'taken')
    LIMIT $3
))
"""


async def purge_delivery(database: Database, chatbot_id: str, older_than_s: float, batch: int) -> int:
    """Delete what inbox and outbox remember of messages that are done; see ``DeliveryStore.purge``."""
    purged = 0
    for statement in (_PURGE_KEYS, _PURGE_ENTRIES):
        while True:
            tag = await database.execute(statement, chatbot_id, older_than_s, batch, idempotent=True)
            purged += (n := int(tag.removeprefix("DELETE ")))
            if n < batch:
                break
    return purged


class HistoryRetention:
    """Forgets what the chats of one chatbot said more than *keep_s* ago, and the chats of which nothing is left.

    Pinned rows stay. So do the position in a flow, the records of forms and when the chat was welcomed, and with any of
    them the chat; ``delete`` forgets them. *batch* rows at most are deleted by one
    transaction, which keeps nobody waiting.
    """

    def __init__(self, database: Database, chatbot_id: str, *, keep_s: float, batch: int = 5000) -> None:
        if not (0 < keep_s < math.inf and batch > 0):
            raise ConfigurationError(
                "history is kept for a number of seconds above 0 and deleted in batches of at least one row, "
                f"not keep_s={keep_s} and batch={batch}"
            )
        self._database = database
        self._chatbot_id = chatbot_id
        self._keep_s = keep_s
        self._batch = batch

    async def purge_history(self) -> int:
        """Delete what is too old now; returns how many rows of history that were.

        Interrupted, it has deleted a part, and the next call does the rest.
        """
        after, total = "", 0
        while True:
            row = await self._database.fetchrow(
                _PURGE_ROWS, self._chatbot_id, after, _CHATS_AT_ONCE, self._keep_s, self._batch, idempotent=True
            )
            assert row is not None  # a SELECT without FROM has one
            deleted: int = row["n"]
            total += deleted
            if row["last"] is None:
                return total
            if deleted < self._batch:
                await self._purge_chats(after, row["last"])
                after = row["last"]

    async def _purge_chats(self, after: str, last: str) -> None:
        async def work(connection: Connection) -> None:
            # First, as whoever links addresses does: rows are locked in another order there.
            await connection.execute(_NO_LINKS, self._chatbot_id)
            await connection.execute(_PURGE_CHATS, self._chatbot_id, after, last, self._keep_s)

        await self._database.transact(work, idempotent=True)
