"""Asking a language model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..messages import ChatMessage


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered. Token counts are 0 where the server did not tell."""

    text: str = field(repr=False)
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatModel(Protocol):
    """A language model. Every failure is a CompletionError; an answer is never empty or cut in its middle."""

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """The model's next message after *messages*, within the model's own deadline."""
        ...
