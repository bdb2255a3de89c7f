"""Keys for requests to a language model, and what may be cached of them."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .canonical import digest_of
from .personal import folded, holds_name, looks_personal

# Left out is only what is known not to change the answer: a list of what goes in would rot with every new field.
TRANSPORT_FIELDS = frozenset(
    {
        "stream", "stream_options", "timeout", "extra_headers", "extra_query", "metadata", "prompt_cache_key",
        "prompt_cache_retention",
    }
)  # fmt: skip
STATEFUL_FIELDS = ("store", "previous_response_id", "conversation", "background")
MAX_TEMPERATURE = 0.3  # above it the same request is meant to be answered differently


def request_key(request: Mapping[str, object]) -> str:
    """The key of the whole *request*, with its model as resolved.

    Every field counts that is not in TRANSPORT_FIELDS, also one that nobody knows yet; never the order of fields.
    """
    if not request.get("model"):
        raise ValueError("a request without a model has no key; name the model that will answer")
    return digest_of({name: value for name, value in request.items() if name not in TRANSPORT_FIELDS})


def is_cacheable_request(request: Mapping[str, object], *, sampled: bool = False) -> bool:
    """Whether the same request may be answered with the same words.

    Never when it depends on, or changes, what the server remembers. Otherwise at a temperature of at most
    MAX_TEMPERATURE, or with a seed; *sampled* is the choice to keep one answer of many. The temperature of a request
    that names none is the server's, usually 1.
    """
    if any(request.get(name) for name in STATEFUL_FIELDS):
        return False
    temperature = request.get("temperature")
    is_cold = isinstance(temperature, int | float) and temperature <= MAX_TEMPERATURE
    return sampled or is_cold or request.get("seed") is not None


class ModelAnswer(Protocol):
    """What a model answered, as ``completion.Completion``; ``refusal`` and ``tool_calls`` count where it has them."""

    @property
    def text(self) -> str:
        """What the model said."""
        ...

    @property
    def finish_reason(self) -> str:
        """Why it stopped, in the API's words; empty when the server did not say."""
        ...


def is_storable_answer(answer: ModelAnswer) -> bool:
    """Whether *answer* is whole: finished by itself, with words, neither cut nor filtered, and asking for no tool."""
    if answer.finish_reason != "stop" or not answer.text.strip():
        return False
    return not getattr(answer, "refusal", None) and not getattr(answer, "tool_calls", ())


def answer_scope(
    request: Mapping[str, Any], *, user: str, name: str = "", personal: Iterable[str] = ()
) -> tuple[str, str | None]:
    """The policy and the scope of an answer: ("faq", None) where anybody could ask this, ("reply", *user*) otherwise.

    *name* is what the person is called, *personal* whatever else the caller put into the request about this person or
    this moment: numbers, the date and the time. Anything else that is not plainly a first question, as a history or
    tools, makes it personal too, and so do the words of the question; see ``is_impersonal``.
    """
    is_for_all = is_impersonal(request, name=name, personal=(user, user.partition("@")[0], *personal))
    return ("faq", None) if is_for_all else ("reply", user)


def is_impersonal(request: Mapping[str, Any], *, name: str = "", personal: Iterable[str] = ()) -> bool:
    """Whether *request* is a first turn with nothing of *name* and *personal*, and nothing that looks personal.

    That is, in the question: who somebody is or what is theirs, a name or a number that the system message does not
    know, an address, an amount of money, a word of the clock such as "today", letters that are not Latin.
    """
    messages = request.get("messages")
    if not isinstance(messages, list | tuple) or any(request.get(field) for field in ("tools", "functions", "user")):
        return False
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in messages]
    if [role for role in roles if role not in ("system", "developer")] != ["user"] or roles[-1] != "user":
        return False
    *told, question = texts = [message.get("content") for message in messages]
    if not all(isinstance(text, str) for text in texts):
        return False  # pictures and recordings are somebody's
    if any(field in message for message in messages for field in ("name", "tool_calls")):
        return False
    whole = folded("\n".join(texts))
    values = (folded(value).strip() for value in personal)
    if any(value in whole for value in values if value) or holds_name(whole, name):
        return False
    return not looks_personal(question, "\n".join(told))
