"""What everything that remembers conversations does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tecnobot_core.delivery.memory import MemoryConversations
from tecnobot_core.delivery.ports import Conversations
from tecnobot_core.messages import ChatId, ChatMessage, Conversation, FormRecord, Position, ToolCall, Turn

ANA, BEN = ChatId("+34600000001"), ChatId("+34600000002")
ORDERING = Position(
    "order",
    "address",
    3,
    {"items": ["tv"], "total": 9.5, "gift": None},
    stack=(("menu", "2", 7), ("help", "", 0)),
    expires_at=1_800_000_000.25,
    kind="ask",
    asked_at=1_799_999_000.5,
    retries=2,
)


@asynccontextmanager
async def postgres_conversations(url: str) -> AsyncIterator[Conversations]:
    from tecnobot_core.adapters.postgres import Database, PostgresConversations, ensure_chatbot, migrate

    async with Database(url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        yield PostgresConversations(database, "shop")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str | None:
    # Asked for by name, so that what lives in memory is tested where there is no PostgreSQL.
    return request.getfixturevalue("database_url") if request.param == "postgres" else None


@pytest.fixture
async def conversations(url: str | None) -> AsyncIterator[Conversations]:
    if url is None:
        yield MemoryConversations(max_chats=10_000, max_rows=50)
    else:
        async with postgres_conversations(url) as conversations:
            yield conversations


def turn(chat: ChatId, *texts: str, position: Position | None = None) -> Turn:
    return said(chat, *(ChatMessage("user", text) for text in texts), position=position)


def said(chat: ChatId, *history: ChatMessage, position: Position | None = None) -> Turn:
    return Turn(chat=chat, inbound=("m",), outcome="answered", answered_by="flow", history=history, position=position)


async def texts(conversations: Conversations, chat: ChatId, limit: int = 50) -> list[str]:
    return [message.content for message in (await conversations.load(chat, limit)).history]


async def test_an_unknown_chat_is_empty(conversations: Conversations) -> None:
    assert await conversations.load(ANA, 5) == Conversation()


async def test_rows_come_back_oldest_first(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "one", "two"), turn(ANA, "three")])
    await conversations.record([turn(ANA, "four")])
    assert await texts(conversations, ANA) == ["one", "two", "three", "four"]


async def test_only_the_last_rows_are_loaded(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, *map(str, range(20)))])
    assert await texts(conversations, ANA, 3) == ["17", "18", "19"]


async def test_turns_of_many_chats_are_recorded_together(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "a1"), turn(BEN, "b1"), turn(ANA, "a2"), turn(BEN, "b2", "b3")])
    assert await texts(conversations, ANA) == ["a1", "a2"]
    assert await texts(conversations, BEN) == ["b1", "b2", "b3"]


async def test_recording_nothing_is_nothing(conversations: Conversations) -> None:
    await conversations.record([])
    assert await conversations.load(ANA, 5) == Conversation()


async def test_a_position_stays_until_a_turn_ends_it(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "x", position=Position("order", "item")), turn(BEN, "x", position=ORDERING)])
    await conversations.record([turn(ANA, position=ORDERING)])
    assert (await conversations.load(ANA, 5)).position == ORDERING
    await conversations.record([turn(ANA, "thanks")])
    assert (await conversations.load(ANA, 5)).position is None
    assert (await conversations.load(BEN, 5)).position == ORDERING


async def test_the_last_turn_of_a_chat_decides_its_position(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, position=ORDERING), turn(ANA), turn(BEN), turn(BEN, position=ORDERING)])
    assert (await conversations.load(ANA, 5)).position is None
    assert (await conversations.load(BEN, 5)).position == ORDERING


async def test_tool_calls_come_back_as_they_were(conversations: Conversations) -> None:
    history = (
        ChatMessage("assistant", "", (ToolCall(id="1", name="stock", arguments='{"sku": "tv"}'),)),
        ChatMessage("tool", "3", tool_call_id="1"),
        ChatMessage("system", "Be brief.", pinned=True),
    )
    await conversations.record([said(ANA, *history)])
    assert (await conversations.load(ANA, 5)).history == history


async def test_the_newest_three_pinned_rows_outlive_the_window(conversations: Conversations) -> None:
    pinned = [ChatMessage("system", f"fact {number}", pinned=True) for number in range(5)]
    await conversations.record([said(ANA, *pinned), turn(ANA, "one", "two", "three")])
    assert await texts(conversations, ANA, 2) == ["fact 2", "fact 3", "fact 4", "two", "three"]
    assert await texts(conversations, ANA, 4) == ["fact 1", "fact 2", "fact 3", "fact 4", "one", "two", "three"]


async def test_deleting_forgets_one_chat_and_counts_its_rows(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "one", "two", position=ORDERING), turn(BEN, "b")])
    assert await conversations.delete(ANA) == 2
    assert await conversations.load(ANA, 5) == Conversation()
    assert await texts(conversations, BEN) == ["b"]
    assert await conversations.delete(ANA) == 0


async def test_a_deleted_chat_begins_anew(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "old")])
    await conversations.delete(ANA)
    await conversations.record([turn(ANA, "new")])
    assert await texts(conversations, ANA) == ["new"]


async def test_an_export_holds_everything(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "one", "two", position=ORDERING)])
    export = await conversations.export(ANA)
    history = export["history"]
    assert isinstance(history, list)
    assert [(row["role"], row["content"]) for row in history] == [("user", "one"), ("user", "two")]
    assert export["chat"] == ANA.reveal()
    assert json.loads(json.dumps(export["position"])) == {
        "flow": "order",
        "step": "address",
        "version": 3,
        "variables": {"items": ["tv"], "total": 9.5, "gift": None},
        "stack": [["menu", "2", 7], ["help", "", 0]],
        "expires_at": 1_800_000_000.25,
        "kind": "ask",
        "asked_at": 1_799_999_000.5,
        "retries": 2,
        "remind_at": None,
    }


ORDER = FormRecord(form="order", values={"size": "L", "n": 2}, submitted_at=1_800_000_000.5, consent="Sí, acepto")


async def test_when_a_chat_was_welcomed_last_is_remembered_to_the_microsecond(conversations: Conversations) -> None:
    await conversations.record([turn(ANA, "one"), turn(BEN, "b")])
    assert (await conversations.load(ANA, 5)).welcomed_at is None
    welcomed_at = 1_800_000_000.1234565
    await conversations.record([replace(turn(ANA), welcomed_at=welcomed_at), turn(ANA, "two")])
    assert (await conversations.load(ANA, 5)).welcomed_at == round(welcomed_at, 6)
    await conversations.record([turn(ANA, "three"), replace(turn(ANA), welcomed_at=welcomed_at - 60)])
    await conversations.record([turn(ANA, "four")])
    assert (await conversations.load(ANA, 5)).welcomed_at == round(welcomed_at, 6)
    assert (await conversations.load(ANA, 0)).welcomed_at == round(welcomed_at, 6)
    assert (await conversations.load(BEN, 5)).welcomed_at is None


async def test_forms_are_in_the_export_and_go_with_their_chat(conversations: Conversations) -> None:
    other = replace(ORDER, form="survey", values={"stars": 5, "why": ["fast", "kind"]}, consent="")
    await conversations.record([replace(turn(ANA, "one"), records=(ORDER,)), replace(turn(BEN), records=(ORDER,))])
    await conversations.record([replace(turn(ANA, "two"), records=(other, ORDER), welcomed_at=1.0)])

    async def forms(chat: ChatId) -> list[tuple[str, str]]:
        records = (await conversations.export(chat))["records"]
        assert isinstance(records, list)
        return [(record["form"], record["consent"]) for record in records]

    assert await forms(ANA) == [("order", "Sí, acepto"), ("survey", ""), ("order", "Sí, acepto")]
    assert (await conversations.export(ANA))["welcomed_at"] is not None
    assert await conversations.delete(ANA) == 2
    assert await forms(ANA) == []
    assert (await conversations.load(ANA, 5)).welcomed_at is None
    assert await forms(BEN) == [("order", "Sí, acepto")]


async def test_the_export_of_an_unknown_chat_is_empty(conversations: Conversations) -> None:
    assert await conversations.export(ANA) == {
        "chat": ANA.reveal(),
        "history": [],
        "position": None,
        "welcomed_at": None,
        "records": [],
    }


@pytest.mark.parametrize(
    "text", ["", "a\x00b", "\ud800", "\u202eabc\u200b", "👍🏽", "'; DROP TABLE chat; --", "\\u0000"]
)
async def test_no_text_stops_a_conversation(conversations: Conversations, text: str) -> None:
    chat = ChatId(f"chat {text}")
    await conversations.record([turn(chat, text, position=Position(text, text, 1, {text: [text]}))])
    loaded = await conversations.load(chat, 5)
    assert len(loaded.history) == 1
    assert loaded.position is not None
    assert await conversations.delete(chat) == 1
