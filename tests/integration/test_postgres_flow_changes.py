"""Changes of flows in PostgreSQL: only they are read, and they are heard at once over one connection."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.errors import FlowError, LifecycleError
from tecnobot_core.events import EventBus, FlowsLoaded
from tecnobot_core.flows import Flow, FlowRepository
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres

GREETING = Flow("greeting").on("hola").say("¡Hola!")
PRICE = Flow("price").on("precio").say("5 €")
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


async def eventually(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    async with asyncio.timeout(10):
        while not (condition() if isinstance(met := condition(), bool) else await met):
            await asyncio.sleep(0.002)


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[Database]:
    """What another process would have."""
    async with Database(database_url) as other:
        yield other


@pytest.fixture
def store(database: Database) -> PostgresFlowStore:
    return PostgresFlowStore(database)


# What is read


async def test_only_what_changed_is_read(
    store: PostgresFlowStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flow in (GREETING, PRICE, Flow("gone").on("x").say("y"), Flow("paused").on("x").say("y")):
        await store.put("shop", flow)
    repository = FlowRepository(store, "shop")
    await repository.load()
    same = repository.get("greeting")
    monkeypatch.delattr(PostgresFlowStore, "load")
    await store.put("shop", Flow("price").on("precio").say("6 €"))
    await store.put("shop", Flow("new").on("nuevo").say("y"))
    await store.remove("shop", "gone")
    await database.execute("UPDATE tecnobot.bot_flows SET is_active = false WHERE id = 'paused'")
    assert await repository.refresh()
    assert [flow.id for flow in repository] == ["greeting", "new", "price"]
    assert repository.get("greeting") is same
    assert repository.get("price") == Flow("price").on("precio").say("6 €")
    await store.remove("shop", "new")
    await database.execute("UPDATE tecnobot.bot_flows SET is_active = true, priority = 1 WHERE id = 'paused'")
    assert await repository.refresh()
    assert [flow.id for flow in repository] == ["greeting", "paused", "price"]
    await database.execute("TRUNCATE tecnobot.bot_flows")
    assert await repository.refresh()
    assert len(repository) == 0


async def test_what_was_put_in_behind_the_triggers_is_found(store: PostgresFlowStore, database: Database) -> None:
    await store.put("shop", GREETING)
    repository = FlowRepository(store, "shop")
    await repository.load()
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)"
            """ VALUES ('shop', 'copied', '{copia}', '{"say": ["x"]}')"""
        )
    await store.put("shop", PRICE)
    await repository.refresh()
    assert [flow.id for flow in repository] == ["copied", "greeting", "price"]
    program = repository.program("copied")
    assert program is not None
    assert program.version > 0


async def test_broken_flows_are_remembered_as_long_as_they_are_broken_and_told_once(
    store: PostgresFlowStore, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    events, counts = EventBus(), list[tuple[int, int]]()
    events.on(FlowsLoaded, lambda event: counts.append((event.flows, event.broken)))
    await store.put("shop", GREETING)
    repository = FlowRepository(store, "shop", events=events)
    await repository.load()
    for statement in (
        "INSERT INTO tecnobot.bot_flows (chatbot_id, id, response) VALUES ('shop', 'bad', '[]')",
        "UPDATE tecnobot.bot_flows SET priority = 1 WHERE id = 'greeting'",
        """UPDATE tecnobot.bot_flows SET response = '{"steps": 1}' WHERE id = 'greeting'""",
        "DELETE FROM tecnobot.bot_flows WHERE id = 'bad'",
        "DELETE FROM tecnobot.bot_flows WHERE id = 'greeting'",
    ):
        await database.execute(statement)
        assert await repository.refresh()
    assert counts == [(1, 0), (1, 1), (1, 1), (1, 2), (1, 1), (0, 0)]
    assert ["'bad'" in record.message for record in caplog.records] == [True, False]


async def test_a_chatbot_that_was_made_anew_is_read_anew(store: PostgresFlowStore, database: Database) -> None:
    for text in ("a", "b", "c"):
        await store.put("shop", Flow("greeting").on("hola").say(text))
    repository = FlowRepository(store, "shop")
    await repository.load()
    await database.execute("DELETE FROM tecnobot.chatbot WHERE id = 'shop'")
    await ensure_chatbot(database, "shop")
    await store.put("shop", GREETING)
    assert await repository.refresh()
    assert repository.get("greeting") == GREETING


async def test_a_change_that_another_overtook_is_not_missed(
    store: PostgresFlowStore, database: Database, other: Database
) -> None:
    for flow in (GREETING, PRICE):
        await store.put("shop", flow)
    repository = FlowRepository(store, "shop")
    await repository.load()
    change = """UPDATE tecnobot.bot_flows SET keywords = '{x}' WHERE id = $1"""
    async with database.acquire() as first, other.acquire() as second:
        one, two = first.transaction(), second.transaction()
        await one.start()
        await two.start()
        await first.execute(change, "greeting")
        waiting = asyncio.create_task(second.execute(change, "price"))
        blocked = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = $1"
        await eventually(lambda: store_says(database, blocked, change))
        await one.commit()
        await waiting
        await repository.refresh()
        await two.commit()
    await repository.refresh()
    assert [[keyword.text for keyword in flow.keywords] for flow in repository] == [["x"], ["x"]]


async def store_says(database: Database, question: str, *arguments: object) -> bool:
    answer: bool = await database.fetchval(question, *arguments)
    return answer


async def test_a_store_tells_by_id_what_became_of_flows(store: PostgresFlowStore, database: Database) -> None:
    await store.put("shop", GREETING)
    version = await store.version("shop")
    await store.put("shop", PRICE)
    await database.execute("INSERT INTO tecnobot.bot_flows (chatbot_id, id, response) VALUES ('shop', 'bad', '[]')")
    changes = await store.load_changes("shop", version, {"greeting", "gone"})
    assert changes is not None
    assert changes.keys() == {"price", "bad", "gone"}
    assert (changes["price"], changes["gone"]) == (PRICE, None)
    assert isinstance(changes["bad"], FlowError)
    assert await store.load_changes("shop", version, set()) is None  # greeting, which did not change, is not known


# What is heard


@asynccontextmanager
async def watched(store: PostgresFlowStore, chatbot: str, *, poll_s: float = 1e6) -> AsyncIterator[FlowRepository]:
    repository = FlowRepository(store, chatbot, poll_s=poll_s)
    await repository.load()
    watching = asyncio.create_task(repository.watch())
    try:
        yield repository
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        assert watching.cancelled()


async def listens(database: Database, n: int = 1) -> None:
    async def condition() -> bool:
        count: int = await database.fetchval(LISTENERS)
        return count == n

    await eventually(condition)


async def test_a_change_by_another_process_is_served_without_polling(store: PostgresFlowStore, other: Database) -> None:
    async with watched(store, "shop") as repository:
        await listens(other)
        await PostgresFlowStore(other).put("shop", GREETING)
        await eventually(lambda: repository.match("hola") is not None)
        await PostgresFlowStore(other).remove("shop", "greeting")
        await eventually(lambda: repository.match("hola") is None)


async def test_moved_conversations_are_heard_of_too(store: PostgresFlowStore, other: Database) -> None:
    async with store.changes("shop") as changed:
        await eventually(changed.is_set)
        changed.clear()
        await PostgresFlowStore(other).retire_versions("shop", "greeting")
        await eventually(changed.is_set)


async def test_all_chatbots_of_a_store_share_one_connection_which_is_given_back(
    store: PostgresFlowStore, other: Database
) -> None:
    names = [f"bot{number}" for number in range(20)]
    for name in names:
        await ensure_chatbot(other, name)
    async with AsyncExitStack() as stack:
        repositories = [await stack.enter_async_context(watched(store, name)) for name in names]
        await listens(other)
        await PostgresFlowStore(other).put("bot7", GREETING)
        await eventually(lambda: repositories[7].match("hola") is not None)
        assert sum(map(len, repositories)) == 1
    assert await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'") == 0


async def test_only_the_chatbot_that_changed_is_woken(
    store: PostgresFlowStore, database: CountingDatabase, other: Database
) -> None:
    async with store.changes("shop") as mine, store.changes("bakery") as theirs:
        await eventually(lambda: mine.is_set() and theirs.is_set())
        mine.clear()
        theirs.clear()
        await PostgresFlowStore(other).put("shop", GREETING)
        await eventually(mine.is_set)
        assert not theirs.is_set()


async def test_one_that_waits_no_more_leaves_the_others_listening(store: PostgresFlowStore, other: Database) -> None:
    async with store.changes("shop") as changed:
        async with store.changes("shop"), store.changes("bakery"):
            await eventually(changed.is_set)
        changed.clear()
        await PostgresFlowStore(other).put("shop", GREETING)
        await eventually(changed.is_set)


async def test_a_chatbot_whose_id_is_too_long_for_a_notification_is_heard(
    store: PostgresFlowStore, database: Database
) -> None:
    name = "ñ" * 1_300 + "x" * 6_000  # within what an index can hold once it is compressed
    await ensure_chatbot(database, name)
    async with watched(store, name) as repository, store.changes("shop") as changed:
        await eventually(changed.is_set)
        await store.put(name, GREETING)
        await eventually(lambda: repository.match("hola") is not None)


async def test_a_lost_connection_is_made_again_and_what_it_missed_is_looked_for(
    store: PostgresFlowStore, other: Database
) -> None:
    async with watched(store, "shop") as repository:
        for number in range(3):
            await listens(other)
            # Missed for certain: the listener is gone before the change is committed.
            async with other.transaction() as connection:
                await connection.execute(KILL)
                await connection.execute(
                    "INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)"
                    """ VALUES ('shop', $1::text, ARRAY[$1::text], '{"say": ["x"]}')""",
                    f"f{number}",
                )
            await eventually(lambda: len(repository) == number + 1)  # noqa: B023


async def test_a_peer_that_died_in_silence_is_noticed(database_url: str, database: Database) -> None:
    checks = asyncio.Queue[None]()

    async def sleep(seconds: float) -> None:
        if seconds == 30.0:
            await checks.get()

    async with Database(database_url, command_timeout_s=0.2) as silent, Database(database_url) as other:
        store = PostgresFlowStore(silent, check_s=30.0, sleep=sleep)
        async with store.changes("shop") as changed:
            await eventually(changed.is_set)
            changed.clear()
            pid = await other.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            checks.put_nowait(None)  # it lives
            await eventually(checks.empty)
            assert not changed.is_set()
            os.kill(pid, signal.SIGSTOP)
            try:
                checks.put_nowait(None)
                await eventually(changed.is_set)  # by another connection
            finally:
                os.kill(pid, signal.SIGCONT)


async def test_an_outage_is_told_once_and_ends(
    database_url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    delays: list[float] = []
    going = asyncio.Event()

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        if seconds == 30.0:
            await asyncio.Event().wait()
        if len(delays) >= 12:
            await going.wait()

    async with Database(database_url, max_size=2, acquire_timeout_s=0.01) as narrow:
        store = PostgresFlowStore(narrow, sleep=sleep)
        async with narrow.acquire() as one, narrow.acquire(), store.changes("shop") as changed:
            await eventually(lambda: len(delays) >= 12)
            assert await one.fetchval("SELECT 1") == 1
            assert not changed.is_set()
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert max(delays) <= 5.0
            assert delays[10] > 10 * delays[0]


async def test_a_pool_of_one_connection_polls(database_url: str, database: Database, other: Database) -> None:
    async with Database(database_url, min_size=1, max_size=1) as narrow:
        assert not narrow.can_listen
        async with watched(PostgresFlowStore(narrow), "shop", poll_s=0.01) as repository:
            await PostgresFlowStore(other).put("shop", GREETING)
            await eventually(lambda: repository.match("hola") is not None)
            assert await other.fetchval(LISTENERS) == 0


async def test_flows_and_cache_leave_a_connection_of_two_to_the_rest(database_url: str, database: Database) -> None:
    async with Database(database_url, min_size=1, max_size=2, acquire_timeout_s=2.0) as narrow:
        async with PostgresTier(narrow) as tier, watched(PostgresFlowStore(narrow), "shop", poll_s=0.01):
            assert not narrow.can_listen
            assert await narrow.fetchval("SELECT 1") == 1
            assert await tier.get_many([b"k"]) == {}
        async with watched(PostgresFlowStore(narrow), "shop", poll_s=3600), PostgresTier(narrow) as tier:
            assert await narrow.fetchval("SELECT 1") == 1
            assert await tier.get_many([b"k"]) == {}
        assert narrow.can_listen


async def test_closing_the_database_ends_the_listening(database_url: str, database: Database) -> None:
    tried = 0

    async def sleep(seconds: float) -> None:
        nonlocal tried
        if seconds == 30.0:
            await asyncio.Event().wait()
        tried += 1

    async with Database(database_url, close_timeout_s=0.1) as closing:
        store = PostgresFlowStore(closing, sleep=sleep)
        async with store.changes("shop") as changed:
            await eventually(changed.is_set)
            await closing.aclose()
            await eventually(lambda: tried > 0)
            await asyncio.sleep(0)
    assert tried == 1


async def test_waiting_for_changes_of_a_database_that_is_not_open_says_so(database_url: str) -> None:
    with pytest.raises(LifecycleError, match="not open"):
        async with PostgresFlowStore(Database(database_url)).changes("shop"):
            pass
