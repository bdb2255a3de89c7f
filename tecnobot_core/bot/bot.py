"""The one class that knows every part."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack

from ..cache import HybridCache
from ..completion import ChatModel
from ..connection import ConnectionManager, ShowsTyping
from ..delivery import Conversations, Delivery, DeliveryStatistics, DeliveryStore, MemoryConversations, MemoryDelivery
from ..errors import LifecycleError
from ..events import EventBus
from ..flows import FlowRepository
from ..history import HistoryWindow
from ..knowledge import Knowledge
from ..memory import MemoryManager
from ..messages import ChatId, InboundMessage, MediaReference, OutboundMessage, Turn
from ..rate_limit import RateLimiter
from ..tasks import Tasks
from .admission import Admission
from .pipeline import Pipeline
from .texts import SPANISH, Texts
from .thinking import Thinking
from .turns import Reply, Speech, build_turn

logger = logging.getLogger(__name__)

STOP_WAITING_S = 0.5  # with the drain, which then is not waited for, and closing, within 3 s
TYPING_TIMEOUT_S = 1.0
MAX_APOLOGISED = 10_000  # chats that are remembered as told; beyond that an old one may be told again


class Bot:
    """Answers every message that *connection* delivers. Every part can be replaced or left out.

    Left out: *conversations* and *store* live in memory; without *flows*, *model*, *knowledge*, *hearing* the pipeline
    passes them by; without *rate_limiter* everybody is heard; *memory* and *cache* are not used. The bot opens and
    closes *connection*, *memory* and the watching of *flows*; a database or a model's client is the caller's.

    *max_concurrent* chats are answered at once; a message is cancelled after *turn_timeout_s* and answered with
    ``texts.apology``; at the end *drain_s* is given to what was accepted.
    """

    def __init__(
        self,
        connection: ConnectionManager,
        *,
        flows: FlowRepository | None = None,
        model: ChatModel | None = None,
        knowledge: Knowledge | None = None,
        hearing: Callable[[MediaReference], Awaitable[str]] | None = None,
        conversations: Conversations | None = None,
        store: DeliveryStore | None = None,
        window: HistoryWindow | None = None,
        rate_limiter: RateLimiter | None = None,
        memory: MemoryManager | None = None,
        cache: HybridCache | None = None,
        texts: Texts = SPANISH,
        prompt: str = "",
        blacklist: Collection[ChatId] = frozenset(),
        events: EventBus | None = None,
        max_concurrent: int = 64,
        turn_timeout_s: float = 60.0,
        drain_s: float = 2.0,
        max_text_chars: int = 4000,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.events = events or EventBus()
        self._connection = connection
        self._flows = flows
        self._memory = memory
        self._cache = cache
        self._texts = texts
        self._drain_s = drain_s
        self._window = window or HistoryWindow()
        self._conversations = conversations or MemoryConversations()
        self._typing = connection.transport if isinstance(connection.transport, ShowsTyping) else None
        self._tasks = Tasks("bot", on_failure=self.events.task_failed)
        self._apologised: OrderedDict[ChatId, str] = OrderedDict()  # the message that was apologised for
        self._receiving: asyncio.Timeout | None = None
        self._stopped = False
        self._ran = False
        self._pipeline = Pipeline(
            admission=Admission(
                texts,
                blacklist=blacklist,
                rate_limiter=rate_limiter,
                memory_level=lambda: "normal" if memory is None else memory.level,
            ),
            conversations=self._conversations,
            texts=texts,
            flows=flows,
            thinking=None if model is None else Thinking(model, self._window, prompt=prompt, cache=cache),
            knowledge=knowledge,
            hearing=hearing,
            history_limit=self._window.load_limit,
            max_text_chars=max_text_chars,
            clock=clock,
        )
        self._delivery = Delivery(
            store or MemoryDelivery(self._conversations),
            handle=self._handle,
            fail=self._fail,
            send=connection.send,
            wait_ready=connection.wait_connected,
            events=self.events,
            on_stood_down=self.stop,
            max_concurrent=max_concurrent,
            turn_timeout_s=turn_timeout_s,
        )

    async def run(self) -> None:
        """Answer until ``stop``, the end of the input or cancellation; then finish what was accepted.

        Raises TransportError when the link failed for good, and whatever a part raises while it opens. A Bot runs once.
        """
        if self._ran:
            raise LifecycleError("a Bot runs once; make a new one to run again")
        self._ran = True
        async with AsyncExitStack() as open_parts:
            open_parts.push_async_callback(self.events.aclose)
            if self._memory is not None:
                await open_parts.enter_async_context(self._memory)
                if self._cache is not None:
                    self._memory.register("cache", self._cache.release)
            await open_parts.enter_async_context(self._tasks)
            if not await self._open_and_receive(open_parts) or self._delivery.stood_down:
                return
            if not await self._delivery.drain(self._drain_s):
                left = self._delivery.statistics()
                logger.warning("stopped with %d messages unanswered and %d unsent", left.waiting, left.unsent)

    def stop(self) -> None:
        """Take no more messages, finish those that were accepted, and let ``run`` return."""
        self._stopped = True
        self._connection.stop_receiving()
        if self._receiving is not None:
            # Opening and accepting wait for a database that is away; what is not journaled is not acknowledged either.
            self._receiving.reschedule(asyncio.get_running_loop().time() + STOP_WAITING_S)

    async def _open_and_receive(self, open_parts: AsyncExitStack) -> bool:
        """Take in messages until ``stop`` or the end of the input; False when stopping could not wait for the store."""
        if self._stopped:
            return False
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._receiving = limit
                if self._flows is not None:
                    await self._flows.load()
                    self._tasks.start(self._flows.watch(), "watch_flows")
                # Owned before connecting: who may not answer must not take the link from the one that may.
                await open_parts.enter_async_context(self._delivery)
                await open_parts.enter_async_context(self._connection)
                await self._receive()
        except TimeoutError:
            if not limit.expired():
                raise
            logger.warning("stopped while the store does not answer; what was not accepted comes again")
            return False
        finally:
            self._receiving = None
        return True

    async def send(self, chat: ChatId, text: str, *, key: str) -> bool:
        """Say something first. The same *key* is said once; False when it was said before."""
        if not text.strip():
            raise ValueError("text is empty; write what to say")
        return await self._delivery.post(OutboundMessage(chat=chat, key=key, text=text))

    async def delete_chat(self, chat: ChatId) -> int:
        """Forget a person; return how many history rows that were."""
        self._apologised.pop(chat, None)
        return await self._conversations.delete(chat)

    async def export_chat(self, chat: ChatId) -> Mapping[str, object]:
        """Everything that is held about a person, in JSON types."""
        return await self._conversations.export(chat)

    def statistics(self) -> DeliveryStatistics:
        """What was accepted, handled and sent."""
        return self._delivery.statistics()

    async def _receive(self) -> None:
        while batch := await self._connection.receive():
            await self._delivery.accept(batch)
            await self._connection.acknowledge([message.id for message in batch])

    async def _handle(self, message: InboundMessage) -> Turn:
        if self._typing is None or message.from_me:
            turn = await self._pipeline.answer(message)
        else:
            await self._show_typing(self._typing, message.chat, True)
            try:
                turn = await self._pipeline.answer(message)
            finally:
                await self._show_typing(self._typing, message.chat, False)
        self._apologised.pop(message.chat, None)
        return turn

    async def _show_typing(self, transport: ShowsTyping, chat: ChatId, typing: bool) -> None:
        """A sign that fails or hangs must cost no answer."""
        try:
            async with asyncio.timeout(TYPING_TIMEOUT_S):
                await transport.set_typing(chat, typing)
        except Exception:
            logger.warning("the typing sign could not be set", exc_info=True)

    def _fail(self, message: InboundMessage, error: Exception) -> Turn:
        """Apologise once; not again before something in this chat worked."""
        # Asked again for the same message when its apology could not be stored with the rest.
        if self._apologised.setdefault(message.chat, message.id) != message.id:
            return build_turn(message, "", Reply.silence("error", "failed"))
        if len(self._apologised) > MAX_APOLOGISED:
            self._apologised.popitem(last=False)
        apology = Reply("error", (Speech(self._texts.apology),), "failed", remembered=False)
        return build_turn(message, "", apology)
