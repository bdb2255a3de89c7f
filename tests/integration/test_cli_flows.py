"""``tecnobot flows import``, ``export`` and ``diff`` against a real database."""

# ruff: noqa: ASYNC240  these tests may block: nothing else runs

import asyncio
from pathlib import Path

import pytest

from tecnobot_core.adapters.flow_files import parse_flow_file
from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.flow_changes import change_flows
from tecnobot_core.cli import main
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow
from tecnobot_core.flows.steps import Ask, Finish

pytestmark = pytest.mark.postgres

HELLO = Flow("hola").on("hola").on("buenas", kind="exact").say("¡Hola! 👋", "Precios")
BYE = Flow("adios", priority=2).on("adiós").then(Ask(text="¿Ya?\nDime.", into="x"), Finish(text="Adiós"))
HELLO_YAML = """\
flows:
  - id: adios
    keywords: [adiós]
    priority: 2
    steps:
      - ask: |-
          ¿Ya?
          Dime.
        into: x
      - end: Adiós
  - id: hola
    keywords: [hola]
    exact: [buenas]
    steps:
      - say: ¡Hola! 👋
        buttons: [Precios]
"""


@pytest.fixture
async def url(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A database with the chatbots "shop", which has two flows, and "bakery"."""
    async with Database(database_url) as database:
        await migrate(database)
        for chatbot in ("shop", "bakery"):
            await ensure_chatbot(database, chatbot)
        for flow in (HELLO, BYE):
            await PostgresFlowStore(database).put("shop", flow)
        await PostgresFlowStore(database).put("bakery", HELLO)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    return database_url


class Command:
    """Runs commands in a thread, as ``main`` has an event loop of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self._url = url

    async def __call__(self, *argv: str, chatbot: str = "shop") -> tuple[int, str, str]:
        status = await asyncio.to_thread(main, ["flows", *argv, "--chatbot", chatbot])
        printed = self._capsys.readouterr()
        return status, printed.out, printed.err

    async def stored(self, chatbot: str = "shop") -> dict[str, Flow]:
        async with Database(self._url) as database:
            return await _load(database, chatbot)

    async def execute(self, statement: str) -> None:
        async with Database(self._url) as database:
            await database.execute(statement)


async def _load(database: Database, chatbot: str) -> dict[str, Flow]:
    flows, errors = await PostgresFlowStore(database).load(chatbot)
    assert errors == []
    return {flow.id: flow for flow in flows}


@pytest.fixture
def tecnobot(capsys: pytest.CaptureFixture[str], url: str) -> Command:
    return Command(capsys, url)


async def test_flows_are_exported_as_people_write_them(tecnobot: Command) -> None:
    assert await tecnobot("export") == (0, HELLO_YAML, "")


@pytest.mark.parametrize("options", [["flows.yaml"], ["flows.json"], ["flows.txt", "--format", "json"]])
async def test_what_is_exported_imports_and_changes_nothing(tecnobot: Command, options: list[str]) -> None:
    status, out, err = await tecnobot("export", *options)
    assert (status, out, err) == (0, "", f"2 flows written to {options[0]}\n")
    name = options[0].replace("txt", "json")
    Path(options[0]).rename(name)
    file = parse_flow_file(Path(name).read_bytes(), name)
    assert [flow.flow for flow in file.flows] == [BYE, HELLO]
    assert await tecnobot("diff", name) == (0, "", "")
    assert await tecnobot("import", name) == (0, "unchanged: 2 flows\n", "")
    assert await tecnobot("import", name, chatbot="bakery") == (0, "added: adios\nunchanged: 1 flow\n", "")
    assert await tecnobot.stored("bakery") == await tecnobot.stored()


async def test_an_import_adds_and_changes_and_leaves_the_others(tecnobot: Command) -> None:
    Path("new.yaml").write_text("id: hola\nkeywords: [hola]\nsteps: [Hola]\n")
    Path("more.json").write_text('{"id": "precio", "keywords": ["5"], "steps": [{"call": "adios"}]}')
    summary = "added: precio\nchanged: hola\nonly in the database, and left there: adios\nunchanged: 0 flows\n"
    assert await tecnobot("import", "new.yaml", "more.json", "--dry-run") == (0, summary, "")
    assert await tecnobot.stored() == {"hola": HELLO, "adios": BYE}
    assert await tecnobot("import", "new.yaml", "more.json") == (0, summary, "")
    stored = await tecnobot.stored()
    assert list(stored) == ["adios", "hola", "precio"]
    assert stored["hola"] == Flow("hola").on("hola").say("Hola")


async def test_an_import_can_remove_the_others(tecnobot: Command) -> None:
    Path("new.yaml").write_text("id: hola\nkeywords: [hola]\nsteps: [Hola]\n")
    assert await tecnobot("import", "new.yaml", "--remove-others") == (
        0, "changed: hola\nremoved: adios\nunchanged: 0 flows\n", "",
    )  # fmt: skip
    assert list(await tecnobot.stored()) == ["hola"]
    assert list(await tecnobot.stored("bakery")) == ["hola"]


async def test_where_anything_is_wrong_nothing_is_imported(tecnobot: Command) -> None:
    Path("a.yaml").write_text("id: new\nkeywords: [x]\nsteps: [x]\n")
    Path("b.yaml").write_text("id: bad\nkeywords: [y]\nsteps:\n- goto: nowhere\n- {}\n")
    status, out, err = await tecnobot("import", "a.yaml", "b.yaml")
    assert (status, out) == (1, "")
    assert err.splitlines()[0].startswith("b.yaml:5:3: flow 'bad', step 2: must be a step")
    assert err.splitlines()[-1] == "nothing was written"
    assert list(await tecnobot.stored()) == ["adios", "hola"]


async def test_a_way_may_lead_to_a_flow_of_the_database_that_stays(tecnobot: Command) -> None:
    Path("a.yaml").write_text("id: new\nkeywords: [x]\nsteps: [{goto: hola}]\n")
    status, _, err = await tecnobot("import", "a.yaml", "--remove-others")
    assert (status, err.splitlines()[0]) == (1, "a.yaml:3:9: flow 'new', step 1: goto: there is no flow 'hola'")
    assert (await tecnobot("import", "a.yaml"))[0] == 0


async def test_a_difference_is_shown_as_that_of_the_files(tecnobot: Command) -> None:
    Path("new.yaml").write_text(
        "flows:\n"
        "- {id: hola, keywords: [hola], exact: [buenas], steps: [{say: ¡Hola!, buttons: [Precios]}]}\n"
        "- {id: precio, keywords: [precio], steps: ['5 €']}\n"
    )
    status, out, err = await tecnobot("diff", "new.yaml")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[:3] == ["--- /dev/null", "+++ files: precio", "@@ -0,0 +1,4 @@"]
    assert "--- database: hola" in lines
    assert ("-  - say: ¡Hola! 👋" in lines, "+  - say: ¡Hola!" in lines) == (True, True)
    assert lines[-1] == "only in the database: adios"
    assert await tecnobot.stored() == {"hola": HELLO, "adios": BYE}


async def test_a_broken_flow_of_the_database_is_left_out_told_and_replaced(tecnobot: Command) -> None:
    await tecnobot.execute("UPDATE tecnobot.bot_flows SET response = '{}' WHERE id = 'hola'")
    status, out, err = await tecnobot("export", "flows.yaml")
    assert (status, out) == (1, "")
    assert err.startswith("1 flow written to flows.yaml\nleft out, because it is broken: flow 'hola': ")
    Path("new.yaml").write_text("id: hola\nkeywords: [hola]\nsteps: [Hola]\n")
    status, out, _ = await tecnobot("diff", "new.yaml")
    assert (status, "-# it is broken, and not shown" in out) == (1, True)
    assert (await tecnobot("import", "new.yaml"))[:2] == (
        0, "changed: hola\nonly in the database, and left there: adios\nunchanged: 0 flows\n",
    )  # fmt: skip
    assert list(await tecnobot.stored()) == ["adios", "hola"]


async def test_an_unknown_chatbot_is_told_with_the_known_ones(tecnobot: Command) -> None:
    status, out, err = await tecnobot("export", chatbot="shoop")
    assert (status, out) == (2, "")
    assert "there is no chatbot 'shoop' in " in err
    assert err.endswith("; there are bakery, shop\n")


async def test_a_database_without_our_tables_is_told(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    status, _, err = await Command(capsys, database_url)("export")
    assert status == 2
    assert err.startswith("tecnobot: the database refused: relation")


async def test_the_private_database_is_found_in_the_data_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres

    async with EmbeddedPostgres(tmp_path / "postgres", options={"fsync": "off"}) as server:
        async with Database(server.dsn) as database:
            await migrate(database)
            await ensure_chatbot(database, "shop")
            await PostgresFlowStore(database).put("shop", HELLO)
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.setenv("DATA_DIR", str(tmp_path))
        status, out, err = await Command(capsys, server.dsn)("export")
    assert (status, err) == (0, "")
    assert out.startswith("flows:\n  - id: hola\n")


# All at once

NO_REMOVING = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this table keeps what it has'; END $$;
CREATE TRIGGER keep BEFORE DELETE ON tecnobot.bot_flows FOR EACH STATEMENT EXECUTE FUNCTION keep();
"""


async def test_changes_are_one_version_and_no_half_of_them_is_ever_there(url: str) -> None:
    async with Database(url) as database:
        store = PostgresFlowStore(database)
        before = await store.version("shop")
        new = [Flow(f"f{number}").on(f"w{number}", "a\x00b\ud800").say("x") for number in range(2_000)]
        await change_flows(database, "shop", put=new, remove=["hola", "none"], seen_version=before)
        flows, errors = await store.load("shop")
        assert (len(flows), errors) == (2_001, [])
        version = await store.version("shop")
        await database.execute(NO_REMOVING)
        with pytest.raises(StoreError, match="this table keeps what it has"):
            await change_flows(database, "shop", put=[BYE, HELLO], remove=["f1"], seen_version=version)
        assert await store.load("shop") == (flows, [])
        assert await store.version("shop") == version


async def test_changes_are_refused_where_somebody_was_faster(url: str) -> None:
    async with Database(url) as database:
        store = PostgresFlowStore(database)
        seen = await store.version("shop")
        await store.put("shop", Flow("theirs").on("x").say("x"))
        with pytest.raises(StoreError, match="somebody changed flows at the same time; nothing was written"):
            await change_flows(database, "shop", put=[Flow("mine").on("x").say("x")], seen_version=seen)
        assert [flow.id for flow in (await store.load("shop"))[0]] == ["adios", "hola", "theirs"]
