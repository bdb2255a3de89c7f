"""A voice note, understood: fetched, prepared, transcribed, remembered."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from ..audio import AudioPreprocessor, Clip, join_transcripts
from ..cache import HybridCache
from ..cache.canonical import digest_of
from ..errors import AudioError, CompletionError, TransportError
from ..messages import MediaReference
from .recordings import LONG_S, HearingLimits, Recording, look_at

CUT = "[…]"  # where the words of a recording end that was cut off


class Lands(Protocol):
    """What *reserve* may give: it is told what has come."""

    def landed(self, n_bytes: int) -> None:
        """*n_bytes* of what was reserved are in memory."""
        ...


Reserve = Callable[[int], AbstractAsyncContextManager[Lands | None]]


@runtime_checkable
class DescribesTranscription(Protocol):
    """A transcriber that tells what it asks with each clip, and whom."""

    def describe(self) -> Mapping[str, object]:
        """All that can change the words of a clip, as plain values: model, server, language, options."""
        ...


@dataclass(slots=True)
class HearingStatistics:
    """Since the start: recordings that were ``heard`` or ``failed``, seconds of sound, seconds that it took.

    ``under_way`` and ``long_under_way`` are of this moment.
    """

    heard: int = 0
    failed: int = 0
    sound_s: float = 0.0
    took_s: float = 0.0
    under_way: int = 0
    long_under_way: int = 0


class Hearing:
    """Turns a recording into text; the words of one that was cut off end with CUT.

    *fetch* gives the content of a MediaReference for as long as it is needed, *transcribe* the words of a clip. With a
    cache, a recording that was forwarded is transcribed once: the key is the hash of its content with how it is heard,
    which *transcribe* describes as a DescribesTranscription, and *model* where it names one. What a *transcribe* that
    describes nothing heard is remembered for this Hearing alone: another one may hear in another language. What
    *transcribe* refuses with an AudioError of kind "refused" is converted and tried once more. *reserve* is asked for
    the memory of each clip, as ``MemoryManager.reserve``.

    A recording of more than *max_duration_s* is refused as soon as its length is known: at once where its sender told
    it. Any other is given up after *timeout_s* and *timeout_for_a_second* for each of its seconds; fetching it has
    *timeout_s* of its own. Of those of more than five minutes *max_long* are heard at once, and more are refused as
    "busy": each keeps its chat waiting, and one of the chats that are answered at once.
    """

    def __init__(
        self,
        fetch: Callable[[MediaReference], AbstractAsyncContextManager[Recording]],
        transcribe: Callable[[Clip], Awaitable[str]],
        *,
        audio: AudioPreprocessor | None = None,
        model: str = "",
        cache: HybridCache | None = None,
        reserve: Reserve | None = None,
        max_duration_s: float = 5400.0,
        timeout_s: float = 60.0,
        timeout_for_a_second: float = 0.25,
        max_long: int = 8,
    ) -> None:
        if max_long < 1:
            raise ValueError(f"max_long must be at least 1, not {max_long}")
        self._fetch = fetch
        self._transcribe = transcribe
        self._audio = audio or AudioPreprocessor()
        self._heard_by = _described(transcribe, model)
        self._cache = cache
        self._reserve = reserve or (lambda n_bytes: nullcontext())
        self._limits = HearingLimits(max_duration_s, timeout_s, timeout_for_a_second)
        self._max_long = max_long
        self._statistics = HearingStatistics()

    @property
    def max_duration_s(self) -> float:
        """The longest recording that is heard."""
        return self._limits.max_duration_s

    def statistics(self) -> HearingStatistics:
        """The counts; a live object, not a copy."""
        return self._statistics

    async def __call__(self, media: MediaReference) -> str:
        """The words of *media*.

        Raises AudioError when it cannot be used, CompletionError "timeout", and what fetching and asking raise.
        """
        counts, began = self._statistics, asyncio.get_running_loop().time()
        try:
            words, sound_s = await self._hear(media)
        except BaseException:
            counts.failed += 1
            raise
        finally:
            counts.took_s += asyncio.get_running_loop().time() - began
        counts.heard += 1
        counts.sound_s += sound_s
        return words

    async def _hear(self, media: MediaReference) -> tuple[str, float]:
        """The words, and how many seconds they took at most to say."""
        self._limits.refuse_longer(media.duration_s)
        async with AsyncExitStack() as held:
            async with _in_time(self._limits.timeout_s(0.0)):
                recording = await held.enter_async_context(self._fetch(media))
                looked = await asyncio.to_thread(look_at, recording)
            self._limits.refuse_longer(looked.duration_s)
            longest_s = self._limits.longest_s(looked)
            with self._under_way(longest_s):
                async with _in_time(self._limits.timeout_s(longest_s)):
                    return await self._heard(recording, looked.sha256, held), longest_s

    async def _heard(self, recording: Recording, digest: str, held: AsyncExitStack) -> str:
        async def load() -> str:
            # It belongs to the load from here on: who brought it may leave while others wait for its words.
            async with held.pop_all():
                return await self._words(recording)

        if self._cache is None:
            return await load()
        return await self._cache.get_or_load(f"transcript:{self._heard_by}:{digest}", load, policy="transcript")

    async def _words(self, recording: Recording) -> str:
        try:
            return await self._transcribed(recording)
        except AudioError as error:
            if error.kind != "refused":
                raise
        return await self._transcribed(recording, transcode=True)

    async def _transcribed(self, recording: Recording, *, transcode: bool = False) -> str:
        async with self._audio.prepare(recording, transcode=transcode) as clips:
            text = join_transcripts([(clip, await self._said(clip)) for clip in clips]).text
            return f"{text} {CUT}" if text and clips.truncated else text

    async def _said(self, clip: Clip) -> str:
        size_bytes = clip.size_bytes
        if clip.path is None:  # in memory already: only the request that holds it comes
            async with self._reserve(size_bytes):
                return await self._transcribe(clip)
        async with self._reserve(2 * size_bytes) as lease:
            data = await clip.read()
            if lease is not None:
                lease.landed(len(data))
            return await self._transcribe(replace(clip, content=data))

    @contextmanager
    def _under_way(self, longest_s: float) -> Iterator[None]:
        """Hear a recording of *longest_s* inside; AudioError "busy" when it is long, and too many are."""
        counts, is_long = self._statistics, longest_s > LONG_S
        if is_long and counts.long_under_way >= self._max_long:
            raise AudioError(f"{counts.long_under_way} long recordings are heard already; try again later", kind="busy")
        counts.under_way += 1
        counts.long_under_way += is_long
        try:
            yield
        finally:
            counts.under_way -= 1
            counts.long_under_way -= is_long


@asynccontextmanager
async def _in_time(limit_s: float) -> AsyncIterator[None]:
    """End what takes longer, and say in the errors that callers know what went wrong."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise CompletionError(f"the recording was not heard within {limit_s:g} s", kind="timeout") from error
    except FileNotFoundError as error:
        raise TransportError(f"the file of the recording is gone: {error}", retryable=False) from error


def _described(transcribe: Callable[[Clip], Awaitable[str]], model: str) -> str:
    """A digest of who hears, and how."""
    if isinstance(transcribe, DescribesTranscription):
        return digest_of([model, transcribe.describe()])
    return uuid.uuid4().hex
