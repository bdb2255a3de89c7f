"""Short stretches of a recording as pydub segments: silences, loudness, joining what the bot itself says."""

import asyncio
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..audio import Span
from ..errors import AudioError, MissingDependencyError

if TYPE_CHECKING:
    from pydub import AudioSegment

SAMPLE_RATE_HZ = 16_000
_SAMPLE_BYTES = 2
_SEEK_MS = 10  # a finer step finds no other silences and takes ten times as long
MAX_JOINED_S = 600.0  # 19 MB of samples


class Samples(Protocol):
    """What can decode a stretch; FfmpegEngine does. At most 120 s: pydub holds all of its samples, and copies them."""

    async def samples(self, source: Path, start_s: float, seconds: float) -> bytes:
        """16 bits, little-endian, mono, SAMPLE_RATE_HZ; less where the recording ends."""
        ...


class PydubWindows:
    """Windows of recordings, decoded by *engine*. pydub itself never sees a file, so no length costs memory."""

    def __init__(self, engine: Samples) -> None:
        self._engine = engine

    async def window(self, source: Path, start_s: float, seconds: float) -> "AudioSegment":
        """The segment of *seconds* (at most 120) from *start_s* on; shorter at the end of *source*.

        Raises AudioError when it cannot be decoded, MissingDependencyError without pydub.
        """
        segment = _pydub().AudioSegment
        data = await self._engine.samples(source, start_s, seconds)
        return segment(data=data, sample_width=_SAMPLE_BYTES, frame_rate=SAMPLE_RATE_HZ, channels=1)

    async def silences(
        self, source: Path, start_s: float, seconds: float, *, below_dbfs: float = -35.0, min_s: float = 0.4
    ) -> list[Span]:
        """Where a window is quiet for at least *min_s*, in seconds from the beginning of *source*."""
        segment = await self.window(source, start_s, seconds)
        found = await asyncio.to_thread(
            _pydub().silence.detect_silence, segment, round(min_s * 1000), below_dbfs, _SEEK_MS
        )
        return [Span(start_s + begins / 1000, start_s + ends / 1000) for begins, ends in found]

    async def loudness_dbfs(self, source: Path, start_s: float, seconds: float) -> float:
        """The mean loudness of a window: 0 is full scale, minus infinity is digital silence."""
        return float((await self.window(source, start_s, seconds)).dBFS)


def join_segments(segments: Sequence["AudioSegment"], *, pause_s: float = 0.3, target_dbfs: float = -18.0) -> bytes:
    """A WAV of *segments*, equally loud, with *pause_s* between them; ``AudioPreprocessor.voice_note`` takes it.

    For what the bot itself says, as by several voices. Blocks; in a coroutine call it in a thread. Raises AudioError
    "too_long" for more than MAX_JOINED_S.
    """
    if not segments:
        raise ValueError("there is nothing to join; wanted is at least one segment")
    if sum(len(segment) for segment in segments) / 1000 + pause_s * len(segments) > MAX_JOINED_S:
        raise AudioError(f"more than {MAX_JOINED_S:g} s cannot be joined in memory; say less", kind="too_long")
    silent = _pydub().AudioSegment.silent(round(pause_s * 1000), SAMPLE_RATE_HZ)
    joined = _levelled(segments[0], target_dbfs)
    for segment in segments[1:]:
        joined = joined + silent + _levelled(segment, target_dbfs)
    wav = io.BytesIO()
    joined.export(wav, "wav")
    return wav.getvalue()


def _levelled(segment: "AudioSegment", target_dbfs: float) -> "AudioSegment":
    mono = segment.set_channels(1).set_frame_rate(SAMPLE_RATE_HZ).set_sample_width(_SAMPLE_BYTES)
    gain_db = target_dbfs - mono.dBFS
    if not math.isfinite(gain_db):
        return mono  # silence stays silent
    return mono.apply_gain(min(gain_db, -mono.max_dBFS))  # no louder than full scale


def _pydub() -> Any:
    """pydub, on first use: it takes 80 ms to import, and on Python 3.13 needs audioop-lts beside it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses an ffmpeg on the PATH, which is never asked of it
            import pydub  # noqa: PLC0415
            import pydub.silence  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError("pydub", extra="audio") from error
    return pydub
