"""A voice note, understood: fetched, prepared, transcribed, remembered."""

from collections.abc import Awaitable, Callable

from ..audio import AudioPreprocessor, Clip
from ..cache import HybridCache
from ..messages import MediaReference


class Hearing:
    """Turns a recording into text.

    *fetch* gives the bytes of a MediaReference, *transcribe* the words of a clip. With a cache, a recording that was
    forwarded is transcribed once: the key is the hash of its content.
    """

    def __init__(
        self,
        fetch: Callable[[MediaReference], Awaitable[bytes]],
        transcribe: Callable[[Clip], Awaitable[str]],
        *,
        audio: AudioPreprocessor | None = None,
        cache: HybridCache | None = None,
    ) -> None:
        self._fetch = fetch
        self._transcribe = transcribe
        self._audio = audio or AudioPreprocessor()
        self._cache = cache

    async def __call__(self, media: MediaReference) -> str:
        """The words of *media*, joined where it has several parts. Raises AudioError when it cannot be used."""
        async with self._audio.prepare(await self._fetch(media)) as clips:
            words = [await self._words(clip) for clip in clips]
        return " ".join(word for word in words if word)

    async def _words(self, clip: Clip) -> str:
        if self._cache is None:
            return await self._transcribe(clip)
        return await self._cache.get_or_load(
            f"transcript:{clip.sha256}", lambda: self._transcribe(clip), policy="transcript"
        )
