"""A language model behind any OpenAI-compatible API."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..completion import Completion
from ..errors import CompletionError, ConfigurationError, LifecycleError, MissingDependencyError
from ..messages import ChatMessage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
MAX_RETRY_AFTER_S = 86_400.0  # a server that asks for more has no clock

# Error codes and types, as servers write them: OpenAI's, and those of llama.cpp.
_QUOTA = ("insufficient_quota", "credit_balance_exhausted", "billing_not_active", "billing_hard_limit_reached")
_TOO_LONG = ("context_length_exceeded", "string_above_max_length", "exceed_context_size_error")

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
        if not api_key and base_url is None:
            raise ConfigurationError(
                "OPENAI_API_KEY is empty; wanted is a key, or in OPENAI_BASE_URL a server that needs none"
            )
        self._model = model
        self._api_key = api_key
        self._base_url = base_url or OPENAI_URL
        self._timeout_s = timeout_s
        self._max_answer_tokens = max_answer_tokens
        self._options = {} if temperature is None else {"temperature": temperature}
        self._limit_name = _NEW_LIMIT
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """The model's answer; one that reached ``max_answer_tokens`` ends with its last whole sentence."""
        request = self._request(messages)
        try:
            async with asyncio.timeout(self._timeout_s):
                client = await self._open()
                return _read(await self._ask(client, request))
        except TimeoutError as error:
            raise CompletionError(f"no answer within {self._timeout_s:g} s", kind="timeout") from error

    def describe(self, messages: Sequence[ChatMessage]) -> Mapping[str, object]:
        """The request for *messages* and its server, for a cache. The name of the limit is that of new servers."""
        return self._request(messages) | {_NEW_LIMIT: self._max_answer_tokens, "base_url": self._base_url}

    async def aclose(self) -> None:
        """Close the connections; calls that are under way fail."""
        self._closed = True
        async with self._opening:
            if self._client is not None:
                await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _request(self, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        return {"model": self._model, "messages": [_as_sent(message) for message in messages], **self._options}

    async def _open(self) -> "AsyncOpenAI":
        async with self._opening:
            if self._client is None and not self._closed:
                self._client = await asyncio.to_thread(self._make_client)
            if self._client is None or self._closed:
                raise LifecycleError("this OpenAIChat is closed; make another one")
            return self._client

    def _make_client(self) -> "AsyncOpenAI":
        try:
            import openai  # noqa: PLC0415  here it does not hold up the event loop
        except ModuleNotFoundError as error:
            raise MissingDependencyError("openai", extra="openai") from error
        client = openai.AsyncOpenAI(
            api_key=self._api_key or "none",  # the SDK refuses to be without one
            base_url=self._base_url,
            max_retries=0,
            timeout=None,
        )
        client.chat.completions  # noqa: B018  imports the larger half of the SDK
        return client

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
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> CompletionError:
        import openai  # noqa: PLC0415  loaded before

        if isinstance(error, openai.APIStatusError):
            text = f"the server answered {error.status_code}: {_said(error)}"
            # Some servers repeat a key that they do not know.
            text = text.replace(self._api_key, "***") if self._api_key else text
            return CompletionError(text, kind=_kind(error), retry_after_s=_retry_after_s(error.response.headers))
        # The SDK lets errors of its JSON and model layers through; all others are the link's.
        if isinstance(error, ValueError | TypeError | AttributeError | LookupError | RecursionError):
            return CompletionError(f"the server's answer cannot be read: {error!r:.200}", kind="malformed")
        return CompletionError(
            f"the connection to the server failed: {error.__cause__ or error!r:.200}", kind="unavailable"
        )


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


def _kind(error: "APIStatusError") -> str:
    status, names = error.status_code, (error.code, error.type)
    if status == 402 or any(name in _QUOTA for name in names):
        return "quota"
    # vLLM has no code for it.
    if status == 413 or any(name in _TOO_LONG for name in names) or "maximum context length" in _said(error):
        return "too_long"
    if status >= 500:
        return "unavailable"
    by_status = {401: "authentication", 403: "authentication", 408: "timeout", 429: "rate_limited"}
    return by_status.get(status, "rejected" if status >= 400 else "malformed")


def _said(error: "APIStatusError") -> str:
    """The server's own words; a page of HTML says nothing."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f"{message:.300}" if isinstance(message, str) else error.response.reason_phrase


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What the server asks for in ``retry-after-ms`` or ``retry-after``, seconds or a date; None for nonsense."""
    asked = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif re.fullmatch(r"\s*[0-9.]+\s*", asked):
            seconds = float(asked)
        else:
            # By the server's own clock, which may differ from ours.
            seconds = (parsedate_to_datetime(asked) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (ValueError, TypeError, LookupError):
        return None
    return seconds if 0 <= seconds <= MAX_RETRY_AFTER_S else None
