"""What every FlowStore does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tecnobot_core.adapters.flow_files import FolderFlowStore
from tecnobot_core.flows import Flow, FlowRepository, FlowStore, MemoryFlowStore

GREETING = (
    Flow("greeting", event="welcome", priority=3).on("hola", "👋").on("sí", kind="exact").say("¡Hola!", "Precios")
)


@asynccontextmanager
async def postgres_store(url: str) -> AsyncIterator[FlowStore]:
    from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate

    async with Database(url) as database:
        await migrate(database)
        for chatbot in ("shop", "other"):
            await ensure_chatbot(database, chatbot)
        yield PostgresFlowStore(database)


@pytest.fixture(params=["memory", "folder", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> str | Path | None:
    """Where the store keeps its flows: the URL of a database, a folder, or nowhere."""
    # Asked for by name, so that the other stores are tested where there is no PostgreSQL.
    fixture = {"postgres": "database_url", "folder": "tmp_path"}.get(request.param)
    return request.getfixturevalue(fixture) if fixture else None


@pytest.fixture
async def store(place: str | Path | None) -> AsyncIterator[FlowStore]:
    match place:
        case None:
            yield MemoryFlowStore()
        case Path():
            yield FolderFlowStore(place)
        case str():
            async with postgres_store(place) as store:
                yield store


async def test_a_new_chatbot_has_no_flows(store: FlowStore) -> None:
    assert await store.load("shop") == ([], [])


async def test_a_flow_comes_back_as_it_was_written(store: FlowStore) -> None:
    assert await store.add("shop", GREETING)
    assert await store.load("shop") == ([GREETING], [])


async def test_adding_an_id_that_is_taken_changes_nothing(store: FlowStore) -> None:
    await store.add("shop", GREETING)
    version = await store.version("shop")
    assert not await store.add("shop", Flow("greeting").on("buenas").say("Buenas"))
    assert await store.load("shop") == ([GREETING], [])
    assert await store.version("shop") == version


async def test_putting_adds_and_replaces(store: FlowStore) -> None:
    await store.put("shop", GREETING)
    changed = Flow("greeting").on("buenas").say("Buenas")
    await store.put("shop", changed)
    assert await store.load("shop") == ([changed], [])


async def test_a_removed_flow_is_gone(store: FlowStore) -> None:
    await store.put("shop", GREETING)
    assert await store.remove("shop", "greeting")
    assert not await store.remove("shop", "greeting")
    assert await store.load("shop") == ([], [])


async def test_flows_come_in_the_order_of_their_ids(store: FlowStore) -> None:
    for id in ("c", "a", "B"):
        await store.put("shop", Flow(id).on("x").say("x"))
    flows, _ = await store.load("shop")
    assert [flow.id for flow in flows] == ["B", "a", "c"]


async def test_every_change_raises_the_version_and_reading_does_not(store: FlowStore) -> None:
    versions = [await store.version("shop")]
    await store.add("shop", GREETING)
    versions.append(await store.version("shop"))
    await store.put("shop", GREETING)
    versions.append(await store.version("shop"))
    await store.remove("shop", "greeting")
    versions.append(await store.version("shop"))
    assert versions == sorted(set(versions))
    await store.load("shop")
    assert await store.version("shop") == versions[-1]


async def test_chatbots_do_not_see_each_other(store: FlowStore) -> None:
    version = await store.version("other")
    await store.put("shop", GREETING)
    assert await store.load("other") == ([], [])
    assert await store.version("other") == version
    assert not await store.remove("other", "greeting")


async def test_a_broken_flow_is_told_by_its_id_and_stops_no_other(store: FlowStore) -> None:
    await store.put("shop", GREETING)
    await store.put("shop", Flow("mute").on("adiós"))
    flows, broken = await store.load("shop")
    assert flows == [GREETING]
    assert ["'mute'" in str(error) for error in broken] == [True]


async def test_texts_that_no_database_likes_stop_nothing(store: FlowStore) -> None:
    await store.put("shop", Flow("odd").on("a\x00b", "c\ud800d", "'; DROP TABLE bot_flows; --").say("\\u0000; \\x00"))
    flows, broken = await store.load("shop")
    assert (len(flows), broken) == (1, [])


async def test_two_repositories_over_one_store_see_each_other(store: FlowStore) -> None:
    mine, theirs = FlowRepository(store, "shop"), FlowRepository(store, "shop")
    await mine.load()
    await theirs.load()
    await mine.add(GREETING)
    assert theirs.match("hola") is None
    assert await theirs.refresh()
    assert theirs.match("hola") is not None
