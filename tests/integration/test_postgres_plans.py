"""The statements that run for every message use their indexes, and read no more than they give back."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tecnobot_core.adapters.postgres import (
    Database,
    PostgresConversations,
    PostgresDelivery,
    PostgresFlowStore,
    PostgresKnowledge,
    ensure_chatbot,
    migrate,
)
from tecnobot_core.adapters.postgres.database import Connection
from tecnobot_core.adapters.postgres.retention import HistoryRetention
from tecnobot_core.delivery.ports import SendState
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    FormRecord,
    InboundMessage,
    OutboundMessage,
    Position,
    Turn,
)

pytestmark = pytest.mark.postgres

CHATBOTS = ("shop", "bar", "gym", "spa", "zoo", "inn")
NOON = 1_800_000_000.0
DAY_S = 86_400.0
FEW = 50  # rows; so many may be read or sorted for nothing

WATCH = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_buffers = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET auto_explain.log_level = notice;
"""

# Of each table what a busy year leaves, spread over the chatbots, so that an index which is missing shows.
SOME = "(ARRAY['shop', 'bar', 'gym', 'spa', 'zoo'])[1 + n % 5]"
FILL = f"""
SET LOCAL session_replication_role = replica;  -- what refers to what is right, and need not be looked up
INSERT INTO tecnobot.inbox_key (chatbot_id, message_id, accepted_at)
SELECT {SOME}, 'key' || n, now() - make_interval(secs => (200000 - n) * 2) FROM generate_series(1, 200000) AS n;

-- The shop has 50 messages to answer, each of the others about 5,000.
INSERT INTO tecnobot.inbox (chatbot_id, message_id, seq, body, nonce)
SELECT CASE WHEN n % 400 = 0 THEN 'shop' ELSE (ARRAY['bar', 'gym', 'spa', 'zoo'])[1 + n % 4] END, 'in' || n, n,
       jsonb_build_object('chat', 'chat' || n % 100, 'sent_at', 1, 'text', 'hola'), ''
FROM generate_series(1, 20000) AS n;
INSERT INTO tecnobot.inbox_end (chatbot_id, seq) SELECT id, 20000 FROM tecnobot.chatbot;

-- Open are 50, all of the shop.
INSERT INTO tecnobot.outbox (chatbot_id, key, state, nonce, changed_at, body)
SELECT CASE WHEN n % 4000 = 0 THEN 'shop' ELSE {SOME} END, 'out' || n,
       CASE WHEN n % 4000 = 0 THEN 'waiting' ELSE 'sent' END, '',
       now() - make_interval(secs => (200000 - n) * 2),
       CASE WHEN n % 4000 = 0 THEN '{{"chat": "chat5", "text": "buenas"}}'::jsonb END
FROM generate_series(1, 200000) AS n;

INSERT INTO tecnobot.chat (chatbot_id, phone_number, last_seen)
SELECT {SOME}, 'chat' || n, now() - interval '400 days' FROM generate_series(1, 2500) AS n
UNION ALL SELECT 'shop', 'hot', now();
INSERT INTO tecnobot.chat_alias (chatbot_id, alias, phone_number)
SELECT chatbot_id, 'alias of ' || phone_number, phone_number FROM tecnobot.chat;
INSERT INTO tecnobot.conversation (chat_id, chatbot_id, position)
SELECT id, chatbot_id, jsonb_build_object('flow', 'f', 'step', 's', 'version', 1, 'stack', jsonb_build_array())
FROM tecnobot.chat;
INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, consent, submitted_at)
SELECT chatbot_id, 'order', id, '{{}}', '', now() FROM tecnobot.chat, generate_series(1, 4);

-- The inn waits for an answer of 100,000 guests; 10 of them are due, half of the others will be.
INSERT INTO tecnobot.chat (chatbot_id, phone_number) SELECT 'inn', 'guest' || n FROM generate_series(1, 100000) AS n;
INSERT INTO tecnobot.conversation (chat_id, chatbot_id, position, due_at)
SELECT id, 'inn', jsonb_build_object('flow', 'f', 'step', 's', 'version', 1, 'stack', jsonb_build_array()),
       CASE WHEN id % 10000 = 0 THEN to_timestamp({NOON} - id % 7) WHEN id % 2 = 0 THEN to_timestamp({NOON} + id) END
FROM tecnobot.chat WHERE chatbot_id = 'inn';

-- Over seventy days the hot chat grew by 100,000 rows, another one by 50.
INSERT INTO tecnobot.chat_history (chat_id, role, content, pinned, created_at)
SELECT chat.id, 'user', 'some words of a message', n % 30 = 0, now() - make_interval(secs => (100009 - n) * 60)
FROM generate_series(1, 100009) AS n CROSS JOIN LATERAL (
    SELECT id FROM tecnobot.chat WHERE phone_number = 'hot' UNION ALL SELECT 1 + n % 2000
) AS chat (id) ORDER BY n;

INSERT INTO tecnobot.bot_flows (chatbot_id, id, keywords, response)
SELECT {SOME}, 'flow' || n, ARRAY[md5(n::text), md5((-n)::text) || ' envío'], '{{"say": ["x"]}}'
FROM generate_series(1, 20000) AS n;
INSERT INTO tecnobot.knowledge (chatbot_id, language, title, body)
SELECT {SOME}, 'spanish', 'x', 'producto ' || md5(n::text) FROM generate_series(1, 5000) AS n;
"""

