"""What is to be sent ends as sent, expired, rejected or uncertain: once, in order, whatever the link does."""

import asyncio
import itertools
import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery.lanes import Lanes
from tecnobot_core.delivery.pacing import Pacer, Pacing
from tecnobot_core.delivery.ports import OPEN_STATES, OutboxEntry, SendState
from tecnobot_core.delivery.sending import Sender
from tecnobot_core.errors import LeaseLostError, TransportError
from tecnobot_core.events import EventBus, MessageSent, SendExpired, SendingHalted, SendRejected, SendUncertain
from tecnobot_core.messages import ChatId, OutboundMessage
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock

Fate = Literal["ok", "late", "no", "cut", "maybe", "hangs", "raises", "slow down", "never"]


PACE = Pacing(per_chat_gap_s=2.0, rate_per_s=1.0, jitter=0.0, typing_chars_per_s=10.0, max_typing_s=4.0)


def say(chat: str, number: int, text: str = "", *, delay_s: float = 0.0) -> OutboundMessage:
    return OutboundMessage(chat=ChatId(chat), key=f"{chat}-{number}", text=text, delay_s=delay_s)


class Outbox:
    """Keeps entries as the port says. Ids have gaps; a load may be answered late, and tells what was."""

    def __init__(self, clock: FakeClock) -> None:
        self.states: dict[int, SendState] = {}
        self.moves: list[tuple[Mapping[int, SendState], bool]] = []
        self.loads: list[tuple[int, int]] = []
        self.mistakes: list[str] = []  # not raised: the sender copes with errors
        self.load_takes_s = 0.0
        self.move_takes_s = 0.0
        self.lease_lost = False
        self._clock = clock
        self._messages: dict[int, tuple[OutboundMessage, float]] = {}
        self._ids = itertools.count(10, 3)

    def add(self, *messages: OutboundMessage, taken: bool = False, age_s: float = 0.0) -> list[OutboxEntry]:
        """Store *messages*; the first as taken."""
        entries = []
        for number, message in enumerate(messages):
            state: SendState = "taken" if taken and not number else "waiting"
            id = next(self._ids)
            self.states[id] = state
            self._messages[id] = message, self._clock() - age_s
            entries.append(OutboxEntry(id, message, state, age_s))
        return entries

    def state(self, key: str) -> SendState:
        return next(self.states[id] for id, (message, _) in self._messages.items() if message.key == key)

    async def move(self, states: Mapping[int, SendState], *, urgent: bool) -> None:
        if self.lease_lost:
            raise LeaseLostError("another process owns it")
        self.moves.append((states, urgent))
        if self.move_takes_s:
            await self._clock.sleep(self.move_takes_s)
        for id, state in states.items():
            if self.states[id] not in OPEN_STATES or state == self.states[id]:
                self.mistakes.append(f"{id} went from {self.states[id]} to {state}")
            self.states[id] = state

    async def load(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        self.loads.append((after, limit))
        now = self._clock()
        waiting = [id for id, state in sorted(self.states.items()) if state == "waiting" and id > after][:limit]
        found = [OutboxEntry(id, self._messages[id][0], "waiting", now - self._messages[id][1]) for id in waiting]
        if self.load_takes_s:
            await self._clock.sleep(self.load_takes_s)
        return found


@dataclass
class Counts:
    sent: int = 0
    uncertain: int = 0
    rejected: int = 0
    expired: int = 0


class Harness:
    """A Sender over an Outbox, and a link that treats sends as *fates* say, then well."""

    def __init__(self, *fates: Fate, pacing: Pacing | None = None, **options: object) -> None:
        self.clock = FakeClock()
        self.outbox = Outbox(self.clock)
        self.counts = Counts()
        self.events = EventBus()
        self.happened: list[object] = []
        self.events.on("event", self.happened.append)
        self.fates = deque(fates)
        self.tried: list[tuple[float, str]] = []
        self.arrived: list[tuple[float, str]] = []
        self.under_way: set[ChatId] = set()
        self.is_up = asyncio.Event()
        self.is_up.set()
        self.link_error: TransportError | None = None
        self.lease_losses = 0
        self.tasks = Tasks("test")
        arguments: dict[str, object] = {
            "max_concurrent": 4,
            "max_loaded": 100,
            "ttl_s": None,
            "send_timeout_s": 60.0,
            "pacer": pacing and Pacer(pacing, clock=self.clock, sleep=self.clock.sleep, random=lambda: 0.5),
            "random": lambda: 0.5,
        }
        self.sender = Sender(
            options.pop("send", self.send),  # type: ignore[arg-type]
            self.wait_ready,
            move=self.outbox.move,
            load=self.outbox.load,
            on_lease_lost=self.lose_lease,
            events=self.events,
            counts=self.counts,
            tasks=self.tasks,
            clock=self.clock,
            sleep=self.clock.sleep,
            **arguments | options,  # type: ignore[arg-type]
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.aclose()
        assert self.outbox.mistakes == []

    async def send(self, message: OutboundMessage) -> None:
        if self.outbox.state(message.key) != "taken":
            self.outbox.mistakes.append(f"{message.key} is sent and not marked")
        if message.chat in self.under_way:
            self.outbox.mistakes.append(f"{message.key} is sent beside another of its chat")
        self.tried.append((self.clock(), message.key))
        self.under_way.add(message.chat)
        try:
            await self.meet(self.fates.popleft() if self.fates else "ok", message)
        finally:
            self.under_way.discard(message.chat)

    async def meet(self, fate: Fate, message: OutboundMessage) -> None:
        if fate == "no":
            raise TransportError("busy")
        if fate == "cut":  # the other way round: it did not arrive
            raise TransportError("cut", sent="maybe")
        if fate == "slow down":
            await asyncio.sleep(0)
            raise TransportError("too many", retry_after_s=30.0)
        if fate == "never":
            raise TransportError("no such number", retryable=False)
        if fate == "late":
            await self.clock.sleep(2.0)
        self.arrived.append((self.clock(), message.key))
        if fate == "maybe":
            raise TransportError("cut", sent="maybe")
        if fate == "hangs":
            await asyncio.Event().wait()
        if fate == "raises":
            raise RuntimeError("expected by the test")

    async def outcome(self, key: str) -> Literal["sent", "no"]:
        """What a link knows that remembers everything."""
        return "sent" if key in self.said else "no"

    async def wait_ready(self) -> None:
        await self.is_up.wait()
        if self.link_error is not None:
            raise self.link_error

    def lose_lease(self) -> None:
        self.lease_losses += 1
        self.sender.stop()

    def post(self, *messages: OutboundMessage, age_s: float = 0.0) -> None:
        self.sender.put(self.outbox.add(*messages, age_s=age_s))

    def turn(self, *messages: OutboundMessage) -> bool:
        """What a turn does; whether its first message was marked with it."""
        chat = messages[0].chat
        try:
            self.sender.put(self.outbox.add(*messages, taken=(reserved := self.sender.reserve(chat))))
        finally:
            self.sender.release(chat)
        return reserved

    @property
    def said(self) -> list[str]:
        return [key for _, key in self.arrived]

    def times(self) -> list[float]:
        return [at for at, _ in self.arrived]

    def told(self, kind: type) -> list[object]:
        return [event for event in self.happened if isinstance(event, kind)]

    async def finish(self) -> None:
        """Let time pass until all has ended."""
        idle = self.tasks.start(self.sender.wait_idle(), "idle")
        for _ in range(10_000):
            await self.clock.advance(1.0)
            if idle.done():
                return
        raise AssertionError("something never ends")


# A message and what becomes of it


async def test_messages_of_a_chat_are_sent_in_order_and_counted() -> None:
    async with Harness("late", "ok", "late") as harness:
        harness.post(*(say("a", n) for n in range(5)))
        await harness.finish()
        assert harness.said == [f"a-{n}" for n in range(5)]
        assert set(harness.outbox.states.values()) == {"sent"}
        assert (harness.counts.sent, len(harness.told(MessageSent)), len(harness.sender)) == (5, 5, 0)


async def test_only_the_last_mark_of_a_chat_may_wait_for_company() -> None:
    async with Harness() as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        marks = [(state, urgent) for states, urgent in harness.outbox.moves for state in states.values()]
        assert marks == [("taken", True), ("sent", True), ("taken", True), ("sent", False)]


async def test_a_message_that_a_turn_marked_is_sent_without_a_further_mark() -> None:
    async with Harness() as harness:
        assert harness.turn(say("a", 0))
        await harness.finish()
        assert [list(states.values()) for states, _ in harness.outbox.moves] == [["sent"]]


async def test_what_surely_failed_waits_unmarked_and_longer_each_time() -> None:
    async with Harness("no", "no", "no", "no") as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.clock.settle()
        assert harness.outbox.state("a-0") == "waiting"
        await harness.finish()
        # Three quarters of 0.1, 0.2, 0.4, 0.8: half for sure, and half of the other half.
        expected = itertools.accumulate([0.0, 0.075, 0.15, 0.3, 0.6])
        assert [at for at, key in harness.tried if key == "a-0"] == pytest.approx(list(expected))
        assert harness.said == ["a-0", "a-1"]


async def test_a_retry_waits_for_the_link() -> None:
    async with Harness("no") as harness:
        harness.is_up.clear()
        harness.post(say("a", 0))
        await harness.clock.advance(1000)
        assert len(harness.tried) == 1
        assert harness.outbox.state("a-0") == "waiting"
        harness.is_up.set()
        await harness.finish()
        assert harness.said == ["a-0"]


async def test_chats_that_fail_delay_no_other() -> None:
    fates: list[Fate] = ["no"] * 8
    async with Harness(*fates, max_concurrent=2) as harness:
        harness.is_up.clear()
        harness.post(*(say(f"unreachable-{n}", 0) for n in range(8)))
        await harness.clock.settle()
        harness.post(say("a", 0))
        await harness.clock.settle()
        assert harness.said == ["a-0"]


async def test_what_surely_failed_is_unmarked_before_others_are_sent() -> None:
    async with Harness("no", "late", max_concurrent=1) as harness:
        harness.post(say("a", 0))
        harness.post(say("b", 0))
        await harness.clock.settle()
        assert (harness.outbox.state("a-0"), harness.outbox.state("b-0")) == ("waiting", "taken")


@pytest.mark.parametrize("fate", ["maybe", "raises"])
async def test_what_may_have_arrived_is_announced_and_its_chat_goes_on(fate: Fate) -> None:
    async with Harness(fate) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert harness.said == ["a-0", "a-1"]
        assert harness.outbox.state("a-0") == "uncertain"
        assert all(urgent for states, urgent in harness.outbox.moves if "sent" not in states.values())
        assert (harness.counts.sent, harness.counts.uncertain, len(harness.told(SendUncertain))) == (1, 1, 1)


async def test_a_send_that_hangs_is_given_up_as_uncertain() -> None:
    async with Harness("hangs", send_timeout_s=0) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert harness.outbox.state("a-0") == "uncertain"
        assert harness.outbox.state("a-1") == "sent"
        (event,) = harness.told(SendUncertain)
        assert "given up" in str(event.error)  # type: ignore[attr-defined]


async def test_what_can_never_be_sent_is_rejected() -> None:
    async with Harness("never") as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert harness.outbox.state("a-0") == "rejected"
        assert (harness.counts.sent, harness.counts.rejected, len(harness.told(SendRejected))) == (1, 1, 1)


async def test_what_an_earlier_process_was_sending_is_announced() -> None:
    async with Harness() as harness:
        harness.sender.resume([OutboxEntry(1, say("a", 0), "uncertain")])
        await harness.finish()
        assert (harness.counts.uncertain, len(harness.told(SendUncertain)), harness.arrived) == (1, 1, [])


# Time to live


async def test_what_is_too_old_when_it_would_be_sent_expires() -> None:
    async with Harness("no", ttl_s=10.0) as harness:
        harness.is_up.clear()
        harness.post(say("a", 0), age_s=4.0)
        harness.post(say("b", 0), age_s=11.0)
        harness.post(say("a", 1), age_s=3.0)
        await harness.clock.advance(6.5)
        harness.is_up.set()
        await harness.finish()
        assert harness.said == ["a-1"]
        assert harness.outbox.state("a-0") == harness.outbox.state("b-0") == "expired"
        assert harness.counts.expired == 2
        assert [(e.key, e.age_s) for e in harness.told(SendExpired)] == [("b-0", 11.0), ("a-0", 10.5)]  # type: ignore[attr-defined]


async def test_an_end_other_than_sent_is_marked_at_once() -> None:
    async with Harness("maybe", "never", ttl_s=10.0) as harness:
        harness.post(say("a", 0))
        harness.post(say("b", 0))
        harness.post(say("c", 0), age_s=11.0)
        await harness.finish()
        assert all(urgent for _, urgent in harness.outbox.moves)


async def test_what_became_too_old_while_its_mark_was_written_expires() -> None:
    async with Harness(ttl_s=10.0) as harness:
        harness.outbox.move_takes_s = 11.0
        harness.post(say("a", 0))
        await harness.finish()
        assert (harness.tried, harness.outbox.state("a-0")) == ([], "expired")


async def test_the_age_of_what_was_loaded_counts() -> None:
    async with Harness(ttl_s=10.0) as harness:
        harness.outbox.add(say("a", 0), age_s=11.0)
        harness.outbox.add(say("a", 1), age_s=9.0)
        harness.sender.look()
        await harness.finish()
        assert (harness.said, harness.counts.expired) == (["a-1"], 1)


# Halts


async def test_slow_down_halts_everybody_and_is_told_once() -> None:
    async with Harness("late", "slow down", "slow down") as harness:
        harness.post(say("under-way", 0), say("a", 0), say("b", 0))
        await harness.clock.advance(1.0)
        harness.post(say("c", 0))
        assert not harness.turn(say("d", 0))
        await harness.clock.advance(28.9)
        assert harness.said == ["under-way-0"]
        assert "taken" not in harness.outbox.states.values()
        assert [event.pause_s for event in harness.told(SendingHalted)] == [30.0]  # type: ignore[attr-defined]
        await harness.finish()
        assert harness.times()[1:] == [30.0] * 4
        assert harness.counts.sent == 5


async def test_what_was_marked_before_a_halt_waits_unmarked() -> None:
    async with Harness("slow down") as harness:
        assert harness.sender.reserve(ChatId("a"))
        harness.post(say("b", 0))
        await harness.clock.settle()
        harness.sender.put(harness.outbox.add(say("a", 0), taken=True))
        await harness.clock.settle()
        assert harness.outbox.state("a-0") == "waiting"
        await harness.finish()
        assert sorted(harness.arrived) == [(30.0, "a-0"), (30.0, "b-0")]


async def test_what_was_being_marked_when_a_halt_began_is_not_sent() -> None:
    async with Harness("slow down") as harness:
        harness.outbox.move_takes_s = 1.0
        harness.post(say("a", 0))
        await harness.clock.advance(0.5)
        harness.post(say("b", 0))
        await harness.clock.advance(20)
        assert harness.said == []
        assert harness.outbox.state("b-0") == "waiting"


async def test_what_was_slowed_down_is_paced_anew_even_after_the_halt() -> None:
    async with Harness("slow down", pacing=PACE) as harness:
        harness.outbox.move_takes_s = 40.0
        harness.post(say("a", 0, "x" * 10))
        await harness.finish()
        # 1 typing, 40 marking, 40 unmarking, 1 typing, 40 marking.
        assert harness.times() == [122.0]


async def test_a_second_halt_is_told_again() -> None:
    async with Harness("slow down", "slow down") as harness:
        harness.post(say("a", 0))
        await harness.finish()
        assert len(harness.told(SendingHalted)) == 2
        assert harness.times() == [60.0]


# What waits in the store


async def test_no_more_than_the_bound_is_in_memory_and_all_is_sent_in_order() -> None:
    async with Harness(max_loaded=10) as harness:
        harness.post(*(say(f"chat-{n % 7}", n) for n in range(500)))
        assert len(harness.sender) == 10
        idle = harness.tasks.start(harness.sender.wait_idle(), "idle")
        while not idle.done():
            await asyncio.sleep(0)
            assert len(harness.sender) <= 10
        assert harness.counts.sent == 500
        by_chat = defaultdict(list)
        for key in harness.said:
            by_chat[key.rpartition("-")[0]].append(int(key.rpartition("-")[2]))
        assert all(numbers == sorted(numbers) for numbers in by_chat.values())


async def test_nothing_is_loaded_while_there_is_room() -> None:
    async with Harness(max_loaded=10) as harness:
        for n in range(100):
            harness.turn(say(f"chat-{n % 7}", n), say(f"chat-{n % 7}", 1000 + n))
            await harness.clock.settle()
        assert harness.counts.sent == 200
        assert harness.outbox.loads == []


async def test_loads_are_few() -> None:
    async with Harness(max_loaded=100) as harness:
        harness.post(*(say(f"chat-{n % 7}", n) for n in range(1000)))
        await harness.finish()
        assert harness.counts.sent == 1000
        assert len(harness.outbox.loads) <= 1000 / 50 + 1


async def test_after_a_backlog_nothing_more_is_loaded() -> None:
    async with Harness(max_loaded=8) as harness:
        harness.outbox.load_takes_s = 1.0
        harness.post(*(say("a", n) for n in range(20)))
        n = 20
        while len(harness.outbox.loads) < 5 and n < 100:
            harness.post(say("a", n))
            n += 1
            await harness.clock.advance(1.0)
        loads = len(harness.outbox.loads)
        for more in range(50):
            harness.turn(say("a", n + more))
            await harness.clock.advance(0.2)
        assert len(harness.outbox.loads) == loads
        await harness.finish()
        assert harness.said == [f"a-{number}" for number in range(n + 50)]


async def test_what_an_earlier_process_left_comes_first() -> None:
    async with Harness() as harness:
        harness.outbox.load_takes_s = 1.0
        harness.outbox.add(say("a", 0), say("a", 1))
        harness.sender.look()
        assert not harness.turn(say("a", 2))
        await harness.finish()
        assert harness.said == ["a-0", "a-1", "a-2"]
        assert len(harness.outbox.loads) == 1


async def test_what_was_loaded_before_its_storing_was_told_is_sent_once() -> None:
    async with Harness() as harness:
        late = harness.outbox.add(say("a", 0))
        harness.sender.look()
        await harness.finish()
        harness.sender.put(late)
        await harness.finish()
        assert harness.said == ["a-0"]


async def test_what_is_told_in_another_order_than_stored_is_not_skipped() -> None:
    async with Harness("late", max_loaded=1) as harness:
        first, second, third = (harness.outbox.add(say(chat, 0)) for chat in "abc")
        harness.sender.put(third)
        harness.sender.put(second)
        await harness.clock.advance(10)
        harness.sender.put(first)
        await harness.finish()
        assert sorted(harness.said) == ["a-0", "b-0", "c-0"]


async def test_what_failed_and_waits_in_its_lane_is_not_loaded_beside_itself() -> None:
    async with Harness("no", max_loaded=2) as harness:
        harness.is_up.clear()
        harness.post(say("a", 0), say("b", 0), say("c", 0))
        await harness.clock.advance(10)
        assert len(harness.outbox.loads) >= 1
        harness.is_up.set()
        await harness.finish()
        assert sorted(harness.said) == ["a-0", "b-0", "c-0"]


async def test_what_was_sent_while_a_load_still_saw_it_waiting_is_not_sent_again() -> None:
    async with Harness("late", "late", max_loaded=2) as harness:
        harness.post(say("a", 0), say("a", 1), say("a", 2))
        harness.outbox.load_takes_s = 100.0
        harness.sender.look()
        await harness.finish()
        assert harness.said == ["a-0", "a-1", "a-2"]


async def test_what_was_marked_already_has_a_lane_even_where_all_is_full() -> None:
    async with Harness("ok", "late", max_loaded=1) as harness:
        harness.post(say("a", 0))
        assert harness.turn(say("b", 0), say("b", 1))
        await harness.clock.settle()
        assert harness.said == ["b-0", "b-1"]


async def test_what_follows_a_marked_message_is_not_loaded_ahead_of_it() -> None:
    async with Harness(max_loaded=1) as harness:
        assert harness.sender.reserve(ChatId("a"))
        entries = harness.outbox.add(say("a", 0), say("a", 1), taken=True)
        harness.post(say("b", 0), say("c", 0))
        await harness.clock.settle()
        harness.sender.put(entries)
        harness.sender.release(ChatId("a"))
        await harness.finish()
        assert [key for key in harness.said if key.startswith("a")] == ["a-0", "a-1"]
        assert harness.counts.sent == 4


async def test_what_was_held_up_by_a_turn_is_loaded_after_it() -> None:
    async with Harness() as harness:
        assert harness.sender.reserve(ChatId("a"))
        harness.outbox.add(say("b", 0))
        harness.sender.look()
        await harness.clock.settle()
        assert harness.outbox.loads == []
        harness.sender.release(ChatId("a"))
        await harness.clock.settle()
        assert harness.said == ["b-0"]


async def test_loads_leave_room_for_what_is_being_sent() -> None:
    async with Harness("ok", "ok", "late", "late", max_loaded=4) as harness:
        harness.post(*(say(f"chat-{n}", 0) for n in range(12)))
        for _ in range(500):
            await asyncio.sleep(0)
            assert len(harness.sender) <= 4
        await harness.finish()
        assert harness.counts.sent == 12


async def test_nothing_is_marked_ahead_of_what_waits_in_the_store() -> None:
    async with Harness("late", max_loaded=1) as harness:
        harness.post(say("a", 0), say("b", 0))
        assert not harness.turn(say("b", 1))
        await harness.finish()
        assert [key for key in harness.said if key.startswith("b")] == ["b-0", "b-1"]


# The end


async def test_a_link_that_failed_for_good_leaves_the_rest_in_the_store() -> None:
    async with Harness("no", max_loaded=2) as harness:
        harness.link_error = TransportError("logged out", retryable=False)
        harness.post(*(say("a", n) for n in range(9)))
        await harness.finish()
        assert [key for _, key in harness.tried] == ["a-0"]
        assert set(harness.outbox.states.values()) == {"waiting"}
        assert (harness.counts, harness.outbox.loads) == (Counts(), [])


async def test_stopped_it_is_idle_at_once_whatever_waits() -> None:
    async with Harness("slow down", max_loaded=2) as harness:
        harness.post(say("a", 0), say("b", 0))
        await harness.clock.settle()
        idle = harness.tasks.start(harness.sender.wait_idle(), "idle")
        await harness.clock.settle()
        assert not idle.done()
        harness.sender.stop()
        await harness.clock.settle()
        assert idle.done()
        assert not harness.sender.reserve(ChatId("c"))


async def test_stopped_it_no_longer_waits_for_the_store() -> None:
    async with Harness() as harness:
        assert harness.sender.reserve(ChatId("a"))
        harness.outbox.add(say("b", 0))
        harness.sender.look()
        idle = harness.tasks.start(harness.sender.wait_idle(), "idle")
        await harness.clock.settle()
        assert not idle.done()
        harness.sender.stop()
        harness.sender.release(ChatId("a"))
        await harness.clock.settle()
        assert (idle.done(), harness.tried) == (True, [])


async def test_stopped_it_begins_no_send_and_ends_those_under_way() -> None:
    async with Harness("late", "slow down", "slow down") as harness:
        harness.post(say("a", 0), say("a", 1), say("b", 0), say("c", 0))
        await harness.clock.settle()
        harness.sender.stop()
        assert not harness.sender.reserve(ChatId("d"))
        harness.sender.put(harness.outbox.add(say("d", 0), taken=True))
        await harness.finish()
        assert harness.said == ["a-0"]
        assert list(harness.outbox.states.values()) == ["sent", "waiting", "waiting", "waiting", "waiting"]
        assert len(harness.sender) == 0


@pytest.mark.parametrize("in_store", [True, False])
async def test_a_turn_that_is_cancelled_by_closing_starts_nothing(in_store: bool) -> None:
    async def turn() -> None:
        assert harness.sender.reserve(ChatId("a"))
        try:
            await asyncio.Event().wait()
        finally:
            harness.sender.release(ChatId("a"))

    async with Harness(max_concurrent=1) as harness:
        harness.tasks.start(turn(), "turn")
        await harness.clock.settle()
        if in_store:
            harness.outbox.add(say("b", 0))
            harness.sender.look()
        else:
            harness.post(say("b", 0))
        await harness.tasks.aclose()
        assert harness.tried == []


async def test_a_lost_lease_is_told_and_sends_nothing() -> None:
    async with Harness() as harness:
        harness.outbox.lease_lost = True
        harness.post(say("a", 0), say("b", 0))
        await harness.finish()
        assert (harness.tried, harness.lease_losses > 0, len(harness.sender)) == ([], True, 0)
        assert not harness.sender.reserve(ChatId("c"))


async def test_a_lease_that_is_lost_while_the_store_is_read_is_told() -> None:
    async with Harness() as harness:

        async def load(after: int, limit: int) -> Sequence[OutboxEntry]:
            raise LeaseLostError("another process owns it")

        harness.sender._read = load
        harness.sender.look()
        await harness.clock.settle()
        assert harness.lease_losses == 1
        await harness.sender.wait_idle()


async def test_waiting_that_fails_in_an_unforeseen_way_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with Harness("no") as harness:
        harness.link_error = RuntimeError("expected by the test")  # type: ignore[assignment]
        harness.post(say("a", 0))
        await harness.clock.advance(10)
        harness.link_error = None
        await harness.finish()
        assert harness.said == ["a-0"]
        assert 2 <= len([record for record in caplog.records if record.levelno == logging.ERROR]) < 10


# Delays


async def test_a_delay_counts_from_the_sending_of_the_message_before() -> None:
    async with Harness("late", "ok", "late") as harness:
        harness.post(say("a", 0), say("a", 1, delay_s=3.0), say("a", 2, delay_s=1.0), say("a", 3))
        await harness.finish()
        assert harness.arrived == [(2.0, "a-0"), (5.0, "a-1"), (8.0, "a-2"), (8.0, "a-3")]


async def test_the_delay_of_the_first_counts_from_its_decision() -> None:
    async with Harness() as harness:
        harness.post(say("a", 0, delay_s=3.0))
        harness.post(say("b", 0, delay_s=3.0), age_s=2.0)
        harness.post(say("c", 0, delay_s=3.0), age_s=4.0)
        await harness.finish()
        assert harness.arrived == [(0.0, "c-0"), (1.0, "b-0"), (3.0, "a-0")]
        harness.post(say("a", 1, delay_s=2.0))
        await harness.finish()
        assert harness.arrived[-1] == (5.0, "a-1")


async def test_what_was_left_with_a_delay_does_not_wait_in_full_again() -> None:
    async with Harness() as harness:
        harness.outbox.add(say("a", 0, delay_s=60.0), say("a", 1, delay_s=5.0), age_s=50.0)
        harness.sender.look()
        await harness.finish()
        assert harness.arrived == [(10.0, "a-0"), (15.0, "a-1")]


async def test_what_is_delayed_is_not_marked_and_keeps_no_worker_from_others() -> None:
    async with Harness(max_concurrent=1) as harness:
        for number in range(10):
            harness.post(say(f"slow-{number}", 0, delay_s=100.0))
        harness.post(say("a", 0))
        await harness.clock.advance(99.0)
        assert harness.said == ["a-0"]
        assert [state for states, _ in harness.outbox.moves for state in states.values()] == ["taken", "sent"]
        await harness.finish()
        assert set(harness.times()[1:]) == {100.0}


async def test_a_delay_comes_after_a_message_that_failed_or_was_retried() -> None:
    async with Harness("never", "ok", "no") as harness:
        harness.post(say("a", 0), say("a", 1, delay_s=2.0), say("a", 2, delay_s=2.0))
        await harness.finish()
        # The second of them is tried again after its backoff, without its delay.
        assert [(at, key) for at, key in harness.tried] == [
            (0.0, "a-0"),
            (2.0, "a-1"),
            (4.0, "a-2"),
            (4.075, "a-2"),
        ]


@pytest.mark.parametrize(
    ("delay_s", "at"), [(0.0, 3.0), (1.5, 3.0), (2.5, 3.5), (9.0, 10.0)], ids=["none", "short", "in typing", "long"]
)
async def test_of_pace_and_delay_the_longer_counts(delay_s: float, at: float) -> None:
    typing: list[tuple[float, bool]] = []

    async def show(chat: ChatId, is_typing: bool) -> None:
        typing.append((harness.clock(), is_typing))

    pace = Pacing(per_chat_gap_s=1.0, rate_per_s=1000.0, jitter=0.0, typing_chars_per_s=10.0)
    async with Harness(pacing=pace, show_typing=show) as harness:
        harness.post(say("a", 0, "x" * 10), say("a", 1, "x" * 10, delay_s=delay_s))
        await harness.finish()
        assert harness.arrived == [(1.0, "a-0"), (at, "a-1")]
        assert typing[2:] == [(at - 1.0, True), (at, False)]


async def test_a_message_does_not_expire_while_it_is_delayed() -> None:
    async with Harness(ttl_s=10.0) as harness:
        harness.post(say("a", 0, delay_s=60.0), say("a", 1), say("a", 2, delay_s=60.0))
        await harness.finish()
        assert harness.arrived == [(60.0, "a-0"), (60.0, "a-1"), (120.0, "a-2")]


async def test_what_the_link_holds_up_after_its_delay_expires() -> None:
    async with Harness("no", ttl_s=10.0) as harness:
        harness.is_up.clear()
        harness.post(say("a", 0, delay_s=60.0), say("a", 1))
        await harness.clock.advance(75.0)
        harness.is_up.set()
        await harness.finish()
        assert harness.said == []
        assert [(e.key, e.age_s) for e in harness.told(SendExpired)] == [("a-0", 75.0), ("a-1", 75.0)]  # type: ignore[attr-defined]


async def test_a_message_that_is_delayed_is_not_marked_by_its_turn() -> None:
    # Delivery asks for no place then; what comes next to the same chat does.
    async with Harness() as harness:
        harness.post(say("a", 0, delay_s=5.0))
        assert not harness.turn(say("a", 1))
        await harness.finish()
        assert harness.arrived == [(5.0, "a-0"), (5.0, "a-1")]


async def test_stopped_it_waits_for_no_delay() -> None:
    async with Harness() as harness:
        harness.post(say("a", 0, delay_s=86_400.0))
        await harness.clock.advance(1.0)
        harness.sender.stop()
        await harness.clock.settle()
        async with asyncio.timeout(1):
            await harness.sender.wait_idle()
        assert harness.outbox.state("a-0") == "waiting"


async def test_nothing_is_remembered_of_a_chat_whose_messages_are_sent() -> None:
    async with Harness() as harness:
        harness.post(say("a", 0), say("a", 1, delay_s=1.0), say("b", 0))
        await harness.finish()
        assert harness.sender._outgoing._last == {}


# Pacing


async def test_a_paced_message_waits_for_gap_typing_and_rate() -> None:
    async with Harness(pacing=PACE) as harness:
        harness.post(say("a", 0, "x" * 10), say("a", 1, "x" * 20))
        harness.post(say("b", 0, "x" * 15), say("c", 0, "x" * 9000))
        await harness.finish()
        # b is typed at 1.5 and has its turn a second after a; c is typed at 4; a's gap ends at 3.
        assert harness.arrived == [(1.0, "a-0"), (2.0, "b-0"), (4.0, "c-0"), (5.0, "a-1")]


async def test_what_waits_for_its_pace_is_not_marked() -> None:
    async with Harness(pacing=PACE) as harness:
        assert not harness.turn(say("a", 0, "x" * 10))
        await harness.clock.advance(0.9)
        assert harness.outbox.moves == []
        await harness.finish()
        assert harness.said == ["a-0"]


async def test_a_chat_with_much_to_say_does_not_starve_others() -> None:
    async with Harness(pacing=PACE, max_concurrent=1) as harness:
        harness.post(*(say("a", n) for n in range(50)))
        await harness.clock.advance(9)
        harness.post(say("b", 0))
        await harness.finish()
        assert (10.0, "b-0") in harness.arrived or (9.0, "b-0") in harness.arrived


async def test_after_a_halt_the_pace_is_kept() -> None:
    async with Harness("slow down", pacing=PACE) as harness:
        harness.post(*(say(f"chat-{n}", 0) for n in range(5)))
        await harness.finish()
        assert harness.times() == [30.0, 31.0, 32.0, 33.0, 34.0]


async def test_what_expired_takes_no_time_from_the_others() -> None:
    async with Harness(pacing=PACE, ttl_s=10.0) as harness:
        harness.post(*(say("a", n, "x" * 99) for n in range(20)), age_s=11.0)
        harness.post(say("a", 20, "x" * 10))
        await harness.finish()
        assert harness.arrived == [(1.0, "a-20")]


async def test_what_comes_while_a_chat_waits_changes_nothing() -> None:
    shown: list[bool] = []

    async def show(chat: ChatId, typing: bool) -> None:
        shown.append(typing)

    async with Harness(pacing=PACE, show_typing=show) as harness:
        harness.post(say("a", 0, "x" * 20))
        await harness.clock.advance(1.0)
        harness.post(say("a", 1))
        await harness.finish()
        assert harness.arrived == [(2.0, "a-0"), (4.0, "a-1")]
        assert shown == [True, False]


async def test_typing_is_shown_for_its_time() -> None:
    shown: list[tuple[float, ChatId, bool]] = []

    async def show(chat: ChatId, typing: bool) -> None:
        shown.append((harness.clock(), chat, typing))

    async with Harness(pacing=PACE, show_typing=show) as harness:
        harness.post(say("a", 0, "x" * 20), say("a", 1))
        await harness.finish()
        assert shown == [(0.0, "a", True), (2.0, "a", False)]
        assert harness.arrived == [(2.0, "a-0"), (4.0, "a-1")]


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_typing_sign_that_fails_or_hangs_costs_nothing(hangs: bool) -> None:
    async def show(chat: ChatId, typing: bool) -> None:
        if hangs:
            await asyncio.Event().wait()
        raise RuntimeError("expected by the test")

    async with Harness(pacing=PACE, show_typing=show) as harness:
        harness.post(say("a", 0, "x" * 20))
        await harness.finish()
        assert harness.arrived == [(2.0, "a-0")]


# Lanes


async def test_an_item_that_stays_is_the_first_of_its_lane_again() -> None:
    handled: list[str] = []
    stay = {"a1": 2}

    async def handle(item: str) -> bool:
        handled.append(item)
        stay[item] = stay.get(item, 0) - 1
        return stay[item] >= 0

    async with Tasks("test") as tasks:
        lanes = Lanes[str, str](handle, max_concurrent=1, tasks=tasks)
        for item in ("a1", "a2", "b1"):
            lanes.put(item[0], item)
        await lanes.wait_idle()
    assert handled == ["a1", "b1", "a1", "a1", "a2"]


async def test_a_lane_knows_its_last_item() -> None:
    seen: list[bool] = []

    async def handle(item: int) -> None:
        seen.append(lanes.is_last("a"))

    async with Tasks("test") as tasks:
        lanes = Lanes[str, int](handle, max_concurrent=1, tasks=tasks)
        lanes.put("a", 1)
        lanes.put("a", 2)
        await lanes.wait_idle()
    assert seen == [False, True]


# All of it, in any interleaving


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose deadlines are those of a FakeClock."""

    clock: FakeClock | None = None

    def time(self) -> float:
        return super().time() if self.clock is None else self.clock()


@dataclass(frozen=True)
class Say:
    """One turn: after a pause, *n* messages of an age, told to the sender *told_after_s* after they were stored."""

    chat: int
    n: int
    age_s: float
    pause_s: float
    told_after_s: float
    delay_s: float


SAYS = st.builds(
    Say,
    chat=st.integers(0, 3),
    n=st.integers(1, 3),
    age_s=st.sampled_from([0.0, 0.0, 5.0, 30.0]),
    pause_s=st.sampled_from([0.0, 0.0, 0.1, 3.0]),
    told_after_s=st.sampled_from([0.0, 0.0, 0.5, 4.0]),
    delay_s=st.sampled_from([0.0, 0.0, 0.7, 6.0]),
)
FATES: st.SearchStrategy[Fate] = st.sampled_from(
    ["ok", "ok", "late", "no", "cut", "maybe", "hangs", "raises", "slow down", "never"]
)
# What a link that is asked does first, one for each question; then it tells what it knows. None: no link to be asked.
ANSWERS = st.none() | st.lists(st.sampled_from(["knows", "forgot", "fails", "hangs"]), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    says=st.lists(SAYS, max_size=30),
    left=st.integers(0, 9),
    fates=st.lists(FATES, max_size=30),
    max_loaded=st.integers(1, 8),
    max_concurrent=st.integers(1, 3),
    ttl_s=st.sampled_from([None, 4.0, 25.0, 60.0]),
    paced=st.booleans(),
    slow_store=st.booleans(),
    answers=ANSWERS,
    stop_at_s=st.none() | st.floats(0, 40),
)
def test_every_message_ends_once_and_in_order(
    says: list[Say],
    left: int,
    fates: list[Fate],
    max_loaded: int,
    max_concurrent: int,
    ttl_s: float | None,
    paced: bool,
    slow_store: bool,
    answers: list[str] | None,
    stop_at_s: float | None,
) -> None:
    async def scenario() -> None:
        async def outcome(key: str) -> str | None:
            assert answers is not None
            answer = answers.pop(0) if answers else "knows"
            if answer == "fails":
                raise TransportError("cut again")
            if answer == "hangs":
                await asyncio.Event().wait()
            return None if answer == "forgot" else await harness.outcome(key)

        harness = Harness(
            *fates,
            outcome=None if answers is None else outcome,
            pacing=Pacing(typing_chars_per_s=50.0) if paced else None,
            max_loaded=max_loaded,
            max_concurrent=max_concurrent,
            ttl_s=ttl_s,
            send_timeout_s=20.0,
        )
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ClockLoop)
        loop.clock = harness.clock
        outbox, sender = harness.outbox, harness.sender
        if slow_store:
            outbox.load_takes_s, outbox.move_takes_s = 1.0, 0.01
        numbers = itertools.count()

        def messages(chat: int, n: int, delay_s: float = 0.0) -> list[OutboundMessage]:
            return [say(f"chat-{chat}", next(numbers), "x" * 30, delay_s=delay_s) for _ in range(n)]

        async def turns(chat: int) -> None:
            for turn in (turn for turn in says if turn.chat == chat):
                await harness.clock.sleep(turn.pause_s)
                chat_id = ChatId(f"chat-{chat}")
                taken = not turn.delay_s and sender.reserve(chat_id)
                entries = outbox.add(*messages(chat, turn.n, turn.delay_s), taken=taken, age_s=turn.age_s)
                await harness.clock.sleep(turn.told_after_s)
                sender.put(entries)
                sender.release(chat_id)

        async def watch() -> None:
            while True:
                # Beside those in lanes there is what turns marked, and what they said with it.
                assert len(sender) <= max_loaded + 3 * max_concurrent
                await harness.clock.sleep(0.5)

        async with harness:
            for number in range(left):
                outbox.add(*messages(number % 4, 1))
            sender.look()
            watching = harness.tasks.start(watch(), "watch")
            speaking = [harness.tasks.start(turns(chat), "turns") for chat in range(4)]
            if stop_at_s is not None:
                await harness.clock.advance(stop_at_s)
                sender.stop()
            while not all(task.done() for task in speaking):
                await harness.clock.advance(1.0)
            await harness.finish()
            assert not watching.done()

        ends = defaultdict(list)
        for event in harness.happened:
            if isinstance(event, MessageSent | SendUncertain | SendRejected | SendExpired):
                ends[event.key].append(type(event))
        assert all(len(kinds) == 1 for kinds in ends.values())
        assert sum(vars(harness.counts).values()) == len(ends)
        waiting = sum(state == "waiting" for state in outbox.states.values())
        assert "taken" not in outbox.states.values()
        assert len(ends) + waiting == next(numbers)
        assert stop_at_s is not None or not waiting
        assert len(sender) == 0
        decided_at = {message.key: at + message.delay_s for message, at in outbox._messages.values()}
        assert all(at >= decided_at[key] for at, key in harness.tried)
        arrived = harness.said
        assert len(arrived) == len(set(arrived))
        for chat in range(4):
            order = [int(key.rpartition("-")[2]) for key in arrived if key.startswith(f"chat-{chat}-")]
            assert order == sorted(order)

    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        runner.run(scenario())
