"""Each message once, in order, whatever its neighbours do."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery import Delivery, Lanes, MemoryConversations, MemoryDelivery, OutboxEntry
from tecnobot_core.errors import LifecycleError, StoreError, TransportError
from tecnobot_core.events import DuplicateIgnored, EventBus, SendRejected, SendUncertain, TurnCommitted, TurnFailed
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Turn
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock, FakeTransport


def inbound(chat: str, number: int, text: str = "hola") -> InboundMessage:
    return InboundMessage(id=f"{chat}-{number}", chat=ChatId(chat), sent_at=float(number), text=text)


def echo(message: InboundMessage) -> Turn:
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome="answered",
        answered_by="echo",
        history=(ChatMessage("user", message.text),),
        outgoing=(OutboundMessage(chat=message.chat, key=f"{message.id}/0", text=message.text),),
    )


def apologise(message: InboundMessage, error: Exception) -> Turn:
    return Turn(chat=message.chat, inbound=(message.id,), outcome="failed", answered_by="error")


async def nothing() -> None:
    """The link is always there."""


class Harness:
    """A Delivery over memory and a list, with what happened."""

    def __init__(self, handle: Callable[[InboundMessage], Awaitable[Turn]] | None = None, **options: object) -> None:
        self.clock = FakeClock()
        self.events = EventBus()
        self.happened: list[object] = []
        self.events.on("event", self.happened.append)
        self.transport = FakeTransport()
        self.conversations = MemoryConversations()
        self.store = options.pop("store", None) or MemoryDelivery(self.conversations)
        self.delivery = Delivery(
            self.store,  # type: ignore[arg-type]
            handle=handle or self.echo,
            fail=apologise,
            send=self.transport.send,
            wait_ready=nothing,
            events=self.events,
            sleep=self.clock.sleep,
            **options,  # type: ignore[arg-type]
        )

    async def echo(self, message: InboundMessage) -> Turn:
        return echo(message)

    async def __aenter__(self) -> "Harness":
        await self.transport.open(lambda event: None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delivery.aclose()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.happened)


async def test_what_is_accepted_is_handled_committed_and_sent() -> None:
    async with Harness() as harness:
        await harness.delivery.accept([inbound("a", 1, "uno")])
        assert await harness.delivery.drain(5)
        assert [message.text for message in harness.transport.sent] == ["uno"]
        assert (await harness.conversations.load(ChatId("a"), 5)).history == (ChatMessage("user", "uno"),)
        statistics = harness.delivery.statistics()
        assert (statistics.accepted, statistics.committed, statistics.sent, statistics.waiting) == (1, 1, 1, 0)


async def test_order_is_kept_in_each_chat_while_handlers_take_random_times() -> None:
    chance = random.Random(7)

    async def handle(message: InboundMessage) -> Turn:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        return echo(message)

    async with Harness(handle, max_concurrent=16) as harness:
        messages = [inbound(f"chat-{chat}", number) for number in range(20) for chat in range(50)]
        await harness.delivery.accept(messages)
        assert await harness.delivery.drain(30)
        sent = defaultdict(list)
        for message in harness.transport.sent:
            sent[message.chat].append(message.key)
        assert len(sent) == 50
        for chat, keys in sent.items():
            assert keys == [f"{chat.reveal()}-{number}/0" for number in range(20)]


async def test_a_message_id_is_handled_once_however_often_it_comes() -> None:
    async with Harness() as harness:
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2), inbound("a", 1)])
        await harness.delivery.drain(5)
        await harness.delivery.accept([inbound("a", 2)])
        await harness.delivery.drain(5)
        assert len(harness.transport.sent) == 2
        assert harness.count(DuplicateIgnored) == harness.delivery.statistics().duplicates == 2


async def test_a_failing_handler_fails_its_message_alone() -> None:
    async def handle(message: InboundMessage) -> Turn:
        if message.text == "boom":
            raise RuntimeError("handler broke")
        return echo(message)

    async with Harness(handle) as harness:
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2, "boom"), inbound("a", 3), inbound("b", 1)])
        await harness.delivery.drain(5)
        assert {message.key for message in harness.transport.sent} == {"a-1/0", "a-3/0", "b-1/0"}
        assert harness.count(TurnFailed) == harness.delivery.statistics().failed == 1
        assert harness.count(TurnCommitted) == 4


async def test_a_hung_handler_is_cancelled_and_its_chat_goes_on() -> None:
    cancelled = asyncio.Event()

    async def handle(message: InboundMessage) -> Turn:
        if message.text == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return echo(message)

    async with Harness(handle, turn_timeout_s=0.01) as harness:
        await harness.delivery.accept([inbound("a", 1, "hang"), inbound("a", 2), inbound("b", 1)])
        assert await harness.delivery.drain(5)
        assert cancelled.is_set()
        assert sorted(message.key for message in harness.transport.sent) == ["a-2/0", "b-1/0"]
        assert isinstance(next(e.error for e in harness.happened if isinstance(e, TurnFailed)), TimeoutError)


class FlakyStore(MemoryDelivery):
    """Fails as often as told, before anything is stored."""

    def __init__(self, failures: int, *, retryable: bool = True) -> None:
        super().__init__(MemoryConversations())
        self.failures = failures
        self.retryable = retryable

    async def commit(self, turns: Sequence[Turn], *, taken: Collection[str] = ()) -> Sequence[OutboxEntry]:
        if self.failures:
            self.failures -= 1
            raise StoreError("the database is away", retryable=self.retryable)
        return await super().commit(turns, taken=taken)


async def test_a_store_that_fails_for_a_while_loses_nothing_and_doubles_nothing() -> None:
    async with Harness(store=FlakyStore(6)) as harness:
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2)])
        await harness.clock.advance(60)
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-1/0", "a-2/0"]
        assert harness.delivery.statistics().store_retries == 6


async def test_a_turn_that_can_never_be_stored_becomes_the_apology() -> None:
    async with Harness(store=FlakyStore(1, retryable=False)) as harness:
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-2/0"]
        assert harness.count(TurnFailed) == 1


async def test_a_send_that_failed_for_sure_is_sent_again_in_order() -> None:
    async with Harness() as harness:
        harness.transport.send_errors.extend([TransportError("busy", sent="no", retry_after_s=3.0)] * 2)
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2)])
        await harness.clock.advance(5.9)
        assert harness.transport.sent == []
        await harness.clock.advance(0.1)
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-1/0", "a-2/0"]


async def test_a_send_that_may_have_arrived_is_announced_and_not_repeated() -> None:
    async with Harness() as harness:
        harness.transport.send_errors.append(TransportError("cut", sent="maybe"))
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-2/0"]
        assert harness.count(SendUncertain) == harness.delivery.statistics().uncertain == 1


async def test_a_send_that_can_never_succeed_is_rejected_aloud() -> None:
    async with Harness() as harness:
        harness.transport.send_errors.append(TransportError("no such number", retryable=False))
        await harness.delivery.accept([inbound("a", 1)])
        assert await harness.delivery.drain(5)
        assert harness.count(SendRejected) == harness.delivery.statistics().rejected == 1


async def test_the_application_speaks_first_and_says_each_key_once() -> None:
    async with Harness() as harness:
        message = OutboundMessage(chat=ChatId("a"), key="reminder-1", text="su cita es mañana")
        assert await harness.delivery.post(message)
        assert not await harness.delivery.post(message)
        await harness.delivery.drain(5)
        assert harness.transport.sent == [message]


async def test_a_full_inbox_waits_instead_of_dropping() -> None:
    gate = asyncio.Event()

    async def handle(message: InboundMessage) -> Turn:
        await gate.wait()
        return echo(message)

    store = MemoryDelivery(MemoryConversations(), max_pending=3)
    async with Harness(handle, store=store) as harness, Tasks("test") as tasks:
        await harness.delivery.accept([inbound("a", number) for number in range(3)])
        accepting = tasks.start(harness.delivery.accept([inbound("a", 3)]), "accept")
        await harness.clock.settle()
        assert not accepting.done()
        gate.set()
        await accepting
        assert await harness.delivery.drain(5)
        assert len(harness.transport.sent) == 4


async def test_a_closed_delivery_takes_nothing() -> None:
    harness = Harness()
    await harness.delivery.aclose()
    with pytest.raises(LifecycleError, match="closed"):
        await harness.delivery.accept([inbound("a", 1)])


async def test_drain_says_when_the_time_was_not_enough() -> None:
    async def handle(message: InboundMessage) -> Turn:
        await asyncio.Event().wait()
        raise AssertionError

    async with Harness(handle) as harness:
        await harness.delivery.accept([inbound("a", 1)])
        assert not await harness.delivery.drain(0)
        assert harness.delivery.statistics().waiting == 1


async def test_idle_lanes_leave_nothing_behind() -> None:
    async with Tasks("test") as tasks:
        lanes = Lanes[str, int](lambda item: asyncio.sleep(0), max_concurrent=4, tasks=tasks)
        for number in range(1000):
            lanes.put(f"chat-{number}", number)
        await lanes.wait_idle()
        assert (len(lanes), len(lanes._lanes), len(lanes._ready)) == (0, 0, 0)
        await tasks.wait()
        assert len(tasks) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=40),
    st.integers(1, 5),
)
def test_lanes_keep_order_and_their_cap_in_any_interleaving(items: list[tuple[int, int, bool]], cap: int) -> None:
    async def scenario() -> None:
        running: set[int] = set()
        done: Mapping[int, list[int]] = defaultdict(list)
        numbers = itertools.count()

        async def handle(item: tuple[int, int, int, bool]) -> None:
            key, number, pauses, fails = item
            assert key not in running
            running.add(key)
            assert len(running) <= cap
            for _ in range(pauses):
                await asyncio.sleep(0)
            running.remove(key)
            done[key].append(number)
            if fails:
                raise RuntimeError("expected by the test")

        async with Tasks("test") as tasks:
            lanes = Lanes[int, tuple[int, int, int, bool]](handle, max_concurrent=cap, tasks=tasks)
            for key, pauses, fails in items:
                lanes.put(key, (key, next(numbers), pauses, fails))
            await lanes.wait_idle()
            assert lanes.failures == sum(fails for _, _, fails in items)
        assert sum(map(len, done.values())) == len(items)
        assert all(numbers == sorted(numbers) for numbers in done.values())

    asyncio.run(scenario())
