"""What the owner wrote, found by search, so that the bot is useful without a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph of the owner's knowledge.

    ``coverage`` is the share of the question's meaningful words that it holds, 0 to 1, rarer words weighing more.
    """

    title: str
    text: str
    coverage: float = 0.0


class KnowledgeStore(Protocol):
    """Finds passages. Failures are StoreError."""

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """The *limit* best passages, best first; empty when nothing shares a meaningful word with *question*."""
        ...


class Knowledge:
    """Decides which of the found passages are good enough to be said.

    ``min_coverage`` is the share of a question's words that a passage must hold to be an answer on its own.
    """

    def __init__(self, store: KnowledgeStore, *, min_coverage: float = 0.55, max_question_chars: int = 500) -> None:
        if not 0 < min_coverage <= 1:
            raise ValueError(f"min_coverage must be above 0 and at most 1, not {min_coverage}")
        self._store = store
        self._min_coverage = min_coverage
        self._max_question_chars = max_question_chars

    async def answer(self, question: str) -> Passage | None:
        """The passage that answers *question*, or None."""
        found = await self._store.search(question[: self._max_question_chars], 1)
        return found[0] if found and found[0].coverage >= self._min_coverage else None

    async def context(self, question: str, limit: int = 3) -> Sequence[Passage]:
        """Passages that a model should see before it answers *question*."""
        return await self._store.search(question[: self._max_question_chars], limit)
