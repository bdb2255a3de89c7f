"""What comes in: bytes, a file, or a stream with a size; looked at before anything is decoded."""

import asyncio
import io
import stat
from collections.abc import AsyncIterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import AudioError
from ..tasks import in_thread
from .facts import AudioFacts, read_facts
from .workspace import Workspace, refuse_more_than

Source = bytes | Path | AsyncIterable[bytes]

MIB = 1024 * 1024
INLINE_BYTES = 64 * 1024  # what is larger is looked at in a thread: a hostile header may take some milliseconds
IN_MEMORY_BYTES = MIB  # a stream that is not larger needs no file; a voice note of five minutes is not


@dataclass(frozen=True, slots=True)
class Recording:
    """A source that was received whole; ``cut`` when it is shorter than it says."""

    content: bytes | Path
    size_bytes: int
    facts: AudioFacts
    cut: bool


async def receive(source: Source, size_bytes: int | None, max_bytes: int, workspace: Workspace) -> Recording:
    """Look at *source*; AudioError "empty", "too_big" or "not_audio"; a stream goes into a file of *workspace*."""
    content, arrived_bytes = await _content(source, size_bytes, max_bytes, workspace)
    if not arrived_bytes:
        raise AudioError("the recording is empty; record it again", kind="empty")
    facts = await _facts(content, arrived_bytes)
    if facts is None:
        raise AudioError("this is not a recording in a known format; send a voice note", kind="not_audio")
    return Recording(content, arrived_bytes, facts, facts.cut or arrived_bytes < (size_bytes or 0))


async def _content(
    source: Source, size_bytes: int | None, max_bytes: int, workspace: Workspace
) -> tuple[bytes | Path, int]:
    if isinstance(source, bytes):
        _refuse_too_big(len(source), max_bytes)
        return source, len(source)
    if isinstance(source, Path):
        size_bytes = await asyncio.to_thread(_file_bytes, source)
        _refuse_too_big(size_bytes, max_bytes)
        return source, size_bytes
    if not isinstance(source, AsyncIterable):
        raise TypeError(f"a source is bytes, a Path or an async iterator of bytes, not {type(source).__name__}")
    if size_bytes is None:
        raise TypeError("a stream needs size_bytes=, so that room can be kept for it")
    _refuse_too_big(size_bytes, max_bytes)
    if size_bytes > IN_MEMORY_BYTES:
        return await workspace.keep_stream(source, size_bytes)
    data = bytearray()
    async for chunk in source:
        data += chunk
        refuse_more_than(size_bytes, len(data))
    return bytes(data), len(data)


def _refuse_too_big(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise AudioError(
            f"the recording has {size_bytes:,} bytes; at most {max_bytes:,} can be used; send a shorter one",
            kind="too_big",
        )


def _file_bytes(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        # A pipe or a device has no end to look at, and may never give one.
        raise AudioError(f"{path} is not a file; wanted is a recording in a file", kind="not_audio")
    return found.st_size


async def _facts(content: bytes | Path, size_bytes: int) -> AudioFacts | None:
    if isinstance(content, Path):
        return await in_thread(partial(facts_of_file, content))
    look = partial(read_facts, io.BytesIO(content), size_bytes)
    return look() if size_bytes <= INLINE_BYTES else await in_thread(look)


def facts_of_file(path: Path) -> AudioFacts | None:
    """The facts of a file; reads it, so call it in a thread."""
    with path.open("rb") as file:
        return read_facts(file, path.stat().st_size)


def facts_of_made(path: Path) -> AudioFacts | None:
    """As ``facts_of_file``, of what an engine made; AudioError "engine_missing" when it told of success without it."""
    try:
        return facts_of_file(path)
    except FileNotFoundError:
        raise AudioError(
            "the engine said that it was done and wrote nothing; is its program really ffmpeg? See FFMPEG_PATH",
            kind="engine_missing",
        ) from None
