"""Many flows changed at once: all of them, or none."""

from collections.abc import Collection, Sequence

from ...errors import StoreError
from ...flows.model import Flow
from .database import Connection, Database
from .values import storable

_CHATBOTS = "SELECT id FROM tecnobot.chatbot ORDER BY id"
# Locked, so that nobody changes a flow before the transaction ends.
_VERSION = "SELECT flows_version FROM tecnobot.chatbot WHERE id = $1 FOR UPDATE"
_PUT = """
INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response, priority)
SELECT $1, flow.id, flow.keywords, flow.response, flow.priority
FROM jsonb_to_recordset($2::jsonb) AS flow (id text, keywords text[], response jsonb, priority integer)
ON CONFLICT (chatbot_id, id) DO UPDATE SET
    keywords = excluded.keywords, response = excluded.response, priority = excluded.priority, is_active = true
"""
_REMOVE = "DELETE FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND id = ANY ($2::text[])"


async def change_flows(
    database: Database, chatbot_id: str, *, put: Sequence[Flow], remove: Collection[str] = (), seen_version: int
) -> None:
    """Put and remove flows in one transaction; StoreError when they are no longer as they were at *seen_version*."""
    rows = [
        {
            "id": flow.id,
            "keywords": [keyword.text for keyword in flow.keywords],
            "response": flow.response(),
            "priority": flow.priority,
        }
        for flow in put
    ]

    async def change(connection: Connection) -> None:
        version = await connection.fetchval(_VERSION, chatbot_id)
        if version != seen_version:
            raise StoreError("somebody changed flows at the same time; nothing was written, try again", retryable=True)
        if rows:
            await connection.execute(_PUT, chatbot_id, rows)
        if remove:
            await connection.execute(_REMOVE, chatbot_id, [storable(id) for id in remove])

    # Once: after an answer was lost the version tells that it was done, and it must not be said that nothing was.
    async with database.transaction() as connection:
        await change(connection)


async def list_chatbots(database: Database) -> list[str]:
    """The ids of all chatbots. Raises StoreError where the tables are missing."""
    return [row["id"] for row in await database.fetch(_CHATBOTS, idempotent=True)]