# While the server gathers statistics by itself, vacuum may not call young rows visible to all; index-only scans would
# then look every one of them up.
SOME_UNSEEN = """
SELECT bool_or(relallvisible < relpages OR relpages = 0) FROM pg_class
WHERE oid IN ('tecnobot.inbox'::regclass, 'tecnobot.inbox_key'::regclass, 'tecnobot.outbox'::regclass)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled_url(postgres_dsn: str) -> AsyncIterator[str]:
    """The URL of a full database, which all tests of this module share and leave full."""
    name = f"plans_{uuid.uuid4().hex}"
    url = urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
    async with Database(postgres_dsn, min_size=1) as server:
        await server.execute(f"CREATE DATABASE {name}")
        async with Database(url, min_size=1, command_timeout_s=120) as database:
            await migrate(database)
            for chatbot in CHATBOTS:
                await ensure_chatbot(database, chatbot)
            await database.execute(FILL)
            async with asyncio.timeout(60):
                while await database.fetchval(SOME_UNSEEN):
                    await database.execute("VACUUM ANALYZE")
        yield url
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class ExplainedDatabase(Database):
    """Keeps the plans of all that was run, as it was run, also inside functions.

    With *plans* "generic" they know no value of a parameter, as those of a statement that was run often.
    """

    def __init__(self, dsn: str, plans: str) -> None:
        super().__init__(dsn, min_size=1, max_size=1, command_timeout_s=60)
        self.plans = plans
        self._watch = f"{WATCH} SET plan_cache_mode = force_{plans}_plan"
        self.explained: list[Explained] = []

    @asynccontextmanager
    async def acquire(self, *, idempotent: bool = False) -> AsyncIterator[Connection]:
        async with super().acquire(idempotent=idempotent) as connection, self._listening(connection):
            yield connection

    @asynccontextmanager
    async def transaction(self, *, idempotent: bool = False) -> AsyncIterator[Connection]:
        async with super().transaction(idempotent=idempotent) as connection, self._listening(connection):
            yield connection

    @asynccontextmanager
    async def _listening(self, connection: Connection) -> AsyncIterator[None]:
        await connection.execute(self._watch)
        connection.add_log_listener(self._note)
        try:
            yield
        finally:
            await asyncio.sleep(0)  # listeners are called one turn of the loop later
            connection.remove_log_listener(self._note)

    def _note(self, connection: object, message: Any) -> None:
        if "plan:" in message.message:
            self.explained.append(Explained(json.loads(message.message.partition("plan:")[2])))


class Explained:
    """A statement that was run, and what it did."""

    def __init__(self, explained: dict[str, Any]) -> None:
        self.statement: str = explained["Query Text"]
        self.plan: dict[str, Any] = explained["Plan"]

    @property
    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in _nodes(self.plan) if "Index Name" in node}

    @property
    def scanned(self) -> set[str]:
        """Tables that were read from one end to the other."""
        return {node["Relation Name"] for node in _nodes(self.plan) if node["Node Type"] == "Seq Scan"}

    @property
    def buffers(self) -> int:
        """Pages that it looked at."""
        count: int = self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"]
        return count

    def waste(self) -> list[str]:
        """Where more than a few rows were read and left out, sorted, or found by reading a whole table."""
        return [said for node in _nodes(self.plan) for said in _waste(node)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _waste(node: dict[str, Any]) -> Iterator[str]:
    name = f"{node['Node Type']} {node.get('Relation Name', '')}".strip()
    given = node["Actual Rows"] * node["Actual Loops"]
    left_out = sum(node[key] for key in node if key.startswith("Rows Removed by")) * node["Actual Loops"]
    if left_out > FEW:
        yield f"{name}: {left_out:g} rows were read for nothing"
    if given > FEW and node["Node Type"] in ("Seq Scan", "Sort"):
        yield f"{name}: {given:g} rows"


@pytest.fixture(params=["custom", "generic"])
async def database(filled_url: str, request: pytest.FixtureRequest) -> AsyncIterator[ExplainedDatabase]:
    async with ExplainedDatabase(filled_url, request.param) as database:
        yield database


def check(explained: Sequence[Explained], at_most_buffers: int) -> set[str]:
    """That nothing was wasted; the indexes that were used."""
    assert explained
    for one in explained:
        assert one.waste() == [], one.statement
        assert one.buffers <= at_most_buffers, (one.statement, one.plan)
    return set().union(*(one.indexes for one in explained))


# History


@pytest.mark.parametrize("chat", ["chat5", "alias of chat5", "hot"])
async def test_the_last_five_rows_are_one_descent_of_the_index(database: ExplainedDatabase, chat: str) -> None:
    loaded = await PostgresConversations(database, "shop").load(ChatId(chat), 5)
    assert loaded.position == Position("f", "s", 1)
    assert len(loaded.history) >= 5
    assert check(database.explained, 30) >= {"chat_history_pkey", "chat_history_pinned", "conversation_pkey"}


async def test_a_chat_is_forgotten_through_indexes(database: ExplainedDatabase) -> None:
    await database.execute("INSERT INTO tecnobot.chat (chatbot_id, phone_number) VALUES ('shop', 'brief')")
    database.explained.clear()
    await PostgresConversations(database, "shop").delete(ChatId("brief"))
    # Also what refers to it: rows are looked for by their chat.
    check(database.explained, 100)


async def test_old_history_is_found_without_reading_the_young(database: ExplainedDatabase) -> None:
    assert await HistoryRetention(database, "shop", keep_s=80 * DAY_S).purge_history() == 0
    of_rows = [one for one in database.explained if "young" in one.statement]
    assert check(of_rows, 8 * 500) == {"chat_chatbot_id_phone_number_key", "chat_history_pkey"}  # 500 chats at a time
    assert set().union(*(one.scanned for one in database.explained)) <= {"conversation"}  # small, against 500 chats


# Delivery


async def test_pending_messages_are_read_in_their_order(database: ExplainedDatabase) -> None:
    async with PostgresDelivery(database, "zoo") as store:
        database.explained.clear()
        assert len(await store.pending(10_000, 40)) == 40
    assert check(database.explained, 30) == {"inbox_order"}


async def test_open_entries_are_found_among_those_that_ended(database: ExplainedDatabase) -> None:
    async with PostgresDelivery(database, "shop") as store:
        database.explained.clear()
        assert len(await store.unsent(0, 40)) == 40
        assert check(database.explained, 100) == {"outbox_open"}


async def test_entries_that_were_being_sent_are_found_among_all(database: ExplainedDatabase) -> None:
    async with PostgresDelivery(database, "shop") as store:
        entries = await store.post([outgoing()])
        await store.move({entry.id: "taken" for entry in entries})
        database.explained.clear()
        assert [entry.id for entry in await store.interrupted()] == [entry.id for entry in entries]
        assert "outbox_open" in check(database.explained, 150)
        await store.move({entry.id: "uncertain" for entry in entries})


async def test_the_inbox_is_counted_without_those_of_others(database: ExplainedDatabase) -> None:
    async with PostgresDelivery(database, "shop") as store:
        database.explained.clear()
        await store.confirm()
    assert check(database.explained, 150) <= {"inbox_order", "inbox_pkey", "lease_pkey"}


async def test_what_is_due_is_found_among_all_that_stand_somewhere(database: ExplainedDatabase) -> None:
    async with PostgresDelivery(database, "inn") as store:
        database.explained.clear()
        due = await store.claim_due(NOON, 100)
        looked, *wrote = database.explained
        assert len(due.pending) == 10
        assert due.next_at is not None
        assert due.next_at > NOON
        assert check([looked], 100) >= {"conversation_due"}
        assert check(wrote, 100 * 10) & {"conversation_due", "conversation_pkey"}
        assert set().union(*(one.scanned for one in wrote)) <= {"chatbot", "lease"}  # of a few rows each
        database.explained.clear()
        assert not (await store.claim_due(NOON, 100)).pending
        assert check(database.explained, 30) >= {"conversation_due"}
        # Put back for the other test. In a new session the first of them looks up what the tables are like.
        for number, signal in enumerate(due.pending):
            message = signal.message
            failed = Turn(chat=message.chat, inbound=(message.id,), outcome="failed", answered_by="error")
            database.explained.clear()
            await store.commit([failed], again_at=message.sent_at)
            if number:
                assert check(database.explained, 100) >= {"chat_chatbot_id_phone_number_key", "conversation_pkey"}


def outgoing() -> OutboundMessage:
    return OutboundMessage(chat=ChatId("chat5"), key=uuid.uuid4().hex, text="buenas")


def turn(message: InboundMessage) -> Turn:
    said = (ChatMessage("user", "hola"), ChatMessage("assistant", "buenas", pinned=True))
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome="answered",
        answered_by="test",
        history=said,
        position=Position("f", "s", 1, expires_at=NOON),
        outgoing=(outgoing(),),
        records=(FormRecord(form="order", values={"size": "L"}, submitted_at=NOON),),
        welcomed_at=NOON,
    )


@pytest.fixture
async def store(database: ExplainedDatabase) -> AsyncIterator[PostgresDelivery]:
    """Of a chatbot with 5,000 messages to answer and 40,000 that were sent."""
    async with PostgresDelivery(database, "zoo") as store:
        # A new session looks up what the tables are like, once.
        (entry,) = await store.post([outgoing()])
        await store.move({entry.id: "sent"})
        database.explained.clear()
        yield store


async def test_a_batch_of_turns_touches_only_its_own_rows(database: ExplainedDatabase, store: PostgresDelivery) -> None:
    chats = [ChatId(f"chat{4 + 5 * number}") for number in range(20)]
    messages = [InboundMessage(id=uuid.uuid4().hex, chat=chat, sent_at=1.0, text="hola") for chat in chats]
    await store.accept(messages)
    used = check(database.explained, 60 * len(messages))
    assert used >= {"inbox_pkey"}

    database.explained.clear()
    await store.record_groups({message.id: [message.id] for message in messages})
    assert check(database.explained, 40 * len(messages)) >= {"inbox_pkey"}

    database.explained.clear()
    entries = await store.commit([turn(message) for message in messages])
    assert len(entries) == len(messages)
    used = check(database.explained, 120 * len(messages))
    assert used >= {"inbox_pkey", "chat_alias_pkey", "outbox_key"}

    for state in ("taken", "sent"):
        database.explained.clear()
        moved: dict[int, SendState] = {entry.id: state for entry in entries}
        await store.move(moved)
        assert check(database.explained, 40 * len(messages)) >= {"outbox_pkey"}


async def test_a_message_that_answers_nobody_touches_only_its_own_rows(
    database: ExplainedDatabase, store: PostgresDelivery
) -> None:
    entries = await store.post([outgoing()])
    used = check(database.explained, 60)
    await store.move({entry.id: "sent" for entry in entries})
    assert used >= {"outbox_key"}


async def test_purging_reads_what_is_old(database: ExplainedDatabase, store: PostgresDelivery) -> None:
    oldest_s = 200_000 * 2
    older_than_s = oldest_s - (3_000 if database.plans == "custom" else 9_000)
    assert await store.purge(older_than_s) > 300
    assert not {"inbox_key", "outbox"} & set().union(*(one.scanned for one in database.explained))
    if database.plans == "custom":
        # A summary for each 128 pages: some of what they hold is not old.
        of_keys, of_entries = database.explained
        assert "inbox_key_age" in of_keys.indexes
        assert "outbox_age" in of_entries.indexes
        # Of 1,270 and 3,130 pages, each looked at once for its rows and once for a row that goes: 900 and 970.
        assert of_keys.buffers <= 1_200
        assert of_entries.buffers <= 1_200


# Flows and knowledge


async def test_the_search_box_uses_the_trigram_index(database: ExplainedDatabase) -> None:
    wanted = await database.fetchval("SELECT md5('75')")
    database.explained.clear()
    assert [flow.id for flow in await PostgresFlowStore(database).search_flows("shop", wanted)] == ["flow75"]
    assert check(database.explained, 300) >= {"bot_flows_keywords"}


async def test_the_flows_of_one_chatbot_are_read_without_those_of_others(database: ExplainedDatabase) -> None:
    await PostgresFlowStore(database).load("shop")
    assert {one.indexes == {"bot_flows_pkey"} for one in database.explained} == {True}


async def test_knowledge_is_found_through_its_index(database: ExplainedDatabase) -> None:
    wanted = await database.fetchval("SELECT md5('75')")
    database.explained.clear()
    assert len(await PostgresKnowledge(database, "shop").search(wanted, 3)) == 1
    assert "knowledge_search" in set().union(*(one.indexes for one in database.explained))
