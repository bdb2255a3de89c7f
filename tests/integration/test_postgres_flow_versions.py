"""Versions of flows in PostgreSQL: a row for each content, whoever writes, and none goes that somebody stands on."""

import json
import time
from io import BytesIO

import pytest

from tecnobot_core.adapters.postgres import PostgresDelivery, PostgresFlowStore
from tecnobot_core.adapters.postgres.database import Database
from tecnobot_core.errors import FlowError, StoreError
from tecnobot_core.flows import Flow
from tecnobot_core.messages import ChatId, InboundMessage, Position, Turn

pytestmark = pytest.mark.postgres

A, B = '{"say": ["a"]}', '{"say": ["b"]}'
INSERT = "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response) "
UPSERT = "ON CONFLICT (chatbot_id, id) DO UPDATE SET response = excluded.response"


@pytest.fixture
def store(database: Database) -> PostgresFlowStore:
    return PostgresFlowStore(database)


async def kept(database: Database, chatbot: str = "shop") -> list[tuple[str, str, bool]]:
    """Of each version, the oldest first: its flow, what it says, and whether it is retired."""
    rows = await database.fetch(
        "SELECT flow_id, response->'say'->>0 AS says, retired_at IS NOT NULL AS retired FROM tecnobot.flow_version"
        " WHERE chatbot_id = $1 ORDER BY version, flow_id",
        chatbot,
    )
    return [(row["flow_id"], row["says"], row["retired"]) for row in rows]


async def version(database: Database, flow_id: str = "f", chatbot: str = "shop") -> int:
    number: int = await database.fetchval(
        "SELECT version FROM tecnobot.bot_flows WHERE chatbot_id = $1 AND id = $2", chatbot, flow_id
    )
    return number


async def test_every_statement_that_changes_content_keeps_a_row(database: Database) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
    assert await kept(database) == [("f", "a", False)]
    await database.execute(f"UPDATE tecnobot.bot_flows SET response = '{B}'")
    assert await kept(database) == [("f", "a", True), ("f", "b", False)]
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}'), ('shop', 'g', '{{x}}', '{A}') {UPSERT}")
    assert (await kept(database))[2:] == [("f", "a", False), ("g", "a", False)]
    await database.execute("DELETE FROM tecnobot.bot_flows WHERE id = 'f'")
    assert await kept(database) == [("f", "a", True), ("f", "b", True), ("f", "a", True), ("g", "a", False)]
    await database.execute("TRUNCATE tecnobot.bot_flows")
    assert {retired for _, _, retired in await kept(database)} == {True}


async def test_what_leaves_the_content_makes_no_version(database: Database) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
    before = await version(database)
    await database.execute("UPDATE tecnobot.bot_flows SET keywords = '{y}', priority = 3, is_active = false")
    await database.execute('UPDATE tecnobot.bot_flows SET response = \' { "say" :  ["a"]}\'')
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}') {UPSERT}")
    assert await version(database) == before
    assert await kept(database) == [("f", "a", False)]


