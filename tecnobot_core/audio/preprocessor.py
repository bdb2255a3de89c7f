"""AudioPreprocessor: passes through what needs no work, and has an engine convert the rest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ..errors import AudioError, MissingDependencyError
from ..temporary_files import TemporaryFiles
from .clips import Clip, Clips
from .limits import UploadLimits, max_clip_s_of
from .ports import AudioEngine, Codec, CoversChild, Encoding, Reserve, StartsChildren
from .queueing import JobQueue
from .sources import Recording, Source, facts_of_made, receive
from .transcoding import SPEECH_BIT_RATE, Progress, Transcoder
from .workspace import Workspace

MIB = 1024 * 1024

_ALL_HEADERS_BYTES = 1024  # what is smaller may be headers and nothing else
_MAX_SPOKEN = 32  # each has a decoder in the one child
_VOICE_NOTE_MAX_BYTES = 16 * MIB  # what WhatsApp takes; more than an hour of speech


class AudioPreprocessor:
    """Makes what a transcription endpoint takes of any recording, and leaves nothing behind.

    *max_upload_bytes* is the size of a request; a hundredth of it is left to the rest of that. *max_clip_s* is the
    longest recording that the model takes, as by ``max_clip_s_of(model)``; None for any length. *engine* converts what
    cannot be passed through: up to *concurrency* at once, *max_queue* waiting, none longer than *max_duration_s* or
    larger than *max_source_bytes*. For each it takes memory by *reserve* and room in *temporary_files*, or in a
    directory of its own. *on_progress* is told twice a second how far a conversion is.
    """

    def __init__(
        self,
        engine: AudioEngine | None = None,
        *,
        max_upload_bytes: int = 25 * MIB,
        max_clip_s: float | None = max_clip_s_of(None),
        max_duration_s: float = 4 * 3600.0,
        max_source_bytes: int = 1024 * MIB,
        temporary_files: TemporaryFiles | None = None,
        reserve: Reserve | None = None,
        concurrency: int = 1,
        max_queue: int = 16,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> None:
        _refuse_below("max_upload_bytes", max_upload_bytes, 1)
        _refuse_below("max_source_bytes", max_source_bytes, 1)
        _refuse_below("concurrency", concurrency, 1)
        _refuse_below("max_queue", max_queue, 0)
        _refuse_not_positive("max_clip_s", max_clip_s)
        _refuse_not_positive("max_duration_s", max_duration_s)
        self._engine = engine
        self._limits = UploadLimits.of(max_upload_bytes, max_clip_s)
        self._max_duration_s = max_duration_s
        self._max_source_bytes = max_source_bytes
        self._files = temporary_files
        self._reserve = reserve
        self._queue = JobQueue(concurrency, max_queue)
        self._on_progress = on_progress

    @property
    def waiting(self) -> int:
        """How many conversions have not begun."""
        return self._queue.waiting

    @asynccontextmanager
    async def prepare(
        self, source: Source, *, size_bytes: int | None = None, transcode: bool = False
    ) -> AsyncIterator[Clips]:
        """Clips within the limits, in order; their files are gone on exit.

        *source* is bytes, a file, or an async iterator of bytes of *size_bytes* in all. Names and declared types are
        never believed: the content decides. *transcode* asks for an MP3 whatever came in, for an endpoint that has
        refused what was passed through.

        Raises AudioError, see its kinds; TemporarySpaceError; and, by *reserve*, MemoryBusyError: with its
        ``retry_after_s`` there is no memory just now, without it this memory limit is too small for any conversion.
        """
        async with Workspace(self._files) as workspace:
            recording = await receive(source, size_bytes, self._max_source_bytes, workspace)
            self._refuse_unusable(recording)
            if not transcode and self._passes(recording):
                yield _as_it_is(recording)
            else:
                yield await self._converted(recording, "mp3" if transcode else "opus", workspace)

    @asynccontextmanager
    async def voice_note(self, clips: Sequence[Clip | Path | bytes], *, pause_s: float = 0.3) -> AsyncIterator[Path]:
        """One voice note (Ogg/Opus, mono) of spoken *clips*, with *pause_s* between them; gone on exit."""
        if not 1 <= len(clips) <= _MAX_SPOKEN:
            raise ValueError(f"a voice note is made of 1 to {_MAX_SPOKEN} clips, not {len(clips)}")
        if not 0 <= pause_s <= 10:
            raise ValueError(f"pause_s must be from 0 to 10, not {pause_s}")
        contents = [clip.content if isinstance(clip, Clip) else clip for clip in clips]
        async with Workspace(self._files) as workspace:
            recordings = [await receive(content, None, self._max_source_bytes, workspace) for content in contents]
            for recording in recordings:
                self._refuse_unusable(recording)
            async with self._working() as engine:
                note = await self._joined(engine, recordings, pause_s, workspace)
            yield note

    def _refuse_unusable(self, recording: Recording) -> None:
        facts = recording.facts
        if not facts.has_audio:
            raise AudioError("this file has no audio track; send a voice note", kind="no_audio_track")
        if facts.duration_s is not None and facts.duration_s > self._max_duration_s:
            raise AudioError(
                f"the recording lasts {facts.duration_s:,.0f} s; at most {self._max_duration_s:,.0f} s can be used; "
                "send a shorter one",
                kind="too_long",
            )

    def _passes(self, recording: Recording) -> bool:
        facts, size_bytes = recording.facts, recording.size_bytes
        if not facts.accepted:
            return False
        if self._engine is None and facts.duration_s is None:
            return size_bytes <= self._limits.max_bytes  # better to ask the endpoint than to refuse
        if facts.duration_s is None and (recording.cut or not facts.codec or size_bytes < _ALL_HEADERS_BYTES):
            return False  # perhaps there is no sound in it at all; decoding tells
        return self._limits.admit(size_bytes, facts.duration_s)

    async def _converted(self, recording: Recording, codec: Codec, workspace: Workspace) -> Clips:
        async with self._working() as engine:
            transcoder = Transcoder(engine, self._limits, self._max_duration_s, self._on_progress)
            return await transcoder.clips(recording, codec, workspace)

    async def _joined(
        self, engine: AudioEngine, recordings: Sequence[Recording], pause_s: float, workspace: Workspace
    ) -> Path:
        sources = [
            await workspace.keep(recording.content) if isinstance(recording.content, bytes) else recording.content
            for recording in recordings
        ]
        target = await workspace.lease(".ogg", _VOICE_NOTE_MAX_BYTES)
        encoding = Encoding("opus", SPEECH_BIT_RATE, self._max_duration_s, _VOICE_NOTE_MAX_BYTES)
        await engine.join(sources, target, encoding, pause_s)
        facts = await asyncio.to_thread(facts_of_made, target)
        if facts is None or facts.codec != "opus":
            raise AudioError("this engine cannot make Opus, which a voice note needs", kind="unsupported")
        return target

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[AudioEngine]:
        """The engine, when it is our turn and there is memory."""
        if self._engine is None:
            raise AudioError(
                "this recording must be converted, and there is no engine: pip install 'tecnobot-core[audio]', "
                "and give AudioPreprocessor an FfmpegEngine()",
                kind="engine_missing",
            ) from MissingDependencyError("ffmpeg", extra="audio")
        async with self._queue.slot(), AsyncExitStack() as held:
            engine = self._engine
            if self._reserve is not None:
                lease = await held.enter_async_context(self._reserve(engine.memory_bytes))
                # A child that readings show would count twice, if the lease did not know that it is for that child.
                if isinstance(lease, CoversChild) and isinstance(engine, StartsChildren):
                    engine = engine.telling(lease.covers)
            yield engine


def _as_it_is(recording: Recording) -> Clips:
    facts = recording.facts
    clip = Clip(f"recording.{facts.extension}", facts.mime, recording.content, end_s=facts.duration_s)
    return Clips((clip,), facts.duration_s, recording.cut)


def _refuse_below(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _refuse_not_positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{name} must be more than 0 s, not {value}")
