"""The one class that knows every part."""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import tzinfo
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from ..cache import HybridCache
from ..completion import ChatModel
from ..connection import ConnectionManager, KnowsOutcomes
from ..delivery import (
    AddressBook,
    Conversations,
    Delivery,
    DeliveryStatistics,
    DeliveryStore,
    MemoryDelivery,
    Pacer,
    Pacing,
    Settling,
    TurnPolicy,
)
from ..errors import LifecycleError
from ..events import EventBus
from ..flows import FlowRepository
from ..history import HistoryWindow
from ..knowledge import Knowledge
from ..memory import MemoryManager
from ..messages import ChatId, InboundMessage, MediaReference, OutboundMessage
from ..rate_limit import RateLimiter
from ..tasks import Tasks
from .access_list import AccessList
from .apologies import Apologies
from .giving_back import register_parts
from .handling import Handling
from .intake import Intake, away_notice
from .losses import Losses
from .opening_hours import OpeningHours
from .people import People
from .requests import Requests
from .signs import Signs
from .stopping import Stopping
from .texts import SPANISH, Texts
from .welcome import Welcome
from .wiring import make_pipeline

logger = logging.getLogger(__name__)


class Bot:
    """Answers every message that *connection* delivers. Every part can be replaced or left out.

    Left out: *conversations* and *store* live in memory; without *flows*, *model*, *knowledge*, *hearing* the pipeline
    passes them by; without *rate_limiter* nobody is too fast; *memory* and *cache* are not used. The bot opens and
    closes *connection*, *memory* (unless open) and the watching of *flows*; a database or a model's client is yours.

    Who is in *blacklist* is not heard, nor, where there is an *allowlist*, who is not in that; both may hold patterns
    ("+52155*", see AccessList). When the owner writes in a chat from the phone, the bot is silent there for
    *owner_silence_s* (0: it does not mind). *welcome* and *opening_hours* say when the flows of the events "welcome"
    and "closed" are started.

    *max_concurrent* chats are answered at once; a message is cancelled after *turn_timeout_s*, beside what a Hearing
    takes, and answered with ``texts.apology``; at the end *drain_s* is given to what was accepted. *policy* says which
    messages are one turn; after an outage a collapsed backlog is answered, or, with *apologises_for_delay*, gets
    ``texts.late``. What could not be sent for *outgoing_ttl_s* expires (None: never). *pacing* makes the bot write as
    slowly as a person; nothing is sent to a chat before *settle_s* since it last wrote (see Settling). What it answers
    is marked as read, where the link can and *marks_read*. What the link missed is asked for with ``texts.missed``.

    While *store* takes no messages they stay in the transport. After *notice_after_s* each of their chats gets
    ``texts.away`` once, unless that is empty. With *answers_without_store* a message that a keyword flow answers is
    answered at once, and then at most once: a kill in that moment loses it, and no history remembers it.

    The last messages of active chats are kept in memory, up to *history_bytes*: then nobody else may write them (0:
    read each time). *addresses* knows which addresses are one person. Do steps of flows name *functions*; answers to
    questions are read as in *language* ("es", "en", "pt"), phone numbers without a country by *parse_phone*, days in
    *timezone* (None: the process's). A conversation whose step is gone begins its flow again, or ends (*on_lost_step*).
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
        blacklist: Collection[str] = frozenset(),
        allowlist: Collection[str] = frozenset(),
        welcome: Welcome | None = None,
        opening_hours: OpeningHours | None = None,
        owner_silence_s: float = 4 * 3600.0,
        events: EventBus | None = None,
        max_concurrent: int = 64,
        turn_timeout_s: float = 60.0,
        drain_s: float = 2.0,
        max_text_chars: int = 4000,
        policy: TurnPolicy | None = None,
        apologises_for_delay: bool = False,
        pacing: Pacing | None = None,
        settle_s: float = 0.0,
        marks_read: bool = True,
        outgoing_ttl_s: float | None = 86_400.0,
        notice_after_s: float = 10.0,
        answers_without_store: bool = False,
        addresses: AddressBook | None = None,
        functions: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
        language: str = "es",
        parse_phone: Callable[[str], str] | None = None,
        timezone: tzinfo | None = None,
        on_lost_step: Literal["restart", "end"] = "restart",
        history_bytes: int = 4 * 1024 * 1024,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.events = events or EventBus()
        self._connection = connection
        self._flows = flows
        self._memory = memory
        self._cache = cache
        self._drain_s = drain_s
        self._people = People(
            conversations, addresses, history_bytes=history_bytes, access_list=AccessList(blacklist, allowlist)
        )
        self._tasks = Tasks("bot", on_failure=self.events.task_failed)
        apologies = Apologies(texts)
        signs = Signs(connection.transport, self._people, self._tasks, marks_read=marks_read)
        settling = Settling(settle_s, clock=clock)
        self._stopping = Stopping()
        self._ran = False
        self._pipeline = make_pipeline(
            self._people,
            flows=flows,
            functions=functions,
            model=model,
            window=window or HistoryWindow(),
            prompt=prompt,
            cache=cache,
            knowledge=knowledge,
            hearing=hearing,
            rate_limiter=rate_limiter,
            memory=memory,
            texts=texts,
            welcome=welcome,
            opening_hours=opening_hours,
            owner_silence_s=owner_silence_s,
            apologises_for_delay=apologises_for_delay,
            max_text_chars=max_text_chars,
            language=language,
            parse_phone=parse_phone,
            timezone=timezone,
            on_lost_step=on_lost_step,
            clock=clock,
            wall_clock=wall_clock,
        )
        handling = Handling(self._pipeline, self._people, apologies, signs, self.events, memory)
        self._delivery = Delivery(
            store or MemoryDelivery(self._people.stored),
            handle=handling.handle,
            fail=handling.fail,
            send=self._send,
            wait_ready=connection.wait_connected,
            outcome=connection.outcome if isinstance(connection.transport, KnowsOutcomes) else None,
            events=self.events,
            on_stood_down=self._stand_down,
            on_commit=handling.note,
            on_doubt=self._people.doubt,
            policy=policy,
            pacer=None if pacing is None else Pacer(pacing),
            settling=settling,
            show_typing=signs.set_typing,
            max_concurrent=max_concurrent,
            turn_timeout_s=turn_timeout_s,
            outgoing_ttl_s=outgoing_ttl_s,
            wall_clock=wall_clock,
        )
        self._requests = Requests(self._people, self._delivery, apologies, cache, wall_clock=wall_clock)
        self._losses = Losses(
            connection, self._delivery, self._requests.signal, asks=bool(texts.missed), tasks=self._tasks
        )
        self._intake = Intake(
            connection,
            self._journal,
            notice=partial(away_notice, texts, self._people),
            answer=self._pipeline.answer_from_flows if answers_without_store else None,
            events=self.events,
            tasks=self._tasks,
            notice_after_s=notice_after_s,
            settling=settling,
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
                if not self._memory.is_open:  # otherwise it stays with whoever opened it
                    await open_parts.enter_async_context(self._memory)
                register_parts(self._memory, tail=self._people.tail, cache=self._cache, flows=self._flows)
            await open_parts.enter_async_context(self._tasks)
            if not await self._stopping.run(lambda: self._take_in(open_parts)) or self._delivery.stood_down:
                return
            if not await self._delivery.drain(self._drain_s):
                left = self._delivery.statistics()
                logger.warning("stopped with %d messages unanswered and %d unsent", left.waiting, left.unsent)

    def stop(self) -> None:
        """Take no more messages, finish those that were accepted, and let ``run`` return."""
        self._connection.stop_receiving()
        self._stopping.stop()

    async def _take_in(self, open_parts: AsyncExitStack) -> None:
        """Open what takes messages, and take them in until the end of the input."""
        if self._flows is not None:
            await self._flows.load()
            self._tasks.start(self._flows.watch(), "watch_flows")
        await self._people.hear(self._people.access_list)
        # Owned before connecting: who may not answer must not take the link from the one that may.
        await open_parts.enter_async_context(self._delivery)
        open_parts.enter_context(self._losses)
        await open_parts.enter_async_context(self._connection)
        await self._intake.run()

    async def send(self, chat: ChatId, text: str, *, key: str) -> bool:
        """Say something first. The same *key* is said once; False when it was said before.

        Here and below a phone number may be written in any of its forms.
        """
        return await self._requests.send(chat, text, key=key)

    async def hand_off(self, chat: ChatId) -> None:
        """A person answers in this chat now: the bot is silent until ``release``, or for ``owner_silence_s`` above 0.

        In its turn, behind what was written before; a flow that waits for an answer ends.
        """
        await self._requests.signal(chat, "handoff")

    async def release(self, chat: ChatId) -> None:
        """The person is done: a flow that handed the chat over goes on, and the bot answers again."""
        await self._requests.signal(chat, "release")

    async def claim_due(self) -> float | None:
        """Do now what is due: reminders, questions and handoffs whose time is over; return when the next one is.

        In Unix seconds, None for never. While the bot runs it does so by itself; each in its chat's turn.
        """
        return await self._delivery.claim_due()

    async def delete_chat(self, chat: ChatId) -> int:
        """Forget a person; return how many history rows that were."""
        return await self._requests.delete_chat(chat)

    async def export_chat(self, chat: ChatId) -> Mapping[str, object]:
        """Everything that is held about a person, in JSON types."""
        return await self._requests.export_chat(chat)

    @property
    def access_list(self) -> AccessList:
        """Who is heard."""
        return self._people.access_list

    async def replace_access_list(self, access_list: AccessList) -> None:
        """Hear others from now on. Raises StoreError when it is not known which addresses are one person."""
        await self._people.hear(access_list)

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

    def _stand_down(self) -> None:
        self._people.clear()
        self.stop()
