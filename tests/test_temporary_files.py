"""Temporary files are bounded, private, and gone afterwards."""

import asyncio
import errno
import logging
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tecnobot_core.errors import ConfigurationError, LifecycleError, TemporarySpaceError
from tecnobot_core.temporary_files import SWEEP_EVERY_S, TemporaryFiles, owner, places
from tecnobot_core.testing import FakeClock

MIB = 1024 * 1024
DAY_S = 24 * 3600.0


def roomy(path: Path) -> tuple[int, int, int]:
    """A disk that is never full."""
    return 1000 * MIB, 0, 1000 * MIB


def temporary_files(directory: Path, max_bytes: int = MIB, **options: object) -> TemporaryFiles:
    return TemporaryFiles(directory, max_bytes, **{"disk_usage": roomy, **options})  # type: ignore[arg-type]


def files_in(directory: Path) -> list[Path]:
    """All but locks."""
    return [path for path in directory.rglob("*") if path.is_file() and path.name != ".lock"]


def dead_owner(directory: Path, n_files: int = 3, *, name: str = "own-1-dead") -> Path:
    """What is left of an owner that was killed."""
    dead = directory / name
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    for number in range(n_files):
        (dead / f"{number}.ogg").write_bytes(b"x" * 100)
    return dead


async def test_a_lease_is_a_path_of_its_own_where_nothing_is_yet(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files, files.lease(".ogg", 10) as one, files.lease(".ogg", 10) as other:
        assert one != other
        assert one.suffix == ".ogg"
        assert not one.exists()
        assert one.is_relative_to(tmp_path)


async def test_what_was_leased_is_gone_afterwards(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        async with files.lease(".ogg", 10) as path:
            path.write_bytes(b"x")
        assert not files_in(tmp_path)
        assert files.statistics().leases == files.statistics().bytes == 0


async def test_a_lease_may_be_a_directory(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        async with files.lease("", 10) as path:
            (path / "parts").mkdir(parents=True)
            (path / "parts" / "1.ogg").write_bytes(b"x")
        assert not path.exists()


async def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        with pytest.raises(ZeroDivisionError):
            await write_and_raise(files, ZeroDivisionError())
        assert not files_in(tmp_path)


async def test_a_cancelled_lease_leaves_nothing(tmp_path: Path) -> None:
    written = asyncio.Event()

    async def work() -> None:
        async with files.lease(".ogg", 10) as path:
            path.write_bytes(b"x")
            written.set()
            await asyncio.Event().wait()

    async with temporary_files(tmp_path) as files:
        task = asyncio.create_task(work())
        await written.wait()
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not files_in(tmp_path)
        assert files.statistics().bytes == 0


async def test_a_thousand_leases_with_cancellations_at_random_end_at_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)

    async def work() -> None:
        async with files.lease(".ogg", 100) as path:
            path.write_bytes(b"x" * 100)
            await asyncio.sleep(0)
            await files.grow(path, chance.randrange(1000))
            await files.sweep() if chance.random() < 0.1 else await asyncio.sleep(0)
            assert path.exists()

    n_descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    async with temporary_files(tmp_path, 20_000) as files:
        for _ in range(40):
            tasks = [asyncio.create_task(work()) for _ in range(25)]
            for task in chance.sample(tasks, 10):
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError | TemporarySpaceError | None) for end in ended)
        assert not files_in(tmp_path)
        assert files.statistics().bytes == 0
    assert not os.listdir(tmp_path)
    if n_descriptors:
        assert len(os.listdir("/proc/self/fd")) == n_descriptors


