"""Nothing is sent to a chat in which something has come a moment ago."""

import asyncio

import pytest

from tecnobot_core import Bot, ChatId, ConnectionManager, InboundMessage
from tecnobot_core.delivery.pacing import Pacing
from tecnobot_core.delivery.settling import MAX_RESTLESS_S, Settling
from tecnobot_core.messages import MessageKind, OutboundMessage
from tecnobot_core.testing import FakeClock, FakeTransport
from tests.test_delivery import Harness as DeliveryHarness
from tests.test_delivery import inbound
from tests.test_sending import Harness, say
from tests.virtual_time import virtually

TYPING = Pacing(per_chat_gap_s=0.0, rate_per_s=1000.0, jitter=0.0, typing_chars_per_s=10.0, max_typing_s=4.0)
A, B = ChatId("a"), ChatId("b")


class Restless(Harness):
    """A sender whose chats settle within a second."""

    def __init__(self, *, pacing: Pacing | None = None) -> None:
        self.settling = Settling(1.0, clock=lambda: self.clock(), sleep=lambda seconds: self.clock.sleep(seconds))
        super().__init__(pacing=pacing, settling=self.settling)


# The chat


async def test_a_chat_settles_when_nothing_has_come_for_the_time() -> None:
    settling = Settling(1.0, clock=(clock := FakeClock()), sleep=clock.sleep)
    settling.note_inbound(A)
    assert (settling.is_settled(A), settling.is_settled(B)) == (False, True)
    await clock.advance(0.75)
    settling.note_inbound(A)
    await clock.advance(0.75)
    assert not settling.is_settled(A)
    await clock.advance(0.25)
    assert settling.is_settled(A)


async def test_who_writes_without_a_pause_does_not_wait_for_ever() -> None:
    settling = Settling(1.0, clock=(clock := FakeClock()), sleep=clock.sleep)
    waiting = None
    while clock() < MAX_RESTLESS_S:
        settling.note_inbound(A)
        waiting = waiting or asyncio.ensure_future(settling.wait(A))
        assert not settling.is_settled(A)
        await clock.advance(0.5)
    assert settling.is_settled(A)
    assert waiting is not None
    assert waiting.done()
    await clock.advance(5.0)
    settling.note_inbound(A)
    assert not settling.is_settled(A)  # there was a pause


async def test_only_chats_that_have_not_settled_are_remembered() -> None:
    settling = Settling(1.0, clock=(clock := FakeClock()), sleep=clock.sleep)
    for number in range(100):
        settling.note_inbound(ChatId(str(number)))
        await clock.advance(0.25)
    assert settling.remembered == 4


def test_without_a_time_nothing_is_looked_after() -> None:
    settling = Settling()
    settling.note_inbound(A)
    assert settling.is_settled(A)
    assert not settling.remembered


@pytest.mark.parametrize("settle_s", [-1.0, 60.0, float("nan")])
def test_a_time_that_makes_no_sense_is_refused(settle_s: float) -> None:
    with pytest.raises(ValueError, match=r"settle_s must be 0 or more seconds, and below 60"):
        Settling(settle_s)


# The sender


async def test_an_answer_waits_until_its_chat_has_settled_and_others_do_not() -> None:
    async with Restless() as harness:
        harness.settling.note_inbound(A)
        harness.post(say("a", 0), say("b", 0), say("a", 1))
        await harness.clock.advance(0.5)
        harness.settling.note_inbound(A)
        await harness.finish()
        assert harness.arrived == [(0.0, "b-0"), (1.5, "a-0"), (1.5, "a-1")]


async def test_what_has_to_wait_is_not_marked_as_being_sent() -> None:
    async with Restless() as harness:
        harness.settling.note_inbound(A)
        assert not harness.turn(say("a", 0))  # a kill would make it uncertain
        await harness.clock.advance(0.5)
        assert harness.outbox.state("a-0") == "waiting"
        await harness.clock.advance(0.5)
        assert harness.turn(say("a", 1))
        await harness.finish()
        assert harness.said == ["a-0", "a-1"]


async def test_what_comes_while_the_mark_is_written_is_waited_for() -> None:
    async with Restless() as harness:
        harness.outbox.move_takes_s = 0.25
        harness.post(say("a", 0))
        await harness.clock.settle()
        harness.settling.note_inbound(A)
        await harness.finish()
        assert harness.arrived == [(1.25, "a-0")]  # and the second mark takes as long as the first
        marks = [state for states, _ in harness.outbox.moves for state in states.values()]
        assert marks == ["taken", "waiting", "taken", "sent"]


async def test_the_time_passes_while_an_answer_is_typed() -> None:
    async with Restless(pacing=TYPING) as harness:
        harness.settling.note_inbound(A)
        harness.post(say("a", 0, "x" * 20))
        await harness.clock.advance(1.75)
        harness.settling.note_inbound(A)
        harness.post(say("b", 0, "x" * 20))
        await harness.finish()
        assert harness.arrived == [(2.75, "a-0"), (3.75, "b-0")]


async def test_what_was_typed_is_not_typed_again_when_the_person_writes_before_it_goes() -> None:
    async with Restless(pacing=TYPING) as harness:
        harness.outbox.move_takes_s = 0.25
        harness.post(say("a", 0, "x" * 20))
        await harness.clock.advance(2.125)
        assert harness.outbox.moves
        harness.settling.note_inbound(A)
        await harness.finish()
        assert harness.arrived == [(3.375, "a-0")]


# What counts


async def test_every_message_that_is_accepted_counts_also_the_owners_but_no_signal() -> None:
    clock = FakeClock()
    settling = Settling(1.0, clock=clock, sleep=clock.sleep)
    async with DeliveryHarness(settling=settling) as harness:
        kinds: tuple[MessageKind, ...] = ("text", "reaction", "signal")
        for number, kind in enumerate(kinds):
            message = InboundMessage(id=f"{number}", chat=ChatId(kind), sent_at=0.0, text="due", kind=kind)
            await harness.delivery.accept([message])
        assert [settling.is_settled(ChatId(kind)) for kind in kinds] == [False, False, True]
        await harness.delivery.accept([InboundMessage(id="o", chat=B, sent_at=0.0, from_me=True)])
        assert not settling.is_settled(B)


async def test_a_message_counts_from_when_it_came_not_from_when_it_was_journaled() -> None:
    clock = FakeClock()
    settling = Settling(1.0, clock=clock, sleep=clock.sleep)
    async with DeliveryHarness(settling=settling) as harness:
        accepting = asyncio.ensure_future(harness.delivery.accept([inbound("a", 1)]))
        await asyncio.sleep(0)
        assert not settling.is_settled(A)
        await accepting


@virtually
async def test_a_bot_that_settles_answers_after_the_pause() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def note(message: OutboundMessage) -> None:
        times.append(loop.time())

    transport = FakeTransport([InboundMessage(id=str(n), chat=A, sent_at=0.0, text="hola") for n in range(2)])
    transport.on_send = note
    connection = ConnectionManager(transport, clock=loop.time)
    bot = Bot(connection, settle_s=0.5, clock=loop.time, wall_clock=lambda: 1e9 + loop.time())
    running = asyncio.ensure_future(bot.run())
    await transport.wait_sent(2)
    assert times == [0.5, 0.5]
    bot.stop()
    await running
