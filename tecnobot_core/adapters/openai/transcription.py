"""The words of a recording, by a model behind any OpenAI-compatible API."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ...audio import Clip
from ...errors import AudioError, CompletionError, ConfigurationError
from .client import LazyClient
from .failures import translated

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class OpenAITranscriber:
    """Asks *model* at *base_url*, by default OpenAI's own, what is said in a clip; call it with one.

    One call is one deadline of *timeout_s*, and is never repeated. *language* (ISO 639-1) makes it surer and quicker.
    Raises AudioError of kind "refused" when the server cannot read the clip, CompletionError for all else.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str = "",
        base_url: str | None = None,
        timeout_s: float = 120.0,
        language: str | None = None,
    ) -> None:
        if not model:
            raise ConfigurationError(
                "TRANSCRIPTION_MODEL is empty; wanted is the name of a model that the server offers"
            )
        self.model = model
        self._client = LazyClient("OpenAITranscriber", "audio.transcriptions", api_key=api_key, base_url=base_url)
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {} if language is None else {"language": language}

    async def __call__(self, clip: Clip) -> str:
        """What is said in *clip*; "" when nothing is."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return _text(await self._ask(await self._client.open(), clip))
        except TimeoutError as error:
            raise CompletionError(f"no transcript within {self._timeout_s:g} s", kind="timeout") from error

    def describe(self) -> Mapping[str, object]:
        """The request for any clip and its server, for a cache."""
        return {"model": self.model, **self._options, "base_url": self._client.base_url}

    async def aclose(self) -> None:
        """Close the connections; calls that are under way fail."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, client: "AsyncOpenAI", clip: Clip) -> object:
        file = (clip.file_name, await clip.read(), clip.mime)
        try:
            return await client.audio.transcriptions.create(model=self.model, file=file, **self._options)
        except Exception as error:
            failure = translated(error, self._client.api_key)
            # Only the server knows whether it can read the container; another one may help.
            if getattr(error, "status_code", None) in (400, 415, 422) and failure.kind == "rejected":
                raise AudioError(f"the recording was refused: {failure}", kind="refused") from error
            raise failure from error


def _text(response: Any) -> str:
    text = response if isinstance(response, str) else getattr(response, "text", None)
    if not isinstance(text, str):
        raise CompletionError("the server's answer holds no transcript", kind="malformed")
    return text.strip()
