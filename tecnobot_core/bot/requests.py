"""What the application asks of a bot: to speak first, to be silent, to forget."""

import time
import uuid
from collections.abc import Callable, Mapping

from ..cache import HybridCache
from ..delivery import Delivery
from ..messages import ChatId, InboundMessage, OutboundMessage
from .apologies import Apologies
from .people import People


class Requests:
    """Does it for the person whom the application names, however the address is written."""

    def __init__(
        self,
        people: People,
        delivery: Delivery,
        apologies: Apologies,
        cache: HybridCache | None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._people = people
        self._delivery = delivery
        self._apologies = apologies
        self._cache = cache
        self._wall_clock = wall_clock

    async def send(self, chat: ChatId, text: str, *, key: str) -> bool:
        """Say *text*; False when something was said under *key* before."""
        if not text.strip():
            raise ValueError("text is empty; write what to say")
        chat = await self._people.canonical(chat)
        return await self._delivery.post(OutboundMessage(chat=chat, key=key, text=text))

    async def signal(self, chat: ChatId, name: str, id: str = "") -> None:
        """Tell the pipeline *name*, in the turn of *chat*; once for each *id* that is given."""
        chat = await self._people.canonical(chat)
        message_id, now_s = f"{name}/{id or uuid.uuid4().hex}", self._wall_clock()
        signal = InboundMessage(id=message_id, chat=chat, sent_at=now_s, text=name, kind="signal")
        await self._delivery.accept([signal])

    async def delete_chat(self, chat: ChatId) -> int:
        """Forget a person; how many rows of history that were."""
        chat = await self._people.canonical(chat)
        self._apologies.forget(chat)
        deleted = await self._people.delete(chat)
        if self._cache is not None:
            await self._cache.erase(chat.reveal())
        return deleted

    async def export_chat(self, chat: ChatId) -> Mapping[str, object]:
        """What is held about a person."""
        return await self._people.export(await self._people.canonical(chat))
