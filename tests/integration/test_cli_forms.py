"""``tecnobot forms`` against a real database."""

import asyncio
from pathlib import Path

import pytest

from tecnobot_core import ChatId
from tecnobot_core.adapters.postgres import Database, PostgresConversations, ensure_chatbot, migrate
from tecnobot_core.cli import main
from tecnobot_core.messages import FormRecord, Turn

pytestmark = pytest.mark.postgres
AT = 2_000_000_000.0  # 2033-05-18
ANA = ChatId("+525512345678")


@pytest.fixture
async def url(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A database with two records of the form "registro"."""
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        for number, name in enumerate(["Ána", "Eva"]):
            record = FormRecord(form="registro", values={"name": name}, submitted_at=AT + 86_400 * number)
            turn = Turn(chat=ANA, inbound=(name,), outcome="answered", answered_by="flow", records=(record,))
            await PostgresConversations(database, "shop").record([turn])
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    return database_url


async def run(*argv: str) -> int:
    return await asyncio.to_thread(main, argv)


async def test_forms_with_records_are_listed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("forms", "list", "--chatbot", "shop") == 0
    assert capsys.readouterr().out == "registro\t2 records\n"


async def test_records_are_exported_to_a_file_and_to_the_standard_output(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run("forms", "export", "--chatbot", "shop", "--spreadsheet", "registro", "records.csv") == 0
    lines = (tmp_path / "records.csv").read_text("utf-8").splitlines()  # nothing else runs
    assert lines[0] == "\ufeffsubmitted_at,chat,consent,name"
    assert lines[1] == "2033-05-18T03:33:20+00:00,+525512345678,,Ána"
    assert await run("forms", "export", "--chatbot", "shop", "registro") == 0
    assert "Eva" in capsys.readouterr().out


async def test_a_form_without_records_names_those_with_some(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("forms", "export", "--chatbot", "shop", "registros") == 2
    assert "forms with records: registro" in capsys.readouterr().err


async def test_old_records_are_deleted(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("forms", "delete", "--chatbot", "shop", "--before", "2033-05-18T12:00+00:00", "registro") == 0
    assert capsys.readouterr().out == "1 record deleted\n"
    assert await run("forms", "delete", "--chatbot", "shop", "--before", "ayer", "registro") == 2
    assert "2026-12-31" in capsys.readouterr().err
