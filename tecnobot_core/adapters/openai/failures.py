"""What went wrong, in our words."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ...errors import CompletionError

if TYPE_CHECKING:
    from openai import APIStatusError

MAX_RETRY_AFTER_S = 86_400.0  # a server that asks for more has no clock

# Error codes and types, as servers write them: OpenAI's, and those of llama.cpp.
_QUOTA = ("insufficient_quota", "credit_balance_exhausted", "billing_not_active", "billing_hard_limit_reached")
_TOO_LONG = ("context_length_exceeded", "string_above_max_length", "exceed_context_size_error")


def translated(error: Exception, api_key: str) -> CompletionError:
    """*error* of the SDK as a CompletionError, without *api_key*."""
    import openai  # noqa: PLC0415  loaded before

    if isinstance(error, openai.APIStatusError):
        text = f"the server answered {error.status_code}: {said(error)}"
        # Some servers repeat a key that they do not know.
        text = text.replace(api_key, "***") if api_key else text
        return CompletionError(text, kind=_kind(error), retry_after_s=_retry_after_s(error.response.headers))
    # The SDK lets errors of its JSON and model layers through; all others are the link's.
    if isinstance(error, ValueError | TypeError | AttributeError | LookupError | RecursionError):
        return CompletionError(f"the server's answer cannot be read: {error!r:.200}", kind="malformed")
    why = error.__cause__ or error
    return CompletionError(f"the connection to the server failed: {why!r:.200}", kind="unavailable")


def said(error: "APIStatusError") -> str:
    """The server's own words; a page of HTML says nothing."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f"{message:.300}" if isinstance(message, str) else error.response.reason_phrase


def _kind(error: "APIStatusError") -> str:
    status, names = error.status_code, (error.code, error.type)
    if status == 402 or any(name in _QUOTA for name in names):
        return "quota"
    # vLLM has no code for it.
    if status == 413 or any(name in _TOO_LONG for name in names) or "maximum context length" in said(error):
        return "too_long"
    if status >= 500:
        return "unavailable"
    by_status = {401: "authentication", 403: "authentication", 408: "timeout", 429: "rate_limited"}
    return by_status.get(status, "rejected" if status >= 400 else "malformed")


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
