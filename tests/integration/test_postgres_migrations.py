"""Migrations over a real server: once each, all or nothing, and closed to everybody else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.migrate import MIGRATIONS
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow

pytestmark = pytest.mark.postgres

RELATIONS = """
SELECT relname, relrowsecurity FROM pg_class
WHERE relnamespace = 'tecnobot'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, min_size=1) as database:
        yield database


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A role that may do nothing yet; roles belong to the whole server, so it is dropped again."""
    name = f"role_{uuid4().hex[:12]}"
    await database.execute(f"CREATE ROLE {name}")
    yield name
    await database.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def acting_as(role: str, url: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}role={role}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE tecnobot.a (x int);")
    (tmp_path / "0002_b.sql").write_text("ALTER TABLE tecnobot.a ADD y int; CREATE INDEX ON tecnobot.a (y);")
    return tmp_path


async def test_each_migration_is_applied_once_in_order(database: Database) -> None:
    names = sorted(entry.name for entry in MIGRATIONS.iterdir())
    assert await migrate(database) == names
    assert await migrate(database) == []


async def test_of_many_programs_that_start_together_one_applies(database_url: str) -> None:
    async def start() -> int:
        async with Database(database_url, min_size=1, max_size=1) as database:
            return len(await migrate(database))

    applied = await asyncio.gather(*(start() for _ in range(8)))
    assert sorted(applied) == [0] * 7 + [len(list(MIGRATIONS.iterdir()))]


async def test_a_migration_that_fails_leaves_nothing_behind(database: Database, directory: Path) -> None:
    (directory / "0003_broken.sql").write_text("CREATE TABLE tecnobot.z (x int); SELECT 1 / 0;")
    with pytest.raises(StoreError, match=r"0003_broken\.sql failed.*division by zero") as caught:
        await migrate(database, directory=directory)
    assert not caught.value.retryable
    assert await database.fetchval("SELECT to_regnamespace('tecnobot')") is None


async def test_a_new_file_is_applied_on_top(database: Database, directory: Path) -> None:
    await migrate(database, directory=directory)
    (directory / "0003_c.sql").write_text("CREATE TABLE tecnobot.c (x int);")
    assert await migrate(database, directory=directory) == ["0003_c.sql"]


async def test_an_edited_file_is_refused(database: Database, directory: Path) -> None:
    await migrate(database, directory=directory)
    (directory / "0001_a.sql").write_text("CREATE TABLE tecnobot.a (x bigint);")
    with pytest.raises(StoreError, match=r"0001_a\.sql was edited") as caught:
        await migrate(database, directory=directory)
    assert not caught.value.retryable


async def test_line_ends_are_no_edit(database: Database, directory: Path) -> None:
    (directory / "0001_a.sql").write_bytes(b"CREATE TABLE tecnobot.a (\nx int);\n")
    await migrate(database, directory=directory)
    (directory / "0001_a.sql").write_bytes(b"CREATE TABLE tecnobot.a (\r\nx int);\r\n")
    assert await migrate(database, directory=directory) == []


async def test_a_database_newer_than_the_program_is_refused(database: Database, directory: Path) -> None:
    await migrate(database, directory=directory)
    (directory / "0002_b.sql").unlink()
    with pytest.raises(StoreError, match=r"newer than this program.*0002_b\.sql") as caught:
        await migrate(database, directory=directory)
    assert not caught.value.retryable


async def test_a_database_that_cannot_hold_every_text_is_refused(database: Database, database_url: str) -> None:
    name = f"latin_{uuid4().hex[:12]}"
    await database.execute(
        f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    try:
        async with Database(urlsplit(database_url)._replace(path=f"/{name}").geturl(), min_size=1) as latin:
            with pytest.raises(StoreError, match=r"LATIN1.*UTF8"):
                await migrate(latin)
    finally:
        await database.execute(f"DROP DATABASE {name}")


# Rights


async def test_nothing_is_made_in_public_and_every_table_is_closed(database: Database) -> None:
    await migrate(database)
    assert await database.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    tables = {row["relname"]: row["relrowsecurity"] for row in await database.fetch(RELATIONS)}
    assert len(tables) >= 7
    assert all(tables.values()), tables
    assert await database.fetchval("SELECT count(*) FROM pg_policies") == 0


async def as_role(database: Database, role: str, statement: str) -> str:
    async with database.transaction() as connection:
        await connection.execute(f"SET LOCAL ROLE {role}")
        return await connection.execute(statement)


async def test_another_role_can_neither_read_nor_write(database: Database, role: str) -> None:
    await migrate(database)
    await ensure_chatbot(database, "shop")
    for row in await database.fetch(RELATIONS):
        for statement in (f"SELECT * FROM tecnobot.{row[0]}", f"DELETE FROM tecnobot.{row[0]}"):
            with pytest.raises(StoreError, match="permission denied"):
                await as_role(database, role, statement)


async def test_rights_that_everybody_has_by_default_are_taken_back(database: Database, role: str) -> None:
    await database.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
    await migrate(database)
    await database.execute(f"GRANT USAGE ON SCHEMA tecnobot TO {role}")
    with pytest.raises(StoreError, match="permission denied for table"):
        await as_role(database, role, "SELECT * FROM tecnobot.chatbot")


async def test_a_role_that_was_given_the_schema_by_mistake_sees_no_rows(database: Database, role: str) -> None:
    await migrate(database)
    await ensure_chatbot(database, "shop")
    await database.execute(f"GRANT USAGE ON SCHEMA tecnobot TO {role}")
    await database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA tecnobot TO {role}")
    assert await as_role(database, role, "SELECT * FROM tecnobot.chatbot") == "SELECT 0"
    assert await as_role(database, role, "UPDATE tecnobot.chatbot SET name = 'x'") == "UPDATE 0"


async def test_an_ordinary_role_that_may_create_can_do_everything(
    database: Database, database_url: str, role: str
) -> None:
    await database.execute(
        f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$"
    )
    async with Database(acting_as(role, database_url), min_size=1) as limited:
        await migrate(limited)
        await ensure_chatbot(limited, "shop")
        assert await PostgresFlowStore(limited).add("shop", Flow("f").on("hola").say("x"))
        assert len(await PostgresFlowStore(limited).search_flows("shop", "hola")) == 1


async def test_a_role_without_rights_is_told_which_one_is_missing(
    database: Database, database_url: str, role: str
) -> None:
    async with Database(acting_as(role, database_url), min_size=1) as limited:
        with pytest.raises(StoreError, match="permission denied for database"):
            await migrate(limited)
        await database.execute(f"CREATE SCHEMA tecnobot AUTHORIZATION {role}")
        with pytest.raises(StoreError, match=r"permission denied to create extension .pg_trgm.*CREATE privilege"):
            await migrate(limited)
        await database.execute("CREATE EXTENSION pg_trgm SCHEMA tecnobot")
        assert await migrate(limited)


async def test_an_extension_that_lives_elsewhere_is_used_where_it_is(database: Database) -> None:
    await database.execute('CREATE SCHEMA "the extensions"; CREATE EXTENSION pg_trgm SCHEMA "the extensions"')
    await migrate(database)
    await ensure_chatbot(database, "shop")
    store = PostgresFlowStore(database)
    await store.add("shop", Flow("f").on("garantía").say("x"))
    assert len(await store.search_flows("shop", "garantai")) == 1


async def test_the_search_path_of_the_session_does_not_matter(database: Database, database_url: str) -> None:
    await migrate(database)
    await ensure_chatbot(database, "shop")
    async with Database(
        f"{database_url}{'&' if '?' in database_url else '?'}search_path=pg_catalog", min_size=1
    ) as other:
        store = PostgresFlowStore(other)
        await store.add("shop", Flow("f").on("garantía").say("x"))
        assert await store.version("shop") == 1
        assert len(await store.search_flows("shop", "garantai")) == 1


def test_the_files_are_numbered_without_gaps() -> None:
    numbers = sorted(int(entry.name.split("_")[0]) for entry in MIGRATIONS.iterdir())
    assert numbers == list(range(1, len(numbers) + 1))
