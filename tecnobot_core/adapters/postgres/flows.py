"""Flows in PostgreSQL, and the owner's search box."""

import asyncio
import json

import asyncpg

from ...errors import FlowError
from ...flows.model import Flow
from .database import Database
from .values import storable

_READ_IN_A_THREAD = 2_000  # rows; reading so many takes longer than the event loop should wait

# As text: a thread reads the JSON of many flows, the event loop would have to stop for it.
_COLUMNS = "id, keywords, response::text, priority"
_LOAD = f"SELECT {_COLUMNS} FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND is_active ORDER BY id"
_SEARCH = f"SELECT {_COLUMNS} FROM tecnobot.flows_about($1, $2, $3, $4)"
_VERSION = "SELECT flows_version FROM tecnobot.chatbot WHERE id = $1"
_INSERT = """
INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response, priority) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (chatbot_id, id) """
_ADD = _INSERT + "DO NOTHING RETURNING true"
_PUT = (
    _INSERT
    + """DO UPDATE SET
    keywords = excluded.keywords, response = excluded.response, priority = excluded.priority, is_active = true
"""
)
_REMOVE = "DELETE FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND id = $2 RETURNING true"


class PostgresFlowStore:
    """A FlowStore in the table ``bot_flows``, whatever else writes to it: triggers count the version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The active flows of a chatbot by id, and one error for each that is broken."""
        rows = await self._database.fetch(_LOAD, chatbot_id, idempotent=True)
        if len(rows) > _READ_IN_A_THREAD:
            return await asyncio.to_thread(_read_all, rows)
        return _read_all(rows)

    async def version(self, chatbot_id: str) -> int:
        """Grows with every statement that changed the chatbot's flows; 0 for an unknown chatbot."""
        return await self._database.fetchval(_VERSION, chatbot_id, idempotent=True) or 0

    async def add(self, chatbot_id: str, flow: Flow) -> bool:
        """Add *flow*; False when there is one with its id, also an inactive one."""
        return await self._database.fetchval(_ADD, chatbot_id, *_stored(flow)) or False

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        """Add *flow*, or replace the one with its id; it is active afterwards."""
        await self._database.execute(_PUT, chatbot_id, *_stored(flow))

    async def remove(self, chatbot_id: str, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        return await self._database.fetchval(_REMOVE, chatbot_id, storable(flow_id)) or False

    async def search_flows(self, chatbot_id: str, text: str, limit: int = 20) -> list[Flow]:
        """For the owner's search box: active flows whose keywords hold *text*, then those that nearly do.

        Case and accents do not matter. Broken flows are left out. Routing messages is the work of FlowRepository.
        """
        words = storable(text).strip()
        pattern = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = await self._database.fetch(_SEARCH, chatbot_id, words, f"%{pattern}%", limit, idempotent=True)
        return _read_all(rows)[0]


def _stored(flow: Flow) -> tuple[str, list[str], object, int]:
    keywords = [storable(keyword.text) for keyword in flow.keywords]
    return storable(flow.id), keywords, flow.response(), flow.priority


def _read_all(rows: list[asyncpg.Record]) -> tuple[list[Flow], list[FlowError]]:
    flows: list[Flow] = []
    broken: list[FlowError] = []
    for id, keywords, response, priority in rows:
        try:
            flows.append(Flow.from_stored(id, keywords, json.loads(response), priority))
        except FlowError as error:
            broken.append(error)
    return flows, broken
