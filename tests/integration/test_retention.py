"""History that is too old leaves a real database in small steps, and takes nothing else along."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.retention import HistoryRetention
from tecnobot_core.errors import ConfigurationError, StoreError
from tecnobot_core.messages import ChatId, ChatMessage, Position, Turn

pytestmark = pytest.mark.postgres

DAY_S = 86_400.0
DEADLINE_S = 10


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, min_size=1) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        await ensure_chatbot(database, "bar")
        yield database


async def add_chat(database: Database, chat: str, *ages: float, chatbot: str = "shop", seen: float = 99) -> None:
    """A chat that was last seen *seen* days ago, with a row for each of *ages*, in days, which is what it says."""
    await database.execute(
        "WITH chat AS (INSERT INTO tecnobot.chat (chatbot_id, phone_number, last_seen)"
        " VALUES ($1, $2, now() - make_interval(secs => $4)) RETURNING id)"
        " INSERT INTO tecnobot.chat_history (chat_id, role, content, created_at)"
        " SELECT id, 'user', age, now() - make_interval(secs => age::float * 86400)"
        " FROM chat, unnest($3::text[]) WITH ORDINALITY AS row (age, number) ORDER BY number",
        chatbot,
        chat,
        [f"{age:g}" for age in ages],
        seen * DAY_S,
    )


async def rows(database: Database, chat: str, chatbot: str = "shop") -> list[str]:
    return [row.content for row in (await PostgresConversations(database, chatbot).load(ChatId(chat), 99)).history]


async def chats(database: Database) -> list[str]:
    found = await database.fetch("SELECT phone_number FROM tecnobot.chat ORDER BY phone_number")
    return [row["phone_number"] for row in found]


def retention(database: Database, keep_days: float = 30, batch: int = 5000) -> HistoryRetention:
    return HistoryRetention(database, "shop", keep_s=keep_days * DAY_S, batch=batch)


async def say(database: Database, chat: str, position: Position | None = None) -> None:
    turn = Turn(
        chat=ChatId(chat),
        inbound=("a",),
        outcome="answered",
        answered_by="test",
        history=(ChatMessage("user", "hola"),),
        position=position,
    )
    await PostgresConversations(database, "shop").record([turn])


# What goes


async def test_rows_that_are_too_old_go_and_no_other(database: Database) -> None:
    await add_chat(database, "ana", 50, 40, 30.01, 29.99, 3, seen=0)
    await add_chat(database, "ben", 29, 1, seen=0)
    await add_chat(database, "ana", 50, chatbot="bar")
    assert await retention(database).purge_history() == 3
    assert await rows(database, "ana") == ["29.99", "3"]
    assert await rows(database, "ben") == ["29", "1"]
    assert await rows(database, "ana", "bar") == ["50"]
    assert await retention(database).purge_history() == 0


async def test_pinned_rows_stay_and_with_them_their_chat(database: Database) -> None:
    await add_chat(database, "ana", 60, 50, 40)
    await database.execute("UPDATE tecnobot.chat_history SET pinned = true WHERE content = '50'")
    assert await retention(database).purge_history() == 2
    assert await rows(database, "ana") == ["50"]


async def test_a_young_row_is_kept_also_where_the_clock_was_set_back(database: Database) -> None:
    await add_chat(database, "ana", 50, 10, 40, seen=0)
    assert await retention(database).purge_history() == 1
    assert await rows(database, "ana") == ["10", "40"]  # what was said after it waits until it is old, too


async def test_all_chats_are_looked_through_however_many_there_are(database: Database) -> None:
    await database.execute(
        "INSERT INTO tecnobot.chat (chatbot_id, phone_number)"
        " SELECT 'shop', 'chat' || n FROM generate_series(1, 1203) AS n"
    )
    await database.execute(
        "INSERT INTO tecnobot.chat_history (chat_id, role, content, created_at)"
        " SELECT id, 'user', '', now() - age * interval '1 day' FROM tecnobot.chat, unnest(ARRAY[60, 50, 5]) AS age"
    )
    assert await retention(database, batch=700).purge_history() == 2406
    assert await database.fetchval("SELECT count(*) FROM tecnobot.chat_history") == 1203


async def test_a_chat_of_which_nothing_is_left_goes_with_its_aliases(database: Database) -> None:
    await add_chat(database, "gone", 50)
    await add_chat(database, "silent")
    await add_chat(database, "here", 50, seen=1)
    await database.execute(
        "INSERT INTO tecnobot.chat_alias (chatbot_id, alias, phone_number)"
        " VALUES ('shop', 'a', 'gone'), ('shop', 'b', 'here'), ('bar', 'a', 'gone')"
    )
    assert await retention(database).purge_history() == 2
    assert await chats(database) == ["here"]
    left = await database.fetch("SELECT chatbot_id, alias FROM tecnobot.chat_alias ORDER BY alias")
    assert [tuple(row) for row in left] == [("bar", "a"), ("shop", "b")]


async def test_who_is_in_the_middle_of_a_flow_stays_there(database: Database) -> None:
    await say(database, "ana", Position("order", "size", 1))
    await database.execute("UPDATE tecnobot.chat SET last_seen = last_seen - interval '50 days'")
    await database.execute("UPDATE tecnobot.chat_history SET created_at = created_at - interval '50 days'")
    assert await retention(database).purge_history() == 1
    loaded = await PostgresConversations(database, "shop").load(ChatId("ana"), 5)
    assert (loaded.history, loaded.position) == ((), Position("order", "size", 1))


@pytest.mark.parametrize(
    "kept",
    [
        "INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, consent, submitted_at)"
        " SELECT 'shop', 'order', id, '{}', '', now() - interval '90 days' FROM tecnobot.chat"
        " WHERE phone_number = 'ana'",
        "UPDATE tecnobot.chat SET welcomed_at = now() - interval '90 days' WHERE phone_number = 'ana'",
    ],
    ids=["a form", "a welcome"],
)
async def test_a_chat_with_something_to_remember_stays_without_what_was_said(database: Database, kept: str) -> None:
    await add_chat(database, "ana", 50, 40)
    await add_chat(database, "ben", 50)
    await database.execute(kept)
    assert await retention(database).purge_history() == 3
    assert await chats(database) == ["ana"]
    assert await rows(database, "ana") == []


# In small steps


class Steps(Database):
    """Notes how many rows each batch deleted; fails after *at_most* of them."""

    at_most: int | None = None

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, min_size=1)
        self.deleted: list[int] = []

    async def fetchrow(self, query: str, *args: object, idempotent: bool = False) -> asyncpg.Record | None:
        if len(self.deleted) == self.at_most:
            raise StoreError("no more", retryable=False)
        row = await super().fetchrow(query, *args, idempotent=idempotent)
        assert row is not None
        self.deleted.append(row["n"])
        return row


@pytest.fixture
async def steps(database: Database, database_url: str) -> AsyncIterator[Steps]:
    async with Steps(database_url) as steps:
        yield steps


async def add_many(database: Database) -> None:
    await add_chat(database, "ana", *range(139, 39, -1), seen=0)
    await add_chat(database, "ben", *range(49, 39, -1), seen=0)


async def test_no_batch_is_larger_than_allowed(database: Database, steps: Steps) -> None:
    await add_many(database)
    assert await retention(steps, batch=40).purge_history() == 110
    assert steps.deleted == [40, 40, 30, 0]


async def test_what_was_deleted_stays_so_when_the_rest_fails(database: Database, steps: Steps) -> None:
    await add_many(database)
    steps.at_most = 2
    with pytest.raises(StoreError, match="no more"):
        await retention(steps, batch=40).purge_history()
    assert await database.fetchval("SELECT count(*) FROM tecnobot.chat_history") == 30
    assert await retention(database, batch=40).purge_history() == 30


class Slow(Database):
    """Keeps the transaction of each batch open until it may go on."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, min_size=1)
        self.deleted = asyncio.Event()
        self.go_on = asyncio.Event()

    async def fetchrow(self, query: str, *args: object, idempotent: bool = False) -> asyncpg.Record | None:
        async with self.transaction() as connection:
            row = await connection.fetchrow(query, *args)
            self.deleted.set()
            await self.go_on.wait()
        return row


