"""The statements that run for every message use their indexes, and read no more than they give back."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import (
    Database,
    PostgresConversations,
    PostgresFlowStore,
    PostgresKnowledge,
    ensure_chatbot,
    migrate,
)
from tecnobot_core.messages import ChatId

pytestmark = pytest.mark.postgres


class ExplainingDatabase(Database):
    """Keeps the plan of the last ``fetch``: exactly what a store runs, with what it hands over."""

    plan: dict[str, Any]

    async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
        explained = await self.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *args)
        self.plan = json.loads(explained)[0]["Plan"]
        return await super().fetch(query, *args, idempotent=idempotent)

    def nodes(self) -> list[dict[str, Any]]:
        return list(_nodes(self.plan))

    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node}

    def scanned(self) -> set[str]:
        """Tables that were read from one end to the other."""
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[ExplainingDatabase]:
    async with ExplainingDatabase(database_url, command_timeout_s=60) as database:
        await migrate(database)
        for chatbot in ("shop", *(f"other{number}" for number in range(9))):
            await ensure_chatbot(database, chatbot)
        yield database


@pytest.mark.parametrize("chat", ["chat7", "hot"])
async def test_the_last_five_rows_are_one_descent_of_the_index(database: ExplainingDatabase, chat: str) -> None:
    await database.execute(
        "INSERT INTO tecnobot.chat (chatbot_id, phone_number)"
        " SELECT 'shop', 'chat' || n FROM generate_series(1, 300) AS n UNION ALL SELECT 'shop', 'hot'"
    )
    await database.execute(
        "INSERT INTO tecnobot.chat_history (chat_id, role, content, pinned)"
        " SELECT chat.id, 'user', 'some words of a message', n % 30 = 0"
        " FROM generate_series(1, 20009) AS n JOIN tecnobot.chat ON phone_number = 'hot' OR n <= 100 ORDER BY n"
    )
    await database.execute("VACUUM ANALYZE tecnobot.chat_history, tecnobot.chat")
    loaded = await PostgresConversations(database, "shop").load(ChatId(chat), 5)
    assert [message.pinned for message in loaded.history] == [True] * 3 + [False] * 5
    assert {"chat_history_pkey", "chat_history_pinned"} <= database.indexes()
    assert database.scanned() <= {"conversation"}  # which is empty here
    assert max(node["Actual Rows"] for node in database.nodes()) <= 8
    assert database.plan["Shared Hit Blocks"] + database.plan["Shared Read Blocks"] <= 20


async def test_the_search_box_uses_the_trigram_index(database: ExplainingDatabase) -> None:
    await database.execute(
        "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)"
        " SELECT 'shop', 'flow' || n, ARRAY[md5(n::text), md5((-n)::text) || ' envío'], '{\"say\": [\"x\"]}'"
        " FROM generate_series(1, 20000) AS n"
    )
    await database.execute("VACUUM ANALYZE tecnobot.bot_flows")
    wanted = await database.fetchval("SELECT md5('77')")
    assert [flow.id for flow in await PostgresFlowStore(database).search_flows("shop", wanted)] == ["flow77"]
    assert database.indexes() == {"bot_flows_keywords"}
    assert database.scanned() == set()


async def test_the_flows_of_one_chatbot_are_read_without_those_of_others(database: ExplainingDatabase) -> None:
    await database.execute(
        "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)"
        " SELECT chatbot.id, 'flow' || n, ARRAY['x'], '{\"say\": [\"x\"]}'"
        " FROM generate_series(1, 300) AS n, tecnobot.chatbot"
    )
    await database.execute("VACUUM ANALYZE tecnobot.bot_flows")
    await PostgresFlowStore(database).load("shop")
    assert database.indexes() == {"bot_flows_pkey"}


async def test_knowledge_is_found_through_its_index(database: ExplainingDatabase) -> None:
    await database.execute(
        "INSERT INTO tecnobot.knowledge (chatbot_id, language, title, body)"
        " SELECT 'shop', 'spanish', 'x', 'producto ' || md5(n::text) FROM generate_series(1, 5000) AS n"
    )
    await database.execute("VACUUM ANALYZE tecnobot.knowledge")
    wanted = await database.fetchval("SELECT md5('77')")
    assert len(await PostgresKnowledge(database, "shop").search(wanted, 3)) == 1
    assert "knowledge_search" in database.indexes()
