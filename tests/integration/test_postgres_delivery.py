"""What only the inbox and outbox in PostgreSQL do."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.encoding import encode
from tecnobot_core.adapters.postgres.values import to_json
from tecnobot_core.errors import LeaseLostError, LifecycleError, StoreError
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    FormRecord,
    InboundMessage,
    OutboundMessage,
    Outcome,
    Position,
    Turn,
)

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


async def test_what_was_being_sent_when_a_process_ended_is_handed_out_until_its_end_is_told(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as first:
        await first.accept([inbound("a"), inbound("b")])
        await first.commit([turn("a")], taken={"a/0"})
        await first.commit([turn("b")])
    async with PostgresDelivery(database, "shop") as second:
        assert [(e.message.key, e.state) for e in await second.interrupted()] == [("a/0", "taken")]
        left = await second.unsent(0, 9)
        assert [(entry.message.key, entry.state) for entry in left] == [("b/0", "waiting")]
        assert 0 <= left[0].age_s < 60
    async with PostgresDelivery(database, "shop") as third:
        (entry,) = await third.interrupted()
        assert (entry.message.key, entry.state) == ("a/0", "taken")
        assert 0 <= entry.age_s < 60
        await third.move({entry.id: "uncertain"})
        assert list(await third.interrupted()) == []
        assert [entry.message.key for entry in await third.unsent(0, 9)] == ["b/0"]
        assert list(await third.unsent(left[0].id, 9)) == []


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
        assert list(await store.unsent(0, 9)) == []
        rest = await database.fetchval("SELECT count(*) FROM tecnobot.outbox WHERE body IS NOT NULL")
        assert rest == 0


async def test_a_store_that_is_not_entered_says_so(database: Database) -> None:
    with pytest.raises(LifecycleError, match="not entered"):
        await PostgresDelivery(database, "shop").accept([inbound("a")])


async def test_a_batch_that_lost_the_lease_still_journals_what_it_accepted(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as old, PostgresDelivery(database, "shop") as new:
        await new.accept([inbound("a")])
        accepted, committed, moved = await asyncio.gather(
            old.accept([inbound("b")]), old.commit([turn("a")]), old.move({1: "sent"}), return_exceptions=True
        )
        assert accepted == [2]
        assert isinstance(committed, LeaseLostError)
        assert isinstance(moved, LeaseLostError)
        assert old.commits == 1
        assert [pending.message.id for pending in await new.pending(0, 9)] == ["a", "b"]


async def test_numbers_come_without_a_gap_and_in_the_order_of_commits(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as one, PostgresDelivery(database, "shop") as two:
        assert await one.accept([inbound("a"), inbound("b"), inbound("a")]) == [1, 2, None]
        assert await two.accept([inbound("b"), inbound("c")]) == [None, 3]
        stores = [one, two] * 20
        batches = [[inbound(f"m{n}"), inbound(f"m{n + 1}")] for n in range(40)]
        found = await asyncio.gather(*(store.accept(batch) for store, batch in zip(stores, batches, strict=True)))
        seqs = [seq for batch in found for seq in batch if seq is not None]
        assert sorted(seqs) == list(range(4, 4 + 41))
        # Taken by one who has not committed: whoever sees a later number must see this one.
        async with database.transaction() as connection:
            statement = "SELECT * FROM tecnobot.deliver('shop', 0, $1::text::jsonb, '[]', '[]', '[]', '[]', '[]')"
            slow = [{"id": "slow", "nonce": "n", "body": encode(inbound("slow"))}]
            await connection.fetch(statement, to_json(slow))
            later = asyncio.create_task(one.accept([inbound("later")]))
            await asyncio.wait({later}, timeout=0.2)
            assert not later.done()
        assert await later == [46]
        assert [pending.message.id for pending in await two.pending(44, 9)] == ["slow", "later"]


async def test_what_cannot_be_read_is_left_out_and_stops_nobody(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([inbound(id) for id in "abcd"])
        await store.commit([turn("d")])
        await store.post([turn("e").outgoing[0]])
        await database.execute("UPDATE tecnobot.inbox SET body = '{\"new\": 1}' WHERE message_id IN ('a', 'b')")
        await database.execute("UPDATE tecnobot.outbox SET body = '{\"new\": 1}' WHERE key = 'd/0'")
    async with PostgresDelivery(database, "shop") as store:
        for _ in range(2):
            assert [pending.message.id for pending in await store.pending(0, 1)] == ["c"]
        assert [entry.message.key for entry in await store.unsent(0, 9)] == ["e/0"]
        assert await database.fetchval("SELECT state FROM tecnobot.outbox WHERE key = 'd/0'") == "rejected"
        assert await database.fetchval("SELECT count(*) FROM tecnobot.inbox") == 3
    assert sum("cannot be read" in record.message for record in caplog.records) == 3


@pytest.mark.parametrize("bound", [{"max_pending": 2}, {"max_pending_bytes": 100}])
async def test_a_full_inbox_is_waited_for_until_there_is_room(database: Database, bound: dict[str, int]) -> None:
    async with PostgresDelivery(database, "shop", **bound) as store:
        await store.accept([inbound("a"), inbound("b")])
        await store.confirm()
        waiting = asyncio.create_task(store.accept([inbound("c")]))
        await asyncio.wait({waiting}, timeout=0.05)
        assert not waiting.done()
        await store.commit([turn("a")])
        assert await waiting == [3]


async def test_room_that_others_made_is_seen(database: Database) -> None:
    async with PostgresDelivery(database, "shop", max_pending=1) as store:
        await store.accept([inbound("a")])
        waiting = asyncio.create_task(store.accept([inbound("b")]))
        await PostgresConversations(database, "shop").delete(ANA)
        await store.confirm()
        assert await waiting == [2]


async def test_who_lost_the_lease_does_not_wait_for_room_that_another_makes(database: Database) -> None:
    async with PostgresDelivery(database, "shop", max_pending=1) as old:
        await old.accept([inbound("a")])
        waiting = asyncio.create_task(old.accept([inbound("b")]))
        async with PostgresDelivery(database, "shop"):
            with pytest.raises(LeaseLostError):
                await old.confirm()
            assert await waiting == [2]


async def test_what_is_old_and_done_is_forgotten_in_batches(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([inbound(f"m{n}") for n in range(5)])
        await store.commit([turn(f"m{n}") for n in range(4)])
        await store.move(dict.fromkeys((1, 2), "sent"))
        assert await store.purge(60) == 0
        await database.execute("UPDATE tecnobot.inbox_key SET accepted_at = now() - interval '61 s'")
        await database.execute("UPDATE tecnobot.outbox SET changed_at = now() - interval '61 s'")
        assert await store.purge(60, batch=3) == 4 + 2
        # What waits keeps its key, and what is to be sent stays.
        assert await store.accept([inbound("m4"), inbound("m0")]) == [None, 6]
        assert [entry.message.key for entry in await store.unsent(0, 9)] == ["m2/0", "m3/0"]


async def test_leaving_finishes_what_was_to_be_written(database: Database) -> None:
    async with PostgresDelivery(database, "shop", write_window_s=0.05) as store:
        await store.accept([inbound("a")])
        (entry,) = await store.commit([turn("a")], taken={"a/0"})
        marking = asyncio.create_task(store.move({entry.id: "sent"}))
        await asyncio.sleep(0)
        marking.cancel()
    assert await database.fetchval("SELECT state FROM tecnobot.outbox") == "sent"


# What is due


NOON = 1_800_000_000.0


async def stand(store: PostgresDelivery, *chats: ChatId, at: float | None = NOON) -> None:
    """Each of *chats* writes, and is then in the middle of a flow that is due *at*."""
    messages = [inbound(f"{chat.reveal()}:{store.commits}", chat) for chat in chats]
    await store.accept(messages)
    position = Position("order", "size", 1, kind="ask", expires_at=at)
    await store.commit([replace(turn(m.id, m.chat), position=position, outgoing=()) for m in messages])


class LosesAnswers(Database):
    """Loses the answers to as many writes as told, which are done."""

    to_lose = 0

    async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
        rows = await super().fetch(query, *args, idempotent=idempotent)
        if self.to_lose and "tecnobot.deliver" in query:
            self.to_lose -= 1
            raise StoreError("the connection was lost", retryable=True, outcome="unknown")
        return rows


async def test_a_claim_whose_answer_was_lost_is_answered_in_full_and_nothing_is_doubled(
    database: Database, database_url: str
) -> None:
    async with LosesAnswers(database_url) as losing, PostgresDelivery(losing, "shop") as store:
        await stand(store, ANA, BEN)
        losing.to_lose = 2
        due = await store.claim_due(NOON, 9)
        assert [(pending.seq, pending.message.chat) for pending in due.pending] == [(3, ANA), (4, BEN)]
        assert await store.pending(0, 9) == list(due.pending)
        assert await database.fetchval("SELECT count(*) FROM tecnobot.inbox_key") == 4
        assert await database.fetchval("SELECT seq FROM tecnobot.inbox_end") == 4


async def test_a_turn_whose_answer_was_lost_keeps_its_forms_once(database: Database, database_url: str) -> None:
    record = FormRecord(form="order", values={"size": "L", "note": "a\x00b"}, submitted_at=NOON, consent="Sí")
    async with LosesAnswers(database_url) as losing, PostgresDelivery(losing, "shop") as store:
        await store.accept([inbound("a")])
        losing.to_lose = 2
        await store.commit([replace(turn("a"), records=(record, record))])
    rows = await database.fetch("SELECT chatbot_id, form, answers, consent, submitted_at FROM tecnobot.form_record")
    assert len(rows) == 2
    assert tuple(rows[0])[:2] == ("shop", "order")
    assert rows[0]["answers"] == {"size": "L", "note": "a\ufffdb"}
    assert (rows[0]["consent"], rows[0]["submitted_at"].timestamp()) == ("Sí", NOON)


async def test_a_form_that_is_not_json_sinks_its_turn_alone(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([inbound("a"), inbound("b")])
        bad = FormRecord(form="order", values={"when": object()}, submitted_at=NOON)
        for wrong in (bad, replace(bad, values={}, submitted_at=float("nan"))):
            with pytest.raises(StoreError):
                await store.commit([replace(turn("a"), records=(wrong,))])
        assert len(await store.commit([turn("b")])) == 1


async def test_of_two_owners_only_the_last_claims(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as old:
        await stand(old, ANA, BEN)
        async with PostgresDelivery(database, "shop") as new:
            with pytest.raises(LeaseLostError):
                await old.claim_due(NOON, 9)
            due = await new.claim_due(NOON, 9)
            assert [pending.message.chat for pending in due.pending] == [ANA, BEN]
            assert (await old.claim_due(NOON, 9)).pending == ()  # nothing to write, so nothing to be refused
        async with PostgresDelivery(database, "shop") as third:
            assert await third.pending(2, 9) == list(due.pending)
            assert not (await third.claim_due(NOON, 9)).pending


async def test_claims_that_overlap_each_take_what_the_other_left(database: Database) -> None:
    chats = [ChatId(f"chat{number:02}") for number in range(40)]
    async with PostgresDelivery(database, "shop") as store:
        await stand(store, *chats)
        claims = await asyncio.gather(*(store.claim_due(NOON, 30) for _ in range(6)))
        claims = [*claims, await store.claim_due(NOON, 30)]
        taken = [pending.message.chat for due in claims for pending in due.pending]
        assert sorted(taken) == chats


async def test_the_conversations_of_another_chatbot_are_not_claimed(database: Database) -> None:
    await ensure_chatbot(database, "bakery")
    async with PostgresDelivery(database, "shop") as shop, PostgresDelivery(database, "bakery") as bakery:
        await stand(shop, ANA)
        await stand(bakery, ANA)
        assert len((await shop.claim_due(NOON, 9)).pending) == 1
        assert len((await bakery.claim_due(NOON, 9)).pending) == 1


async def test_a_signal_is_numbered_among_what_everybody_accepts(database: Database) -> None:
    async with PostgresDelivery(database, "shop") as other, PostgresDelivery(database, "shop") as owner:
        chats = [ChatId(f"chat{number:02}") for number in range(60)]
        await stand(owner, *chats)
        accepting = asyncio.gather(
            *(store.accept([inbound(f"{n}", BEN)]) for n, store in enumerate([other, owner] * 20))
        )
        claims = await asyncio.gather(*(owner.claim_due(NOON, 20) for _ in range(3)))
        await accepting
        assert sum(len(due.pending) for due in claims) >= 20
        pending = await owner.pending(60, 999)
        assert [p.seq for p in pending] == list(range(61, 61 + len(pending)))


async def test_who_moves_on_between_look_and_claim_is_not_given_a_signal(database_url: str, database: Database) -> None:
    class Slow(Database):
        """Lets somebody write after it has looked for what is due."""

        async def fetch(self, query: str, *args: object, idempotent: bool = False) -> list[asyncpg.Record]:
            rows = await super().fetch(query, *args, idempotent=idempotent)
            if "due_at <=" in query:
                await stand(store, ANA, at=NOON + 60)
                await PostgresConversations(database, "shop").delete(BEN)
            return rows

    eva = ChatId("eva")
    async with Slow(database_url) as slow, PostgresDelivery(slow, "shop") as store:
        await stand(store, ANA, BEN, eva)
        assert [pending.message.chat for pending in (await store.claim_due(NOON, 9)).pending] == [eva]
        assert await database.fetchval("SELECT count(*) FROM tecnobot.conversation WHERE due_at IS NOT NULL") == 1


@pytest.mark.parametrize("outcomes", [("failed", "answered"), ("answered", "failed")])
async def test_of_turns_of_one_chat_in_one_batch_the_position_decides(
    database: Database, outcomes: tuple[Outcome, Outcome]
) -> None:
    async with PostgresDelivery(database, "shop") as store:
        await stand(store, ANA)
        (signal,) = (await store.claim_due(NOON, 9)).pending
        await store.accept([inbound("m")])
        ids = {"failed": signal.message.id, "answered": "m"}
        position = Position("order", "colour", 1, kind="ask", expires_at=NOON + 60)
        turns = [replace(turn(ids[outcome]), outcome=outcome, position=position, outgoing=()) for outcome in outcomes]
        await store.commit(turns, again_at=NOON + 300)
        assert (await store.claim_due(NOON, 9)).next_at == NOON + 60


async def test_a_turn_without_a_due_time_touches_no_index(database: Database, database_url: str) -> None:
    hot = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'tecnobot' AND relname = $1"

    async def counted(table: str) -> tuple[int, int]:
        async with database.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            row = await connection.fetchrow(hot, table)
        assert row is not None
        return row["n_tup_upd"], row["n_tup_hot_upd"]

    # Each flushes what it counted when it ends.
    async with Database(database_url, min_size=1, max_size=1) as one, PostgresDelivery(one, "shop") as store:
        for _ in range(21):
            await stand(store, ANA, at=None)
        await one.execute("SELECT pg_stat_force_next_flush()")
    assert await counted("conversation") == (20, 20)
    assert await counted("chat") == (20, 20)
