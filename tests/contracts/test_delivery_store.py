"""What every inbox and outbox does."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery import Conversations, DeliveryStore, Due, Group, MemoryConversations, MemoryDelivery
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    FormRecord,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    Outcome,
    Position,
    ToolCall,
    Turn,
)

ANA, BEN = ChatId("+34600000001"), ChatId("+34600000002")
NOON = 1_800_000_000.0

numbers = count()


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


async def test_a_delay_survives_in_the_store(store: DeliveryStore) -> None:
    messages = [OutboundMessage(chat=ANA, key=f"k{delay_s}", text="hola", delay_s=delay_s) for delay_s in (0.0, 2.5)]
    await store.post(messages)
    assert [entry.message for entry in await store.unsent(0, 9)] == messages


# What is due


def waiting(until: float | None, reminded_at: float | None = None) -> Position:
    return Position("order", "address", 1, kind="ask", expires_at=until, remind_at=reminded_at)


async def stand(store: DeliveryStore, chat: ChatId, position: Position | None, id: str) -> None:
    """A message with *id* comes from *chat*, and leaves it at *position*."""
    await store.accept([inbound(id, chat)])
    await store.commit([turn(id, chat=chat, position=position)])


async def claimed(store: DeliveryStore, until: float = NOON, limit: int = 100) -> list[str]:
    return [pending.message.chat.reveal() for pending in (await store.claim_due(until, limit)).pending]


async def test_a_conversation_that_is_due_becomes_a_signal_in_the_inbox(store: DeliveryStore) -> None:
    await stand(store, ANA, waiting(NOON), "a")
    assert await store.claim_due(NOON - 0.001, 9) == Due((), NOON)
    last = await store.accept([inbound("before", BEN)])
    due = await store.claim_due(NOON, 9)
    (signal,) = due.pending
    assert due.next_at is None
    assert (signal.seq, signal.group) == ((last[0] or 0) + 1, None)
    message = signal.message
    assert (message.chat, message.kind, message.text, message.sent_at) == (ANA, "signal", "due", NOON)
    assert ANA.reveal() not in message.id  # ids are logged
    assert list(await store.pending(0, 9))[1:] == [signal]
    assert await store.claim_due(NOON + 99, 9) == Due((), None)


async def test_the_earlier_of_reminder_and_end_counts(store: DeliveryStore) -> None:
    await stand(store, ANA, waiting(NOON, NOON - 60), "a")
    await stand(store, BEN, waiting(None, NOON - 30), "b")
    assert (await store.claim_due(0, 9)).next_at == NOON - 60
    assert await claimed(store, NOON - 60) == [ANA]
    assert await claimed(store, NOON - 30) == [BEN]


async def test_the_first_that_are_due_come_first_and_no_more_than_wanted(store: DeliveryStore) -> None:
    chats = [ChatId(f"chat{number}") for number in range(5)]
    for number, chat in enumerate(reversed(chats)):
        await stand(store, chat, waiting(NOON - number), chat.reveal())
    due = await store.claim_due(NOON - 1, 2)
    assert [pending.message.chat for pending in due.pending] == chats[:2]
    assert due.next_at is not None
    assert due.next_at <= NOON - 1  # there is more, so at once
    due = await store.claim_due(NOON - 1, 3)
    assert [pending.message.chat for pending in due.pending] == chats[2:4]
    assert due.next_at == NOON


async def test_ten_thousand_that_are_due_at_once_are_each_claimed_once(store: DeliveryStore) -> None:
    chats = [ChatId(f"chat{number:05}") for number in range(10_000)]
    for at in range(0, len(chats), 2000):
        page = chats[at : at + 2000]
        await store.accept([inbound(chat.reveal(), chat) for chat in page])
        await store.commit([turn(chat.reveal(), chat=chat, position=waiting(NOON)) for chat in page])
    due = await store.claim_due(NOON, 20_000)
    assert sorted(pending.message.chat for pending in due.pending) == chats
    seqs = [pending.seq for pending in due.pending]
    assert seqs == list(range(seqs[0], seqs[0] + 10_000))
    assert tuple(await store.pending(0, 20_000)) == due.pending
    assert await store.claim_due(NOON, 20_000) == Due((), None)


async def test_who_moves_on_or_leaves_is_due_at_another_time_or_never(
    store: DeliveryStore, conversations: Conversations
) -> None:
    for number, position in enumerate([waiting(NOON + 5), waiting(None), None]):
        await stand(store, ANA, waiting(NOON), f"a{number}")
        await stand(store, ANA, position, f"b{number}")
        assert await claimed(store) == []
        assert (await store.claim_due(NOON, 9)).next_at == (position and position.due_at)
    await stand(store, ANA, waiting(NOON), "c")
    assert await conversations.delete(ANA) == 7
    assert await store.claim_due(NOON, 9) == Due((), None)


async def test_a_position_that_is_stored_again_is_due_again_even_at_the_same_time(store: DeliveryStore) -> None:
    seen = set()
    for number in range(3):
        await stand(store, ANA, waiting(NOON), f"a{number}")
        (signal,) = (await store.claim_due(NOON, 9)).pending
        seen.add(signal.message.id)
        await store.commit([turn(signal.message.id, outcome="skipped")])
    assert len(seen) == 3


async def test_a_chat_whose_signal_waits_is_not_claimed_and_stands_in_nobodys_way(store: DeliveryStore) -> None:
    await stand(store, ANA, waiting(NOON - 9), "a")
    (signal,) = (await store.claim_due(NOON, 9)).pending
    await stand(store, ANA, waiting(NOON - 8), "b")
    await stand(store, BEN, waiting(NOON - 7), "c")
    assert await claimed(store, limit=1) == [BEN]
    assert await store.claim_due(NOON, 9) == Due((), None)
    # What else it says, or others say to it, is no such signal.
    await store.accept([replace(inbound("d"), text="due"), replace(inbound("e"), kind="signal", text="release")])
    await store.commit([turn(signal.message.id, outcome="skipped")])
    assert await claimed(store) == [ANA]


async def test_a_signal_that_failed_comes_again_when_told_and_no_other_turn_does_that(store: DeliveryStore) -> None:
    outcomes: tuple[Outcome, ...] = ("failed", "skipped", "refused")
    for outcome in outcomes:
        await stand(store, ANA, waiting(NOON), outcome)
        (signal,) = (await store.claim_due(NOON, 9)).pending
        await store.commit([turn(signal.message.id, outcome=outcome)], again_at=NOON + 300)
        expected = NOON + 300 if outcome == "failed" else None
        assert await store.claim_due(NOON, 9) == Due((), expected)
    await stand(store, ANA, waiting(NOON), "again")
    (signal,) = (await store.claim_due(NOON, 9)).pending
    failed = [turn(signal.message.id, outcome="failed")]
    await store.commit(failed, again_at=NOON + 300)
    (again,) = (await store.claim_due(NOON + 300, 9)).pending
    assert again.message.sent_at == NOON + 300
    assert again.message.id != signal.message.id
    await store.commit(failed, again_at=NOON + 400)  # as after a lost answer
    assert await store.claim_due(NOON, 9) == Due((), None)


async def test_what_was_claimed_and_stands_elsewhere_by_then_is_not_put_off(store: DeliveryStore) -> None:
    for number, position in enumerate([waiting(NOON + 5), None]):
        await stand(store, ANA, waiting(NOON), f"a{number}")
        (signal,) = (await store.claim_due(NOON, 9)).pending
        await stand(store, ANA, position, f"b{number}")
        await store.commit([turn(signal.message.id, outcome="failed")], again_at=NOON + 300)
        assert (await store.claim_due(NOON, 9)).next_at == (position and position.due_at)


async def test_only_an_answered_turn_makes_a_conversation_due(store: DeliveryStore) -> None:
    await store.accept([inbound("a")])
    await store.commit([turn("a", outcome="failed", position=waiting(NOON))])
    assert await store.claim_due(NOON, 9) == Due((), None)


times = st.floats(0, 4e9) | st.floats(1.7e9, 1.9e9) | st.integers(0, 2**32).map(lambda n: n + 0.9999999)


@given(at=times)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_a_signal_never_comes_before_the_time_of_its_position(store: DeliveryStore, at: float) -> None:
    id = f"{next(numbers)}"
    await stand(store, ANA, waiting(at), id)
    next_at = (await store.claim_due(at - 1, 9)).next_at
    assert next_at is not None
    assert at <= next_at <= at + 2e-6
    assert await claimed(store, math.nextafter(at, -math.inf) - 2e-6) == []
    (signal,) = (await store.claim_due(next_at, 9)).pending
    assert signal.message.sent_at == next_at
    await store.commit([turn(signal.message.id, position=None)])


@pytest.mark.parametrize("at", [1e300, 9e15, 1e10])
async def test_a_time_that_nobody_lives_to_see_is_never_due_and_harms_nothing(store: DeliveryStore, at: float) -> None:
    await stand(store, ANA, waiting(at), "a")
    assert await claimed(store, NOON) == []
    await stand(store, ANA, waiting(-at), "b")
    assert await claimed(store, NOON) == [ANA]


# Forms and welcomes

ORDER = FormRecord(form="order", values={"size": "L", "n": 2, "gift": None}, submitted_at=NOON, consent="Sí, acepto")


async def test_what_an_answered_turn_records_is_kept_once(store: DeliveryStore, conversations: Conversations) -> None:
    await store.accept([inbound(id) for id in "abcd"])
    done = replace(turn("a"), records=(ORDER, replace(ORDER, values={"size": "S"})), welcomed_at=NOON + 0.25)
    for _ in range(2):
        await store.commit([done])
    for id, outcome in (("b", "refused"), ("c", "failed"), ("d", "skipped")):
        await store.commit([replace(done, inbound=(id,), outcome=outcome, welcomed_at=NOON + 9)])  # type: ignore[arg-type]
    exported = await conversations.export(ANA)
    assert [record["form"] for record in exported["records"]] == ["order", "order"]  # type: ignore[attr-defined]
    assert (await conversations.load(ANA, 9)).welcomed_at == NOON + 0.25
