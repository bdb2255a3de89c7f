"""An answer from the language model, with what it may know."""

import hashlib
from collections.abc import Sequence

from ..cache import HybridCache
from ..completion import ChatModel
from ..history import HistoryWindow
from ..knowledge import Passage
from ..messages import ChatId, ChatMessage


class Thinking:
    """Asks *model* with the prompt, the owner's passages and the last messages of the chat.

    With a cache the same request of the same chat is asked once while the policy "reply" keeps it.
    """

    def __init__(self, model: ChatModel, window: HistoryWindow, *, prompt: str, cache: HybridCache | None) -> None:
        self._model = model
        self._window = window
        self._prompt = prompt
        self._cache = cache

    async def answer(
        self, chat: ChatId, question: str, history: Sequence[ChatMessage], passages: Sequence[Passage]
    ) -> str:
        """The model's answer. Raises CompletionError when there is none."""
        rows = (*history, ChatMessage("user", question))
        request = self._window.select(rows, system=self._system(passages)).messages
        if self._cache is None:
            return (await self._model.complete(request)).text

        async def complete() -> str:
            return (await self._model.complete(request)).text

        return await self._cache.get_or_load(_request_key(request), complete, policy="reply", scope=chat)

    def _system(self, passages: Sequence[Passage]) -> str | None:
        parts = [self._prompt, *(f"# {passage.title}\n{passage.text}" for passage in passages)]
        return "\n\n".join(part for part in parts if part) or None


def _request_key(messages: Sequence[ChatMessage]) -> str:
    """The whole request: whatever would change the answer changes the key."""
    parts = [(m.role, m.content, m.tool_call_id, [(c.id, c.name, c.arguments) for c in m.tool_calls]) for m in messages]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
