"""Aliases in PostgreSQL, beyond the contract: chats become one, whole and once, whoever else is at work."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery
from tecnobot_core.adapters.postgres.addresses import PostgresAliases
from tecnobot_core.delivery.addresses import AddressBook, Sighting
from tecnobot_core.errors import StoreError
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    Conversation,
    FormRecord,
    InboundMessage,
    OutboundMessage,
    Position,
    Turn,
)
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres

LID, OTHER_LID, PHONE, BEN = ChatId("1055@lid"), ChatId("1066@lid"), ChatId("+34600000001"), ChatId("+34600000002")
ORDERING, BOOKING = Position("order", "address", 3, {"items": ["tv"]}), Position("book", "day", 1)


@pytest.fixture
def aliases(database: Database) -> PostgresAliases:
    return PostgresAliases(database, "shop")


@pytest.fixture
def conversations(database: Database) -> PostgresConversations:
    return PostgresConversations(database, "shop")


def turn(chat: ChatId, *texts: str, position: Position | None = None, outcome: str = "answered") -> Turn:
    return Turn(
        chat=chat,
        inbound=texts,
        outcome="answered" if outcome == "answered" else "refused",
        answered_by="test",
        history=tuple(ChatMessage("user", text) for text in texts),
        position=position,
    )


def link(lid: ChatId = LID, phone: ChatId = PHONE, *, wrote: bool = True) -> list[Sighting]:
    return [Sighting(alias=lid, chat=phone, wrote=wrote)]


async def texts(conversations: PostgresConversations, chat: ChatId) -> list[str]:
    return [message.content for message in (await conversations.load(chat, 500)).history]


async def addresses(database: Database) -> list[str]:
    rows = await database.fetch("SELECT phone_number FROM tecnobot.chat WHERE chatbot_id = 'shop' ORDER BY 1")
    return [row["phone_number"] for row in rows]


async def test_two_chats_become_one_with_all_rows_in_order(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    for text, chat in enumerate((LID, PHONE, BEN, LID, PHONE, LID)):
        await conversations.record([turn(chat, str(text))])
    await aliases.learn(link())
    assert await texts(conversations, PHONE) == ["0", "1", "3", "4", "5"]
    assert await texts(conversations, BEN) == ["2"]
    assert await addresses(database) == [PHONE, BEN]


async def test_a_chat_whose_person_has_none_goes_to_the_person(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(LID, "a", position=ORDERING)])
    await aliases.learn(link())
    assert (await conversations.load(PHONE, 5)).position == ORDERING
    assert await texts(conversations, PHONE) == ["a"]
    assert await addresses(database) == [PHONE]


async def test_of_two_positions_the_persons_own_stays(
    aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(LID, "a", position=ORDERING), turn(PHONE, "b", position=BOOKING)])
    await aliases.learn(link())
    assert (await conversations.load(PHONE, 5)).position == BOOKING


async def test_the_only_position_is_kept(aliases: PostgresAliases, conversations: PostgresConversations) -> None:
    await conversations.record([turn(LID, "a", position=ORDERING), turn(PHONE, "b")])
    await aliases.learn(link())
    assert (await conversations.load(PHONE, 5)).position == ORDERING


async def test_a_merged_chat_was_first_and_last_seen_when_either_was(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(PHONE, "b"), turn(LID, "a")])
    seen = "UPDATE tecnobot.chat SET first_seen = $2, last_seen = $3 WHERE phone_number = $1"
    await database.execute(seen.replace("$2", "'2020-01-02'").replace("$3", "'2020-01-03'"), PHONE)
    await database.execute(seen.replace("$2", "'2020-01-01'").replace("$3", "'2020-01-04'"), LID)
    await aliases.learn(link())
    export = await conversations.export(PHONE)
    assert str(export["first_seen"]).startswith("2020-01-01")
    assert str(export["last_seen"]).startswith("2020-01-04")


@pytest.mark.parametrize(("lids", "persons"), [(1.5, 2.5), (2.5, 1.5), (2.5, None), (None, 2.5)])
async def test_a_merged_chat_was_welcomed_when_either_was_last(
    aliases: PostgresAliases, conversations: PostgresConversations, lids: float | None, persons: float | None
) -> None:
    await conversations.record([replace(turn(LID, "a"), welcomed_at=lids)])
    await conversations.record([replace(turn(PHONE, "b"), welcomed_at=persons)])
    await aliases.learn(link())
    assert (await conversations.load(PHONE, 5)).welcomed_at == 2.5


async def test_the_forms_of_both_chats_are_the_persons(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    def entered(chat: ChatId, size: str) -> Turn:
        return replace(turn(chat), records=(FormRecord(form="order", values={"size": size}, submitted_at=1.0),))

    await conversations.record([entered(LID, "S"), entered(PHONE, "M"), entered(BEN, "XL"), entered(LID, "L")])
    await aliases.learn(link())
    records = (await conversations.export(PHONE))["records"]
    assert [record["answers"]["size"] for record in records] == ["S", "M", "L"]  # type: ignore[attr-defined]
    await conversations.delete(LID)
    assert await database.fetchval("SELECT count(*) FROM tecnobot.form_record") == 1


async def test_what_is_due_under_an_alias_is_due_with_the_person_and_claimed_once(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    asking = Position("order", "size", 1, kind="ask", expires_at=100.0)
    async with PostgresDelivery(database, "shop") as store:
        await conversations.record([turn(LID, "a", position=asking), turn(OTHER_LID, "b", position=asking)])
        (first, other) = (await store.claim_due(100.0, 9)).pending
        await aliases.learn([*link(LID), *link(OTHER_LID)])
        assert list((await store.claim_due(100.0, 9)).pending) == []
        # Its turn, which began under the alias, is the person's.
        failed = replace(turn(first.message.chat, first.message.id, outcome="refused"), outcome="failed", history=())
        await store.commit([failed], again_at=200.0)
        await store.commit([turn(other.message.chat, other.message.id, outcome="refused")])
        (again,) = (await store.claim_due(200.0, 9)).pending
        assert (again.message.chat, again.message.sent_at) == (PHONE, 200.0)


async def test_several_aliases_of_one_person_become_one_chat(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(OTHER_LID, "a"), turn(LID, "b")])
    await aliases.learn([*link(LID), *link(OTHER_LID)])
    assert await texts(conversations, PHONE) == ["a", "b"]
    assert await addresses(database) == [PHONE]


async def test_learning_the_same_again_changes_nothing_and_waits_for_nobody(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await conversations.record([turn(LID, "a")])
    await aliases.learn(link())
    before = await database.fetch("SELECT xmin, * FROM tecnobot.chat_alias")
    async with database.transaction() as connection:
        await connection.execute("SELECT tecnobot.person('shop', 'anybody')")
        async with asyncio.timeout(10):
            assert await aliases.learn(link()) == {LID: PHONE}
            assert await aliases.learn(link(wrote=False)) == {LID: PHONE}
    assert await database.fetch("SELECT xmin, * FROM tecnobot.chat_alias") == before
    assert await texts(conversations, PHONE) == ["a"]


async def test_a_batch_is_one_round_trip(database: CountingDatabase, aliases: PostgresAliases) -> None:
    book = AddressBook(aliases)
    batch = [
        InboundMessage(id="m", chat=ChatId(f"{n}@lid"), sent_at=0.0, aliases=(ChatId(f"521551234{n:04}"),) * (n % 2))
        for n in range(100, 200)
    ]
    before = database.taken
    await book.resolve(batch, lambda chat: False)
    assert database.taken == before + 1
    await book.resolve(batch, lambda chat: False)
    assert database.taken == before + 1


async def test_aliases_of_other_chatbots_are_theirs(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await PostgresConversations(database, "bakery").record([turn(LID, "bread")])
    await conversations.record([turn(LID, "tv")])
    await aliases.learn(link())
    bakery = PostgresAliases(database, "bakery")
    assert await bakery.learn([Sighting(alias=LID, chat=None, wrote=True)]) == {}
    assert await texts(PostgresConversations(database, "bakery"), LID) == ["bread"]
    await conversations.delete(PHONE)
    assert await texts(PostgresConversations(database, "bakery"), LID) == ["bread"]


async def test_an_unknown_chatbot_is_named_as_the_reason(database: Database) -> None:
    with pytest.raises(StoreError, match="call ensure_chatbot first"):
        await PostgresAliases(database, "nobody").learn(link())


async def test_what_is_kept_under_an_alias_is_read_and_written_in_the_persons_chat(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await aliases.learn(link())
    await conversations.record(
        [turn(LID, "a", position=ORDERING), turn(BEN, "x"), turn(PHONE, "b"), turn(LID, "c", position=BOOKING)]
    )
    assert await conversations.load(LID, 5) == await conversations.load(PHONE, 5)
    assert await texts(conversations, LID) == ["a", "b", "c"]
    assert (await conversations.load(LID, 5)).position == BOOKING
    await conversations.record([turn(LID, position=ORDERING), turn(PHONE)])
    assert (await conversations.load(PHONE, 5)).position is None
    assert await addresses(database) == [PHONE, BEN]


async def test_a_turn_that_was_under_way_lands_in_the_merged_chat(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    async with PostgresDelivery(database, "shop") as delivery:
        await delivery.accept([InboundMessage(id=id, chat=LID, sent_at=0.0) for id in ("1", "2", "3")])
        await delivery.commit([turn(LID, "1", position=ORDERING)])
        await aliases.learn(link())
        await delivery.commit([turn(LID, "2", position=BOOKING)])
        assert await texts(conversations, PHONE) == ["1", "2"]
        assert (await conversations.load(PHONE, 5)).position == BOOKING
        await delivery.commit([turn(LID, "3", outcome="refused")])
    assert await texts(conversations, PHONE) == ["1", "2"]
    assert await addresses(database) == [PHONE]


async def test_turns_of_two_addresses_of_one_person_are_finished_together(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await aliases.learn(link())
    async with PostgresDelivery(database, "shop") as delivery:
        await delivery.accept([InboundMessage(id=id, chat=PHONE, sent_at=0.0) for id in ("1", "2", "3")])
        await delivery.commit(
            [turn(PHONE, "1"), turn(LID, "2", position=ORDERING), turn(LID, "3", outcome="refused", position=BOOKING)]
        )
    assert await texts(conversations, PHONE) == ["1", "2"]
    assert (await conversations.load(PHONE, 5)).position == ORDERING
    assert await addresses(database) == [PHONE]


WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_link_waits_for_the_turn_that_is_being_written_and_takes_it_along(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    async with database.transaction() as connection:
        address = await connection.fetchval("SELECT tecnobot.person('shop', $1)", LID)
        linking = asyncio.create_task(aliases.learn(link()))

        async def waits() -> bool:
            return bool(await database.fetchval(WAITS) == 1)

        await eventually(waits)
        await connection.execute(
            "WITH new AS (INSERT INTO tecnobot.chat (chatbot_id, phone_number) VALUES ('shop', $1) RETURNING id)"
            " INSERT INTO tecnobot.chat_history (chat_id, role, content) SELECT id, 'user', 'late' FROM new",
            address,
        )
    await linking
    assert await texts(conversations, PHONE) == ["late"]
    assert await addresses(database) == [PHONE]


@pytest.mark.parametrize("writer", ["record", "delivery", "delete"])
async def test_who_writes_while_a_link_is_made_writes_to_the_person(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations, writer: str
) -> None:
    await conversations.record([turn(LID, "old")])

    async def write(delivery: PostgresDelivery) -> None:
        if writer == "record":
            await conversations.record([turn(LID, "new")])
        elif writer == "delivery":
            await delivery.commit([turn(LID, "new")])
        else:
            await conversations.delete(LID)

    async with PostgresDelivery(database, "shop") as delivery:
        await delivery.accept([InboundMessage(id="new", chat=LID, sent_at=0.0)])
        async with database.transaction() as connection:
            learn = "SELECT tecnobot.learn_aliases('shop', ARRAY[$1], ARRAY[$2], '{t}')"
            await connection.execute(learn, LID, PHONE)
            writing = asyncio.create_task(write(delivery))

            async def waits() -> bool:
                return bool(await database.fetchval(WAITS) == 1)

            await eventually(waits)
        await writing
    assert await texts(conversations, PHONE) == ([] if writer == "delete" else ["old", "new"])
    assert await addresses(database) == ([] if writer == "delete" else [PHONE])


async def test_many_who_link_and_write_at_once_lose_nothing(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    lids = [ChatId(f"{number}@lid") for number in range(8)]
    phones = [ChatId(f"+3460000000{number // 2}") for number in range(8)]

    async def write(number: int) -> None:
        chats = lids + phones[::2] if number % 2 else phones[::2] + lids[::-1]
        await conversations.record([turn(chat, f"{number} {chat.reveal()}") for chat in chats])

    async def link_all(number: int) -> None:
        pairs = list(zip(lids, phones, strict=True))
        for lid, phone in pairs[number % 3 :: 2] + pairs[:: -1 if number % 2 else 1]:
            await aliases.learn(link(lid, phone))

    await asyncio.gather(*map(write, range(16)), *map(link_all, range(6)))
    assert await addresses(database) == sorted(set(phones))
    for n, phone in enumerate(phones[::2]):
        mine = [phone, *lids[2 * n : 2 * n + 2]]
        expected = sorted(f"{number} {chat.reveal()}" for number in range(16) for chat in mine)
        assert sorted(await texts(conversations, phone)) == expected


async def test_deleting_reaches_every_address_of_the_person(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await aliases.learn([*link(), *link(OTHER_LID, BEN)])
    async with PostgresDelivery(database, "shop") as delivery:
        await conversations.record([turn(PHONE, "a", "b", position=ORDERING), turn(BEN, "c")])
        await delivery.accept([InboundMessage(id=c, chat=c, sent_at=0.0) for c in (LID, PHONE, OTHER_LID, BEN)])
        await delivery.post([OutboundMessage(chat=chat, key=chat, text="x") for chat in (LID, PHONE, OTHER_LID, BEN)])
        assert await conversations.delete(LID) == 2
    assert await conversations.load(PHONE, 5) == Conversation()
    left = "SELECT array_agg(body ->> 'chat') FROM tecnobot.%s WHERE body IS NOT NULL"
    for table in "inbox", "outbox":
        assert set(await database.fetchval(left % table)) == {BEN, OTHER_LID}
    assert await database.fetchval("SELECT array_agg(alias) FROM tecnobot.chat_alias") == [OTHER_LID]
    assert await texts(conversations, BEN) == ["c"]


async def test_an_export_shows_the_aliases_and_what_waits_under_them(
    database: Database, aliases: PostgresAliases, conversations: PostgresConversations
) -> None:
    await aliases.learn([*link(OTHER_LID), *link(wrote=False)])
    assert (await conversations.export(PHONE))["aliases"] == [LID, OTHER_LID]  # before there is a chat
    async with PostgresDelivery(database, "shop") as delivery:
        await conversations.record([turn(PHONE, "a"), turn(BEN, "b")])
        await delivery.accept([InboundMessage(id=c, chat=c, sent_at=0.0, text=c) for c in (LID, PHONE, BEN)])
        await delivery.post([OutboundMessage(chat=chat, key=chat, text=chat) for chat in (PHONE, LID, BEN)])
    export = await conversations.export(LID)
    assert export == await conversations.export(PHONE)
    assert export["chat"] == PHONE
    unanswered, unsent = export["unanswered"], export["unsent"]
    assert isinstance(unanswered, list)
    assert isinstance(unsent, list)
    assert ([m["text"] for m in unanswered], [m["text"] for m in unsent]) == ([LID, PHONE], [PHONE, LID])
    assert (await conversations.export(BEN))["aliases"] == []


async def test_another_role_sees_no_alias_and_may_call_nothing(
    database: Database, database_url: str, aliases: PostgresAliases
) -> None:
    await aliases.learn(link())
    async with database.transaction() as connection:
        await connection.execute("CREATE ROLE stranger_to_aliases")
        await connection.execute("GRANT USAGE ON SCHEMA tecnobot TO stranger_to_aliases")
        await connection.execute("GRANT SELECT ON tecnobot.chat_alias TO stranger_to_aliases")
        await connection.execute("SET LOCAL ROLE stranger_to_aliases")
        assert await connection.fetch("SELECT FROM tecnobot.chat_alias") == []  # row-level security
        for call in (
            "person('shop', 'x')",
            "learn_aliases('shop', '{}', '{}', '{}')",
            "is_news('shop', '{}', '{}', '{}')",
            "merge_chats('shop', '{}')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(f"SELECT tecnobot.{call}")
        await connection.execute("RESET ROLE")
        await connection.execute("DROP OWNED BY stranger_to_aliases")
        await connection.execute("DROP ROLE stranger_to_aliases")


async def test_questions_about_one_person_use_the_indexes(database: Database, aliases: PostgresAliases) -> None:
    await database.execute(
        "INSERT INTO tecnobot.chat_alias SELECT 'shop', n || '@lid', '+3460' || n, now()"
        " FROM generate_series(1, 20000) AS n"
    )
    await database.execute("VACUUM ANALYZE tecnobot.chat_alias")
    explain = "EXPLAIN SELECT * FROM tecnobot.chat_alias WHERE chatbot_id = 'shop' AND "
    assert "chat_alias_pkey" in (await database.fetch(explain + "alias = '77@lid'"))[0][0]
    assert "chat_alias_person" in (await database.fetch(explain + "phone_number = '+346077'"))[0][0]
    assert await aliases.last_used(ChatId("+346077")) == "77@lid"