@pytest.mark.parametrize("suffix", ["/../x", "ogg", ".", ".OGG", "..ogg", ".ogg\0", ".o g", "nota de voz.ogg"])
async def test_a_name_of_a_user_never_becomes_a_path(suffix: str, tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        with pytest.raises(ValueError, match="the suffix must be empty or as"):
            async with files.lease(suffix, 1):
                pass


async def test_only_its_owner_can_look_into_the_directory(tmp_path: Path) -> None:
    async with temporary_files(tmp_path / "new") as files, files.lease("", 1) as path:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


async def test_closing_removes_the_directory(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        assert len(os.listdir(tmp_path)) == 1
        async with files.lease("", 1) as path:
            path.write_bytes(b"x")
            await files.aclose()
            assert not path.exists()
    assert not os.listdir(tmp_path)


async def test_files_that_are_not_open_say_how_to_open_them(tmp_path: Path) -> None:
    files = temporary_files(tmp_path)
    for _ in range(2):
        with pytest.raises(LifecycleError, match="use them inside `async with files:`"):
            async with files.lease("", 1):
                pass
        with pytest.raises(LifecycleError, match="not open"):
            await files.sweep()
        assert await files.release(1) == 0
        async with files:
            with pytest.raises(LifecycleError, match="open already"):
                await files.__aenter__()


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"min_free_share": 1}, {"min_free_share": -0.1}])
def test_limits_that_allow_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        TemporaryFiles(Path("unused"), **options)  # type: ignore[arg-type]


async def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="need a directory that can be written"):
        await temporary_files(tmp_path / "file").__aenter__()


async def test_leases_beyond_the_budget_are_refused(tmp_path: Path) -> None:
    async with temporary_files(tmp_path, 100) as files, files.lease("", 60) as path:
        with pytest.raises(TemporarySpaceError, match="60 of at most 100 are in use") as caught:
            async with files.lease("", 41):
                pass
        assert caught.value.wanted_bytes == 41
        async with files.lease("", 40):
            pass
        await files.grow(path, 40)
        with pytest.raises(TemporarySpaceError):
            await files.grow(path, 1)
        assert (files.statistics().bytes, files.statistics().refused) == (100, 2)


