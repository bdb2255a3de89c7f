"""Conversations whose time has come get a turn: once, in their lane, and again when it failed."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from tecnobot_core.delivery import Delivery, Due, MemoryConversations, MemoryDelivery, OutboxEntry, Pending, TurnContext
from tecnobot_core.errors import LeaseLostError, LifecycleError, StoreError
from tecnobot_core.events import EventBus, TurnFailed
from tecnobot_core.messages import ChatId, ChatMessage, Conversation, InboundMessage, OutboundMessage, Position, Turn
from tecnobot_core.testing import FakeClock

NOON = 1_800_000_000.0
ANA, BEN = ChatId("ana"), ChatId("ben")
MINUTE_S = 60.0


class Store(MemoryDelivery):
    """Notes the claims; fails as often as told, and waits to answer while its gate is shut."""

    def __init__(self, conversations: MemoryConversations) -> None:
        super().__init__(conversations)
        self.claims: list[tuple[float, int]] = []  # until, limit
        self.again_at: list[float | None] = []  # with each commit
        self.failures: list[StoreError] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.load_gate = asyncio.Event()
        self.load_gate.set()

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        found = await super().pending(after, limit)
        await self.load_gate.wait()
        return found

    async def claim_due(self, until: float, limit: int) -> Due:
        self.claims.append((until, limit))
        if self.failures:
            raise self.failures.pop(0)
        due = await super().claim_due(until, limit)
        await self.gate.wait()
        return due

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        self.again_at.append(again_at)
        return await super().commit(turns, taken=taken, again_at=again_at)


class Shop:
    """A Delivery whose handler does what is due: it says so, and the conversation is over.

    Who writes "wait 60" is waited for so many seconds. ``wall_s`` is how far the wall clock is from the other one.
    """

    def __init__(self, *, max_loaded: int = 1000, store: Store | None = None) -> None:
        self.clock = FakeClock()
        self.wall_s = NOON
        self.conversations = MemoryConversations()
        self.store = store or Store(self.conversations)
        self.turns: list[tuple[float, str]] = []  # when, and what came
        self.sent: list[str] = []
        self.failures: Counter[str] = Counter()  # how often handling a text still fails
        self.door = asyncio.Event()  # into the handler
        self.door.set()
        self.exit = asyncio.Event()  # out of it, for what is not done
        self.exit.set()
        self.happened: list[object] = []
        events = EventBus()
        events.on("event", self.happened.append)
        self.delivery = Delivery(
            self.store,
            handle=self._handle,
            fail=lambda m, e: Turn(chat=m.chat, inbound=(m.id,), outcome="failed", answered_by="error"),
            send=self._send,
            wait_ready=_ready,
            events=events,
            max_loaded=max_loaded,
            clock=self.clock,
            sleep=self.clock.sleep,
            wall_clock=self.wall_clock,
        )

    def wall_clock(self) -> float:
        return self.wall_s + self.clock.now

    async def says(self, text: str, chat: ChatId = ANA) -> None:
        id = f"{chat.reveal()}:{text}:{self.clock.now}"
        await self.delivery.accept([InboundMessage(id=id, chat=chat, sent_at=self.wall_clock(), text=text)])
        await self.clock.settle()

    async def stand(self, *chats: ChatId, at: float) -> None:
        """What an earlier process left: *chats* are due *at*."""
        position = Position("order", "size", 1, kind="ask", expires_at=at)
        await self.conversations.record(
            [Turn(chat=c, inbound=("m",), outcome="answered", answered_by="flow", position=position) for c in chats]
        )

    async def look(self, chat: ChatId = ANA) -> Conversation:
        return await self.conversations.load(chat, 50)

    @property
    def due_at(self) -> list[float]:
        """When signals were handled, since the start."""
        return [at for at, text in self.turns if text == "due"]

    async def _handle(self, context: TurnContext) -> Turn:
        message = context.message
        await self.door.wait()
        self.turns.append((self.clock.now, message.text))
        if self.failures[message.text]:
            self.failures[message.text] -= 1
            raise RuntimeError("expected by the test")
        now_s = max(self.wall_clock(), message.sent_at)
        position, says = (await self.look(message.chat)).position, message.text
        if message.kind == "signal":
            if position is None or position.due_at is None or now_s < position.due_at:
                await self.exit.wait()
                return Turn(chat=message.chat, inbound=(message.id,), outcome="skipped", answered_by="signal")
            says, position = f"time is over: {position.step}", None
        elif message.text.startswith("wait "):
            position = Position("order", "size", 1, kind="ask", expires_at=now_s + float(message.text.split()[1]))
        return Turn(
            chat=message.chat,
            inbound=(message.id,),
            outcome="answered",
            answered_by="flow",
            history=(ChatMessage("assistant", says),),
            position=position,
            outgoing=(OutboundMessage(chat=message.chat, key=f"{message.id}/0", text=says),),
        )

    async def _send(self, message: OutboundMessage) -> None:
        self.sent.append(message.text)


async def _ready() -> None:
    """The link is always there."""


@asynccontextmanager
async def shop(**options: object) -> AsyncIterator[Shop]:
    found = Shop(**options)  # type: ignore[arg-type]
    async with found.delivery:
        await found.clock.settle()
        yield found


async def test_what_is_due_is_done_at_its_time_and_once() -> None:
    async with shop() as found:
        await found.says("wait 45")
        await found.clock.advance(44.9)
        assert found.due_at == []
        await found.clock.advance(0.1)
        assert found.due_at == [45.0]
        assert found.sent == ["wait 45", "time is over: size"]
        assert (await found.look()).position is None
        await found.clock.advance(3600)
        assert found.due_at == [45.0]
        statistics = found.delivery.statistics()
        assert (statistics.accepted, statistics.due, statistics.committed) == (1, 1, 2)


async def test_an_earlier_time_than_the_next_known_one_is_not_slept_through() -> None:
    async with shop() as found:
        await found.says("wait 25")
        await found.says("wait 3", BEN)
        await found.clock.advance(60)
        assert found.due_at == [3.0, 25.0]


async def test_who_answers_in_time_is_not_timed_out() -> None:
    async with shop() as found:
        await found.says("wait 45")
        await found.clock.advance(20)
        await found.says("wait 90")
        await found.clock.advance(85)
        assert found.due_at == []
        await found.clock.advance(10)
        assert found.due_at == [110.0]


async def test_what_an_earlier_process_left_is_done_however_late() -> None:
    found = Shop()
    await found.stand(ANA, at=NOON - 2 * 86_400)
    await found.stand(BEN, at=NOON + 70)
    async with found.delivery:
        await found.clock.advance(100)
        assert found.due_at == [0.0, 70.0]


async def test_what_somebody_else_stored_is_found_within_half_a_minute() -> None:
    async with shop() as found:
        await found.clock.advance(5)
        await found.stand(ANA, at=NOON + 10)
        await found.clock.advance(40)
        assert found.due_at == [30.0]


async def test_an_idle_one_looks_twice_a_minute() -> None:
    async with shop() as found:
        await found.clock.advance(600)
        assert len(found.store.claims) == 21


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 90 * 86_400.0])
async def test_a_clock_that_is_set_stops_nothing(jump_s: float) -> None:
    async with shop() as found:
        await found.says("wait 100")
        await found.clock.advance(10)
        found.wall_s += jump_s
        await found.clock.advance(30)
        assert found.due_at == ([] if jump_s < 0 else [30.0])
        found.wall_s = NOON
        await found.clock.advance(200)
        assert found.due_at == ([100.0] if jump_s < 0 else [30.0])
        await found.says("wait 5")
        await found.clock.advance(10)
        assert len(found.due_at) == 2


async def test_a_clock_that_stands_still_a_moment_before_the_time_keeps_nobody_busy() -> None:
    found = Shop()
    await found.stand(ANA, at=NOON + 1e-6)
    found.wall_clock = lambda: NOON  # type: ignore[method-assign]
    found.delivery._due._wall_clock = found.wall_clock
    async with found.delivery:
        await found.clock.advance(1)
        assert len(found.store.claims) == pytest.approx(100, abs=2)


async def test_a_signal_keeps_its_place_behind_what_was_written_before() -> None:
    async with shop() as found:
        await found.says("wait 10")
        found.door.clear()
        await found.says("wait 20")
        await found.says("hola")
        await found.clock.advance(15)
        assert found.delivery.statistics().due == 1
        found.door.set()
        await found.clock.settle()
        # By then the position is another one, whose time has not come.
        assert [text for _, text in found.turns] == ["wait 10", "wait 20", "hola", "due"]
        assert (await found.look()).position is not None
        await found.clock.advance(30)
        assert found.due_at == [15.0, 35.0]


async def test_what_became_due_while_an_earlier_signal_waited_is_done_right_after_it() -> None:
    async with shop() as found:
        await found.says("wait 10")
        await found.clock.advance(9)
        found.door.clear()
        await found.says("wait 2")
        await found.clock.advance(3)
        found.exit.clear()
        found.door.set()
        await found.clock.advance(3)  # until 15; at 12 the signal was too early for the new position
        assert found.due_at == [12.0]
        found.exit.set()
        await found.clock.settle()
        assert found.due_at == [12.0, 15.0]
        assert found.sent[-1] == "time is over: size"


async def test_the_step_alone_does_what_is_due_and_tells_the_next_time() -> None:
    async with shop() as found:
        assert await found.delivery.claim_due() is None
        await found.stand(ANA, at=NOON)
        await found.stand(BEN, at=NOON + 50)
        assert await found.delivery.claim_due() == NOON + 50
        await found.clock.settle()
        assert found.due_at == [0.0]
        assert await found.delivery.claim_due() == NOON + 50
    with pytest.raises(LifecycleError, match="closed"):
        await found.delivery.claim_due()


async def test_the_step_at_once_after_opening_waits_for_what_is_being_loaded() -> None:
    found = Shop()
    await found.stand(ANA, at=NOON)
    await found.store.accept([InboundMessage(id="old", chat=ANA, sent_at=NOON, text="hola")])
    async with found.delivery:
        assert await found.delivery.claim_due() is None  # there is room, so nothing was left
        await found.clock.settle()
        assert [text for _, text in found.turns] == ["hola", "due"]


async def test_many_that_are_due_at_once_never_crowd_the_lanes() -> None:
    found = Shop(max_loaded=40)
    chats = [ChatId(f"chat{number}") for number in range(1000)]
    await found.stand(*chats, at=NOON)
    most = 0
    found.door.clear()
    async with found.delivery:
        await found.clock.advance(10)
        assert found.delivery.statistics().waiting == 20
        assert len(found.store.claims) == 1
        found.door.set()
        for _ in range(300):
            most = max(most, found.delivery.statistics().waiting)
            await found.clock.settle()
        assert len(found.due_at) == 1000
        assert set(found.due_at) == {10.0}  # whatever room there is, is used at once
        assert most <= 40
        assert max(limit for _, limit in found.store.claims) <= 20


async def test_no_more_than_a_hundred_are_claimed_at_once() -> None:
    found = Shop(max_loaded=10_000)
    await found.stand(*(ChatId(f"chat{number}") for number in range(450)), at=NOON)
    async with found.delivery:
        await found.clock.advance(0)
        assert {limit for _, limit in found.store.claims} == {100}
        assert found.delivery.statistics().due == 450


async def test_nothing_is_claimed_while_messages_wait_in_the_store_only() -> None:
    found = Shop(max_loaded=4)
    await found.stand(BEN, at=NOON)
    await found.store.accept([InboundMessage(id=f"m{n}", chat=ANA, sent_at=NOON, text=f"m{n}") for n in range(20)])
    found.door.clear()
    async with found.delivery:
        await found.clock.advance(10)
        assert found.store.claims == []
        assert await found.delivery.claim_due() == NOON + 10  # as soon as there is room
        found.store.load_gate.clear()
        found.door.set()
        await found.clock.advance(10)
        assert found.delivery.statistics().waiting == 0
        assert found.store.claims == []
        found.store.load_gate.set()
        await found.clock.advance(10)
        assert [text for _, text in found.turns] == [*(f"m{n}" for n in range(20)), "due"]


async def test_a_claim_that_finds_nothing_of_what_was_due_is_made_again_in_a_second() -> None:
    class Contested(Store):
        """Somebody else holds what is due."""

        async def claim_due(self, until: float, limit: int) -> Due:
            self.claims.append((until, limit))
            return Due((), NOON)

    async with shop(store=Contested(MemoryConversations())) as found:
        await found.clock.advance(10)
        assert [until - NOON for until, _ in found.store.claims] == [float(n) for n in range(11)]


async def test_what_is_committed_during_a_claim_is_done_in_time() -> None:
    async with shop() as found:
        await found.clock.advance(1)
        found.store.gate.clear()
        claiming = asyncio.create_task(found.delivery.claim_due())
        await found.clock.settle()
        await found.says("wait 4")
        found.store.gate.set()
        await claiming
        await found.clock.advance(10)
        assert found.due_at == [5.0]


async def test_what_is_committed_during_a_claim_is_not_behind_what_is_claimed() -> None:
    async with shop() as found:
        await found.says("wait 1", BEN)
        found.store.gate.clear()
        await found.clock.advance(1)
        await found.says("wait 4")
        found.store.gate.set()
        await found.clock.advance(10)
        assert found.due_at == [1.0, 5.0]
        assert len(found.store.claims) <= 4


async def test_a_chat_that_memory_forgot_is_not_due() -> None:
    found = Shop()
    found.conversations._max_chats = 1
    await found.stand(ANA, BEN, at=NOON)
    assert [pending.message.chat for pending in (await found.store.claim_due(NOON, 9)).pending] == [BEN]


# Failures


async def test_a_signal_that_failed_comes_again_after_five_minutes_then_later_each_time() -> None:
    async with shop() as found:
        found.failures["due"] = 3
        await found.says("wait 10")
        await found.clock.advance(60 * MINUTE_S)
        waits = [later - before for before, later in pairwise(found.due_at)]
        assert waits == pytest.approx([5 * MINUTE_S, 10 * MINUTE_S, 20 * MINUTE_S], abs=30)
        assert found.sent == ["wait 10", "time is over: size"]
        assert sum(isinstance(event, TurnFailed) for event in found.happened) == 3
        assert (await found.look()).position is None
        found.failures["due"] = 1
        await found.says("wait 10")
        before = found.clock.now
        await found.clock.advance(6 * MINUTE_S)
        assert found.due_at[-2:] == pytest.approx([before + 10, before + 10 + 5 * MINUTE_S], abs=30)


async def test_a_signal_that_always_fails_is_tried_once_a_day() -> None:
    async with shop() as found:
        found.failures["due"] = 20
        await found.says("wait 10")
        await found.clock.advance(10)
        waits: list[float] = []
        for _ in range(20):
            next_at = (await found.store.claim_due(0, 1)).next_at
            assert next_at is not None
            waits.append(next_at - found.wall_clock())
            found.wall_s += waits[-1]
            await found.clock.advance(30)
        assert waits[:3] == pytest.approx([300, 600, 1200], abs=30)
        assert waits[9:] == pytest.approx([86_400.0] * 11, abs=30)
        assert found.sent[-1] == "time is over: size"


async def test_who_writes_ends_the_waiting_of_a_signal_that_failed() -> None:
    async with shop() as found:
        found.failures["due"] = 1
        await found.says("wait 10")
        await found.clock.advance(60)
        await found.says("wait 15")
        await found.clock.advance(60 * MINUTE_S)
        assert found.due_at == [10.0, 75.0]


async def test_a_failed_signal_that_the_application_sent_is_not_sent_again() -> None:
    async with shop() as found:
        found.failures["release"] = 1
        await found.says("wait 5000")
        await found.delivery.accept([InboundMessage(id="r", chat=ANA, sent_at=NOON, text="release", kind="signal")])
        await found.clock.advance(60 * MINUTE_S)
        assert [text for _, text in found.turns] == ["wait 5000", "release"]
        assert found.store.again_at == [None, None]


async def test_a_turn_that_cannot_be_stored_is_tried_again_too(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Store):
        async def commit(self, turns: object, **options: object) -> object:  # type: ignore[override]
            if any(row.content.startswith("time") for turn in turns for row in turn.history) and self.refusals:  # type: ignore[attr-defined]
                self.refusals -= 1
                raise StoreError("this can never be stored", retryable=False)
            return await super().commit(turns, **options)  # type: ignore[arg-type]

        refusals = 1

    conversations = MemoryConversations()
    found = Shop(store=Picky(conversations))
    found.conversations = conversations
    with caplog.at_level(logging.CRITICAL):
        async with found.delivery:
            await found.says("wait 10")
            await found.clock.advance(6 * MINUTE_S)
    assert found.sent == ["wait 10", "time is over: size"]


async def test_the_memory_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tecnobot_core.delivery.due.MAX_FAILED", 10)
    found = Shop()
    found.failures["due"] = 1000
    await found.stand(*(ChatId(f"chat{number}") for number in range(50)), at=NOON)
    async with found.delivery:
        await found.clock.advance(1)
        assert len(found.due_at) == 50
        assert len(found.delivery._due._failures) == 10


async def test_a_store_that_fails_for_a_while_is_waited_for() -> None:
    async with shop() as found:
        await found.says("wait 10")
        found.store.failures = [StoreError("away", retryable=True), StoreError("no right to read", retryable=False)]
        await found.clock.advance(20)
        assert found.due_at == [pytest.approx(10.3)]
        assert found.delivery.statistics().store_retries == 2


# The end


async def test_a_lost_lease_ends_it() -> None:
    async with shop() as found:
        await found.says("wait 10")
        found.store.failures = [LeaseLostError("another process owns it")]
        await found.clock.advance(10)
        assert found.delivery.stood_down
        claims = len(found.store.claims)
        await found.clock.advance(3600)
        assert len(found.store.claims) == claims
        assert await found.delivery.claim_due() is None


@pytest.mark.parametrize("how", ["drain", "aclose"])
async def test_stopping_ends_it_and_leaves_what_is_due_to_the_next_process(how: str) -> None:
    end: Callable[[Delivery], Awaitable[object]] = Delivery.aclose if how == "aclose" else lambda d: d.drain(5)
    async with shop() as found:
        await found.says("wait 10")
        await end(found.delivery)
        await found.clock.advance(3600)
        assert found.due_at == []
        assert await found.store.claim_due(NOON + 9, 9) == Due((), NOON + 10)
