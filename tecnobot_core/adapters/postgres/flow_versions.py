"""What flows were before, in the table ``flow_version``, which triggers fill."""

import json

from ...flows.problems import Problems
from ...flows.steps import AnyStep
from ...flows.stored_flow import read_fields
from .database import Database
from .values import storable

_LOAD = """
SELECT response::text FROM tecnobot.flow_version WHERE chatbot_id = $1 AND flow_id = $2 AND version = $3
"""
_RETIRE = """
WITH gone AS (
    DELETE FROM tecnobot.flow_version AS old
    WHERE old.chatbot_id = $1 AND old.flow_id = $2 AND NOT EXISTS (
        SELECT FROM tecnobot.bot_flows AS flow
        WHERE (flow.chatbot_id, flow.id, flow.version) = (old.chatbot_id, old.flow_id, old.version)
    )
)
UPDATE tecnobot.chatbot SET flows_version = flows_version + 1 WHERE id = $1
"""
# Positions are looked through once, and only where a version waits for it. Their numbers are compared as they are
# written, because what is in a position that nobody reads any more need not be a number.
_PURGE = """
WITH old AS MATERIALIZED (
    SELECT flow_id, version FROM tecnobot.flow_version AS kept
    WHERE kept.chatbot_id = $1 AND kept.retired_at < now() - make_interval(secs => $2) AND NOT EXISTS (
        SELECT FROM tecnobot.bot_flows AS flow
        WHERE (flow.chatbot_id, flow.id, flow.version) = (kept.chatbot_id, kept.flow_id, kept.version)
    )
), stood_on AS MATERIALIZED (
    SELECT position->>'flow' AS flow_id, position->>'version' AS version
    FROM tecnobot.conversation WHERE chatbot_id = $1 AND EXISTS (SELECT FROM old)
    UNION
    SELECT frame->>0, frame->>2
    FROM tecnobot.conversation, jsonb_path_query(position, '$.stack[*]') AS frame
    WHERE chatbot_id = $1 AND EXISTS (SELECT FROM old)
)
DELETE FROM tecnobot.flow_version AS kept USING old
WHERE kept.chatbot_id = $1 AND (kept.flow_id, kept.version) = (old.flow_id, old.version) AND NOT EXISTS (
    SELECT FROM stood_on WHERE (stood_on.flow_id, stood_on.version) = (old.flow_id, old.version::text)
)
"""


async def load_version(database: Database, chatbot_id: str, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
    """See ``KeepsVersions.load_version``."""
    response = await database.fetchval(_LOAD, chatbot_id, storable(flow_id), version, idempotent=True)
    if response is None:
        return None
    problems = Problems(flow_id)
    fields = read_fields([], json.loads(response), 0, problems)
    problems.raise_if_any()
    steps: tuple[AnyStep, ...] = fields["steps"]
    return steps


async def retire_versions(database: Database, chatbot_id: str, flow_id: str) -> None:
    """See ``KeepsVersions.retire_versions``."""
    await database.execute(_RETIRE, chatbot_id, storable(flow_id), idempotent=True)


async def purge_versions(database: Database, chatbot_id: str, older_than_s: float) -> int:
    """See ``KeepsVersions.purge_versions``; how many were deleted."""
    tag = await database.execute(_PURGE, chatbot_id, older_than_s, idempotent=True)
    return int(tag.removeprefix("DELETE "))
