"""What every inbox and outbox does."""

from collections.abc import AsyncIterator

import pytest

from tecnobot_core.delivery import Conversations, DeliveryStore, Group, MemoryConversations, MemoryDelivery
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    Outcome,
    Position,
    ToolCall,
    Turn,
)

ANA, BEN = ChatId("+34600000001"), ChatId("+34600000002")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str | None:
    # Asked for by name, so that what lives in memory is tested where there is no PostgreSQL.
    return request.getfixturevalue("database_url") if request.param == "postgres" else None


@pytest.fixture
async def stores(url: str | None) -> AsyncIterator[tuple[DeliveryStore, Conversations]]:
    if url is None:
        conversations = MemoryConversations()
        async with MemoryDelivery(conversations) as store:
            yield store, conversations
        return
    from tecnobot_core.adapters.postgres import (
        Database,
        PostgresConversations,
        PostgresDelivery,
        ensure_chatbot,
        migrate,
    )

    async with Database(url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        async with PostgresDelivery(database, "shop") as store:
            yield store, PostgresConversations(database, "shop")


@pytest.fixture
def store(stores: tuple[DeliveryStore, Conversations]) -> DeliveryStore:
    return stores[0]


@pytest.fixture
def conversations(stores: tuple[DeliveryStore, Conversations]) -> Conversations:
    return stores[1]


def inbound(id: str, chat: ChatId = ANA, text: str = "hola") -> InboundMessage:
    return InboundMessage(id=id, chat=chat, sent_at=12.5, text=text)


def turn(
    *inbound: str,
    chat: ChatId = ANA,
    says: tuple[str, ...] = (),
    outcome: Outcome = "answered",
    position: Position | None = None,
) -> Turn:
    return Turn(
        chat=chat,
        inbound=inbound,
        outcome=outcome,
        answered_by="test",
        history=tuple(ChatMessage("user", id) for id in inbound),
        position=position,
        outgoing=tuple(OutboundMessage(chat=chat, key=f"{inbound[0]}/{n}", text=text) for n, text in enumerate(says)),
    )


async def ids(store: DeliveryStore, after: int = 0, limit: int = 100) -> list[str]:
    return [pending.message.id for pending in await store.pending(after, limit)]


async def test_new_messages_get_growing_numbers_and_known_ones_none(store: DeliveryStore) -> None:
    first, again, second = await store.accept([inbound("a"), inbound("a"), inbound("b")])
    assert again is None
    assert first is not None
    assert second is not None
    assert first < second
    assert await store.accept([inbound("b"), inbound("a")]) == [None, None]
    assert await ids(store) == ["a", "b"]
    assert await ids(store, after=first) == ["b"]
    assert await ids(store, limit=1) == ["a"]


async def test_a_message_comes_back_as_it_was(store: DeliveryStore) -> None:
    media = MediaReference(kind="voice", address="x", mime="audio/ogg", size_bytes=9, duration_s=1.5, key=b"\x00\xff")
    message = InboundMessage(
        id="m",
        chat=ANA,
        sent_at=1.25,
        text="¿qué?",
        kind="voice",
        media=media,
        sender_name="Ana",
        from_me=True,
        reply_to="other",
    )
    at_the_epoch = InboundMessage(id="0", chat=BEN, sent_at=0.0)
    await store.accept([message, inbound("plain"), at_the_epoch])
    assert [pending.message for pending in await store.pending(0, 9)] == [message, inbound("plain"), at_the_epoch]


async def test_a_turn_ends_its_messages_and_says_what_is_to_be_sent(
    store: DeliveryStore, conversations: Conversations
) -> None:
    await store.accept([inbound("a"), inbound("b", BEN), inbound("c")])
    entries = await store.commit([turn("a", says=("uno", "dos")), turn("b", chat=BEN, says=("tres",))], taken={"a/0"})
    assert [(entry.message.text, entry.state) for entry in entries] == [
        ("uno", "taken"),
        ("dos", "waiting"),
        ("tres", "waiting"),
    ]
    assert await ids(store) == ["c"]
    assert [row.content for row in (await conversations.load(ANA, 9)).history] == ["a"]
    assert await store.accept([inbound("a")]) == [None]


async def test_a_turn_of_several_messages_ends_them_all(store: DeliveryStore) -> None:
    await store.accept([inbound("a"), inbound("b"), inbound("c")])
    await store.commit([turn("a", "b")])
    assert await ids(store) == ["c"]


async def test_a_turn_that_is_done_has_no_effect_again(store: DeliveryStore, conversations: Conversations) -> None:
    await store.accept([inbound("a")])
    assert len(await store.commit([turn("a", says=("uno",))])) == 1
    assert list(await store.commit([turn("a", says=("uno",))])) == []
    assert len((await conversations.load(ANA, 9)).history) == 1


async def test_only_an_answered_turn_changes_the_conversation(
    store: DeliveryStore, conversations: Conversations
) -> None:
    await store.accept([inbound(id) for id in "abcd"])
    standing = Position("order", "address", 2, {"items": ["tv"]})
    await store.commit([turn("a", position=standing)])
    for id, outcome in (("b", "refused"), ("c", "failed"), ("d", "skipped")):
        await store.commit([turn(id, outcome=outcome)])  # type: ignore[arg-type]
    conversation = await conversations.load(ANA, 9)
    assert [row.content for row in conversation.history] == ["a"]
    assert conversation.position == standing
    await store.accept([inbound("e")])
    await store.commit([turn("e")])
    assert (await conversations.load(ANA, 9)).position is None


async def test_history_keeps_tool_calls(store: DeliveryStore, conversations: Conversations) -> None:
    await store.accept([inbound("a")])
    rows = (
        ChatMessage("assistant", "", tool_calls=(ToolCall(id="c", name="stock", arguments='{"x":1}'),)),
        ChatMessage("tool", "3", tool_call_id="c"),
        ChatMessage("assistant", "quedan 3", pinned=True),
    )
    await store.commit([Turn(chat=ANA, inbound=("a",), outcome="answered", answered_by="model", history=rows)])
    assert (await conversations.load(ANA, 9)).history == rows


async def test_what_postgresql_cannot_hold_does_not_stop_delivery(store: DeliveryStore) -> None:
    message = inbound("nul", text="a\x00b\ud800c")
    await store.accept([message])
    assert len(await store.pending(0, 9)) == 1
    entries = await store.commit([turn("nul", says=("x\x00y\udfff",))])
    assert [entry.message.text for entry in entries] == ["x\x00y\udfff"]
    assert await ids(store) == []


async def test_a_posted_key_is_taken_once(store: DeliveryStore) -> None:
    message = OutboundMessage(chat=ANA, key="k", text="hola", buttons=("uno", "dos"))
    assert [entry.message for entry in await store.post([message])] == [message]
    assert list(await store.post([message])) == []


async def test_entries_come_in_the_order_of_their_turns(store: DeliveryStore) -> None:
    messages = [inbound(f"m{n}") for n in range(20)]
    await store.accept(messages)
    entries = await store.commit([turn(f"m{n}", says=(f"{n}-a", f"{n}-b")) for n in range(20)])
    assert [entry.message.text for entry in entries] == [f"{n}-{x}" for n in range(20) for x in "ab"]
    assert sorted(entry.id for entry in entries) == [entry.id for entry in entries]


async def test_messages_that_were_recorded_as_a_group_come_back_as_one(store: DeliveryStore) -> None:
    await store.accept([inbound("a"), inbound("b"), inbound("c")])
    await store.record_groups({"a": ["a", "b"]})
    await store.record_groups({"b": ["b", "c"]})  # b has a group and keeps it
    groups = {pending.message.id: pending.group for pending in await store.pending(0, 9)}
    assert groups == {"a": Group("a", 2), "b": Group("a", 2), "c": Group("b", 2)}


async def test_what_waits_to_be_sent_is_read_in_pages_with_its_age(store: DeliveryStore) -> None:
    posted = await store.post([OutboundMessage(chat=ANA, key=f"k{n}", text="hola") for n in range(5)])
    await store.move({posted[1].id: "taken", posted[3].id: "expired"})
    first, second = await store.unsent(0, 2)
    assert [first.message.key, second.message.key] == ["k0", "k2"]
    assert first.state == "waiting"
    assert 0 <= first.age_s < 60
    assert [entry.message.key for entry in await store.unsent(second.id, 9)] == ["k4"]
    await store.move({posted[1].id: "waiting", posted[0].id: "sent"}, urgent=False)
    assert [entry.message.key for entry in await store.unsent(0, 9)] == ["k1", "k2", "k4"]
