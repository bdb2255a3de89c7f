"""A bot that runs while a test talks with it, on clocks that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Self

from tecnobot_core import Bot, ChatId, ConnectionManager, Flow, FlowRepository, InboundMessage
from tecnobot_core.delivery import MemoryConversations
from tecnobot_core.events import EventBus, HandoffBegan, HandoffEnded, TurnCommitted
from tecnobot_core.flows import MemoryFlowStore, Suggestions
from tecnobot_core.messages import Conversation, MessageKind, Turn
from tecnobot_core.testing import FakeClock, FakeTransport

NOON = 2_000_000_000.0
ANA = ChatId("+525511112222")


class LiveBot:
    """Sends messages to a running bot, one after the other, and tells what it did with each."""

    def __init__(
        self,
        flows: Sequence[Flow] = (),
        *,
        suggestions: Suggestions | None = None,
        at: float = NOON,
        transport: FakeTransport | None = None,
        **parts: object,
    ) -> None:
        self.clock = FakeClock(at)
        self.transport = transport or FakeTransport()
        self.turns: list[Turn] = []
        self.handoffs: list[str] = []
        self.conversations = MemoryConversations()
        self._committed = asyncio.Event()
        self._ids = count(1)
        events = EventBus()
        events.on(TurnCommitted, self._note)
        events.on(HandoffBegan, lambda event: self.handoffs.append("began"))
        events.on(HandoffEnded, lambda event: self.handoffs.append("ended"))
        self.flows = FlowRepository(MemoryFlowStore(flows), "bot", suggestions=suggestions)
        self.connection = ConnectionManager(self.transport)
        self.bot = Bot(
            self.connection,
            flows=self.flows,
            events=events,
            conversations=self.conversations,
            wall_clock=self.clock,
            **parts,  # type: ignore[arg-type]
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """The bot answers until the end of the block."""
        running = asyncio.create_task(self.bot.run())
        try:
            yield self
        finally:
            self.bot.stop()
            await running

    async def says(
        self, text: str, *, chat: ChatId = ANA, kind: MessageKind = "text", from_me: bool = False
    ) -> list[str]:
        """What the bot says to a message that is sent now."""
        message = InboundMessage(
            id=f"m{next(self._ids)}", chat=chat, sent_at=self.clock.now, text=text, kind=kind, from_me=from_me
        )
        self.transport.deliver(message)
        return await self.next()

    async def next(self) -> list[str]:
        """What the next turn says."""
        known = len(self.turns)
        async with asyncio.timeout(10):
            while len(self.turns) == known:
                self._committed.clear()
                await self._committed.wait()
            said = [message.text for message in self.turns[-1].outgoing]
            await self.transport.wait_sent(sum(len(turn.outgoing) for turn in self.turns))
        return said

    async def passes(self, seconds: float) -> list[str]:
        """What the bot says because time has passed."""
        await self.clock.advance(seconds)
        known = len(self.turns)
        await self.bot.claim_due()
        await asyncio.sleep(0)
        if len(self.turns) == known and not self.bot.statistics().waiting:
            return []
        return await self.next() if len(self.turns) == known else [m.text for m in self.turns[-1].outgoing]

    async def state(self, chat: ChatId = ANA) -> Conversation:
        """What is remembered of a chat."""
        return await self.conversations.load(chat, 50)

    def _note(self, event: TurnCommitted) -> None:
        self.turns.append(event.turn)
        self._committed.set()
