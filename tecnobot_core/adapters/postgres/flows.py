"""Flows in PostgreSQL, and the owner's search box."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import asyncpg

from ...errors import FlowError
from ...flows.model import Flow
from ...flows.steps import AnyStep
from .database import Database
from .flow_versions import load_version, purge_versions, retire_versions
from .listening import ChangeListener
from .values import storable

_READ_IN_A_THREAD = 2_000  # rows; reading so many takes longer than the event loop should wait

# As text: a thread reads the JSON of many flows, the event loop would have to stop for it.
_COLUMNS = "id, keywords, response::text, priority, version"
_LOAD = f"SELECT {_COLUMNS} FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND is_active ORDER BY id"
# One statement sees one moment: where there are not as many flows as there should be, some are gone.
_CHANGES = f"""
WITH of_chatbot AS (SELECT count(*) FILTER (WHERE is_active) AS n FROM tecnobot.bot_flows WHERE chatbot_id = $1)
SELECT n, is_active, {_COLUMNS} FROM of_chatbot LEFT JOIN tecnobot.bot_flows ON chatbot_id = $1 AND revision > $2
"""
_IDS = "SELECT id FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND is_active"
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


_CHANNEL = "tecnobot_flows"
_DAY_S = 86_400.0


class PostgresFlowStore:
    """A FlowStore in the table ``bot_flows``, whatever else writes to it: triggers count and keep the versions.

    It also keeps what flows were before (KeepsVersions), tells what changed (LoadsChanges) and when (TellsChanges).
    For the last it holds one connection of the pool while somebody waits, and asks it every *check_s* whether it lives.
    """

    def __init__(
        self,
        database: Database,
        *,
        check_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._listener = ChangeListener(database, _CHANNEL, check_s=check_s, sleep=sleep)

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        """The active flows of a chatbot by id, and one error for each that is broken."""
        found = await _read_all(await self._database.fetch(_LOAD, chatbot_id, idempotent=True))
        flows = [flow for flow in found.values() if isinstance(flow, Flow)]
        return flows, [error for error in found.values() if isinstance(error, FlowError)]

    async def load_changes(
        self, chatbot_id: str, since: int, known: Collection[str]
    ) -> Mapping[str, Flow | FlowError | None] | None:
        """What became of flows after the version *since*; reads all ids where some of the *known* are gone."""
        rows = await self._database.fetch(_CHANGES, chatbot_id, since, idempotent=True)
        changed = [row for row in rows if row["id"] is not None]
        changes: dict[str, Flow | FlowError | None] = dict.fromkeys(row["id"] for row in changed)
        changes |= await _read_all([row for row in changed if row["is_active"]])
        there = (set(known) - changes.keys()) | {id for id, change in changes.items() if change is not None}
        if len(there) == rows[0]["n"]:
            return changes
        ids = {row["id"] for row in await self._database.fetch(_IDS, chatbot_id, idempotent=True)}
        return None if ids - there else changes | dict.fromkeys(there - ids)

    def changes(self, chatbot_id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Inside, the event is set by each change of the chatbot's flows; never where the database cannot listen."""
        return self._listener.changes(chatbot_id)

    async def load_version(self, chatbot_id: str, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
        """The steps of one version of a flow; None where it was purged or never was."""
        return await load_version(self._database, chatbot_id, flow_id, version)

    async def retire_versions(self, chatbot_id: str, flow_id: str) -> None:
        """Delete all versions of a flow but the current one."""
        await retire_versions(self._database, chatbot_id, flow_id)

    async def purge_versions(self, chatbot_id: str, *, older_than_s: float = _DAY_S) -> int:
        """Delete versions that ended *older_than_s* ago and that no conversation stands on; how many that were."""
        return await purge_versions(self._database, chatbot_id, older_than_s)

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
        return [flow for flow in (await _read_all(rows)).values() if isinstance(flow, Flow)]


def _stored(flow: Flow) -> tuple[str, list[str], object, int]:
    keywords = [storable(keyword.text) for keyword in flow.keywords]
    return storable(flow.id), keywords, flow.response(), flow.priority


async def _read_all(rows: Sequence[asyncpg.Record]) -> dict[str, Flow | FlowError]:
    def read() -> dict[str, Flow | FlowError]:
        return {row["id"]: _read(row) for row in rows}

    return await asyncio.to_thread(read) if len(rows) > _READ_IN_A_THREAD else read()


def _read(row: asyncpg.Record) -> Flow | FlowError:
    id, response = row["id"], json.loads(row["response"])
    try:
        return Flow.from_stored(id, row["keywords"], response, row["priority"], version=row["version"])
    except FlowError as error:
        return error