async def test_rows_that_are_copied_in_have_versions(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.copy_to_table(
            "bot_flows",
            schema_name="tecnobot",
            columns=["chatbot_id", "id", "keywords", "response"],
            source=BytesIO("".join(f"shop\tf{number}\t{{x}}\t{A}\n" for number in range(3)).encode()),
        )
    assert await kept(database) == [(f"f{number}", "a", False) for number in range(3)]


async def test_numbers_are_not_given_again_and_not_by_whoever_writes(database: Database) -> None:
    numbers = []
    for _ in range(3):
        await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
        numbers.append(await version(database))
        await database.execute("UPDATE tecnobot.bot_flows SET version = 1, revision = 1")
        assert await version(database) == numbers[-1]
        await database.execute("DELETE FROM tecnobot.bot_flows")
        await database.execute("DELETE FROM tecnobot.flow_version")
    assert numbers == sorted(set(numbers))


async def test_two_writers_in_one_statement_keep_all(database: Database) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
    await database.execute(
        f"WITH added AS ({INSERT} VALUES ('shop', 'g', '{{x}}', '{A}')) UPDATE tecnobot.bot_flows SET response = '{B}'"
    )
    assert sorted(await kept(database)) == [("f", "a", True), ("f", "b", False), ("g", "a", False)]


async def test_a_flow_that_moves_begins_anew_where_it_comes(database: Database) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
    await database.execute("UPDATE tecnobot.bot_flows SET chatbot_id = 'bakery', id = 'g'")
    assert (await kept(database), await kept(database, "bakery")) == ([("f", "a", True)], [("g", "a", False)])


@pytest.mark.parametrize(
    "column", ["response = '{}'", "version = 99", "flow_id = 'g'", "made_at = now() - interval '1 s'"]
)
async def test_a_version_cannot_be_changed(database: Database, column: str) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
    with pytest.raises(StoreError, match=r'the flow "f" cannot be changed: conversations stand on it'):
        await database.execute(f"UPDATE tecnobot.flow_version SET {column}")
    await database.execute("UPDATE tecnobot.flow_version SET retired_at = now()")
    assert await kept(database) == [("f", "a", True)]


async def test_a_chatbot_takes_its_versions_along(database: Database) -> None:
    await database.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}'), ('bakery', 'f', '{{x}}', '{A}')")
    await database.execute(f"UPDATE tecnobot.bot_flows SET response = '{B}'")
    await database.execute("DELETE FROM tecnobot.chatbot WHERE id = 'shop'")
    assert (await kept(database), len(await kept(database, "bakery"))) == ([], 2)


async def test_thousands_of_flows_change_in_one_statement_in_a_session_that_knew_few(database: Database) -> None:
    async with database.acquire() as connection:
        # The plans that are made for one row of small tables would be kept.
        for statement in ("DELETE FROM tecnobot.bot_flows", "VACUUM ANALYZE tecnobot.bot_flows, tecnobot.flow_version"):
            await connection.execute(INSERT + f"VALUES ('shop', 'f', '{{x}}', '{A}')")
            await connection.execute(f"UPDATE tecnobot.bot_flows SET response = '{B}'")
            await connection.execute(statement)
        await connection.execute(f"UPDATE tecnobot.bot_flows SET response = '{A}'")
        await connection.execute(INSERT + f"SELECT 'shop', 'f' || n, '{{x}}', '{A}' FROM generate_series(1, 5000) AS n")
        began_at = time.monotonic()
        await connection.execute(f"UPDATE tecnobot.bot_flows SET response = '{B}'")
        assert time.monotonic() - began_at < 3  # 0.3 s; a plan for one row takes more than 8
    assert len(await kept(database)) == 6 + 2 * 5_000


async def test_a_flow_is_loaded_with_its_version(database: Database, store: PostgresFlowStore) -> None:
    await store.put("shop", Flow("f").on("x").say("a"))
    await store.put("shop", Flow("f").on("x").say("b"))
    flows, _ = await store.load("shop")
    assert [flow.version for flow in flows] == [await version(database)]


async def test_a_version_that_cannot_be_read_is_told(database: Database, store: PostgresFlowStore) -> None:
    await database.execute(INSERT + "VALUES ('shop', 'f', '{x}', '{\"steps\": [{\"dance\": 1}]}')")
    with pytest.raises(FlowError, match=r"'f'.*step 1"):
        await store.load_version("shop", "f", await version(database))


# What may be forgotten


async def stand(database: Database, chatbot: str, person: str, position: Position) -> None:
    async with PostgresDelivery(database, chatbot) as delivery:
        chat = ChatId(person)
        await delivery.accept([InboundMessage(id=person, chat=chat, sent_at=1.0)])
        turn = Turn(chat=chat, inbound=(person,), outcome="answered", answered_by="flow", position=position)
        await delivery.commit([turn])


