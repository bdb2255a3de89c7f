"""A link that breaks under a whole bot: each message is handled once, each answer is sent once, or it is told."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tecnobot_core import Bot, ConnectionManager, EventBus, Flow, FlowRepository
from tecnobot_core.completion import Completion
from tecnobot_core.delivery import MemoryConversations, MemoryDelivery
from tecnobot_core.errors import TransportError
from tecnobot_core.events import (
    DuplicateIgnored,
    Event,
    MessageAccepted,
    MessageSent,
    SendUncertain,
    TurnCommitted,
)
from tecnobot_core.flows import MemoryFlowStore
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeTransport
from tests.connection_scene import inbound
from tests.virtual_time import virtually

FLOWS = [Flow("eco").on("hola", "1", "2", "3", "4", "5").say("buenas")]


class Line:
    """A bot over a fake transport, and what it told."""

    def __init__(self, transport: FakeTransport, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport
        self.heard: list[Event] = []
        self.events = EventBus()
        self.events.on(Event, self.heard.append)
        self.connection = ConnectionManager(transport, clock=loop.time, jitter=lambda s: s, events=self.events)
        self.bot = Bot(
            self.connection,
            flows=FlowRepository(MemoryFlowStore(FLOWS), "bot"),
            events=self.events,
            wall_clock=lambda: 1e9 + loop.time(),
            **options,
        )

    def all(self, kind: type[Event]) -> Sequence[Event]:
        return [event for event in self.heard if isinstance(event, kind)]

    def break_at(self, kind: type[Event]) -> None:
        """The link is lost in the moment of the first event of *kind*."""

        def lose(event: Event) -> None:
            self.events.off(kind, lose)
            self.transport.lose()

        self.events.on(kind, lose)

    async def until(self, kind: type[Event], number: int = 1) -> None:
        """Return when *number* events of *kind* were told."""
        async with asyncio.timeout(600):
            while len(self.all(kind)) < number:
                await asyncio.sleep(0.01)

    async def finish(self) -> None:
        """Answer all that was delivered."""
        self.transport.end()
        await self.bot.run()


@virtually
async def test_a_message_that_comes_three_times_also_after_a_reconnect_is_handled_once() -> None:
    line = Line(FakeTransport())
    async with Tasks("test") as tasks:
        running = tasks.start(line.bot.run(), "run")
        await line.connection.wait_connected()
        line.transport.deliver(inbound(1), inbound(1))
        await line.until(TurnCommitted)
        line.transport.lose()
        line.transport.deliver(inbound(1))
        await line.until(DuplicateIgnored, 2)
        line.transport.end()
        await running
    assert len(line.all(TurnCommitted)) == 1
    assert [message.text for message in line.transport.sent] == ["buenas"]


@virtually
async def test_what_was_journaled_before_a_crash_is_handled_once_after_it() -> None:
    store = MemoryDelivery(MemoryConversations())
    began = asyncio.Event()

    async def hangs(*_: object) -> str:
        began.set()
        await asyncio.Event().wait()
        return ""

    transport = FakeTransport()
    line = Line(transport, store=store, model=_Model(hangs), drain_s=0.0)
    async with Tasks("test") as tasks:
        crashing = tasks.start(line.bot.run(), "run")
        transport.deliver(inbound(1, "¿qué hay?"))
        await began.wait()
        while not transport.acknowledged:
            await asyncio.sleep(0.01)
        crashing.cancel()
        with suppress(asyncio.CancelledError):
            await crashing
    assert not line.all(TurnCommitted)

    async def answers(*_: object) -> str:
        return "de todo"

    again = Line(FakeTransport(), store=store, model=_Model(answers))
    await again.finish()
    assert [message.text for message in again.transport.sent] == ["de todo"]
    assert len(again.all(TurnCommitted)) == 1


@virtually
async def test_answers_wait_for_the_link_and_go_out_in_order() -> None:
    line = Line(FakeTransport())
    async with Tasks("test") as tasks:
        running = tasks.start(line.bot.run(), "run")
        await line.connection.wait_connected()
        line.transport.open_errors.extend([TransportError("no route")] * 3)
        line.break_at(MessageAccepted)
        line.transport.deliver(*(inbound(number, str(number)) for number in range(1, 6)))
        await line.until(TurnCommitted, 5)
        down = len(line.transport.sent)
        await line.until(MessageSent, 5)
        line.transport.end()
        await running
    assert down == 0
    keys = [message.key for message in line.transport.sent]
    assert len(keys) == len(set(keys)) == 5
    assert keys == [event.key for event in line.all(MessageSent) if isinstance(event, MessageSent)]
    assert sorted(keys) == keys


@virtually
async def test_a_send_of_unknown_outcome_is_told_and_not_repeated_but_a_failed_one_is() -> None:
    line = Line(FakeTransport())
    line.transport.send_errors.extend(
        [TransportError("no answer", sent="maybe"), TransportError("not connected", sent="no"), None]
    )
    line.transport.deliver(inbound(1, "1"), inbound(2, "2"))
    await line.finish()
    assert len(line.all(SendUncertain)) == 1
    assert len(line.all(MessageSent)) == len(line.transport.sent) == 1


@virtually
async def test_a_flood_over_a_link_that_flaps_loses_nothing_and_is_bounded() -> None:
    line = Line(FakeTransport(max_unacknowledged=300))
    number = 1000
    async with Tasks("test") as tasks:
        running = tasks.start(line.bot.run(), "run")
        await line.connection.wait_connected()
        line.transport.deliver(*(inbound(n) for n in range(number)))
        for _ in range(5):
            line.transport.lose()
            assert len(line.connection._inbound._waiting) <= 300
            await line.connection.wait_connected()
            await asyncio.sleep(0.01)
        await line.until(TurnCommitted, number)
        line.transport.end()
        await running
    assert len(line.transport.sent) == number
    assert len({message.key for message in line.transport.sent}) == number


class _Model:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def complete(self, messages: Sequence[object]) -> Any:
        return Completion(await self._answer(messages), "fake")
