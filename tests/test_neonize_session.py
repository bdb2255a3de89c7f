"""Copies of the session: whole, private, few, and put back when the live one is damaged."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.neonize.locking import alone, is_running
from tecnobot_core.adapters.neonize.session import Session
from tecnobot_core.connection.ports import TransportEvent
from tecnobot_core.errors import StoreError, TransportError
from tecnobot_core.events import SessionRestored
from tecnobot_core.testing import FakeClock

DAY_S = 86_400


def write(path: Path, devices: int = 1, note: str = "") -> None:
    """A database like the library's, with *note* in it."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS whatsmeow_device (jid TEXT)")
        database.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
        database.execute("DELETE FROM whatsmeow_device")
        database.executemany("INSERT INTO whatsmeow_device VALUES (?)", [(str(n),) for n in range(devices)])
        database.execute("INSERT INTO notes VALUES (?)", (note,))


def last_note(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT note FROM notes ORDER BY rowid DESC").fetchone()[0])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def session(tmp_path: Path, clock: FakeClock) -> Session:
    session = Session(tmp_path / "whatsapp", clock=clock)
    session.prepare()
    return session


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_copy_is_whole_and_private(session: Session) -> None:
    write(session.path, note="first")
    size_bytes = await session.save()
    copy = session.directory / "copies" / "copy-0"
    assert size_bytes == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert last_note(copy) == "first"
    assert (session.directory / "copies").stat().st_mode & 0o777 == 0o700


async def test_what_did_not_change_is_not_copied_again(session: Session) -> None:
    write(session.path)
    assert await session.save()
    assert await session.save() is None
    write(session.path, note="more")
    assert await session.save()


async def test_three_copies_are_kept_and_one_a_day_for_three_days(session: Session, clock: FakeClock) -> None:
    days = []
    for number in range(10):
        write(session.path, note=str(number))
        days.append(time.strftime("day-%Y-%m-%d", time.gmtime(clock())))
        await session.save()
        await clock.advance(DAY_S / 2)
    copies = session.directory / "copies"
    assert names(copies) == ["copy-0", "copy-1", "copy-2", *sorted(set(days))[-3:]]
    assert [last_note(copies / f"copy-{n}") for n in range(3)] == ["9", "8", "7"]
    assert last_note(copies / sorted(set(days))[-1]) == str(days.index(days[-1]))


async def test_a_session_without_a_device_pushes_no_copy_out(session: Session) -> None:
    write(session.path, note="paired")
    await session.save()
    write(session.path, devices=0, note="logged out")
    assert await session.save() is None
    assert last_note(session.directory / "copies" / "copy-0") == "paired"
    assert len(names(session.directory / "copies")) == 2


async def test_a_copy_taken_while_the_library_writes_is_whole(session: Session) -> None:
    write(session.path)
    with closing(sqlite3.connect(session.path)) as live:
        live.execute("PRAGMA journal_mode = wal")
        for number in range(10):
            live.execute("INSERT INTO notes VALUES (?)", (str(number),))
            live.commit()
            assert await session.save()
            assert last_note(session.directory / "copies" / "copy-0") == str(number)


async def test_a_damaged_session_is_told_and_the_newest_good_copy_put_in_its_place(
    session: Session, clock: FakeClock
) -> None:
    for number in range(2):
        write(session.path, note=str(number))
        await session.save()
    (session.directory / "copies" / "copy-0").write_bytes(b"damaged too")
    session.path.write_bytes(b"garbage" * 1000)
    log = session.path.with_name("session.db-wal")
    log.write_bytes(b"of another database")
    with pytest.raises(TransportError, match="cannot be read") as failure:
        await session.check()
    assert failure.value.reason == "store_error"
    await clock.advance(3600)
    age_s = await session.restore()
    assert age_s is not None
    assert 3500 < age_s < 3700
    await session.check()
    assert last_note(session.path) == "0"
    assert not log.exists()
    assert any(name.endswith("session.db") for name in names(session.directory / "quarantine"))
    assert session.path.stat().st_mode & 0o777 == 0o600


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let another process hold *path*."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate(b"")


@pytest.mark.parametrize(
    "copy_timeout_s",
    [1.0, pytest.param(30.0, marks=pytest.mark.slow)],  # no answer in time; SQLite's own word after 10 s
)
async def test_a_session_that_is_only_locked_is_to_be_tried_again_and_stays(
    tmp_path: Path, copy_timeout_s: float
) -> None:
    session = Session(tmp_path / "whatsapp", copy_timeout_s=copy_timeout_s)
    session.prepare()
    write(session.path, note="old")
    await Session(tmp_path / "whatsapp").save()
    write(session.path, note="new")
    with locked(session.path), pytest.raises(TransportError, match="cannot be read for now") as failure:
        await session.check()
    assert (failure.value.reason, failure.value.retryable) == ("unknown", True)
    await Session(tmp_path / "whatsapp").check()
    assert last_note(session.path) == "new"


async def test_what_another_process_restored_is_told_once_when_the_bot_opens(
    session: Session, clock: FakeClock
) -> None:
    write(session.path, note="first")
    await session.save()
    await clock.advance(60)
    await session.restore()
    transport = WhatsAppTransport(session.directory, fake=True, clock=clock)
    events: list[TransportEvent] = []
    await transport.open(events.append)
    await transport.close()
    assert [event.age_s for event in events if isinstance(event, SessionRestored)] == [pytest.approx(60, abs=1)]
    events.clear()
    await transport.open(events.append)
    await transport.close()
    assert await transport.restore_session() is not None  # told by whoever asked for it
    await transport.open(events.append)
    await transport.close()
    assert not [event for event in events if isinstance(event, SessionRestored)]


async def test_without_a_good_copy_nothing_is_touched(session: Session) -> None:
    session.path.write_bytes(b"garbage" * 1000)
    assert await session.restore() is None
    assert session.path.exists()


async def test_before_pairing_there_is_nothing_to_check_or_save(session: Session) -> None:
    await session.check()
    assert await session.save() is None
    session.path.touch()
    await session.check()
    assert await session.save() is None


async def test_a_session_that_is_gone_is_told_when_there_are_copies(session: Session) -> None:
    write(session.path)
    await session.save()
    session.path.unlink()
    with pytest.raises(TransportError, match="gone or empty, but there are copies"):
        await session.check()
    assert await session.restore() is not None
    await session.check()


async def test_what_was_revoked_is_put_aside_and_never_restored(session: Session) -> None:
    for _ in range(2):
        write(session.path)
        await session.save()
        session.quarantine()
    assert not session.path.exists()
    assert await session.restore() is None
    assert len(names(session.directory / "quarantine")) == 6


async def test_a_copy_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    session = Session(tmp_path / "whatsapp", copy_timeout_s=0.001)
    session.prepare()
    write(session.path)
    with pytest.raises(TransportError, match="no answer within"):
        await session.save()


async def test_a_path_with_any_characters_is_named_to_the_library_as_it_is(tmp_path: Path) -> None:
    session = Session(tmp_path / "my 100% bot?#")
    session.prepare()
    write(session.path, note="here")
    name = session.data_source.partition("?")[0]
    with closing(sqlite3.connect(f"file:{name}?mode=ro", uri=True)) as database:
        assert database.execute("SELECT note FROM notes").fetchone() == ("here",)
    assert await session.save()


async def test_two_saves_at_once_leave_whole_copies(session: Session) -> None:
    write(session.path)
    await asyncio.gather(session.save(), session.save())
    assert last_note(session.directory / "copies" / "copy-0") == ""


# Copies that outlive the machine


class Elsewhere:
    """Keeps copies in memory; *down*: it cannot be reached."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, float]] = []
        self.revoked: list[tuple[bytes, float]] = []
        self.down = False

    async def put(self, content: bytes, taken_at: float) -> None:
        self._require_up()
        self.kept.append((content, taken_at))

    async def latest(self) -> tuple[bytes, float] | None:
        self._require_up()
        return self.kept[-1] if self.kept else None

    async def revoke(self) -> None:
        self._require_up()
        self.revoked += self.kept
        self.kept.clear()

    def _require_up(self) -> None:
        if self.down:
            raise StoreError("the database cannot be reached", retryable=True)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def machine(tmp_path: Path, clock: FakeClock, elsewhere: Elsewhere) -> Callable[[str], Session]:
    """A session on the machine of that name, as it is when the bot starts there."""

    def start(name: str) -> Session:
        session = Session(tmp_path / name, copies=elsewhere, clock=clock)
        session.prepare()
        return session

    return start


Machine = Callable[[str], Session]


async def test_a_machine_without_files_gets_the_newest_session_back(machine: Machine, clock: FakeClock) -> None:
    first = machine("first")
    assert await first.bring_back() is None
    for number in range(2):
        write(first.path, note=str(number))
        assert await first.save()
    await clock.advance(90)
    second = machine("second")
    assert await second.bring_back() == pytest.approx(90)
    await second.check()
    assert last_note(second.path) == "1"
    assert {path.stat().st_mode & 0o777 for path in (second.path, *second.copies())} == {0o600}
    assert await second.bring_back() is None


async def test_a_session_that_was_saved_from_here_stays_whatever_the_clock_says(
    machine: Machine, clock: FakeClock
) -> None:
    session = machine("first")
    write(session.path, note="saved")
    await session.save()
    write(session.path, note="later")
    os.utime(session.path, (1e9, 1e9))  # the clock was wrong while it was written
    again = machine("first")
    assert await again.bring_back() is None
    assert last_note(again.path) == "later"


async def test_an_older_session_gives_way_to_that_of_another_machine_and_is_kept(
    machine: Machine, clock: FakeClock
) -> None:
    first = machine("first")
    write(first.path, note="old")
    await first.save()
    await clock.advance(3600)
    second = machine("second")
    await second.bring_back()
    write(second.path, note="new")
    await second.save()
    again = machine("first")
    assert await again.bring_back() is not None
    assert last_note(again.path) == "new"
    assert [last_note(path) for path in (again.directory / "quarantine").glob("*.db")] == ["old"]


async def test_after_the_first_opening_nothing_is_replaced_from_elsewhere(machine: Machine, clock: FakeClock) -> None:
    first = machine("first")
    await first.bring_back()
    write(first.path, note="here")
    await first.save()
    await clock.advance(3600)
    second = machine("second")
    await second.bring_back()
    write(second.path, note="elsewhere")
    await second.save()
    assert await first.bring_back() is None  # as before a reconnect
    assert last_note(first.path) == "here"


async def test_a_newer_session_does_not_give_way(machine: Machine, clock: FakeClock) -> None:
    first, second = machine("first"), machine("second")
    write(first.path, note="of elsewhere")
    await clock.advance(-3600)
    await first.save()
    write(second.path, note="here")
    assert await second.bring_back() is None
    assert last_note(second.path) == "here"


async def test_a_damaged_session_without_copies_here_is_restored_from_elsewhere(machine: Machine) -> None:
    first = machine("first")
    write(first.path, note="saved")
    await first.save()
    second = machine("second")
    second.path.write_bytes(b"garbage" * 1000)
    await second.bring_back()
    with pytest.raises(TransportError):
        await second.check()
    assert await second.restore() is not None
    assert last_note(second.path) == "saved"
    third = machine("third")
    assert await third.restore() is not None  # as somebody may ask for before it is opened
    assert last_note(third.path) == "saved"


async def test_without_a_word_from_elsewhere_nobody_is_asked_to_pair_anew(
    machine: Machine, elsewhere: Elsewhere
) -> None:
    first = machine("first")
    write(first.path)
    await first.save()
    elsewhere.down = True
    second = machine("second")
    with pytest.raises(TransportError, match="cannot be had: the database cannot be reached") as failure:
        await second.bring_back()
    assert (failure.value.reason, failure.value.retryable) == ("network", True)
    assert await machine("first").bring_back() is None  # this one has what it needs
    assert await first.restore() is not None
    elsewhere.down = False
    assert await second.bring_back() is not None


async def test_a_copy_that_did_not_arrive_is_told_and_sent_again(machine: Machine, elsewhere: Elsewhere) -> None:
    session = machine("first")
    write(session.path, note="saved")
    elsewhere.down = True
    with pytest.raises(TransportError, match="on this machine, but not in the database"):
        await session.save()
    assert last_note(session.copies()[0]) == "saved"
    with pytest.raises(TransportError):
        await session.save()
    elsewhere.down = False
    assert await session.save() is None  # nothing new
    assert await session.save() is None
    assert len(elsewhere.kept) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_what_was_revoked_does_not_come_back(machine: Machine, elsewhere: Elsewhere, told: bool) -> None:
    session = machine("first")
    write(session.path)
    await session.save()
    elsewhere.down = not told
    await session.revoke()
    elsewhere.down = False
    assert bool(elsewhere.revoked) == told
    again = machine("first")
    assert await again.bring_back() is None
    await again.check()
    assert await again.restore() is None
    assert not again.path.exists()


async def test_a_copy_from_elsewhere_that_is_damaged_is_not_used(machine: Machine, elsewhere: Elsewhere) -> None:
    elsewhere.kept.append((b"garbage" * 1000, 1e9))
    session = machine("first")
    assert await session.bring_back() is None
    assert not session.path.exists()


async def test_nothing_is_put_in_the_place_of_a_session_that_runs(machine: Machine, tmp_path: Path) -> None:
    session = machine("first")
    write(session.path, note="runs")
    await session.save()
    assert not is_running(session.directory)
    with alone(session.directory):
        assert is_running(session.directory)
        for attempt in (session.restore(), session.replace(session.copies()[0]), machine("first").restore()):
            with pytest.raises(TransportError, match="a bot runs with the account"):
                await attempt
    assert not (session.directory / "quarantine").exists()
    assert await session.restore() is not None
    assert not is_running(tmp_path / "nowhere")


async def test_any_whole_copy_can_be_put_in_place_and_nothing_else(machine: Machine, tmp_path: Path) -> None:
    session = machine("first")
    write(session.path, note="exported")
    assert (await session.export(tmp_path / "safe")).accounts == ["0"]
    assert (tmp_path / "safe").stat().st_mode & 0o777 == 0o600
    write(session.path, note="later")
    assert (await session.replace(tmp_path / "safe")).accounts == ["0"]
    assert last_note(session.path) == "exported"
    write(tmp_path / "nobody", devices=0)
    (tmp_path / "garbage").write_bytes(b"garbage" * 1000)
    for name, why in (("nobody", "no account"), ("garbage", "not a database"), ("missing", "No such file")):
        with pytest.raises(TransportError, match=why):
            await session.replace(tmp_path / name)
    assert last_note(session.path) == "exported"
    session.path.unlink()
    with pytest.raises(TransportError, match="cannot be copied: No such file"):
        await session.export(tmp_path / "other")


async def test_a_transport_brings_the_session_back_before_it_connects_and_revokes_it_when_told(
    tmp_path: Path, elsewhere: Elsewhere, machine: Machine
) -> None:
    first = machine("first")
    write(first.path)
    await first.save()
    transport = WhatsAppTransport(tmp_path / "second", copies=elsewhere, fake=True)
    told: list[TransportEvent] = []
    await transport.open(told.append)
    try:
        assert isinstance(told[0], SessionRestored)
        assert last_note(transport.session.path) == ""
        write(transport.session.path, note="changed")
        await transport.save_session()
        assert len(elsewhere.kept) == 2
        # A process runs: whoever comes now must wait.
        with pytest.raises(TransportError, match="a bot runs"):
            await machine("second").restore()
    finally:
        await transport.close()
    told.clear()
    await transport.open(told.append)
    await transport.close()
    assert not any(isinstance(event, SessionRestored) for event in told)
    await transport.quarantine_session()
    assert (elsewhere.kept, len(elsewhere.revoked)) == ([], 2)
