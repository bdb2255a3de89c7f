"""The one class that knows every part."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

from ..cache import HybridCache
from ..completion import ChatModel
from ..connection import ConnectionManager, ShowsTyping
from ..delivery import (
    AddressBook,
    Conversations,
    Delivery,
    DeliveryStatistics,
    DeliveryStore,
    MemoryDelivery,
    Pacer,
    Pacing,
    TurnContext,
    TurnPolicy,
)
from ..delivery.clearance import try_to_show
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
from .conversing import Conversing
from .intake import Intake
from .people import People
from .pipeline import Pipeline
from .texts import SPANISH, Texts
from .thinking import Thinking
from .turns import Reply, Speech, build_turn

logger = logging.getLogger(__name__)

STOP_WAITING_S = 0.5  # with the drain, which then is not waited for, and closing, within 3 s
MAX_APOLOGISED = 10_000  # chats that are remembered as told; beyond that an old one may be told again


class Bot:
    """Answers every message that *connection* delivers. Every part can be replaced or left out.

    Left out: *conversations* and *store* live in memory; without *flows*, *model*, *knowledge*, *hearing* the pipeline
    passes them by; without *rate_limiter* everybody is heard; *memory* and *cache* are not used. The bot opens and
    closes *connection*, *memory* and the watching of *flows*; a database or a model's client is the caller's.

    *max_concurrent* chats are answered at once; a message is cancelled after *turn_timeout_s* and answered with
    ``texts.apology``; at the end *drain_s* is given to what was accepted. *policy* says which messages are one turn;
    after an outage a collapsed backlog is answered, or, with *apologises_for_delay*, gets ``texts.late`` instead. What
    could not be sent for *outgoing_ttl_s* expires (None: never). *pacing* makes the bot write as slowly as a person.

    While *store* takes no messages they stay in the transport. After *notice_after_s* each of their chats gets
    ``texts.away`` once, unless that is empty. With *answers_without_store* a message that a keyword flow answers is
    answered at once, and then at most once: a kill in that moment loses it, and no history remembers it.

    The last messages of active chats are kept in memory, up to *history_bytes*: then nobody else may write them (0:
    read each time).
    *addresses* knows which addresses are one person. Do steps of flows name *functions*; answers to questions are read
    as in *language* ("es", "en", "pt"), phone numbers without a country by *parse_phone*.
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
        policy: TurnPolicy | None = None,
        apologises_for_delay: bool = False,
        pacing: Pacing | None = None,
        outgoing_ttl_s: float | None = 86_400.0,
        notice_after_s: float = 10.0,
        answers_without_store: bool = False,
        addresses: AddressBook | None = None,
        functions: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
        language: str = "es",
        parse_phone: Callable[[str], str] | None = None,
        history_bytes: int = 4 * 1024 * 1024,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.events = events or EventBus()
        self._connection = connection
        self._flows = flows
        self._memory = memory
        self._cache = cache
        self._texts = texts
        self._drain_s = drain_s
        self._window = window or HistoryWindow()
        self._people = People(conversations, addresses, history_bytes=history_bytes, blacklist=blacklist)
        self._apologises_for_delay = apologises_for_delay
        self._typing = connection.transport if isinstance(connection.transport, ShowsTyping) else None
        self._tasks = Tasks("bot", on_failure=self.events.task_failed)
        self._apologised: OrderedDict[ChatId, str] = OrderedDict()  # the message that was apologised for
        self._receiving: asyncio.Timeout | None = None
        self._stopped = False
        self._ran = False
        self._pipeline = Pipeline(
            admission=Admission(
                texts,
                is_blacklisted=self._people.is_blacklisted,
                rate_limiter=rate_limiter,
                memory_level=lambda: "normal" if memory is None else memory.level,
            ),
            conversations=self._people.conversations,
            texts=texts,
            flows=flows,
            conversing=None
            if flows is None
            else Conversing(flows, functions, language=language, parse_phone=parse_phone, clock=wall_clock),
            thinking=None if model is None else Thinking(model, self._window, prompt=prompt, cache=cache),
            knowledge=knowledge,
            hearing=hearing,
            history_limit=self._window.load_limit,
            max_text_chars=max_text_chars,
            clock=clock,
        )
        self._delivery = Delivery(
            store or MemoryDelivery(self._people.stored),
            handle=self._handle,
            fail=self._fail,
            send=self._send,
            wait_ready=connection.wait_connected,
            events=self.events,
            on_stood_down=self._stand_down,
            on_commit=self._people.note,
            on_doubt=self._people.doubt,
            policy=policy,
            pacer=None if pacing is None else Pacer(pacing),
            show_typing=None if self._typing is None else self._typing.set_typing,
            max_concurrent=max_concurrent,
            turn_timeout_s=turn_timeout_s,
            outgoing_ttl_s=outgoing_ttl_s,
            wall_clock=wall_clock,
        )
        self._intake = Intake(
            connection,
            self._journal,
            notice=self._notice,
            answer=self._pipeline.answer_from_flows if answers_without_store else _nothing,
            events=self.events,
            tasks=self._tasks,
            notice_after_s=notice_after_s,
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
                if self._people.tail is not None:
                    self._memory.register("history", self._people.tail.release)
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
                await self._intake.run()
        except TimeoutError:
            if not limit.expired():
                raise
            logger.warning("stopped while the store does not answer; what was not accepted comes again")
            return False
        finally:
            self._receiving = None
        return True

    async def send(self, chat: ChatId, text: str, *, key: str) -> bool:
        """Say something first. The same *key* is said once; False when it was said before.

        Here and below a phone number may be written in any of its forms.
        """
        if not text.strip():
            raise ValueError("text is empty; write what to say")
        chat = await self._people.canonical(chat)
        return await self._delivery.post(OutboundMessage(chat=chat, key=key, text=text))

    async def delete_chat(self, chat: ChatId) -> int:
        """Forget a person; return how many history rows that were."""
        chat = await self._people.canonical(chat)
        self._apologised.pop(chat, None)
        return await self._people.delete(chat)

    async def export_chat(self, chat: ChatId) -> Mapping[str, object]:
        """Everything that is held about a person, in JSON types."""
        return await self._people.export(await self._people.canonical(chat))

    @property
    def outage_s(self) -> float | None:
        """For how long messages could not be journaled and wait in the transport; None when they can."""
        return self._intake.outage_s

    def statistics(self) -> DeliveryStatistics:
        """What was accepted, handled and sent."""
        return self._delivery.statistics()

    async def _journal(self, batch: Sequence[InboundMessage]) -> None:
        await self._delivery.accept(await self._people.resolve(batch, self._delivery.is_busy))

    async def _send(self, message: OutboundMessage) -> None:
        await self._connection.send(await self._people.addressed(message))

    def _notice(self, message: InboundMessage) -> Sequence[OutboundMessage]:
        if message.from_me or not self._texts.away or self._people.is_blacklisted(message.chat):
            return ()
        return (OutboundMessage(chat=message.chat, key=f"{message.id}/away", text=self._texts.away),)

    def _stand_down(self) -> None:
        self._people.clear()
        self.stop()

    async def _handle(self, context: TurnContext) -> Turn:
        message = context.message
        if self._typing is None or message.from_me:
            turn = await self._answer(context)
        else:
            await try_to_show(self._typing.set_typing, message.chat, True)
            try:
                turn = await self._answer(context)
            finally:
                await try_to_show(self._typing.set_typing, message.chat, False)
        self._apologised.pop(message.chat, None)
        return turn

    async def _answer(self, context: TurnContext) -> Turn:
        if context.earlier and self._apologises_for_delay and not context.message.from_me:
            return self._pipeline.apologise_for_delay(context.message, context.earlier)
        return await self._pipeline.answer(context.message, context.earlier, context.send_now)

    def _fail(self, message: InboundMessage, error: Exception) -> Turn:
        """Apologise once; not again before something in this chat worked."""
        # Asked again for the same message when its apology could not be stored with the rest.
        if self._apologised.setdefault(message.chat, message.id) != message.id:
            return build_turn(message, "", Reply.silence("error", "failed"))
        if len(self._apologised) > MAX_APOLOGISED:
            self._apologised.popitem(last=False)
        apology = Reply("error", (Speech(self._texts.apology),), "failed", remembered=False)
        return build_turn(message, "", apology)


async def _nothing(message: InboundMessage) -> Sequence[OutboundMessage]:
    return ()
