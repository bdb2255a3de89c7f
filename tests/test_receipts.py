"""A message is shown as read when the bot begins to answer it."""

import asyncio
from collections.abc import Sequence

import pytest

from tecnobot_core import ChatId, Flow, RateLimiter
from tecnobot_core.completion import Completion
from tecnobot_core.delivery import TurnPolicy
from tecnobot_core.delivery.clearance import SIGN_TIMEOUT_S
from tecnobot_core.flows.steps import Handoff
from tecnobot_core.messages import ChatMessage, InboundMessage
from tecnobot_core.testing import FakeMessenger
from tests.live_bot import ANA, NOON, LiveBot
from tests.virtual_time import virtually

FLOWS = (
    Flow("humano").on("humano").then(Handoff(text="Te paso con una persona.", timeout_s=3600)),
    Flow("horario").on("horario").say("De 9 a 18."),
)


class Reading(LiveBot):
    """A bot over a link that has receipts."""

    def __init__(self, **parts: object) -> None:
        self.messenger = FakeMessenger()
        super().__init__(FLOWS, transport=self.messenger, **parts)  # type: ignore[arg-type]

    async def reads(self, text: str, **how: object) -> Sequence[str]:
        """The ids that are shown as read because of a message."""
        known = len(self.messenger.read)
        await self.says(text, **how)  # type: ignore[arg-type]
        await self.clock.settle()
        return self.messenger.read[known:]


async def test_what_is_answered_is_shown_as_read() -> None:
    async with Reading().running() as live:
        assert await live.reads("horario") == ["m1"]
        assert await live.reads("¿y eso?") == ["m2"]


async def test_it_is_shown_before_the_answer_is_known() -> None:
    class Slow:
        async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
            await live.clock.settle()
            read_before.extend(live.messenger.read)
            return Completion("pues sí", "fake")

    read_before: list[str] = []
    live = Reading(model=Slow())
    async with live.running():
        assert await live.says("¿tienen parqueo?") == ["pues sí"]
        assert read_before == ["m1"]


async def test_what_is_left_to_a_person_stays_unread() -> None:
    async with Reading().running() as live:
        await live.says("humano")
        assert await live.reads("¿hay alguien?") == []
        assert await live.reads("aquí estoy", from_me=True) == []


async def test_what_nobody_answers_stays_unread() -> None:
    blocked = ChatId("+525533334444")
    async with Reading(blacklist={blocked.reveal()}, rate_limiter=RateLimiter(2)).running() as live:
        assert await live.reads("horario", chat=blocked) == []
        assert [await live.reads("horario") for _ in range(4)] == [["m2"], ["m3"], ["m4"], []]  # the third is told why


async def test_the_owner_may_want_to_keep_them_unread() -> None:
    async with Reading(marks_read=False).running() as live:
        assert await live.reads("horario") == []


async def test_every_message_of_a_turn_is_shown_as_read_under_its_own_id() -> None:
    policy = TurnPolicy(quiet_s=0.05)
    async with Reading(policy=policy).running() as live:
        messages = [InboundMessage(id=f"f{n}", chat=ANA, sent_at=NOON, text=t) for n, t in enumerate(("hora", "rio"))]
        live.transport.deliver(*messages)
        await live.next()
        await live.clock.settle()
        assert live.messenger.read == ["f0", "f1"]


async def test_it_is_shown_where_the_person_wrote_from() -> None:
    read: list[ChatId] = []
    live = Reading()

    async def note(messages: Sequence[InboundMessage]) -> None:
        read.extend(message.chat for message in messages)

    live.messenger.mark_read = note  # type: ignore[method-assign]
    lid = ChatId("777@lid")
    async with live.running():
        message = InboundMessage(id="l", chat=lid, sent_at=NOON, text="horario", aliases=(ANA,))
        live.transport.deliver(message)
        await live.next()
        await live.clock.settle()
    assert live.turns[0].chat == ANA
    assert [chat.reveal() for chat in read] == [lid.reveal()]


@pytest.mark.parametrize("hangs", [False, True])
@virtually
async def test_a_receipt_that_fails_or_hangs_costs_the_answer_nothing(hangs: bool) -> None:
    async def broken(messages: Sequence[InboundMessage]) -> None:
        if not hangs:
            raise RuntimeError("no receipt")
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    live = Reading()
    live.messenger.mark_read = broken  # type: ignore[method-assign]
    async with live.running():
        assert await live.says("horario") == ["De 9 a 18."]
        assert loop.time() == 0.0
        await asyncio.sleep(SIGN_TIMEOUT_S + 0.1)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "bot.mark_read"]
