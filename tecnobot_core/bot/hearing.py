"""A voice note, understood: fetched, prepared, transcribed, remembered."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from ..audio import AudioPreprocessor, Clip, join_transcripts
from ..cache import HybridCache
from ..errors import AudioError
from ..messages import MediaReference

Recording = bytes | Path
Reserve = Callable[[int], AbstractAsyncContextManager[object]]

_COPIES = 2  # of a clip that is on its way: as read, and as the request that holds it


class Hearing:
    """Turns a recording into text.

    *fetch* gives the content of a MediaReference for as long as it is needed, *transcribe* the words of a clip; *model*
    names who hears. With a cache, a recording that was forwarded is transcribed once: the key is the hash of its
    content. What *transcribe* refuses with an AudioError of kind "refused" is converted and tried once more. *reserve*
    is asked for the memory of each clip, as ``MemoryManager.reserve``.
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
    ) -> None:
        self._fetch = fetch
        self._transcribe = transcribe
        self._audio = audio or AudioPreprocessor()
        self._model = model
        self._cache = cache
        self._reserve = reserve or (lambda n_bytes: nullcontext())

    async def __call__(self, media: MediaReference) -> str:
        """The words of *media*. Raises AudioError when it cannot be used, and whatever fetching and asking raise."""
        async with self._fetch(media) as recording:
            if self._cache is None:
                return await self._words(recording)
            digest = await asyncio.to_thread(_sha256, recording)
            return await self._cache.get_or_load(
                f"transcript:{self._model}:{digest}", lambda: self._words(recording), policy="transcript"
            )

    async def _words(self, recording: Recording) -> str:
        try:
            return await self._transcribed(recording)
        except AudioError as error:
            if error.kind != "refused":
                raise
        return await self._transcribed(recording, transcode=True)

    async def _transcribed(self, recording: Recording, *, transcode: bool = False) -> str:
        async with self._audio.prepare(recording, transcode=transcode) as clips:
            return join_transcripts([(clip, await self._said(clip)) for clip in clips]).text

    async def _said(self, clip: Clip) -> str:
        async with self._reserve(_COPIES * clip.size_bytes):
            return await self._transcribe(clip)


def _sha256(recording: Recording) -> str:
    if isinstance(recording, bytes):
        return hashlib.sha256(recording).hexdigest()
    with recording.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
