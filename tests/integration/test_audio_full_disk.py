"""On a disk that is really full: told as such, nothing left, and all works again once there is room."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.audio import Clips
from tecnobot_core.errors import TemporarySpaceError
from tecnobot_core.temporary_files import TemporaryFiles
from tests.make_audio import AudioFiles, session_files

MIB = 1024 * 1024
DISK_BYTES = 8 * MIB


class Disk:
    """A small one of its own, and who fills it from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, but_bytes: int = 0) -> None:
        """Until no more than *but_bytes* can be written."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size_bytes in (64 * 1024, 4096, 512):
                while _written(ballast.fileno(), size_bytes):
                    pass
            os.truncate(self._ballast, max(0, os.fstat(ballast.fileno()).st_size - but_bytes))

    def make_room(self) -> None:
        self._ballast.unlink()

    def left(self) -> list[Path]:
        """All files but the ballast and the lock."""
        paths = (path for path in self.path.rglob("*") if path.is_file())
        return [path for path in paths if path != self._ballast and path.name != ".lock"]


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may mount a disk to fill")
    arguments = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes=500", "tmpfs"]
    if request.param == "ext4":
        if not shutil.which("mkfs.ext4"):
            pytest.skip("mkfs.ext4 is not there (Debian: e2fsprogs)")
        image = tmp_path / "image"
        image.touch()
        os.truncate(image, DISK_BYTES)
        make = ["mkfs.ext4", "-q", "-F", "-m", "0", "-N", "500", str(image)]
        subprocess.run(make, check=True, capture_output=True, timeout=60)
        arguments = ["-t", "ext4", "-o", "loop", str(image)]
    mounted = subprocess.run(["mount", *arguments, path], capture_output=True, text=True, timeout=60)
    if mounted.returncode:
        pytest.skip(f"a {request.param} cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", path], check=True, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AudioFiles:
    return session_files(tmp_path_factory)


async def prepared(audio: AudioPreprocessor, source: Path | bytes) -> Clips:
    async with audio.prepare(source, transcode=True) as clips:
        return clips


@pytest.mark.parametrize("free_bytes", [0, 16 * 1024, 40 * 1024])
async def test_a_disk_that_fills_up_during_a_job_is_told_and_nothing_is_left(
    free_bytes: int, disk: Disk, made: AudioFiles
) -> None:
    source = made.make("wav", 15)  # of 60 kB when converted
    filled = False

    def fill_once(pid: int) -> None:
        nonlocal filled
        if not filled:
            disk.fill(but_bytes=free_bytes)
        filled = True

    async with TemporaryFiles(disk.path, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=fill_once), temporary_files=files)
        with pytest.raises(TemporarySpaceError, match="the disk is full"):
            await prepared(audio, source)
        assert disk.left() == []
        assert files.statistics().bytes == 0
        with pytest.raises(TemporarySpaceError, match="free some space"):
            await prepared(audio, source)
        disk.make_room()
        clips = await prepared(audio, source)
        assert clips.duration_s == pytest.approx(15, abs=0.2)
        assert not clips.truncated
        assert disk.left() == []


async def test_a_disk_that_fills_up_before_the_parts_are_cut_is_told(disk: Disk, made: AudioFiles) -> None:
    source = made.joined("wav", 6, 15)
    children: list[int] = []

    def fill_at_the_second(pid: int) -> None:
        children.append(pid)
        if len(children) == 2:
            disk.fill()

    async with TemporaryFiles(disk.path, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=fill_at_the_second), temporary_files=files, max_clip_s=35)
        with pytest.raises(TemporarySpaceError, match="the disk is full"):
            await prepared(audio, source)
        assert len(children) == 2
        assert disk.left() == []
        disk.make_room()
        assert len(await prepared(audio, source)) >= 3


async def test_a_download_that_fills_the_disk_is_told_and_gone(disk: Disk, made: AudioFiles) -> None:
    data = made.joined("wav", 6, 15).read_bytes()
    full = False

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            if full and start:
                disk.fill()
            yield data[start : start + 100_000]
            await asyncio.sleep(0)

    async with TemporaryFiles(disk.path, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files)
        full = True
        with pytest.raises(TemporarySpaceError, match="the disk is full"):
            async with audio.prepare(chunks(), size_bytes=len(data)):
                pass
        assert disk.left() == []
        full = False
        disk.make_room()
        async with audio.prepare(chunks(), size_bytes=len(data)) as clips:
            assert clips[0].size_bytes == len(data)


async def test_files_that_cannot_be_opened_on_a_full_disk_leave_no_directory(disk: Disk) -> None:
    shared = disk.path / "shared"
    shared.mkdir()
    disk.fill()
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(TemporarySpaceError, match=r"no temporary directory can be made|no room"):
        # A tmpfs has room for an empty directory; there the first byte is refused.
        async with TemporaryFiles(shared, min_free_share=0) as files, files.lease(".ogg", 1):
            pass
    assert os.listdir(shared) == []
    assert set(os.listdir("/proc/self/fd")) == before
    disk.make_room()
    async with TemporaryFiles(shared, min_free_share=0) as files, files.lease(".ogg", 1) as path:
        path.write_bytes(b"x")


async def test_a_disk_that_takes_a_directory_but_no_file_in_it_is_left_without_one(disk: Disk) -> None:
    shared = disk.path / "shared"
    shared.mkdir()
    crowd = disk.path / "crowd"
    crowd.mkdir()
    names = (crowd / str(number) for number in range(10_000))
    made_last = list(takewhile(_touched, names))[-1]
    made_last.unlink()
    with pytest.raises(TemporarySpaceError, match="no temporary directory can be made"):
        await TemporaryFiles(shared, min_free_share=0).__aenter__()
    assert os.listdir(shared) == []
    (crowd / "0").unlink()
    async with TemporaryFiles(shared, min_free_share=0) as files:
        assert files.statistics().leases == 0


def _touched(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True


def _written(descriptor: int, size_bytes: int) -> bool:
    try:
        return os.write(descriptor, bytes(size_bytes)) > 0
    except OSError:
        return False
