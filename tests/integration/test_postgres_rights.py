"""Whoever is not the owner reads nothing and writes nothing, also where somebody granted too much."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tecnobot_core.adapters.postgres import (
    Database,
    PostgresConversations,
    PostgresDelivery,
    PostgresFlowStore,
    PostgresKnowledge,
    ensure_chatbot,
    migrate,
)
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow
from tecnobot_core.knowledge import Passage
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Position, Turn

pytestmark = pytest.mark.postgres

# Everything that can hold rows or numbers. Indexes and types cannot be asked.
RELATIONS = """
SELECT relname AS name, relkind::text AS kind FROM pg_class
WHERE relnamespace = 'tecnobot'::regnamespace AND relkind NOT IN ('i', 'I', 'c', 't')
"""
# A view reads with the rights of its maker unless told otherwise; views that keep rows, and foreign tables, know no
# row-level security at all.
OPEN = """
SELECT relname FROM pg_class
WHERE relnamespace = 'tecnobot'::regnamespace AND CASE
    WHEN relkind IN ('r', 'p') THEN NOT relrowsecurity
    WHEN relkind = 'v' THEN NOT coalesce(reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
    ELSE relkind IN ('m', 'f')
END
"""
FUNCTIONS = """
SELECT oid::regprocedure::text AS name, prosecdef FROM pg_proc
WHERE pronamespace = 'tecnobot'::regnamespace
"""
# Rights over anything of ours: relations, their columns, functions, and the schema itself.
GRANTED = """
WITH held AS (
    SELECT relname AS name, relacl AS acl FROM pg_class WHERE relnamespace = 'tecnobot'::regnamespace
    UNION ALL
    SELECT relname || '.' || attname, attacl FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = 'tecnobot'::regnamespace
    UNION ALL
    -- Nothing noted means what is so by default: everybody may execute.
    SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
    WHERE pronamespace = 'tecnobot'::regnamespace
    UNION ALL
    SELECT nspname, nspacl FROM pg_namespace WHERE nspname = 'tecnobot'
)
SELECT DISTINCT name FROM held, aclexplode(acl) AS entry LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE coalesce(rolname, 'PUBLIC') = ANY ($1)
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, min_size=1) as database:
        yield database


