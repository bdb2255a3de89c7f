"""What cannot be journaled stays in the transport; its senders are told once, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tecnobot_core import Bot, ConnectionManager, Flow, FlowRepository
from tecnobot_core.bot import SPANISH
from tecnobot_core.bot.intake import Intake
from tecnobot_core.delivery import MemoryConversations, MemoryDelivery, Settling
from tecnobot_core.errors import StoreError, TransportError
from tecnobot_core.events import DuplicateIgnored, EventBus, IntakeHeld, IntakeResumed
from tecnobot_core.flows import MemoryFlowStore
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock, FakeTransport

ANA, BEN = ChatId("ana"), ChatId("ben")


def inbound(id: str, chat: ChatId = ANA, text: str = "") -> InboundMessage:
    return InboundMessage(id=id, chat=chat, sent_at=0.0, text=text or id)


class Desk:
    """An Intake over a fake link, whose journal can be taken away."""

    def __init__(self, *, answers: bool = False, settle_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport()
        self.journaled: list[str] = []
        self.poison: set[str] = set()
        self.works = asyncio.Event()
        self.works.set()
        self.events = EventBus()
        self.happened: list[object] = []
        self.events.on("event", self.happened.append)
        self.connection = ConnectionManager(self.transport, base_delay_s=0.1, clock=self.clock, sleep=self.clock.sleep)
        self.tasks = Tasks("test")
        self.intake = Intake(
            self.connection,
            self._journal,
            notice=lambda message: (_say(message, "away"),),
            answer=self._answer if answers else _no_answer,
            events=self.events,
            tasks=self.tasks,
            notice_after_s=10,
            settling=Settling(settle_s, clock=self.clock, sleep=self.clock.sleep),
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(message.chat.reveal(), message.text) for message in self.transport.sent]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.happened if isinstance(event, IntakeHeld | IntakeResumed)]

    async def deliver(self, *messages: InboundMessage) -> None:
        self.transport.deliver(*messages)
        await self.clock.settle()

    async def _answer(self, message: InboundMessage) -> Sequence[OutboundMessage]:
        return (_say(message, "open"),) if message.text == "open?" else ()

    async def _journal(self, batch: Sequence[InboundMessage]) -> None:
        await self.works.wait()
        if any(message.id in self.poison for message in batch):
            raise StoreError("cannot be stored", retryable=False)
        self.journaled += [message.id for message in batch]


async def _no_answer(message: InboundMessage) -> Sequence[OutboundMessage]:
    return ()


def _say(message: InboundMessage, text: str) -> OutboundMessage:
    return OutboundMessage(chat=message.chat, key=f"{message.id}/{text}", text=text)


@asynccontextmanager
async def desk(*, answers: bool = False, settle_s: float = 0.0) -> AsyncIterator[Desk]:
    desk = Desk(answers=answers, settle_s=settle_s)
    async with desk.tasks, desk.connection:
        running = desk.tasks.start(desk.intake.run(), "run")
        await desk.clock.settle()
        yield desk
        desk.works.set()
        desk.transport.end()
        await running
    assert sorted(desk.transport.acknowledged) == sorted(set(desk.transport.acknowledged))


async def test_what_is_journaled_is_acknowledged() -> None:
    async with desk() as found:
        await found.deliver(inbound("a"), inbound("b"))
        assert found.journaled == found.transport.acknowledged == ["a", "b"]
        assert found.intake.outage_s is None


async def test_what_waits_is_not_acknowledged_and_journaled_in_order_afterwards() -> None:
    async with desk() as found:
        found.works.clear()
        await found.deliver(inbound("a"))
        await found.clock.advance(60)
        await found.deliver(inbound("b"), inbound("c", BEN))
        assert found.transport.acknowledged == []
        found.works.set()
        await found.clock.settle()
        assert found.journaled == found.transport.acknowledged == ["a", "b", "c"]


async def test_each_chat_is_told_once_in_an_outage() -> None:
    async with desk() as found:
        for _ in range(2):
            found.works.clear()
            await found.deliver(inbound(f"a{len(found.journaled)}"))
            await found.clock.advance(9)
            before = len(found.said)
            await found.clock.advance(1)
            assert found.intake.outage_s == 10
            await found.deliver(inbound(f"aa{before}"), inbound(f"b{before}", BEN), inbound(f"bb{before}", BEN))
            assert found.said[before:] == [("ana", "away"), ("ben", "away")]
            found.works.set()
            await found.clock.settle()
            assert found.intake.outage_s is None
        assert found.kinds() == ["IntakeHeld", "IntakeResumed"] * 2


async def test_who_writes_in_an_outage_is_told_after_a_moment_of_silence() -> None:
    async with desk(settle_s=1.0) as found:
        found.works.clear()
        await found.deliver(inbound("a"))
        await found.clock.advance(10)
        assert found.said == [("ana", "away")]
        await found.deliver(inbound("b", BEN))
        await found.clock.advance(0.75)
        assert len(found.said) == 1
        await found.clock.advance(0.25)
        assert found.said[1:] == [("ben", "away")]


async def test_a_short_wait_is_not_told() -> None:
    async with desk() as found:
        found.works.clear()
        await found.deliver(inbound("a"))
        await found.clock.advance(9)
        found.works.set()
        await found.clock.advance(60)
        assert found.said == []
        assert found.kinds() == []


async def test_a_notice_that_cannot_be_sent_costs_nothing() -> None:
    async with desk() as found:
        found.transport.send_errors.extend([TransportError("no"), None])
        found.works.clear()
        await found.deliver(inbound("a"), inbound("b", BEN))
        await found.clock.advance(10)
        assert found.said == [("ben", "away")]


async def test_what_comes_again_with_a_new_link_is_journaled_once() -> None:
    async with desk() as found:
        found.works.clear()
        await found.deliver(inbound("a"), inbound("b"))
        found.transport.lose()
        await found.clock.advance(1)
        assert found.transport.opens == 2
        assert sum(isinstance(event, DuplicateIgnored) for event in found.happened) == 2
        found.works.set()
        await found.clock.settle()
        assert found.journaled == ["a", "b"]


async def test_a_message_that_can_never_be_journaled_stops_nobody_and_is_not_acknowledged() -> None:
    async with desk() as found:
        found.poison.add("b")
        await found.deliver(inbound("a"), inbound("b"), inbound("c"))
        assert found.journaled == found.transport.acknowledged == ["a", "c"]
        await found.transport.acknowledge(["b"])  # so that the fake link can end


async def test_in_an_outage_flows_may_answer_what_nothing_waits_before() -> None:
    async with desk(answers=True) as found:
        found.works.clear()
        await found.deliver(inbound("a"))
        await found.clock.advance(10)
        await found.deliver(inbound("a2", text="open?"), inbound("b", BEN, "open?"), inbound("b2", BEN))
        assert found.said == [("ana", "away"), ("ben", "open"), ("ben", "away")]
        assert found.transport.acknowledged == ["b"]
        found.works.set()
        await found.clock.settle()
        assert found.journaled == ["a", "a2", "b2"]


class Away(MemoryDelivery):
    """Takes nothing until told."""

    def __init__(self) -> None:
        super().__init__(MemoryConversations())
        self.back = asyncio.Event()

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        await self.back.wait()
        return await super().accept(messages)


@pytest.mark.parametrize("answers", [False, True])
async def test_a_bot_tells_its_customers_and_answers_them_when_the_store_is_back(answers: bool) -> None:
    transport, store = FakeTransport(), Away()
    flows = FlowRepository(MemoryFlowStore([Flow("hours").on("horario").say("De 9 a 18.")]), "bot")
    bot = Bot(ConnectionManager(transport), flows=flows, store=store, notice_after_s=0, answers_without_store=answers)
    async with Tasks("test") as tasks:
        running = tasks.start(bot.run(), "run")
        transport.deliver(inbound("first", text="horario"))
        await transport.wait_sent(1)
        assert bot.outage_s is not None
        transport.deliver(inbound("second", BEN, "horario"))
        await transport.wait_sent(2)
        store.back.set()
        transport.end()
        await running
    said = [(message.chat.reveal(), message.text) for message in transport.sent]
    assert said[:2] == [("ana", SPANISH.away), ("ben", "De 9 a 18." if answers else SPANISH.away)]
    assert sorted(said[2:]) == [("ana", "De 9 a 18."), ("ben", "De 9 a 18.")][: 1 if answers else 2]
    assert transport.acknowledged == (["second", "first"] if answers else ["first", "second"])
