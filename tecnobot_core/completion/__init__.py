"""Asking a language model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..messages import ChatMessage


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered. What the server did not tell is 0 or empty.

    ``finish_reason`` is in the API's words: "stop" for an answer that is whole, "length" for one that was cut.
    """

    text: str = field(repr=False)
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""


class ChatModel(Protocol):
    """A language model. Every failure is a CompletionError; an answer is never empty or cut in its middle."""

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """The model's next message after *messages*, within the model's own deadline."""
        ...


@runtime_checkable
class DescribesRequests(Protocol):
    """A ChatModel whose answers can be cached: it tells what it would ask, and whom."""

    def describe(self, messages: Sequence[ChatMessage]) -> Mapping[str, object]:
        """All that can change the answer to *messages*, as plain values: model, server, options, messages."""
        ...
