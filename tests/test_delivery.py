"""Each message once, in order, whatever its neighbours do."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery import (
    Delivery,
    Lanes,
    MemoryConversations,
    MemoryDelivery,
    OutboxEntry,
    Pending,
    SendState,
    TurnPolicy,
)
from tecnobot_core.errors import LeaseLostError, LifecycleError, StoreError, TransportError
from tecnobot_core.events import (
    DuplicateIgnored,
    EventBus,
    SendRejected,
    SendUncertain,
    StoodDown,
    TurnCommitted,
    TurnFailed,
)
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
            handle=lambda context: (handle or self.echo)(context.message),
            fail=apologise,
            send=options.pop("send", self.transport.send),  # type: ignore[arg-type]
            wait_ready=nothing,
            events=self.events,
            policy=options.pop("policy", TurnPolicy(collapse_after_s=0)),  # type: ignore[arg-type]
            clock=self.clock,
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

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        if self.failures:
            self.failures -= 1
            raise StoreError("the database is away", retryable=self.retryable)
        return await super().commit(turns, taken=taken, again_at=again_at)


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


async def test_a_cancellation_inside_a_handler_ends_only_its_message() -> None:
    async def handle(message: InboundMessage) -> Turn:
        if message.text == "cancelled":
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up
        return echo(message)

    async with Harness(handle) as harness:
        await harness.delivery.accept([inbound("a", 1, "cancelled"), inbound("a", 2)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-2/0"]
        assert harness.count(TurnFailed) == 1


async def test_a_lane_outlives_a_cancellation_inside_its_handler() -> None:
    async def handle(item: int) -> None:
        handled.append(item)
        if item == 1:
            raise asyncio.CancelledError

    handled: list[int] = []
    async with Tasks("test") as tasks:
        lanes = Lanes[str, int](handle, max_concurrent=1, tasks=tasks)
        lanes.put("a", 1)
        lanes.put("a", 2)
        await lanes.wait_idle()
        assert (handled, lanes.failures) == ([1, 2], 1)


async def test_a_turn_that_does_not_name_its_message_is_a_failure() -> None:
    async def handle(message: InboundMessage) -> Turn:
        return replace(echo(message), inbound=("another",)) if message.text == "wrong" else echo(message)

    async with Harness(handle) as harness:
        await harness.delivery.accept([inbound("a", 1, "wrong"), inbound("a", 2)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-2/0"]
        assert not await harness.store.pending(0, 9)  # type: ignore[attr-defined]


async def test_a_message_is_done_even_where_no_apology_can_be_stored() -> None:
    async with Harness(store=FlakyStore(2, retryable=False)) as harness:
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-2/0"]
        assert harness.count(TurnCommitted) == 2
        assert not await harness.store.pending(0, 9)  # type: ignore[attr-defined]


async def test_what_another_process_accepted_is_found_by_the_owner() -> None:
    async with Harness() as harness, harness.delivery:
        await harness.clock.settle()
        await harness.store.accept([inbound("a", 1)])  # type: ignore[attr-defined]
        await harness.clock.advance(4.9)
        assert harness.transport.sent == []
        await harness.clock.advance(0.1)
        assert [message.key for message in harness.transport.sent] == ["a-1/0"]
        assert harness.count(TurnCommitted) == 1


async def test_what_another_process_accepted_before_is_answered_before() -> None:
    async with Harness() as harness, harness.delivery:
        await harness.clock.settle()
        await harness.delivery.accept([inbound("a", 1)])
        await harness.store.accept([inbound("a", 2)])  # type: ignore[attr-defined]
        await harness.delivery.accept([inbound("a", 3), inbound("b", 1)])
        assert await harness.delivery.drain(5)
        assert [m.key for m in harness.transport.sent if m.chat == "a"] == ["a-1/0", "a-2/0", "a-3/0"]


class SlowStore(MemoryDelivery):
    """Answers ``pending`` when told, and fails in it as often as told."""

    def __init__(self) -> None:
        super().__init__(MemoryConversations())
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[StoreError] = []
        self.largest_load = 0
        self.loads = 0

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        found = await super().pending(after, limit)
        self.loads += 1
        self.largest_load = max(self.largest_load, len(found))
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop()
        return found


async def test_a_message_that_is_loaded_before_its_acceptance_is_told_is_handled_once() -> None:
    handled: list[str] = []

    class LateStore(SlowStore):
        async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
            seqs = await super().accept(messages)
            await told.wait()
            return seqs

    async def handle(message: InboundMessage) -> Turn:
        handled.append(message.id)
        return echo(message)

    told = asyncio.Event()
    store = LateStore()
    async with Harness(handle, store=store) as harness, harness.delivery:
        await harness.clock.settle()
        accepting = asyncio.create_task(harness.delivery.accept([inbound("a", 1)]))
        await harness.clock.advance(5)
        loads = store.loads
        told.set()
        await accepting
        assert await harness.delivery.drain(5)
        assert handled == ["a-1"]
        assert store.loads == loads


async def test_what_comes_during_a_load_is_not_read_back() -> None:
    store = SlowStore()
    async with Harness(store=store) as harness, harness.delivery:
        await harness.clock.settle()
        store.gate.clear()
        await harness.clock.advance(5)
        loads = store.loads
        await harness.delivery.accept([inbound("a", number) for number in range(9)])
        assert harness.transport.sent == []
        store.gate.set()
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == [f"a-{number}/0" for number in range(9)]
        assert (store.loads, store.largest_load) == (loads, 0)


async def test_what_comes_during_a_load_and_is_too_much_to_keep_is_read_back_at_once() -> None:
    store = SlowStore()
    async with Harness(store=store, max_loaded=8) as harness, harness.delivery:
        await harness.clock.settle()
        store.gate.clear()
        await harness.clock.advance(5)
        await harness.delivery.accept([inbound("a", number) for number in range(9)])
        store.gate.set()
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == [f"a-{number}/0" for number in range(9)]


async def test_a_load_that_fails_for_whatever_reason_is_tried_again() -> None:
    store = SlowStore()
    await store.accept([inbound("a", 1)])
    store.errors = [StoreError("no right to read", retryable=False), StoreError("away", retryable=True)]
    async with Harness(store=store) as harness, harness.delivery:
        await harness.clock.advance(1)
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-1/0"]


@pytest.mark.parametrize("max_loaded", [1, 2, 100])
async def test_a_backlog_is_loaded_in_order_and_never_more_than_is_allowed(max_loaded: int) -> None:
    most = 0

    async def handle(message: InboundMessage) -> Turn:
        nonlocal most
        most = max(most, harness.delivery.statistics().waiting)
        return echo(message)

    store = SlowStore()
    await store.accept([inbound(f"chat-{n % 7}", n) for n in range(1000)])
    async with Harness(handle, store=store, max_loaded=max_loaded, max_concurrent=3) as harness, harness.delivery:
        await harness.clock.settle()
        # These come while most of the others are still in the store.
        await harness.delivery.accept([inbound(f"chat-{n % 7}", n) for n in range(1000, 1100)])
        assert await harness.delivery.drain(20)
        by_chat = defaultdict(list)
        for message in harness.transport.sent:
            by_chat[message.chat.reveal()].append(message.key)
        assert by_chat == {
            f"chat-{chat}": [f"chat-{chat}-{n}/0" for n in range(1100) if n % 7 == chat] for chat in range(7)
        }
        assert most <= max_loaded


class RestlessStore(MemoryDelivery):
    """Says what became of the lease, one answer for each question."""

    def __init__(self, *answers: StoreError | None) -> None:
        super().__init__(MemoryConversations())
        self.answers = list(answers)

    async def confirm(self) -> None:
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer


async def test_the_loss_of_the_lease_is_noticed_after_any_trouble_with_the_store() -> None:
    store = RestlessStore(None, StoreError("no right to read", retryable=False), LeaseLostError("another owns it"))
    told: list[bool] = []
    async with Harness(store=store, on_stood_down=lambda: told.append(True)) as harness, harness.delivery:
        await harness.clock.advance(60)
        assert told == [True]
        assert harness.count(StoodDown) == 1
        await harness.delivery.accept([inbound("a", 1)])  # journaled for the owner
        await harness.clock.advance(60)
        assert harness.transport.sent == []
        assert len(await store.pending(0, 9)) == 1


async def test_a_transport_that_fails_as_it_should_not_is_uncertain_and_its_chat_goes_on() -> None:
    async with Harness() as harness:
        harness.transport.send_errors.extend([KeyError("bug"), asyncio.CancelledError()])  # type: ignore[list-item]
        await harness.delivery.accept([inbound("a", 1), inbound("a", 2), inbound("a", 3)])
        assert await harness.delivery.drain(5)
        assert [message.key for message in harness.transport.sent] == ["a-3/0"]
        assert harness.count(SendUncertain) == harness.delivery.statistics().uncertain == 2


class TakingStore(MemoryDelivery):
    """Knows what is marked as being sent."""

    def __init__(self) -> None:
        super().__init__(MemoryConversations())
        self.taken: set[int] = set()

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        entries = await super().commit(turns, taken=taken, again_at=again_at)
        await asyncio.sleep(0)
        self.taken |= {entry.id for entry in entries if entry.state == "taken"}
        return entries

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        await super().move(states, urgent=urgent)
        for id, state in states.items():
            (self.taken.add if state == "taken" else self.taken.discard)(id)


async def test_no_more_is_marked_as_being_sent_than_may_be_at_once() -> None:
    async def send(message: OutboundMessage) -> None:
        most.append(len(store.taken))
        for _ in range(9):
            await asyncio.sleep(0)

    store, most = TakingStore(), list[int]()
    async with Harness(store=store, max_concurrent=4, send=send) as harness:
        messages = [inbound(f"chat-{chat}", number) for number in range(5) for chat in range(20)]
        await harness.delivery.accept(messages)
        assert await harness.delivery.drain(5)
        assert len(most) == 100
        assert max(most) <= 4


async def test_a_batch_that_is_larger_than_the_inbox_does_not_wait_for_itself() -> None:
    async with Harness(store=MemoryDelivery(MemoryConversations(), max_pending=2)) as harness:
        await asyncio.wait_for(harness.delivery.accept([inbound("a", number) for number in range(5)]), 5)
        assert await harness.delivery.drain(5)
        assert len(harness.transport.sent) == 5


async def test_what_is_to_be_said_later_is_not_marked_with_its_turn() -> None:
    async def handle(message: InboundMessage) -> Turn:
        later = OutboundMessage(chat=message.chat, key=f"{message.id}/0", text="later", delay_s=5.0)
        return replace(echo(message), outgoing=(later, replace(later, key=f"{message.id}/1", delay_s=0.0)))

    class MarkingStore(MemoryDelivery):
        marked: Collection[str] | None = None

        async def commit(
            self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
        ) -> Sequence[OutboxEntry]:
            self.marked = taken
            return await super().commit(turns, taken=taken, again_at=again_at)

    store = MarkingStore(MemoryConversations())
    async with Harness(handle, store=store) as harness:
        await harness.delivery.accept([inbound("a", 1)])
        await harness.clock.advance(4.9)
        assert (store.marked, harness.transport.sent) == ([], [])
        await harness.clock.advance(0.1)
        assert [message.key for message in harness.transport.sent] == ["a-1/0", "a-1/1"]


async def test_what_is_old_is_forgotten_every_hour() -> None:
    class ForgetfulStore(MemoryDelivery):
        async def purge(self, older_than_s: float, batch: int = 5000) -> int:
            purges.append(older_than_s)
            if len(purges) == 2:
                raise StoreError("no right to delete", retryable=False)
            return 0

    purges: list[float] = []
    store = ForgetfulStore(MemoryConversations())
    async with Harness(store=store, remember_s=99.0) as harness, harness.delivery:
        await harness.clock.advance(60)
        assert purges == [99.0]
        await harness.clock.advance(2 * 3600)
        assert len(purges) == 3
