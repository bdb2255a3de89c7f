"""An answer from the language model, with what it may know."""

from collections.abc import Mapping, Sequence

from ..cache import HybridCache, Uncached, answer_scope, is_cacheable_request, is_storable_answer, request_key
from ..cache.scopes import OfScope
from ..completion import ChatModel, DescribesRequests
from ..history import HistoryWindow
from ..knowledge import Passage
from ..messages import ChatId, ChatMessage


class Thinking:
    """Asks *model* with the prompt, the owner's passages and the last messages of the chat.

    With a cache the same request is asked once while its policy keeps the answer: for everybody where it is a first
    question that holds nothing of a person ("faq"), else for its chat alone ("reply"). Whatever the request holds is a
    part of the key, so another prompt, model or passage is another answer. Only what has one answer is kept: requests
    of a model that describes them, at a low temperature or with a seed, and answers that are whole.
    """

    def __init__(self, model: ChatModel, window: HistoryWindow, *, prompt: str, cache: HybridCache | None) -> None:
        self._model = model
        self._window = window
        self._prompt = prompt
        self._cache = cache

    async def answer(
        self,
        chat: ChatId,
        question: str,
        history: Sequence[ChatMessage],
        passages: Sequence[Passage],
        *,
        sender_name: str = "",
    ) -> str:
        """The model's answer to who is called *sender_name*. Raises CompletionError when there is none."""
        rows = (*history, ChatMessage("user", question))
        messages = self._window.select(rows, system=self._system(passages)).messages
        if self._cache is not None and isinstance(self._model, DescribesRequests):
            request = self._model.describe(messages)
            if is_cacheable_request(request):
                return await self._remembered(self._cache, request, messages, chat, sender_name)
        return (await self._model.complete(messages)).text

    async def _remembered(
        self,
        cache: HybridCache,
        request: Mapping[str, object],
        messages: Sequence[ChatMessage],
        chat: ChatId,
        sender_name: str,
    ) -> str:
        async def complete() -> str | Uncached[str]:
            completion = await self._model.complete(messages)
            return completion.text if is_storable_answer(completion) else Uncached(completion.text)

        policy, scope = answer_scope(request, user=chat.reveal(), name=sender_name)
        # What is for everybody goes with who asked it first, too: their words may be in it all the same.
        tags = () if scope is not None else (OfScope(chat.reveal()),)
        return await cache.get_or_load(request_key(request), complete, policy=policy, scope=scope, tags=tags)

    def _system(self, passages: Sequence[Passage]) -> str | None:
        parts = [self._prompt, *(f"# {passage.title}\n{passage.text}" for passage in passages)]
        return "\n\n".join(part for part in parts if part) or None
