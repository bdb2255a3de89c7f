"""A language model behind any OpenAI-compatible API."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ...completion import Completion
from ...errors import CompletionError, ConfigurationError
from ...messages import ChatMessage
from .client import LazyClient
from .failures import translated

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_NEW_LIMIT, _OLD_LIMIT = "max_completion_tokens", "max_tokens"


class OpenAIChat:
    """A ChatModel that asks *model* at *base_url*, by default OpenAI's own.

    One call is one deadline of *timeout_s*, and is never repeated by the SDK. The ``openai`` package, half a second and
    50 MiB, is imported by the first call, in a thread. Without *temperature* the server's own is used, usually 1. Close
    with ``aclose`` or ``async with``.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str = "",
        base_url: str | None = None,
        timeout_s: float = 30.0,
        max_answer_tokens: int = 500,
        temperature: float | None = None,
    ) -> None:
        if not model:
            raise ConfigurationError("OPENAI_MODEL is empty; wanted is the name of a model that the server offers")
        self._client = LazyClient("OpenAIChat", "chat.completions", api_key=api_key, base_url=base_url)
        self._model = model
        self._timeout_s = timeout_s
        self._max_answer_tokens = max_answer_tokens
        self._options = {} if temperature is None else {"temperature": temperature}
        self._limit_name = _NEW_LIMIT

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """The model's answer; one that reached ``max_answer_tokens`` ends with its last whole sentence."""
        request = self._request(messages)
        try:
            async with asyncio.timeout(self._timeout_s):
                client = await self._client.open()
                return _read(await self._ask(client, request))
        except TimeoutError as error:
            raise CompletionError(f"no answer within {self._timeout_s:g} s", kind="timeout") from error

    def describe(self, messages: Sequence[ChatMessage]) -> Mapping[str, object]:
        """The request for *messages* and its server, for a cache. The name of the limit is that of new servers."""
        return self._request(messages) | {_NEW_LIMIT: self._max_answer_tokens, "base_url": self._client.base_url}

    async def aclose(self) -> None:
        """Close the connections; calls that are under way fail."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _request(self, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        return {"model": self._model, "messages": [_as_sent(message) for message in messages], **self._options}

    async def _ask(self, client: "AsyncOpenAI", request: dict[str, Any]) -> object:
        limit = self._limit_name
        try:
            try:
                return await client.chat.completions.create(**request | {limit: self._max_answer_tokens})
            except Exception as error:
                if limit == _OLD_LIMIT or not _is_about_limit(error):
                    raise
            self._limit_name = _OLD_LIMIT
            return await client.chat.completions.create(**request | {_OLD_LIMIT: self._max_answer_tokens})
        except Exception as error:
            raise translated(error, self._client.api_key) from error


def _as_sent(message: ChatMessage) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": _encodable(message.content)}
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _encodable(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return sent


def _encodable(text: str) -> str:
    """*text* with U+FFFD for each lone surrogate, which UTF-8 cannot carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read(response: Any) -> Completion:
    """What *response* answers; CompletionError when that is nothing, or nothing whole."""
    try:
        choice = response.choices[0]
        text, reason, refusal = choice.message.content, choice.finish_reason, choice.message.refusal
    except (AttributeError, LookupError, TypeError) as error:
        raise CompletionError(f"the server's answer holds no message: {error}", kind="malformed") from error
    if refusal or reason == "content_filter":
        raise CompletionError("the model refuses to answer", kind="rejected")
    if not isinstance(text, str) or not isinstance(reason, str):
        raise CompletionError(f"the answer is not a finished text (finish_reason {reason!r:.50})", kind="malformed")
    text = _whole_sentences(text) if reason == "length" else text
    if not text.strip():
        raise CompletionError(f"the answer is empty (finish_reason {reason!r:.50})", kind="malformed")
    usage = response.usage
    return Completion(
        text=text,
        model=response.model if isinstance(response.model, str) else "",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        finish_reason=reason,
    )


def _whole_sentences(text: str) -> str:
    """*text* up to its last line end or sentence end; the number before a list item ends no sentence."""
    found = re.finditer(r"^[ \t]*\d+\.|(?P<end>\n|[.!?…]+[\"'»”)\]]*(?=\s|\Z))", text, re.MULTILINE)
    ends = [match.end() for match in found if match["end"]]
    return text[: ends[-1]].rstrip() if ends else ""


def _count(usage: object, name: str) -> int:
    value = getattr(usage, name, 0)
    return value if isinstance(value, int) else 0


def _is_about_limit(error: Exception) -> bool:
    return getattr(error, "status_code", None) in (400, 422) and _NEW_LIMIT in str(error)
