"""What may have been sent: the link is asked what became of it, once it is up, before that is called uncertain."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import pytest

from tecnobot_core import Bot, ConnectionManager
from tecnobot_core.connection import DisconnectReason, Lost
from tecnobot_core.delivery import MemoryConversations, MemoryDelivery, OutboxEntry
from tecnobot_core.delivery.doubts import Doubts
from tecnobot_core.delivery.ports import Outcome
from tecnobot_core.errors import TransportError
from tecnobot_core.events import Event, EventBus, MessageSent, SendUncertain
from tecnobot_core.messages import ChatId, OutboundMessage
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeMessenger, FakeTransport
from tests.test_sending import Fate, Harness, say
from tests.virtual_time import virtually

Answer = Outcome | None | Literal["fails", "hangs"]


class Asked:
    """A link that is asked gives *answers*, then the last of them again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    async def __call__(self, key: str) -> Outcome | None:
        self.keys.append(key)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "fails":
            raise TransportError("cut again")
        if answer == "hangs":
            await asyncio.Event().wait()
        return answer  # type: ignore[return-value]


# While it runs


@pytest.mark.parametrize("fate", ["maybe", "raises", "cut"])
async def test_what_the_link_knows_as_sent_is_sent(fate: Fate) -> None:
    async with Harness(fate, outcome=Asked("sent")) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert [key for _, key in harness.tried] == ["a-0", "a-1"]
        assert set(harness.outbox.states.values()) == {"sent"}
        assert (harness.counts.sent, len(harness.told(MessageSent)), harness.told(SendUncertain)) == (2, 2, [])


async def test_what_the_link_knows_as_not_sent_is_sent_again_in_its_order() -> None:
    async with Harness("cut", "cut", outcome=Asked("no")) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert [key for _, key in harness.tried] == ["a-0", "a-0", "a-0", "a-1"]
        assert harness.said == ["a-0", "a-1"]
        assert (harness.counts.sent, harness.counts.uncertain) == (2, 0)


@pytest.mark.parametrize("answer", ["maybe", None])
async def test_what_the_link_does_not_know_is_uncertain(answer: Outcome | None) -> None:
    async with Harness("cut", outcome=(asked := Asked(answer))) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert (asked.keys, harness.said, harness.outbox.state("a-0")) == (["a-0"], ["a-1"], "uncertain")
        (event,) = harness.told(SendUncertain)
        assert str(event.error) == "cut"  # type: ignore[attr-defined]
        assert (harness.counts.sent, harness.counts.uncertain) == (1, 1)


async def test_it_is_asked_once_the_link_is_up_and_other_chats_do_not_wait() -> None:
    async with Harness("maybe", outcome=(asked := Asked("sent")), max_concurrent=1) as harness:
        harness.is_up.clear()
        harness.post(say("a", 0), say("a", 1), say("b", 0))
        await harness.clock.advance(100)
        assert (asked.keys, harness.said, harness.outbox.state("a-0")) == ([], ["a-0", "b-0"], "taken")
        harness.is_up.set()
        await harness.finish()
        assert (asked.keys, harness.said, harness.outbox.state("a-0")) == (["a-0"], ["a-0", "b-0", "a-1"], "sent")


async def test_a_question_that_fails_is_asked_again_but_not_for_ever() -> None:
    async with Harness("maybe", "maybe", outcome=(asked := Asked("fails", "fails", "sent", "fails"))) as harness:
        harness.post(say("a", 0), say("a", 1))
        await harness.finish()
        assert (harness.outbox.state("a-0"), harness.outbox.state("a-1")) == ("sent", "uncertain")
        assert asked.keys == ["a-0"] * 3 + ["a-1"] * 5


async def test_a_question_that_hangs_is_given_up_and_other_chats_do_not_wait() -> None:
    async with Harness("cut", outcome=(asked := Asked("hangs")), outcome_timeout_s=0, max_concurrent=1) as harness:
        harness.post(say("a", 0), say("b", 0))
        await harness.finish()
        assert (asked.keys, harness.said, harness.outbox.state("a-0")) == (["a-0"] * 5, ["b-0"], "uncertain")


async def test_a_link_that_failed_for_good_is_not_asked() -> None:
    async with Harness("cut", outcome=(asked := Asked("sent"))) as harness:
        harness.link_error = TransportError("logged out", retryable=False)
        harness.post(say("a", 0))
        await harness.finish()
        assert (asked.keys, harness.outbox.state("a-0"), harness.counts.uncertain) == ([], "uncertain", 1)


async def test_what_a_session_that_was_set_back_has_sent_is_uncertain_whatever_the_link_knows() -> None:
    doubts = Doubts()
    doubts.begin()
    async with Harness("maybe", outcome=(asked := Asked("sent")), doubts=doubts) as harness:
        harness.post(say("a", 0))
        await harness.finish()
        assert (asked.keys, harness.outbox.state("a-0")) == ([], "uncertain")


async def test_who_owns_no_more_leaves_the_question_to_the_next_owner() -> None:
    async with Harness("cut", outcome=Asked("sent")) as harness:
        harness.is_up.clear()
        harness.post(say("a", 0))
        await harness.clock.settle()
        harness.outbox.lease_lost = True
        harness.sender.stop()
        await harness.clock.settle()
        assert (harness.outbox.state("a-0"), harness.told(SendUncertain), len(harness.sender)) == ("taken", [], 0)