async def forget(database: Database, *roles: str) -> None:
    """Roles belong to the whole server, so they are dropped again."""
    for role in roles:
        await database.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A role that may do nothing yet, in a database with a row wherever a bot has one."""
    name = f"role_{uuid4().hex[:12]}"
    await migrate(database)
    await fill(database)
    await database.execute(f"CREATE ROLE {name}")
    yield name
    await forget(database, name)


async def fill(database: Database) -> None:
    """One chat in the middle of a flow, with a message in the inbox and one in the outbox, flows and knowledge."""
    ana = ChatId("ana")
    turn = Turn(
        chat=ana,
        inbound=("a",),
        outcome="answered",
        answered_by="test",
        history=(ChatMessage("user", "hola"),),
        position=Position("f", "s", 1),
        outgoing=(OutboundMessage(chat=ana, key="a/0", text="buenas"),),
    )
    await ensure_chatbot(database, "shop")
    await PostgresFlowStore(database).add("shop", Flow("f").on("hola").say("x"))
    await PostgresKnowledge(database, "shop").replace([Passage("t", "b", 1.0)])
    async with PostgresDelivery(database, "shop") as store:
        await store.accept([InboundMessage(id=id, chat=ana, sent_at=1.0, text="hola") for id in ("a", "b")])
        await store.commit([turn])


async def relations(database: Database) -> list[tuple[str, str]]:
    return [(f"tecnobot.{row['name']}", row["kind"]) for row in await database.fetch(RELATIONS)]


async def grant_like_a_careless_owner(database: Database, role: str) -> None:
    await database.execute(f"""
        GRANT USAGE ON SCHEMA tecnobot TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tecnobot TO {role};
        GRANT EXECUTE ON ALL ROUTINES IN SCHEMA tecnobot TO {role};
    """)


async def as_role(database: Database, role: str, statement: str) -> str:
    async with database.transaction() as connection:
        await connection.execute(f"SET LOCAL ROLE {role}")
        return await connection.execute(statement)


async def refused(database: Database, role: str, statement: str, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        await as_role(database, role, statement)


async def test_every_relation_is_under_row_level_security_without_an_exception(database: Database) -> None:
    await migrate(database)
    assert await database.fetch(OPEN) == []
    assert await database.fetch("SELECT * FROM pg_policies WHERE schemaname = 'tecnobot'") == []


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE tecnobot.made ()",
        "CREATE TABLE tecnobot.whole (n int) PARTITION BY LIST (n);"
        " ALTER TABLE tecnobot.whole ENABLE ROW LEVEL SECURITY;"
        " CREATE TABLE tecnobot.made PARTITION OF tecnobot.whole DEFAULT",
        "CREATE VIEW tecnobot.made AS SELECT * FROM tecnobot.chat",
        "CREATE MATERIALIZED VIEW tecnobot.made AS SELECT * FROM tecnobot.chat",
    ],
    ids=["table", "partition", "view", "materialized view"],
)
async def test_a_relation_that_is_left_open_is_found(database: Database, made: str) -> None:
    await migrate(database)
    await database.execute(made)
    assert [row["relname"] for row in await database.fetch(OPEN)] == ["made"]


@pytest.mark.parametrize("may_enter", [False, True], ids=["without the schema", "with the schema"])
async def test_a_role_without_grants_is_refused_everywhere(database: Database, role: str, may_enter: bool) -> None:
    if may_enter:
        await database.execute(f"GRANT USAGE ON SCHEMA tecnobot TO {role}")
    for name, kind in await relations(database):
        await refused(database, role, f"SELECT * FROM {name}", "permission denied")
        if kind == "S":
            await refused(database, role, f"SELECT nextval('{name}')", "permission denied")
            continue
        for statement in (f"INSERT INTO {name} DEFAULT VALUES", f"DELETE FROM {name}", f"TRUNCATE {name} CASCADE"):
            await refused(database, role, statement, "permission denied")


async def test_a_role_that_was_granted_everything_reads_no_row_and_writes_none(database: Database, role: str) -> None:
    await grant_like_a_careless_owner(database, role)
    hidden = 0
    for name, kind in await relations(database):
        if kind == "S":  # not a table: numbers need a grant of their own
            await refused(database, role, f"SELECT nextval('{name}')", "permission denied")
            continue
        hidden += await database.fetchval(f"SELECT count(*) FROM {name}") > 0
        column = await database.fetchval(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND attidentity = ''"
            " AND attgenerated = '' AND NOT attisdropped LIMIT 1",
            name,
        )
        assert await as_role(database, role, f"SELECT * FROM {name}") == "SELECT 0", name
        assert await as_role(database, role, f"UPDATE {name} SET {column} = {column}") == "UPDATE 0", name
        assert await as_role(database, role, f"DELETE FROM {name}") == "DELETE 0", name
        await refused(database, role, f"INSERT INTO {name} DEFAULT VALUES", "violates row-level security")
    assert hidden >= 11  # there was something to hide


async def test_our_functions_give_no_rights_to_whoever_may_call_them(database: Database, role: str) -> None:
    await grant_like_a_careless_owner(database, role)
    before = await PostgresConversations(database, "shop").export(ChatId("ana"))
    assert not [row["name"] for row in await database.fetch(FUNCTIONS) if row["prosecdef"]]
    await refused(database, role, "SELECT tecnobot.take_lease('shop', 'thief')", "violates row-level security")
    assert await as_role(database, role, "SELECT * FROM tecnobot.flows_about('shop', 'hola', '%', 9)") == "SELECT 0"
    turns = '[{"inbound": ["b"], "address": "ana", "recorded": true, "history": [], "outgoing": []}]'
    await as_role(database, role, f"SELECT tecnobot.finish_turns('shop', '{turns}')")  # finds no message to finish
    assert await PostgresConversations(database, "shop").export(ChatId("ana")) == before


async def test_the_owner_sees_what_is_his(database: Database, role: str) -> None:
    for name, kind in await relations(database):
        if kind != "S":
            assert not await database.fetchval("SELECT row_security_active($1::text::regclass)", name), name
    assert await database.fetchval("SELECT count(*) FROM tecnobot.chat_history") == 1


async def test_nothing_is_granted_to_everybody(database: Database) -> None:
    await migrate(database)
    assert [row["name"] for row in await database.fetch(GRANTED, ["PUBLIC"])] == []


async def test_nothing_is_granted_to_the_roles_of_a_public_api(database: Database) -> None:
    roles = ("anon", "authenticated")
    for name in roles:
        await database.execute(f"CREATE ROLE {name}")
    try:
        # As Supabase does for every new table, for all schemas instead of one.
        for kind in ("TABLES", "SEQUENCES", "ROUTINES", "SCHEMAS"):
            await database.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO PUBLIC, {', '.join(roles)}")
        await migrate(database)
        assert [row["name"] for row in await database.fetch(GRANTED, ["PUBLIC", *roles])] == []
    finally:
        await forget(database, *roles)
