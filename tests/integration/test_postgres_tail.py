"""An active chat costs no read, and its tail says what the database says."""

import random

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.delivery.tail import HistoryTail
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, Outcome, Position, Role, ToolCall, Turn

pytestmark = pytest.mark.postgres

CHATS = [ChatId(f"+346000000{number:02}") for number in range(10)]
LIMIT = 5


class CountingDatabase(Database):
    """Counts the reads of history."""

    reads = 0

    async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
        self.reads += "FROM tecnobot.chat_history" in query
        return await super().fetch(query, *args, idempotent=idempotent)


def some_turn(chance: random.Random, chat: ChatId, inbound: str, texts: list[str]) -> Turn:
    """A turn with rows of *texts*, tools, pins and a position, as chance has it."""
    roles: list[Role] = ["user", "assistant"]
    outcomes: list[Outcome] = ["answered", "answered", "answered", "answered", "refused", "failed"]

    def some_row() -> ChatMessage:
        calls = (ToolCall(id=inbound, name="stock", arguments='{"sku": "tv"}'),) if chance.random() < 0.2 else ()
        return ChatMessage(chance.choice(roles), chance.choice(texts), calls, pinned=chance.random() < 0.2)

    variables = {"items": ["tv"] * chance.randrange(3), "total": chance.random(), "street": chance.choice(texts)}
    return Turn(
        chat=chat,
        inbound=(inbound,),
        outcome=chance.choice(outcomes),
        answered_by="flow",
        history=tuple(some_row() for _ in range(chance.randrange(4))),
        position=chance.choice([None, Position("order", "address", chance.randrange(9), variables, remind_at=1.5)]),
        welcomed_at=chance.choice([None, None, 1_800_000_000 + chance.random()]),
    )


async def handle(store: PostgresDelivery, tail: HistoryTail, turn: Turn) -> None:
    """What Delivery and the pipeline do with a message."""
    await store.accept([InboundMessage(id=turn.inbound[0], chat=turn.chat, sent_at=0.0, text="hola")])
    await tail.load(turn.chat, LIMIT)
    await store.commit([turn])
    tail.note(turn)


async def test_an_active_chat_costs_no_read_and_is_as_the_database_has_it(database_url: str) -> None:
    chance = random.Random(4)
    texts = ["¿cuánto? 📺", "precio", "x" * 2000, ""]
    async with CountingDatabase(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        conversations = PostgresConversations(database, "shop")
        tail = HistoryTail(conversations)
        async with PostgresDelivery(database, "shop") as store:
            for number in range(200):
                await handle(store, tail, some_turn(chance, chance.choice(CHATS), f"m{number}", texts))
            assert database.reads == len(CHATS)
            for chat in CHATS:
                for limit in range(LIMIT + 1):
                    remembered = await tail.load(chat, limit)
                    assert database.reads == len(CHATS)
                    assert remembered == await conversations.load(chat, limit)
                    database.reads = len(CHATS)
            # What the database keeps in another form is read once more.
            for number in range(200, 240):
                turn = some_turn(chance, chance.choice(CHATS), f"m{number}", [*texts, "a\x00b", "\ud800"])
                await handle(store, tail, turn)
                assert await tail.load(turn.chat, LIMIT) == await conversations.load(turn.chat, LIMIT)
