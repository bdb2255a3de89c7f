"""The flows of many chatbots in one process, of which only those in use are held."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ..events import EventBus
from .matching import RegexEngine
from .ports import FlowStore
from .repository import FlowRepository
from .suggestions import Suggestions


class FlowRepositories:
    """A FlowRepository for each chatbot in *store*; the other arguments are those of FlowRepository.

    Give ``release`` to ``MemoryManager.register``: a chatbot whose flows were dropped loads them again when it is
    written to. Those that were used during the last *spare_s* are kept, because a turn may be in their middle.
    """

    def __init__(
        self,
        store: FlowStore,
        *,
        events: EventBus | None = None,
        engine: RegexEngine | None = None,
        suggestions: Suggestions | None = None,
        poll_s: float = 30.0,
        spare_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._spare_s = spare_s
        self._repositories: dict[str, FlowRepository] = {}
        self._make: Callable[[str], FlowRepository] = partial(
            FlowRepository,
            store,
            events=events,
            engine=engine,
            suggestions=suggestions,
            poll_s=poll_s,
            clock=clock,
            sleep=sleep,
        )

    def get(self, chatbot_id: str) -> FlowRepository:
        """The repository of a chatbot, the same each time; await its ``ready`` before using it."""
        if chatbot_id not in self._repositories:
            self._repositories[chatbot_id] = self._make(chatbot_id)
        return self._repositories[chatbot_id]

    @property
    def used_bytes(self) -> int:
        """About what the flows and indexes of all chatbots take."""
        return sum(repository.used_bytes for repository in self._repositories.values())

    def release(self, wanted_bytes: int) -> int:
        """Drop the flows of the least recently used chatbots; about how many bytes that freed."""
        freed_bytes = 0
        for repository in sorted(self._repositories.values(), key=lambda repository: -repository.idle_s):
            if freed_bytes >= wanted_bytes or repository.idle_s < self._spare_s:
                break
            freed_bytes += repository.release()
        return freed_bytes
