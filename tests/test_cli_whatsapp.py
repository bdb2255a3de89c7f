"""``tecnobot whatsapp``: real session files and a real gateway process, without the library."""

import asyncio
import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.neonize.child.frames import Frame
from tecnobot_core.adapters.neonize.locking import alone
from tecnobot_core.adapters.neonize.session import Session
from tecnobot_core.adapters.postgres import Database, ensure_chatbot, migrate
from tecnobot_core.adapters.postgres.sessions import PostgresSessions, stored_copies
from tecnobot_core.cli import main, whatsapp, whatsapp_account
from tecnobot_core.config import Settings
from tecnobot_core.connection.ports import Sink
from tecnobot_core.errors import StoreError, TransportError
from tests.test_neonize_session import last_note, names, write

JID = "5511900000001:7@s.whatsapp.net"
QR: Frame = {"type": "pairing", "kind": "qr", "data": "https://wa.me/settings#2@" + "x" * 150, "lasts_s": 60.0}
PAIRED: Frame = {"type": "paired", "ok": True, "detail": ""}
OPENED: Frame = {"type": "opened"}


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the account is. The fake link does nothing by itself in a folder of this name."""
    for variable in Settings.variables().values():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "silent"))
    monkeypatch.setattr(whatsapp, "STAY_S", 0.0)
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "silent" / "whatsapp"
    directory.mkdir(parents=True)
    return directory


def join(directory: Path, note: str = "") -> Session:
    """A session of an account."""
    session = Session(directory)
    session.prepare()
    write(session.path, note=note)
    _set_account(session.path)
    return session


def _set_account(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE whatsmeow_device SET jid = ?", (JID,))


class Script:
    """What the fake link says once it is asked to connect, and what it is asked after that."""

    def __init__(self) -> None:
        self.says: Sequence[Frame] = (OPENED,)
        self.on_code: Sequence[Frame] = ()
        self.joins: Path | None = None
        self.failure: TransportError | None = None
        self.asked: list[str] = []


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    class Scripted(WhatsAppTransport):
        def __init__(self, directory: Path, **options: Any) -> None:
            super().__init__(directory, fake=True, **options)

        async def open(self, sink: Sink) -> None:
            await super().open(sink)
            await self._say(script.says)

        async def pair_by_code(self, phone_number: str) -> None:
            script.asked.append(phone_number)
            if script.failure:
                raise script.failure
            await self._say(script.on_code)

        async def log_out(self) -> None:
            script.asked.append("log out")
            await super().log_out()

        async def reachable(self) -> bool:
            return True

        async def _say(self, frames: Sequence[Frame]) -> None:
            if script.joins and PAIRED in frames:
                join(script.joins)
            await self._request("fake", say=list(frames))

    monkeypatch.setattr(whatsapp_account, "WhatsAppTransport", Scripted)
    return script


def run(*argv: str) -> int:
    return main(["whatsapp", *argv])


# pair


def test_a_qr_code_is_drawn_and_the_session_saved(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.says, script.joins = (QR, PAIRED, OPENED), directory
    assert run("pair") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) < 80
    assert printed.count("█") > 300
    assert "valid for" in printed
    assert QR["data"] not in printed
    assert printed.endswith("joined: +5511900000001, device 7\n")
    assert names(directory / "copies")[0] == "copy-0"


def test_a_code_is_asked_for_once_and_shown_instead(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.says, script.joins = (QR, QR), directory
    code = {"type": "pairing", "kind": "code", "data": "KXS6-TJVD", "lasts_s": 160.0}
    script.on_code = (code, PAIRED, OPENED)
    assert run("pair", "--code", "+55 11 90000-0001") == 0
    printed = capsys.readouterr().out
    assert "KXS6-TJVD" in printed
    assert "█" not in printed
    assert script.asked == ["+55 11 90000-0001"]


def test_a_code_that_cannot_be_had_ends_it(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.says = (QR,)
    script.failure = TransportError("a phone number has 7 to 15 digits", retryable=False)
    assert run("pair", "--code", "12") == 2
    assert capsys.readouterr().err == "tecnobot: a phone number has 7 to 15 digits\n"


def test_nobody_who_scans_in_time_is_told(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    lost = {"type": "lost", "reason": "pairing_timeout", "detail": "pairing ended: timeout", "retryable": False}
    script.says = (QR, {**PAIRED, "ok": False}, lost)
    assert run("pair") == 2
    assert "start again with the phone at hand" in capsys.readouterr().err


def test_who_is_joined_is_not_paired_again(directory: Path, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    join(directory)
    assert run("pair") == 1
    assert "joined already: +5511900000001, device 7" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["pair"], ["logout", "--yes"], ["restore", "latest"], ["restore", "file"]])
def test_nothing_is_done_while_a_bot_runs(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    session = join(directory)
    asyncio.run(session.export(Path("file")))
    with alone(directory):
        assert run(*command) == 2
    assert "a bot runs with the account" in capsys.readouterr().err
    assert session.path.exists()


def test_a_damaged_session_is_not_paired_over(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "session.db").write_bytes(b"garbage" * 1000)
    assert run("pair") == 2
    assert "cannot be read" in capsys.readouterr().err


# logout


def test_after_leaving_session_and_copies_are_put_aside(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    session = join(directory)
    asyncio.run(session.save())
    assert run("logout", "--yes") == 0
    assert script.asked == ["log out"]
    assert (session.path.exists(), session.copies()) == (False, [])
    assert {name.split("-", 1)[1] for name in names(directory / "quarantine")} >= {"session.db", "copy-0"}
    assert run("logout", "--yes") == 1
    assert "no account to leave" in capsys.readouterr().err


def test_leaving_is_asked_for(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = join(directory)
    assert run("logout") == 2
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("", "n"):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert run("logout") == 1
    assert session.path.exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert run("logout") == 0
    assert not session.path.exists()


def test_an_account_that_removed_the_device_itself_is_left(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    session = join(directory)
    script.says = ({"type": "lost", "reason": "logged_out", "detail": "LOGGED_OUT", "retryable": False},)
    assert run("logout", "--yes") == 0
    assert "had removed this device already" in capsys.readouterr().out
    assert not session.path.exists()


def test_a_session_that_is_not_joined_after_all_shows_no_code(
    directory: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    session = join(directory)
    script.says = (QR,)
    assert run("logout", "--yes") == 2
    printed = capsys.readouterr()
    assert "nobody is joined" in printed.err
    assert "█" not in printed.out
    assert session.path.exists()


# status


def test_status_tells_the_account_the_copies_and_whether_all_is_whole(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status") == 1
    assert "No such file" in capsys.readouterr().out
    session = join(directory)
    asyncio.run(session.save())
    assert run("status") == 0
    printed = capsys.readouterr().out
    assert "session.db: +5511900000001, device 7, 12 KiB, whole" in printed
    assert "copy-0, of " in printed
    assert "day-" not in printed  # the same copy
    assert "bot       does not run" in printed
    with alone(directory):
        assert run("status") == 0
    assert "bot       runs" in capsys.readouterr().out
    session.copies()[0].write_bytes(b"garbage" * 1000)
    assert run("status") == 1
    assert "file is not a database" in capsys.readouterr().out


def test_status_is_also_for_programs(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = join(directory)
    asyncio.run(session.save())
    assert run("status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["running"], told["well"], told["database"]) == (False, True, None)
    assert (told["session"]["accounts"], told["session"]["problem"]) == ([JID], "")
    assert [copy["accounts"] for copy in told["copies"]] == [[JID]]
    write(session.path, devices=0)
    assert run("status", "--json") == 1
    assert json.loads(capsys.readouterr().out)["session"]["accounts"] == []


# backup and restore


def test_a_backup_is_whole_private_and_replaces_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backup", "safe") == 1
    assert "no account to copy" in capsys.readouterr().err
    session = join(directory, note="first")
    with alone(directory):  # also while the bot runs
        assert run("backup", "safe") == 0
    assert capsys.readouterr().out == "+5511900000001, device 7 written to safe, 12 KiB, verified\n"
    assert stat.S_IMODE(os.stat("safe").st_mode) == 0o600
    write(session.path, note="second")
    assert run("backup", "safe") == 2
    assert "--force" in capsys.readouterr().err
    assert last_note(Path("safe")) == "first"
    assert run("backup", "--force", "safe") == 0
    assert last_note(Path("safe")) == "second"
    for target in (str(session.path), str(directory / "copies" / "copy-0"), ".", "nowhere/safe"):
        assert run("backup", "--force", target) == 2, target
    session.path.write_bytes(b"garbage" * 1000)
    assert run("backup", "other") == 2
    assert not Path("other").exists()


def test_a_file_and_the_newest_copy_can_be_restored_and_what_was_there_is_kept(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = join(directory, note="first")
    assert run("restore", "latest") == 1
    assert "no copy that is whole" in capsys.readouterr().err
    assert run("backup", "safe") == 0
    write(session.path, note="second")
    asyncio.run(session.save())
    write(session.path, note="third")
    assert run("restore", "safe") == 0
    assert "+5511900000001, device 7 restored" in capsys.readouterr().out
    assert last_note(session.path) == "first"
    assert run("restore", "latest") == 0
    assert last_note(session.path) == "second"
    aside = sorted(last_note(path) for path in (directory / "quarantine").iterdir())
    assert aside == ["first", "third"]
    Path("garbage").write_bytes(b"garbage" * 1000)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert run("restore", "safe") == 0  # which needs no database
    assert run("restore", "garbage") == 2
    assert run("restore", "missing") == 2
    assert last_note(session.path) == "first"


# With a database


@pytest.fixture
async def shared(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with a chatbot, which this machine shares with others."""
    async with Database(database_url, min_size=1, max_size=1) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SECRET_KEY", "correct horse battery staple, twice")
    return database_url


