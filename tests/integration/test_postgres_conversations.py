"""Conversations in PostgreSQL, beyond the contract: round trips, wholeness, and many writers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations
from tecnobot_core.errors import StoreError
from tecnobot_core.messages import ChatId, ChatMessage, Conversation, Position, Role, Turn
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres

ANA, BEN = ChatId("ana"), ChatId("ben")


@pytest.fixture
def conversations(database: Database) -> PostgresConversations:
    return PostgresConversations(database, "shop")


def turn(chat: ChatId, *texts: str, role: str = "user", position: Position | None = None) -> Turn:
    history = tuple(ChatMessage(cast("Role", role), text) for text in texts)
    return Turn(chat=chat, inbound=("m",), outcome="answered", answered_by="flow", history=history, position=position)


async def test_loading_and_recording_cost_one_round_trip_each(
    database: CountingDatabase, conversations: PostgresConversations
) -> None:
    before = database.taken
    await conversations.record([turn(ChatId(str(n % 7)), "a", "b", position=Position("f", "s")) for n in range(50)])
    assert database.taken == before + 1
    await conversations.load(ChatId("1"), 5)
    assert database.taken == before + 2


@pytest.mark.parametrize(
    "bad",
    [
        turn(BEN, "b", role="robot"),
        turn(BEN, "b", position=Position("f", "s", variables={"when": object()})),
    ],
    ids=["role", "variables"],
)
async def test_one_bad_turn_undoes_them_all(conversations: PostgresConversations, bad: Turn) -> None:
    with pytest.raises(StoreError) as caught:
        await conversations.record([turn(ANA, "a"), bad])
    assert not caught.value.retryable
    assert await conversations.load(ANA, 5) == Conversation()


async def test_texts_that_cannot_be_stored_are_replaced(conversations: PostgresConversations) -> None:
    await conversations.record([turn(ANA, "a\x00b", "c\udc80d")])
    assert [m.content for m in (await conversations.load(ANA, 5)).history] == ["a\ufffdb", "c\ufffdd"]


async def test_the_same_address_in_two_chatbots_is_two_chats(
    database: Database, conversations: PostgresConversations
) -> None:
    other = PostgresConversations(database, "bakery")
    await conversations.record([turn(ANA, "tv")])
    await other.record([turn(ANA, "bread")])
    assert await other.delete(ANA) == 1
    assert len((await conversations.load(ANA, 5)).history) == 1


async def test_an_unknown_chatbot_is_named_as_the_reason(database: Database) -> None:
    with pytest.raises(StoreError, match="call ensure_chatbot first"):
        await PostgresConversations(database, "nobody").record([turn(ANA, "a")])


async def test_a_batch_takes_its_chats_in_one_order_so_that_two_never_wait_for_each_other(
    database: Database, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(ANA), turn(BEN)])
    lock = "SELECT 1 FROM tecnobot.chat WHERE phone_number = $1 FOR UPDATE NOWAIT"
    async with database.transaction() as connection:
        await connection.execute(lock, "ana")
        batch = asyncio.create_task(conversations.record([turn(BEN, "b"), turn(ANA, "a")]))
        await eventually(lambda: waits_for_a_lock(database))
        await connection.execute(lock, "ben")  # refused if the batch had it already
    await batch
    assert len((await conversations.load(BEN, 5)).history) == 1


async def waits_for_a_lock(database: Database) -> bool:
    waits: bool = await database.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%chat_history%')"
    )
    return waits


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_many_writers_of_the_same_chats_lose_nothing(conversations: PostgresConversations) -> None:
    chats = [ChatId(str(number)) for number in range(40)]
    batches = [[turn(chat, "a", "b") for chat in (chats if n % 2 else reversed(chats))] for n in range(16)]
    await asyncio.gather(*map(conversations.record, batches))
    assert {len((await conversations.load(chat, 50)).history) for chat in chats} == {32}


async def test_rows_of_concurrent_batches_stay_together(conversations: PostgresConversations) -> None:
    await asyncio.gather(*(conversations.record([turn(ANA, f"{n} asks", f"{n} hears")]) for n in range(16)))
    texts = [m.content.split()[0] for m in (await conversations.load(ANA, 50)).history]
    assert texts[::2] == texts[1::2]


async def test_an_export_tells_when(conversations: PostgresConversations) -> None:
    await conversations.record([turn(ANA, "a")])
    first = await conversations.export(ANA)
    await conversations.record([turn(ANA, "b")])
    later = await conversations.export(ANA)
    assert first["first_seen"] == later["first_seen"] == first["last_seen"]
    assert str(later["last_seen"]) > str(later["first_seen"])


async def test_a_deleted_chat_leaves_no_row_behind(database: Database, conversations: PostgresConversations) -> None:
    await conversations.record([turn(ANA, "a", position=Position("f", "s"))])
    await conversations.delete(ANA)
    left = "SELECT (SELECT count(*) FROM tecnobot.%s)"
    counts = [await database.fetchval(left % table) for table in ("chat", "chat_history", "conversation")]
    assert counts == [0, 0, 0]
