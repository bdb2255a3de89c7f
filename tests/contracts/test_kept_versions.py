"""What every FlowStore does that keeps what flows were before."""

from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from tecnobot_core.flows import Flow, FlowRepository, FlowStore, KeepsVersions, MemoryFlowStore
from tecnobot_core.flows.steps import AnyStep
from tecnobot_core.messages import Position

GREETING = Flow("greeting").on("hola").say("¡Hola!")
CHANGED = Flow("greeting").on("hola").say("Buenas")


class Keeping(FlowStore, KeepsVersions, Protocol):
    """A store that does both."""


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str | None:
    # Asked for by name, so that the store in memory is tested where there is no PostgreSQL.
    return request.getfixturevalue("database_url") if request.param == "postgres" else None


@pytest.fixture
async def store(url: str | None) -> AsyncIterator[Keeping]:
    if url is None:
        yield MemoryFlowStore()
        return
    from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate

    async with Database(url) as database:
        await migrate(database)
        for chatbot in ("shop", "other"):
            await ensure_chatbot(database, chatbot)
        yield PostgresFlowStore(database)


async def served(store: Keeping) -> FlowRepository:
    repository = FlowRepository(store, "shop")
    await repository.load()
    return repository


async def version_now(store: Keeping, flow_id: str = "greeting") -> int:
    program = (await served(store)).program(flow_id)
    assert program is not None
    return program.version


async def steps(store: Keeping, version: int, flow_id: str = "greeting") -> tuple[AnyStep, ...] | None:
    return await store.load_version("shop", flow_id, version)


async def test_every_content_that_a_flow_had_is_kept_under_a_version_of_its_own(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.put("shop", CHANGED)
    second = await version_now(store)
    assert first != second
    assert (await steps(store, first), await steps(store, second)) == (GREETING.steps, CHANGED.steps)


async def test_a_change_of_keywords_or_priority_makes_no_version(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.put("shop", Flow("greeting", priority=7).on("buenas").say("¡Hola!"))
    assert await version_now(store) == first


async def test_what_a_removed_flow_was_is_kept(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.remove("shop", "greeting")
    assert await steps(store, first) == GREETING.steps


async def test_what_never_was_is_none(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    assert await steps(store, first + 1) is None
    assert await steps(store, first, "nobody") is None
    assert await store.load_version("other", "greeting", first) is None


async def test_retiring_forgets_all_but_the_current_version_of_one_flow(store: Keeping) -> None:
    price = Flow("price").on("precio").say("5 €")
    await store.put("shop", GREETING)
    await store.put("shop", price)
    before = await version_now(store), await version_now(store, "price")
    await store.put("shop", CHANGED)
    await store.put("shop", Flow("price").on("precio").say("6 €"))
    flows_version = await store.version("shop")
    await store.retire_versions("shop", "greeting")
    assert await steps(store, before[0]) is None
    assert await steps(store, await version_now(store)) == CHANGED.steps
    assert await steps(store, before[1], "price") == price.steps
    assert await store.version("shop") > flows_version


async def test_retiring_reaches_a_flow_that_was_removed(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.remove("shop", "greeting")
    await store.retire_versions("shop", "greeting")
    assert await steps(store, first) is None


async def test_a_conversation_finds_its_version_in_a_process_that_never_served_it(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.put("shop", CHANGED)
    repository = await served(store)
    assert repository.program("greeting", first) is None
    await repository.load_versions(Position("greeting", "1", first))
    program = repository.program("greeting", first)
    assert program is not None
    assert (program.version, program["1"]) == (first, GREETING.steps[0])


async def test_the_owner_moves_conversations_in_every_process(store: Keeping) -> None:
    await store.put("shop", GREETING)
    first = await version_now(store)
    await store.put("shop", CHANGED)
    mine, theirs = await served(store), await served(store)
    position = Position("greeting", "1", first)
    for repository in (mine, theirs):
        await repository.load_versions(position)
        assert repository.program("greeting", first) is not None
    await mine.move_conversations("greeting")
    assert await theirs.refresh()
    for repository in (mine, theirs):
        await repository.load_versions(position)
        assert repository.program("greeting", first) is None
        assert repository.program("greeting") is not None
