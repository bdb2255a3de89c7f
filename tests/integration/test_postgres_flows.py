"""Flows in PostgreSQL, beyond the contract: whoever writes them, and the owner's search box."""

from collections.abc import AsyncIterator

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow, FlowRepository

pytestmark = pytest.mark.postgres

SAY = '{"say": ["x"]}'


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        await ensure_chatbot(database, "bakery")
        yield database


@pytest.fixture
def store(database: Database) -> PostgresFlowStore:
    return PostgresFlowStore(database)


async def write(database: Database, chatbot: str, *ids: str, response: str = SAY) -> None:
    """As another program would, with SQL."""
    await database.execute(
        "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)"
        " SELECT $1, id, ARRAY[id], $3::text::jsonb FROM unnest($2::text[]) AS id",
        chatbot, list(ids), response,
    )  # fmt: skip


async def test_each_statement_of_whoever_writes_counts_once(database: Database, store: PostgresFlowStore) -> None:
    await write(database, "shop", "a", "b", "c")
    assert await store.version("shop") == 1
    await database.execute("UPDATE tecnobot.bot_flows SET priority = 1")
    assert await store.version("shop") == 2
    await database.execute("DELETE FROM tecnobot.bot_flows WHERE id = 'a'")
    assert await store.version("shop") == 3
    await database.execute("DELETE FROM tecnobot.bot_flows WHERE id = 'a'")
    assert await store.version("shop") == 3
    await database.execute("TRUNCATE tecnobot.bot_flows")
    assert await store.version("shop") == 4


async def test_a_flow_that_moves_counts_for_both_chatbots(database: Database, store: PostgresFlowStore) -> None:
    await write(database, "shop", "a")
    await database.execute("UPDATE tecnobot.bot_flows SET chatbot_id = 'bakery'")
    assert [await store.version(chatbot) for chatbot in ("shop", "bakery")] == [2, 1]


async def test_the_version_of_an_unknown_chatbot_is_zero(store: PostgresFlowStore) -> None:
    assert await store.version("nobody") == 0


async def test_a_chatbot_takes_its_flows_along(database: Database) -> None:
    await write(database, "shop", "a")
    await database.execute("DELETE FROM tecnobot.chatbot WHERE id = 'shop'")
    assert await database.fetchval("SELECT count(*) FROM tecnobot.bot_flows") == 0


async def test_an_inactive_flow_is_not_loaded_but_keeps_its_id(database: Database, store: PostgresFlowStore) -> None:
    await write(database, "shop", "a")
    await database.execute("UPDATE tecnobot.bot_flows SET is_active = false")
    assert await store.load("shop") == ([], [])
    assert not await store.add("shop", Flow("a").on("a").say("x"))
    await store.put("shop", Flow("a").on("a").say("x"))
    assert len((await store.load("shop"))[0]) == 1


@pytest.mark.parametrize("response", ["[]", '{"say": 1}', '{"say": [{}]}', "null", '"x"', "1"])
async def test_a_malformed_row_is_told_and_the_others_are_served(
    database: Database, store: PostgresFlowStore, response: str
) -> None:
    await write(database, "shop", "good")
    await write(database, "shop", "bad", response=response)
    repository = FlowRepository(store, "shop")
    await repository.load()
    assert repository.match("good") is not None
    _, broken = await store.load("shop")
    assert ["'bad'" in str(error) for error in broken] == [True]


async def test_an_unknown_chatbot_is_named_as_the_reason(store: PostgresFlowStore) -> None:
    with pytest.raises(StoreError, match="call ensure_chatbot first"):
        await store.add("nobody", Flow("a").on("a").say("x"))


async def test_thousands_of_flows_are_loaded(database: Database, store: PostgresFlowStore) -> None:
    await write(database, "shop", *(f"flow{number}" for number in range(2_500)))
    repository = FlowRepository(store, "shop")
    await repository.load()
    assert len(repository) == 2_500


# The search box


@pytest.fixture
async def shop(store: PostgresFlowStore) -> PostgresFlowStore:
    await store.add("shop", Flow("warranty").on("garantía", "cobertura por defectos de fabricación").say("x"))
    await store.add("shop", Flow("shipping").on("gastos de envío").say("x"))
    await store.add("shop", Flow("discount").on("100% gratis", "a_b", "c\\d").say("x"))
    await store.add("bakery", Flow("bread").on("garantía de pan").say("x"))
    return store


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("GARANTIA", ["warranty"]),
        ("rantí", ["warranty"]),
        ("garantai", ["warranty"]),  # a typing error
        ("de", ["shipping", "warranty"]),
        ("0%", ["discount"]),
        ("s%e", []),
        ("a_b", ["discount"]),
        ("axb", []),
        ("c\\d", ["discount"]),
        ("pan", []),
        ("'; --", []),
        ("\x00\ud800", []),
    ],
)
async def test_the_search_box_finds_keywords(shop: PostgresFlowStore, text: str, ids: list[str]) -> None:
    assert [flow.id for flow in await shop.search_flows("shop", text)] == ids


async def test_what_holds_the_text_comes_before_what_resembles_it(shop: PostgresFlowStore) -> None:
    await shop.add("shop", Flow("a").on("garantizado").say("x"))
    await shop.add("shop", Flow("b").on("garantizar").say("x"))
    found = [flow.id for flow in await shop.search_flows("shop", "garantizar")]
    assert found[:2] == ["b", "a"]
    assert len(await shop.search_flows("shop", "garantizar", limit=1)) == 1