async def three_versions(
    database: Database, store: PostgresFlowStore, flow_id: str, chatbot: str = "shop"
) -> list[int]:
    """Of a flow; two ended two days ago."""
    numbers = []
    for text in ("a", "b", "c"):
        await store.put(chatbot, Flow(flow_id).on("x").say(text))
        numbers.append(await version(database, flow_id, chatbot))
    await database.execute("UPDATE tecnobot.flow_version SET retired_at = retired_at - interval '2 days'")
    return numbers


async def left(database: Database, flow_id: str, chatbot: str = "shop") -> list[int]:
    rows = await database.fetch(
        "SELECT version FROM tecnobot.flow_version WHERE chatbot_id = $1 AND flow_id = $2 ORDER BY version",
        chatbot,
        flow_id,
    )
    return [row["version"] for row in rows]


async def test_old_versions_that_nobody_stands_on_are_purged(database: Database, store: PostgresFlowStore) -> None:
    numbers = await three_versions(database, store, "f")
    others = await three_versions(database, store, "f", "bakery")
    assert await store.purge_versions("shop") == 2
    assert (await left(database, "f"), await left(database, "f", "bakery")) == (numbers[2:], others)
    assert await store.purge_versions("shop") == 0


async def test_a_version_that_ended_a_moment_ago_stays(database: Database, store: PostgresFlowStore) -> None:
    for text in ("a", "b"):
        await store.put("shop", Flow("f").on("x").say(text))
    assert await store.purge_versions("shop") == 0
    assert await store.purge_versions("shop", older_than_s=0.0) == 1


async def test_the_version_of_a_removed_flow_is_purged(database: Database, store: PostgresFlowStore) -> None:
    await store.put("shop", Flow("f").on("x").say("a"))
    await store.remove("shop", "f")
    await database.execute("UPDATE tecnobot.flow_version SET retired_at = now() - interval '2 days'")
    assert await store.purge_versions("shop") == 1


async def test_a_version_that_a_conversation_stands_on_stays(database: Database, store: PostgresFlowStore) -> None:
    first, second, third = await three_versions(database, store, "f")
    await stand(database, "shop", "ana", Position("f", "1", first))
    assert await store.purge_versions("shop") == 1
    assert await left(database, "f") == [first, third]
    await stand(database, "shop", "ana2", Position("f", "1", second))  # of one that is gone
    assert await store.load_version("shop", "f", first) is not None


async def test_the_version_of_a_caller_stays(database: Database, store: PostgresFlowStore) -> None:
    first, second, third = await three_versions(database, store, "f")
    inner = await three_versions(database, store, "g")
    stack = (("x", "1", 5), ("f", "2", second))
    await stand(database, "shop", "ana", Position("g", "1", inner[2], stack=stack))
    assert await store.purge_versions("shop") == 3
    assert (await left(database, "f"), await left(database, "g")) == ([second, third], inner[2:])
    assert first not in await left(database, "f")


async def test_conversations_of_other_chatbots_and_flows_keep_nothing(
    database: Database, store: PostgresFlowStore
) -> None:
    first, _, third = await three_versions(database, store, "f")
    await stand(database, "bakery", "ana", Position("f", "1", first))
    await stand(database, "shop", "ana", Position("g", "1", first, stack=(("g", "1", first),)))
    assert await store.purge_versions("shop") == 2
    assert await left(database, "f") == [third]


@pytest.mark.parametrize("position", [{"flow": "f"}, {"flow": "f", "version": "x", "stack": "y"}, {"stack": [1, []]}])
async def test_a_position_of_another_age_stops_no_purge(
    database: Database, store: PostgresFlowStore, position: dict[str, object]
) -> None:
    await three_versions(database, store, "f")
    await stand(database, "shop", "ana", Position("f", "1", 7))
    await database.execute("UPDATE tecnobot.conversation SET position = $1::text::jsonb", json.dumps(position))
    assert await store.purge_versions("shop") == 2
