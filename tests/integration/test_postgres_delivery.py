"""What only the inbox and outbox in PostgreSQL do."""

from collections.abc import AsyncIterator

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.errors import LeaseLostError, LifecycleError, StoreError
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Turn

ANA, BEN = ChatId("ana"), ChatId("ben")
pytestmark = pytest.mark.postgres


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        yield database


def inbound(id: str, chat: ChatId = ANA) -> InboundMessage:
    return InboundMessage(id=id, chat=chat, sent_at=1.0, text="hola")


def turn(id: str, chat: ChatId = ANA, text: str = "buenas") -> Turn:
    outgoing = OutboundMessage(chat=chat, key=f"{id}/0", text=text)
    history = (ChatMessage("user", "hola"), ChatMessage("assistant", text))
    return Turn(chat=chat, inbound=(id,), outcome="answered", answered_by="test", history=history, outgoing=(outgoing,))


async def test_who_comes_later_owns_and_the_one_before_can_write_no_turn(database: Database) -> None:
    old, new = PostgresDelivery(database, "shop"), PostgresDelivery(database, "shop")
    async with old:
        await old.accept([inbound("a"), inbound("b")])
        await old.confirm()
        async with new:
            for write in (old.commit([turn("a")]), old.post([turn("x").outgoing[0]]), old.move({1: "sent"})):
                with pytest.raises(LeaseLostError, match="another process owns chatbot shop now"):
                    await write
            with pytest.raises(LeaseLostError):
                await old.confirm()
            assert await old.accept([inbound("c")]) != [None]  # journaled for whoever owns
            assert [pending.message.id for pending in await new.pending(0, 9)] == ["a", "b", "c"]
            assert len(await new.commit([turn("a")])) == 1


async def test_what_was_being_sent_when_a_process_ended_is_uncertain_once(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as first:
        await first.accept([inbound("a"), inbound("b")])
        await first.commit([turn("a")], taken={"a/0"})
        await first.commit([turn("b")])
    async with PostgresDelivery(database, "shop") as second:
        left = await second.unsent()
        assert [(entry.message.key, entry.state) for entry in left] == [("a/0", "uncertain"), ("b/0", "waiting")]
    async with PostgresDelivery(database, "shop") as third:
        assert [(entry.message.key, entry.state) for entry in await third.unsent()] == [("b/0", "waiting")]


async def test_a_turn_that_cannot_be_stored_sinks_alone(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([inbound("a"), inbound("b")])
        poison = Turn(
            chat=ANA,
            inbound=("a",),
            outcome="answered",
            answered_by="test",
            history=(ChatMessage("nobody", "x"),),  # type: ignore[arg-type]
        )
        with pytest.raises(StoreError) as caught:
            await store.commit([poison])
        assert not caught.value.retryable
        assert len(await store.commit([turn("b")])) == 1
        assert [pending.message.id for pending in await store.pending(0, 9)] == ["a"]


async def test_forgetting_a_person_reaches_what_waits(database: Database) -> None:
    conversations = PostgresConversations(database, "shop")
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([inbound("a"), inbound("b"), inbound("c", BEN)])
        await store.commit([turn("a")])
        exported = await conversations.export(ANA)
        assert [message["id"] for message in exported["unanswered"]] == ["b"]  # type: ignore[attr-defined]
        assert [message["key"] for message in exported["unsent"]] == ["a/0"]  # type: ignore[attr-defined]
        assert await conversations.delete(ANA) == 2
        assert [pending.message.id for pending in await store.pending(0, 9)] == ["c"]
        assert list(await store.unsent()) == []
        rest = await database.fetchval("SELECT count(*) FROM tecnobot.outbox WHERE body IS NOT NULL")
        assert rest == 0


async def test_a_store_that_is_not_entered_says_so(database: Database) -> None:
    with pytest.raises(LifecycleError, match="not entered"):
        await PostgresDelivery(database, "shop").accept([inbound("a")])
