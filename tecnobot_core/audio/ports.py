"""What an AudioPreprocessor asks of an engine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

Codec = Literal["opus", "mp3"]
Heard = Callable[[float], None]  # is told the seconds of audio that are done
# Memory for n bytes, as MemoryManager.reserve. Where it gives a CoversChild, that is told of the engine's children.
Reserve = Callable[[int], AbstractAsyncContextManager[object]]


class Span(NamedTuple):
    """A stretch of a recording, in seconds from its beginning."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Encoding:
    """What is to be made: mono speech. *max_s* of the source are read; the result has at most *max_bytes*."""

    codec: Codec
    bit_rate: int
    max_s: float
    max_bytes: int


class AudioEngine(Protocol):
    """Decodes and encodes, outside of this process.

    A source and a target are files that can be seeked; a target may exist and is replaced. Every method raises
    AudioError when it cannot be done, and TemporarySpaceError when the disk is full. After any end, also by
    cancelling, nothing of it runs. A target that failed is the caller's to delete.
    """

    @property
    def memory_bytes(self) -> int:
        """What one call may take beside this process."""
        ...

    async def encode(self, source: Path, target: Path, encoding: Encoding, heard: Heard) -> Sequence[Span]:
        """Encode the first audio track; tells the silences that can be cut in, in order.

        An engine without Opus makes an MP3 instead.
        """
        ...

    async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
        """Copy each of *spans*, without decoding, into its target; *source* is what ``encode`` made."""
        ...

    async def join(self, sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> None:
        """Encode the audio of *sources*, one after the other, with *pause_s* of silence between them."""
        ...


@runtime_checkable
class StartsChildren(Protocol):
    """An engine that works in child processes, beside AudioEngine."""

    def telling(self, started: Callable[[int], object]) -> AudioEngine:
        """The same engine; *started* is told the process id of each child that it starts from here."""
        ...


@runtime_checkable
class CoversChild(Protocol):
    """A reservation of memory that counts less while its child shows in readings, as ``memory.Lease``."""

    def covers(self, pid: int) -> object:
        """The child process *pid*, just started, is what was reserved for."""
        ...