async def test_only_what_is_leased_can_grow(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        async with files.lease("", 1) as path:
            pass
        with pytest.raises(LifecycleError, match="is not leased"):
            await files.grow(path, 1)
        with pytest.raises(ValueError, match="at least 0"):
            async with files.lease("", -1):
                pass


async def test_a_share_of_the_disk_stays_free(tmp_path: Path) -> None:
    free = 300

    def usage(path: Path) -> tuple[int, int, int]:
        return 1000, 1000 - free, free

    async with temporary_files(tmp_path, min_free_share=0.1, disk_usage=usage) as files, files.lease("", 150) as path:
        with pytest.raises(TemporarySpaceError, match="10% must stay free"):
            async with files.lease("", 51):
                pass
        # What the first one has written is no longer both promised and taken.
        path.write_bytes(b"x" * 150)
        async with files.lease("", 51):
            pass


async def test_a_sweep_may_make_the_room_that_is_missing(tmp_path: Path) -> None:
    def usage(path: Path) -> tuple[int, int, int]:
        return 1000, 0, 50 if files_in(tmp_path) else 1000

    async with temporary_files(tmp_path, disk_usage=usage) as files:
        dead_owner(tmp_path)
        async with files.lease("", 500):
            assert files.statistics().swept == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_a_typed_error_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files:
        with pytest.raises(TemporarySpaceError, match="the disk is full"):
            await write_and_raise(files, OSError(number, "No space left on device"))
        with pytest.raises(FileNotFoundError):
            await write_and_raise(files, FileNotFoundError())
        assert not files_in(tmp_path)


async def test_what_a_dead_owner_left_is_swept_at_the_opening(tmp_path: Path) -> None:
    dead_owner(tmp_path)
    (tmp_path / "own-2-half-made").mkdir()
    (tmp_path / "somebody-elses").mkdir()
    async with temporary_files(tmp_path) as files:
        assert files.statistics().swept == 3
        assert not files_in(tmp_path)
        assert sorted(name[:4] for name in os.listdir(tmp_path)) == ["own-", "some"]


async def test_the_living_are_not_swept(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as one, temporary_files(tmp_path) as other, other.lease("", 1) as path:
        path.write_bytes(b"x")
        assert await one.sweep() == 0
        assert path.exists()


async def test_a_sweep_removes_what_lies_about_without_a_lease(tmp_path: Path) -> None:
    async with temporary_files(tmp_path) as files, files.lease("", 1) as path:
        path.write_bytes(b"x")
        path.with_name("left-by-a-child").write_bytes(b"x")
        assert await files.sweep() == 1
        assert path.exists()


async def test_a_sweep_comes_every_ten_minutes(tmp_path: Path) -> None:
    clock = FakeClock(DAY_S)
    async with temporary_files(tmp_path, clock=clock, sleep=clock.sleep) as files:
        for number in range(1, 3):
            dead_owner(tmp_path)
            await clock.advance(SWEEP_EVERY_S - 1)
            assert files_in(tmp_path)
            await clock.advance(1)
            await until(lambda: files.statistics().swept == 3 * number)  # noqa: B023 - awaited here


async def test_what_a_message_still_needs_is_spared(tmp_path: Path) -> None:
    dead = dead_owner(tmp_path)
    wanted = {"1.ogg"}
    async with temporary_files(tmp_path, spare=lambda path: path.name in wanted) as files:
        assert files_in(tmp_path) == [dead / "1.ogg"]
        wanted.clear()
        assert await files.sweep() == 1
        assert not dead.exists()


async def test_without_locks_only_what_is_old_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_try_lock", lambda descriptor: None)
    clock = FakeClock(time.time() + 100 * DAY_S)
    dead = dead_owner(tmp_path)
    os.utime(dead / ".lock", (clock.now, clock.now))
    async with (
        temporary_files(tmp_path, clock=clock) as files,
        temporary_files(tmp_path, clock=clock) as other,
        other.lease("", 1) as path,
    ):
        path.write_bytes(b"x")
        assert len(files_in(tmp_path)) == 4
        clock.now += DAY_S / 2 + 1
        await other.sweep()
        assert len(files_in(tmp_path)) == 4
        clock.now += DAY_S / 2 + 1
        assert await files.sweep() == 3
        assert files_in(tmp_path) == [path]


async def test_a_release_counts_what_was_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with temporary_files(tmp_path) as files:
        dead_owner(tmp_path)
        assert await files.release(0) == 0
        assert files_in(tmp_path)
        assert await files.release(1) == 0
        assert not files_in(tmp_path)
    monkeypatch.setattr("tecnobot_core.temporary_files.is_in_memory", lambda path: True)
    async with temporary_files(tmp_path) as files:
        dead_owner(tmp_path)
        assert await files.release(1) == 300


SHM = Path("/dev/shm")
ON_TMPFS = pytest.mark.skipif(not places.is_in_memory(SHM) or not os.access(SHM, os.W_OK), reason="no tmpfs here")


@ON_TMPFS
async def test_a_directory_that_is_memory_is_told(caplog: pytest.LogCaptureFixture) -> None:
    directory = SHM / f"test-{os.getpid()}"
    with caplog.at_level(logging.WARNING):
        async with temporary_files(directory):
            pass
    directory.rmdir()
    assert "take memory" in caplog.text


@ON_TMPFS
def test_the_default_directory_is_on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(SHM))
    assert places.default_directory().parent == Path("/var/tmp")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert places.default_directory() == tmp_path / f"tecnobot-{os.getuid()}"


async def test_a_default_directory_that_others_could_have_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    default = tmp_path / f"tecnobot-{os.getuid()}"
    async with TemporaryFiles():
        assert len(list(default.iterdir())) == 1
    default.chmod(0o777)
    with pytest.raises(ConfigurationError, match="not a directory of this user alone"):
        await TemporaryFiles().__aenter__()
    default.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    default.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="not a directory of this user alone"):
        await TemporaryFiles().__aenter__()


OWNER = """
import asyncio, pathlib, sys
from tecnobot_core.temporary_files import TemporaryFiles

async def main():
    async with TemporaryFiles(pathlib.Path(sys.argv[1])) as files, files.lease(".ogg", 10) as path:
        path.write_bytes(b"x")
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import sys; sys.stdin.read()", stdin=0)
        print("ready", flush=True)
        await child.wait()

asyncio.run(main())
"""


async def test_files_of_a_killed_process_are_swept_although_its_child_lives(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    async with temporary_files(tmp_path) as files:
        assert len(files_in(tmp_path)) == 1
        process.kill()
        async with asyncio.timeout(10):  # its threads, and with them the lock, end one after the other
            while not (swept := await files.sweep()):
                pass
        assert swept == 1
        assert not files_in(tmp_path)
    process.stdin.close()  # the child, which holds the pipes until now, ends by this
    await process.stdout.read()
    await process.wait()


async def write_and_raise(files: TemporaryFiles, error: Exception) -> None:
    async with files.lease(".ogg", 10) as path:
        path.write_bytes(b"x")
        raise error


async def until(condition: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)
