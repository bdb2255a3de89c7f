"""One conversion: encode once, look at what came out, cut where it is too long."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import AudioError
from .clips import Clip, Clips
from .cutting import CutPlan
from .facts import AudioFacts
from .limits import UploadLimits
from .ports import AudioEngine, Codec, Encoding, Span
from .sources import Recording, facts_of_made
from .workspace import Workspace

logger = logging.getLogger(__name__)

SPEECH_BIT_RATE = 24_000
SMALL_BIT_RATE = 16_000  # where it saves a second part
MP3_BIT_RATE = 32_000

_OVERHEAD = 1.05  # of pages and headers, over the bit rate
_DENSE = 1.5  # a bit rate is an average; loud music takes more
_HEADER_BYTES = 64 * 1024

# A header that estimates, as one of a stream of frames does, may be wrong; then the size tells what it can last.
_ESTIMATED = frozenset({"mp3", "aac"})
_ESTIMATED_WHEN_CUT = frozenset({"m4a", "mp4", "mov", "3gp", "webm", "matroska"})  # by the share of bytes that is there
_MIN_BYTES_FOR_A_SECOND = 1000
_LENIENCE = 1.1
_LENIENCE_S = 60.0

# A coder's delay at both ends, which a short recording loses without being cut.
_DELAY_S = 0.2
_TRUNCATED_S = 1.0
_TRUNCATED_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a conversion is; ``total_s`` is what the header tells, None when it does not."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True, slots=True)
class Transcoder:
    """Makes clips within *limits* of a recording of at most *max_duration_s*."""

    engine: AudioEngine
    limits: UploadLimits
    max_duration_s: float
    on_progress: Callable[[Progress], object] | None

    async def clips(self, recording: Recording, codec: Codec, workspace: Workspace) -> Clips:
        """Convert; the files live as long as *workspace*."""
        encoding = self.encoding(recording, codec)
        source = await workspace.keep(recording.content) if isinstance(recording.content, bytes) else recording.content
        whole = await workspace.lease("", encoding.max_bytes)
        silences = await self.engine.encode(source, whole, encoding, self._told(recording.facts.duration_s))
        facts, size_bytes = await asyncio.to_thread(_look_at, whole)
        duration_s = self._decoded_s(facts, encoding)
        clips = await self._parts(whole, size_bytes, duration_s, silences, workspace)
        truncated = recording.cut or is_short(duration_s, recording.facts.duration_s)
        return Clips(clips, duration_s, truncated, transcoded=True)

    def encoding(self, recording: Recording, codec: Codec) -> Encoding:
        """What is asked of the engine for *recording*."""
        declared_s = recording.facts.duration_s
        max_s = self._longest_s(recording)
        bit_rate = MP3_BIT_RATE if codec == "mp3" else self._bit_rate(max_s if declared_s is None else declared_s)
        dense = max(bit_rate * _DENSE, MP3_BIT_RATE * _OVERHEAD)
        return Encoding(codec, bit_rate, max_s, int(max_s * dense / 8) + _HEADER_BYTES)

    def _bit_rate(self, duration_s: float) -> int:
        def fits(bit_rate: int) -> bool:
            return self.limits.admit(int(duration_s * bit_rate * _OVERHEAD / 8), duration_s)

        return SMALL_BIT_RATE if fits(SMALL_BIT_RATE) and not fits(SPEECH_BIT_RATE) else SPEECH_BIT_RATE

    def _longest_s(self, recording: Recording) -> float:
        """What is decoded at most; a header that lies about an hour must not cost one."""
        facts, declared_s = recording.facts, recording.facts.duration_s
        longest_s = 0.0 if declared_s is None else declared_s * _LENIENCE + _LENIENCE_S
        estimated = _ESTIMATED | _ESTIMATED_WHEN_CUT if facts.cut else _ESTIMATED
        if declared_s is None or facts.container in estimated:
            longest_s = max(longest_s, _LENIENCE_S + recording.size_bytes / _MIN_BYTES_FOR_A_SECOND)
        return min(longest_s, self.max_duration_s + 1)

    def _decoded_s(self, facts: AudioFacts | None, encoding: Encoding) -> float:
        if facts is None or not facts.duration_s:
            raise AudioError("nothing can be heard in this recording; record it again", kind="cannot_decode")
        if facts.duration_s > encoding.max_s - 0.5:
            raise AudioError(
                f"the recording goes on after {encoding.max_s - 1:,.0f} s, which is longer than it says or than can be "
                "used; send a shorter one",
                kind="too_long",
            )
        return facts.duration_s

    async def _parts(
        self, whole: Path, size_bytes: int, duration_s: float, silences: Sequence[Span], workspace: Workspace
    ) -> tuple[Clip, ...]:
        if self.limits.admit(size_bytes, duration_s):
            return (await asyncio.to_thread(_clip, whole, 0, Span(0.0, duration_s)),)
        spans = CutPlan.of(self.limits, size_bytes, duration_s).spans(duration_s, silences)
        paths = []
        for start_s, end_s in spans:
            share = (end_s - start_s) / duration_s
            paths.append(await workspace.lease("", int(share * size_bytes * _DENSE) + _HEADER_BYTES))
        await self.engine.cut(whole, spans, paths)
        return tuple(await asyncio.to_thread(_clips, paths, spans, self.limits))

    def _told(self, total_s: float | None) -> Callable[[float], None]:
        def told(done_s: float) -> None:
            if self.on_progress is None:
                return
            try:
                self.on_progress(Progress(done_s, total_s))
            except Exception:
                logger.exception("on_progress failed")

        return told


def is_short(decoded_s: float, declared_s: float | None) -> bool:
    """Whether a recording ended before it should: by more than 2 %, or by more than a second."""
    missing_s = 0.0 if declared_s is None else declared_s - decoded_s
    return missing_s > _DELAY_S and (missing_s > _TRUNCATED_S or missing_s > _TRUNCATED_SHARE * (declared_s or 0.0))


def _look_at(path: Path) -> tuple[AudioFacts | None, int]:
    return facts_of_made(path), path.stat().st_size


def _clips(paths: Sequence[Path], spans: Sequence[Span], limits: UploadLimits) -> list[Clip]:
    clips = [_clip(path, index, span) for index, (path, span) in enumerate(zip(paths, spans, strict=True))]
    for clip in clips:
        if clip.size_bytes > limits.max_bytes:
            raise AudioError(
                f"a part of {clip.size_bytes:,} bytes cannot be made smaller than {limits.max_bytes:,}; "
                "send a shorter recording",
                kind="too_big",
            )
    return clips


def _clip(path: Path, index: int, span: Span) -> Clip:
    facts = facts_of_made(path)
    if facts is None or facts.duration_s is None:  # headers, and not one packet
        raise AudioError("a part of the recording holds no sound; record it again", kind="cannot_decode")
    return Clip(f"recording.{facts.extension}", facts.mime, path, index, span.start_s, span.end_s)