# After a restart


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ("sent", "sent", ["a-1"]),
        ("no", "sent", ["a-0", "a-1"]),
        ("maybe", "uncertain", ["a-1"]),
        (None, "uncertain", ["a-1"]),
    ],
)
async def test_what_an_earlier_process_was_sending_is_asked_for(
    answer: Outcome | None, state: str, said: list[str]
) -> None:
    async with Harness(outcome=(asked := Asked(answer))) as harness:
        harness.is_up.clear()
        taken, _ = harness.outbox.add(say("a", 0), say("a", 1), taken=True)
        harness.sender.resume([taken])
        harness.sender.look()
        await harness.clock.advance(100)
        assert (asked.keys, harness.said) == ([], [])
        harness.is_up.set()
        await harness.finish()
        assert (asked.keys, harness.outbox.state("a-0"), harness.said) == (["a-0"], state, said)
        assert harness.counts.sent + harness.counts.uncertain == 2
        assert [event.key for event in harness.happened] == ["a-0", "a-1"]  # type: ignore[attr-defined]


async def test_where_no_link_knows_what_an_earlier_process_was_sending_is_uncertain_at_once() -> None:
    async with Harness() as harness:
        harness.is_up.clear()
        harness.sender.resume(harness.outbox.add(say("a", 0), taken=True))
        await harness.clock.settle()
        assert (harness.outbox.state("a-0"), len(harness.told(SendUncertain)), harness.said) == ("uncertain", 1, [])


async def test_uncertain_is_told_before_it_is_recorded_so_that_a_kill_makes_nothing_silent() -> None:
    async with Harness(outcome=Asked(None)) as harness:
        harness.outbox.move_takes_s = 1.0
        harness.sender.resume(harness.outbox.add(say("a", 0), taken=True))
        await harness.clock.settle()
        assert (harness.outbox.state("a-0"), len(harness.told(SendUncertain))) == ("taken", 1)
        await harness.finish()
        assert (harness.outbox.state("a-0"), harness.counts.uncertain) == ("uncertain", 1)


# A whole bot


class Lasting(MemoryDelivery):
    """Outlives the process that was sending."""

    async def interrupted(self) -> Sequence[OutboxEntry]:
        return [OutboxEntry(id, k.message, "taken") for id, k in self._outbox.items() if k.state == "taken"]


class Life:
    """One process with a bot, and what it told."""

    def __init__(self, store: MemoryDelivery, transport: FakeTransport) -> None:
        events = EventBus()
        self.happened: list[Event] = []
        events.on(MessageSent, self.happened.append)
        events.on(SendUncertain, self.happened.append)
        self.connection = ConnectionManager(transport, jitter=lambda delay_s: delay_s)
        self.bot = Bot(self.connection, store=store, events=events, drain_s=0.0)

    async def run(self, tasks: Tasks, until: Callable[[], bool]) -> None:
        running = tasks.start(self.bot.run(), "run")
        async with asyncio.timeout(600):
            while not until():
                await asyncio.sleep(0.05)
        self.bot.stop()
        await running


READY = OutboundMessage(chat=ChatId("a"), key="ready", text="Tu pedido llegó.")


@pytest.mark.parametrize(
    ("outcome", "kind", "n_sent"), [("sent", MessageSent, 0), ("no", MessageSent, 1), ("maybe", SendUncertain, 0)]
)
@virtually
async def test_a_bot_that_was_killed_while_it_sent_asks_instead_of_guessing(
    outcome: Outcome, kind: type[Event], n_sent: int
) -> None:
    store, first, second = Lasting(MemoryConversations()), FakeMessenger(), FakeMessenger()
    first.hanging.add("send")
    await store.post([READY])
    async with Tasks("test") as tasks:
        life = Life(store, first)
        await life.run(tasks, lambda: bool(store._outbox) and store._outbox[1].state == "taken")
        assert life.happened == []
        second.outcomes["ready"] = outcome
        life = Life(store, second)
        await life.run(tasks, lambda: bool(life.happened))
    assert [type(event) for event in life.happened] == [kind]
    assert (second.asked, len(second.sent), store._outbox) == (["ready"], n_sent, {})


@virtually
async def test_a_link_that_breaks_while_it_sends_is_asked_when_it_is_back() -> None:
    class Breaking(FakeMessenger):
        async def send(self, message: OutboundMessage) -> None:
            await super().send(message)
            self._sink, sink = None, self._sink
            assert sink is not None
            # The send breaks first; the loss is noticed a moment later.
            asyncio.get_running_loop().call_later(0.02, sink, Lost(DisconnectReason.PUMP_DEAD))
            raise TransportError("the process died", sent="maybe")

    store, transport = MemoryDelivery(MemoryConversations()), Breaking()
    await store.post([READY])
    async with Tasks("test") as tasks:
        life = Life(store, transport)
        await life.run(tasks, lambda: bool(life.happened))
    assert [type(event) for event in life.happened] == [MessageSent]
    assert (transport.opens, transport.asked, len(transport.sent)) == (2, ["ready"], 1)


@virtually
async def test_a_transport_that_does_not_know_leaves_it_uncertain_at_once() -> None:
    store, transport = MemoryDelivery(MemoryConversations()), FakeTransport()
    transport.send_errors.append(TransportError("cut", sent="maybe"))
    await store.post([READY])
    async with Tasks("test") as tasks:
        life = Life(store, transport)
        await life.run(tasks, lambda: bool(life.happened))
    assert [type(event) for event in life.happened] == [SendUncertain]
