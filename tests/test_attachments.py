"""Attachments: there while they are needed, and never fetched without memory for them."""

from pathlib import Path

import pytest

from tecnobot_core import AudioError, MediaReference, MemoryManager, TemporaryFiles
from tecnobot_core.bot import Attachments
from tecnobot_core.errors import MemoryBusyError, TransportError
from tecnobot_core.memory import Priority

CONTENT = b"OggS" + bytes(96)


class Shelf:
    """Has one attachment, and notes what is reserved while it gives it."""

    def __init__(self, memory: MemoryManager | None = None) -> None:
        self.memory = memory
        self.reserved: list[int] = []

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        if self.memory is not None:
            self.reserved.append(self.memory.statistics().reservations.reserved_bytes)
        if media.address != "note":
            raise TransportError("it is gone", retryable=False)
        return target.write_bytes(CONTENT)  # noqa: ASYNC240


def media(address: str = "note", size_bytes: int | None = None) -> MediaReference:
    return MediaReference(kind="voice", address=address, size_bytes=size_bytes)


async def test_an_attachment_is_a_file_as_long_as_it_is_needed(tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path) as files:
        attachments = Attachments(Shelf(), files, max_bytes=1000)
        async with attachments.fetched(media()) as path:
            assert path.read_bytes() == CONTENT
        assert not path.exists()
        with pytest.raises(TransportError):
            async with attachments.fetched(media("other", 7)):
                pass
        assert files.statistics().leases == 0


async def test_memory_is_taken_for_a_download_and_given_back_when_the_file_is_there(tmp_path: Path) -> None:
    memory = MemoryManager(100_000, probe=lambda: 0, find_trim=lambda: None)
    shelf = Shelf(memory)
    async with TemporaryFiles(tmp_path) as files:
        attachments = Attachments(shelf, files, max_bytes=1000, reserve=memory.reserve, memory_factor=3)
        async with attachments.fetched(media(size_bytes=100)):
            assert memory.statistics().reservations.leases == 0
        async with attachments.fetched(media()):  # of a size that nobody tells
            pass
        with pytest.raises(TransportError):
            async with attachments.fetched(media("other", 7)):
                pass
    assert shelf.reserved == [300, 3000, 21]
    assert memory.statistics().reservations.leases == 0


async def test_a_download_has_memory_released_for_it(tmp_path: Path) -> None:
    used = {"bot": 500, "cache": 390}
    memory = MemoryManager(1000, probe=lambda: sum(used.values()), find_trim=lambda: None)

    def release(wanted_bytes: int) -> int:
        freed = min(wanted_bytes, used["cache"])
        used["cache"] -= freed
        return freed

    memory.register("cache", release, priority=Priority.REPLIES)
    async with TemporaryFiles(tmp_path) as files:
        attachments = Attachments(Shelf(), files, reserve=memory.reserve, memory_factor=2)
        async with attachments.fetched(media(size_bytes=100)) as path:
            assert path.read_bytes() == CONTENT
    assert used["cache"] <= 200


async def test_without_memory_nothing_is_fetched(tmp_path: Path) -> None:
    memory = MemoryManager(1000, probe=lambda: 899, find_trim=lambda: None, max_wait_s=0.01)
    shelf = Shelf(memory)
    async with TemporaryFiles(tmp_path) as files:
        attachments = Attachments(shelf, files, max_bytes=1000, reserve=memory.reserve)
        for size_bytes in (100, None):  # none within the time, and more than is ever granted
            with pytest.raises(MemoryBusyError):
                async with attachments.fetched(media(size_bytes=size_bytes)):
                    pass
        assert files.statistics().leases == 0
    assert shelf.reserved == []


async def test_what_is_told_to_be_too_big_is_not_fetched(tmp_path: Path) -> None:
    memory = MemoryManager(100_000, probe=lambda: 0, find_trim=lambda: None)
    shelf = Shelf(memory)
    async with TemporaryFiles(tmp_path) as files:
        with pytest.raises(AudioError) as caught:
            async with Attachments(shelf, files, max_bytes=1000, reserve=memory.reserve).fetched(media("x", 1001)):
                pass
    assert caught.value.kind == "too_big"
    assert shelf.reserved == []


def test_a_factor_below_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory_factor"):
        Attachments(Shelf(), TemporaryFiles(tmp_path), memory_factor=-1)
