"""Somebody removes the directory of temporary files under a running bot."""

import asyncio
import logging
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from tecnobot_core.errors import ConfigurationError, TemporarySpaceError
from tecnobot_core.temporary_files import TemporaryFiles
from tests.test_temporary_files import dead_owner, files_in, temporary_files, until


def remove(what: str, base: Path) -> None:
    if what == "all":
        shutil.rmtree(base)
    for own in base.glob("own-*"):
        (own / ".lock").unlink() if what == "lock" else shutil.rmtree(own)


async def write(files: TemporaryFiles, *, removing: Path | None = None) -> None:
    async with files.lease(".ogg", 10) as path:
        if removing is not None:
            remove("own", removing)
        path.write_bytes(b"x")


@pytest.mark.parametrize("what", ["all", "own", "lock"])
async def test_the_next_lease_makes_a_new_directory(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tmp_path / "base"
    n_descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    async with temporary_files(base) as files, temporary_files(base) as other:
        remove(what, base)
        for _ in range(2):
            await write(files)
        assert caplog.text.count("was removed; a new one was made") == 1
        dead_owner(base)
        assert await other.sweep() == 3
        assert len(list(base.iterdir())) == 2, "one for each of the two"
        await write(files)
    assert files_in(base) == []
    assert list(base.iterdir()) == []
    if n_descriptors:
        assert len(os.listdir("/proc/self/fd")) == n_descriptors


async def test_a_sweep_makes_a_new_directory(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        remove("own", tmp_path)
        await files.sweep()
        assert len(os.listdir(tmp_path)) == 1
        remove("own", tmp_path)
        await files.release(1)
        assert len(os.listdir(tmp_path)) == 1


async def test_a_lease_that_lived_there_says_what_happened(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        with pytest.raises(TemporarySpaceError, match="was removed while it was in use"):
            await write(files, removing=tmp_path)
        async with files.lease(".ogg", 10) as lost:
            remove("own", tmp_path)
            async with files.lease(".ogg", 10) as found:
                with pytest.raises(TemporarySpaceError, match="was removed"):
                    await files.grow(lost, 1)
                await files.grow(found, 1)
                assert files.statistics().bytes == 21
        assert files.statistics().bytes == 0


async def test_another_file_that_is_missing_is_an_error_of_whoever_looked_for_it(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        with pytest.raises(FileNotFoundError):
            async with files.lease(".ogg", 10):
                (tmp_path / "nowhere").read_bytes()


async def test_sweeping_goes_on_when_no_new_directory_can_be_made_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, turns = tmp_path / "base", asyncio.Semaphore(0)
    async with temporary_files(base, sleep=lambda seconds: turns.acquire()) as files:
        shutil.rmtree(base)
        base.touch()
        with pytest.raises(ConfigurationError, match="a directory that can be written"):
            await write(files)
        with caplog.at_level(logging.WARNING):
            turns.release()
            await until(lambda: "cannot be swept" in caplog.text)
        base.unlink()
        turns.release()
        await until(base.is_dir)
        await write(files)


async def test_a_release_asks_who_spares_files_in_a_worker_thread(tmp_path: Path) -> None:
    asked: list[threading.Thread] = []

    def spare(path: Path) -> bool:
        asked.append(threading.current_thread())
        return True

    async with temporary_files(tmp_path, spare=spare) as files:
        dead_owner(tmp_path, 1)
        assert await files.release(1) == 0
    assert len(asked) == 1
    assert asked[0] is not threading.main_thread()


async def test_a_sweep_that_is_cancelled_has_ended_when_its_files_are_closed(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def spare(path: Path) -> bool:
        begun.set()
        assert go_on.wait(10)
        return False

    async with temporary_files(tmp_path, spare=spare) as files:
        dead_owner(tmp_path, 1)
        sweeping = asyncio.create_task(files.sweep())
        await until(begun.is_set)
        sweeping.cancel()
        await asyncio.sleep(0)
        assert not sweeping.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await sweeping
        assert files_in(tmp_path) == []