async def run_here(*argv: str) -> int:
    return await asyncio.to_thread(run, *argv)


async def stored(url: str) -> list[bool]:
    """Whether each of the copies in the database is revoked."""
    async with Database(url, min_size=1, max_size=1) as database:
        return [copy.revoked for copy in await stored_copies(database, "shop")]


@pytest.mark.postgres
async def test_who_is_paired_here_is_joined_on_every_machine_with_the_database(
    directory: Path, script: Script, shared: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script.says, script.joins = (QR, PAIRED, OPENED), directory
    assert await run_here("pair") == 0
    assert await stored(shared) == [False]
    assert await run_here("status") == 0
    assert "database  1 to use, the newest of " in capsys.readouterr().out

    monkeypatch.setenv("DATA_DIR", "silent2")
    there = Path("silent2", "whatsapp")
    assert await run_here("pair") == 1
    printed = capsys.readouterr().err
    assert "came back from a copy" in printed
    assert "joined already: +5511900000001, device 7" in printed
    (there / "session.db").unlink()  # nothing else runs
    assert await run_here("restore", "latest") == 0
    assert (await Session(there).condition(there / "session.db")).accounts == [JID]

    script.says = (OPENED,)
    assert await run_here("logout", "--yes") == 0
    assert all(await stored(shared))
    monkeypatch.setenv("DATA_DIR", "silent3")
    script.says, script.joins = (QR, PAIRED, OPENED), Path("silent3", "whatsapp")
    assert await run_here("pair") == 0
    assert (await stored(shared))[0] is False
    capsys.readouterr()
    assert await run_here("status", "--json") == 0
    assert [copy["revoked"] for copy in json.loads(capsys.readouterr().out)["database"]][:2] == [False, True]


@pytest.mark.postgres
async def test_copies_in_the_database_need_a_key_that_every_machine_has(
    directory: Path, script: Script, shared: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SECRET_KEY")
    assert await run_here("pair") == 2
    assert "SECRET_KEY must be set when DATABASE_URL is" in capsys.readouterr().err
    assert script.asked == []
    assert await run_here("status") == 1  # which needs none
    assert "database  0 to use" in capsys.readouterr().out


@pytest.mark.postgres
async def test_a_copy_that_does_not_reach_the_database_is_told(
    directory: Path, script: Script, shared: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def put(self: PostgresSessions, content: bytes, taken_at: float) -> None:
        raise StoreError("the disk is full", retryable=False)

    monkeypatch.setattr(PostgresSessions, "put", put)
    script.says, script.joins = (QR, PAIRED, OPENED), directory
    assert await run_here("pair") == 1
    printed = capsys.readouterr()
    assert "joined: +5511900000001, device 7" in printed.out
    assert "saved on this machine, but not in the database: the disk is full" in printed.err


@pytest.mark.postgres
async def test_of_several_chatbots_one_is_named(
    directory: Path, script: Script, shared: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Database(shared, min_size=1, max_size=1) as database:
        await ensure_chatbot(database, "bakery")
    assert await run_here("pair") == 2
    assert "say with --chatbot which" in capsys.readouterr().err
    assert await run_here("pair", "--chatbot", "butcher") == 2
    assert "there is no chatbot 'butcher'" in capsys.readouterr().err
    script.says, script.joins = (QR, PAIRED, OPENED), directory
    assert await run_here("pair", "--chatbot", "shop") == 0
    assert await stored(shared) == [False]


@pytest.mark.postgres
async def test_a_database_without_tables_or_without_a_server_is_told(
    directory: Path,
    script: Script,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    join(directory)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SECRET_KEY", "correct horse battery staple, twice")
    assert await run_here("pair") == 2
    assert "start the bot once" in capsys.readouterr().err
    assert await run_here("status", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["session"]["accounts"] == [JID]
    assert "start the bot once" in told["database"]["problem"]


@pytest.mark.postgres
async def test_a_session_in_postgresql_is_shown_and_not_copied(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHATSAPP_SESSION_URL", database_url)
    assert await run_here("status") == 1
    assert "nobody is joined" in capsys.readouterr().out
    async with Database(database_url, min_size=1, max_size=1) as database:
        await database.execute(f"CREATE TABLE whatsmeow_device AS SELECT '{JID}'::text AS jid")
    assert await run_here("status") == 0
    assert "+5511900000001, device 7" in capsys.readouterr().out
    for command in (["backup", "safe"], ["restore", "latest"]):
        assert await run_here(*command) == 2
        assert "pg_dump" in capsys.readouterr().err
