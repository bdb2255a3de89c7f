"""Copies of the session: whole, private, few, and put back when the live one is damaged."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tecnobot_core.adapters.neonize.session import Session
from tecnobot_core.errors import TransportError
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