async def test_nobody_who_writes_to_the_same_chat_waits_for_a_batch(database: Database, database_url: str) -> None:
    await add_chat(database, "ana", 50, 40)
    async with asyncio.timeout(DEADLINE_S), Slow(database_url) as slow:
        purging = asyncio.create_task(retention(slow).purge_history())
        await slow.deleted.wait()
        await say(database, "ana")
        assert not purging.done()
        slow.go_on.set()
        assert await purging == 2
    assert await rows(database, "ana") == ["hola"]  # and the chat was seen again, so it stays


async def test_a_chat_that_is_being_written_to_is_neither_waited_for_nor_forgotten(database: Database) -> None:
    await add_chat(database, "ana", 50)
    await add_chat(database, "ben", 50)
    async with asyncio.timeout(DEADLINE_S), database.transaction() as connection:
        await connection.execute("UPDATE tecnobot.chat SET last_seen = now() WHERE phone_number = 'ana'")
        assert await retention(database).purge_history() == 2
    assert await chats(database) == ["ana"]


async def test_two_that_purge_at_once_delete_everything_once(database: Database, database_url: str) -> None:
    await add_many(database)
    async with asyncio.timeout(DEADLINE_S):
        deleted: Sequence[int] = await asyncio.gather(*(retention(database, batch=7).purge_history() for _ in range(2)))
    assert sum(deleted) <= 110
    await retention(database).purge_history()
    assert await database.fetchval("SELECT count(*) FROM tecnobot.chat_history") == 0


@pytest.mark.parametrize(("keep_s", "batch"), [(0.0, 1), (-1.0, 1), (float("inf"), 1), (float("nan"), 1), (1.0, 0)])
async def test_limits_that_mean_nothing_are_refused(database: Database, keep_s: float, batch: int) -> None:
    with pytest.raises(ConfigurationError, match=r"seconds above 0 .* at least one row, not keep_s="):
        HistoryRetention(database, "shop", keep_s=keep_s, batch=batch)
