"""What prepare gives: clips that an endpoint takes as they are."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio that a transcription endpoint takes as it is; ``file_name`` has the extension that it judges by.

    ``start_s`` and ``end_s`` are its place in the whole recording; ``end_s`` is None where the length is not known. A
    clip that is a file lives until its ``prepare`` is left.
    """

    file_name: str
    mime: str
    content: bytes | Path = field(repr=False)
    index: int = 0
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal; computed on each access, and reads the file, if it is one."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def path(self) -> Path | None:
        """The file that holds it, to be sent without reading all of it; None when it is in memory."""
        return self.content if isinstance(self.content, Path) else None

    @property
    def size_bytes(self) -> int:
        """Of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def data(self) -> bytes:
        """The content; reads the file, if it is one, and blocks. In a coroutine rather ``await clip.read()``."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    async def read(self) -> bytes:
        """The content: at most the upload limit, read on each call, and kept by nobody else."""
        return self.content if isinstance(self.content, bytes) else await asyncio.to_thread(self.content.read_bytes)


@dataclass(frozen=True, slots=True)
class Clips(Sequence[Clip]):
    """The clips of one recording, in order.

    ``duration_s`` is what was found, by decoding where that was done; None when not known. ``truncated`` tells that the
    recording is shorter than it says, as after a broken upload. ``transcoded`` tells that these are not the bytes that
    came in.
    """

    clips: tuple[Clip, ...]
    duration_s: float | None = None
    truncated: bool = False
    transcoded: bool = False

    @overload
    def __getitem__(self, index: int) -> Clip: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Clip]: ...

    def __getitem__(self, index: int | slice) -> Clip | Sequence[Clip]:
        return self.clips[index]

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)
