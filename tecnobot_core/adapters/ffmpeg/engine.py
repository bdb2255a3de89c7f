"""FfmpegEngine: an AudioEngine that starts one ffmpeg for each job."""

import asyncio
import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from ...audio.ports import Codec, Encoding, Heard, Span
from ...errors import AudioError, MissingDependencyError
from .command import SAMPLE_RATE_HZ, cut_command, encode_command, join_command, samples_command
from .failures import failure, lacks_opus
from .finding import OTHER_MEMORY_BYTES, Program, find_ffmpeg
from .reports import Reports
from .running import Ended, Limits, run
from .verifying import verify

MIB = 1024 * 1024
MAX_WINDOW_S = 120.0  # 3.8 MB of samples

_CPU_BASE_S = 30
_CPU_FOR_A_SECOND = 0.06  # three times what Opus took on a slow processor
_WALL_FOR_CPU = 2.0  # others need the processor, too
_CUTS_AT_ONCE = 6  # each has a file open, a demuxer and a muxer: 1.6 MiB, so that all fit into memory_bytes
_MP3_BIT_RATE = 32_000


@dataclass(slots=True)
class _Installed:
    """What was found out about the program, for all who use it."""

    program: Program | None
    verified: bool = False
    has_opus: bool = True


class FfmpegEngine:
    """Finds ffmpeg when it is first needed: *program*, the PATH, the wheel of the extra ``audio``.

    It is asked for its version once, before its first job: AudioError "engine_missing" when it is something else.
    *on_started* is told the process id of every child that has a job, as by ``MemoryManager.register_child``. Raises
    ConfigurationError at once when *program* is not one.
    """

    def __init__(self, program: Path | None = None, *, on_started: Callable[[int], object] | None = None) -> None:
        self._installed = _Installed(None if program is None else find_ffmpeg(program))
        self._on_started = () if on_started is None else (on_started,)

    @property
    def memory_bytes(self) -> int:
        """See ``AudioEngine.memory_bytes``; the wheel's program takes less than a distribution's.

        Of an hour of M4A, 16 clips of Opus or MP3 to join, or less. Some take more, which only readings show: longer
        M4A, whose tables are loaded whole (77 MiB for 4 hours), and joining more, or M4A (49 MiB for 16 clips of it).
        """
        try:
            return self._found().memory_bytes
        except AudioError:
            return OTHER_MEMORY_BYTES  # there is none, as the job itself will tell

    def telling(self, started: Callable[[int], object]) -> "FfmpegEngine":
        """See ``StartsChildren.telling``; *on_started* is told as well, and first."""
        engine = copy(self)
        engine._on_started = (*self._on_started, started)
        return engine

    async def encode(self, source: Path, target: Path, encoding: Encoding, heard: Heard) -> Sequence[Span]:
        """See ``AudioEngine.encode``."""
        reports = Reports(heard)
        await self._encode(lambda wanted: encode_command(source, target, wanted), encoding, reports.take)
        return reports.silences

    async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
        """See ``AudioEngine.cut``."""
        codec, size_bytes = await asyncio.to_thread(_look_at, source)
        limits = self._limits(max(span.end_s for span in spans), size_bytes + MIB)
        for first in range(0, len(spans), _CUTS_AT_ONCE):
            some = slice(first, first + _CUTS_AT_ONCE)
            self._check(await self._run(cut_command(source, spans[some], targets[some], codec), limits))

    async def join(self, sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> None:
        """See ``AudioEngine.join``."""
        await self._encode(lambda wanted: join_command(sources, target, wanted, pause_s), encoding, _ignore)

    async def samples(self, source: Path, start_s: float, seconds: float) -> bytes:
        """At most MAX_WINDOW_S of *source*: 16 bits, little-endian, mono, SAMPLE_RATE_HZ; less at its end."""
        if not 0 < seconds <= MAX_WINDOW_S or not 0 <= start_s < math.inf:
            raise ValueError(f"a window starts at 0 or later and has at most {MAX_WINDOW_S:g} s, not {seconds}")
        heard = bytearray()
        most = int(seconds * SAMPLE_RATE_HZ) * 2

        def take(data: bytes) -> None:
            heard.extend(data[: most - len(heard)])

        limits = self._limits(start_s + seconds, MIB)
        self._check(await self._run(samples_command(source, Span(start_s, start_s + seconds)), limits, take))
        return bytes(heard)

    async def _encode(
        self, command: Callable[[Encoding], list[str]], encoding: Encoding, take: Callable[[bytes], None]
    ) -> None:
        limits = self._limits(encoding.max_s, encoding.max_bytes)
        ended = await self._run(command(self._possible(encoding)), limits, take)
        if encoding.codec == "opus" and lacks_opus(ended):
            self._installed.has_opus = False
            ended = await self._run(command(self._possible(encoding)), limits, take)
        self._check(ended)

    def _possible(self, encoding: Encoding) -> Encoding:
        if encoding.codec == "mp3" or self._installed.has_opus:
            return encoding
        return replace(encoding, codec="mp3", bit_rate=max(encoding.bit_rate, _MP3_BIT_RATE))

    def _limits(self, audio_s: float, file_bytes: int) -> Limits:
        cpu_s = _CPU_BASE_S + math.ceil(_CPU_FOR_A_SECOND * audio_s)
        return Limits(self._found().address_bytes, cpu_s, file_bytes, _WALL_FOR_CPU * cpu_s)

    async def _run(self, arguments: list[str], limits: Limits, take: Callable[[bytes], None] | None = None) -> Ended:
        program = self._found()
        if not self._installed.verified:
            await verify(program)
            self._installed.verified = True
        return await run([str(program.path), *arguments], limits, take or _ignore, self._started)

    def _started(self, pid: int) -> None:
        for started in self._on_started:
            started(pid)

    def _found(self) -> Program:
        if self._installed.program is None:
            try:
                self._installed.program = find_ffmpeg()
            except MissingDependencyError as error:
                raise AudioError(f"{error}, or set FFMPEG_PATH", kind="engine_missing") from error
        return self._installed.program

    def _check(self, ended: Ended) -> None:
        if error := failure(ended, str(self._found().path)):
            raise error


def _ignore(data: bytes) -> None:
    """Nobody wants it."""


def _look_at(encoded: Path) -> tuple[Codec, int]:
    """Codec and size of what ``encode`` made."""
    with encoded.open("rb") as file:
        return "opus" if file.read(4) == b"OggS" else "mp3", encoded.stat().st_size
