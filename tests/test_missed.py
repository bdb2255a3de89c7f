"""What the link lost: messages are counted and asked for, and sends that may be lost are told as uncertain."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import pytest

from tecnobot_core import ChatId, Flow
from tecnobot_core.bot.texts import ENGLISH, PORTUGUESE, SPANISH, Texts
from tecnobot_core.delivery import MemoryConversations, MemoryDelivery
from tecnobot_core.delivery.addresses import is_group
from tecnobot_core.delivery.doubts import MAX_CERTAIN, Doubts
from tecnobot_core.errors import StoreError, TransportError
from tecnobot_core.events import MessageMissed, MessageSent, SendUncertain, SessionRestored
from tecnobot_core.flows.steps import Ask, Handoff, Send
from tecnobot_core.messages import InboundMessage
from tests.live_bot import ANA, LiveBot
from tests.test_delivery import Harness as DeliveryHarness
from tests.test_delivery import inbound
from tests.test_sending import Harness, say

BEN = ChatId("+525533334444")
FLOWS = (
    Flow("humano").on("humano").then(Handoff(text="Te paso con una persona.", timeout_s=3600)),
    Flow("nombre").on("nombre").then(Ask(text="¿Tu nombre?", into="name"), Send(text="Hola, {name}.")),
    Flow("horario").on("horario").say("De 9 a 18."),
)


class Lossy(LiveBot):
    """A bot whose link loses messages."""

    async def loses(self, id: str, chat: ChatId = ANA, *, from_me: bool = False) -> list[str]:
        """What the bot says to the message *id*, which was lost."""
        self.transport.tell(MessageMissed(chat, id, from_me))
        return await self.next()

    async def is_quiet_about(self, id: str, chat: ChatId) -> bool:
        """Whether nothing at all comes of a lost message."""
        known = len(self.turns)
        self.transport.tell(MessageMissed(chat, id))
        await self.clock.settle()
        return len(self.turns) == known

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Self]:
        async with self.running():
            await self.connection.wait_connected()
            yield self


# Messages


@pytest.mark.parametrize("texts", [SPANISH, ENGLISH, PORTUGUESE])
async def test_who_sent_what_was_lost_is_asked_to_repeat_it(texts: Texts) -> None:
    async with Lossy(FLOWS, texts=texts).connected() as live:
        assert await live.loses("x1") == [texts.missed] != [""]
        assert [message.chat for message in live.transport.sent] == [ANA]
        assert live.bot.statistics().missed == 1
        turn = live.turns[-1]
        assert (turn.answered_by, turn.outcome, turn.outgoing[0].key) == ("missed", "refused", "missed/x1/0")


async def test_each_lost_message_is_asked_for_once_however_often_it_is_told() -> None:
    async with Lossy(FLOWS).connected() as live:
        assert await live.loses("x1") == [SPANISH.missed]
        assert await live.is_quiet_about("x1", ANA)
        assert await live.loses("x2") == [SPANISH.missed]
        assert live.bot.statistics().missed == 3


async def test_a_lost_message_is_not_asked_for_again_after_a_restart() -> None:
    store = MemoryDelivery(MemoryConversations())
    async with Lossy(FLOWS, store=store).connected() as live:
        assert await live.loses("x1") == [SPANISH.missed]
    async with Lossy(FLOWS, store=store).connected() as live:
        assert await live.is_quiet_about("x1", ANA)


async def test_a_group_a_list_and_a_channel_are_not_asked_but_counted() -> None:
    async with Lossy(FLOWS).connected() as live:
        for number, chat in enumerate(("120363@g.us", "status@broadcast", "1@newsletter")):
            assert await live.is_quiet_about(f"x{number}", ChatId(chat))
        assert live.bot.statistics().missed == 3


def test_people_are_no_groups() -> None:
    assert not any(is_group(ChatId(chat)) for chat in ("+34600111222", "777@lid", "34600@s.whatsapp.net", "web:ana"))


async def test_who_is_blocked_is_not_asked() -> None:
    async with Lossy(FLOWS, blacklist={ANA.reveal()}).connected() as live:
        assert await live.loses("x1", ChatId("525511112222@s.whatsapp.net")) == []
        assert await live.loses("x2", BEN) == [SPANISH.missed]


async def test_nobody_is_asked_while_a_person_has_taken_over() -> None:
    async with Lossy(FLOWS).connected() as live:
        await live.says("humano")
        assert await live.loses("x1") == []
        await live.passes(3601)
        assert await live.loses("x2") == [SPANISH.missed]


async def test_what_the_owner_wrote_and_was_lost_is_a_takeover_that_asks_nobody() -> None:
    async with Lossy(FLOWS, owner_silence_s=3600).connected() as live:
        assert await live.says("horario") == ["De 9 a 18."]
        assert await live.loses("x1", from_me=True) == []
        assert live.turns[-1].answered_by == "owner"
        assert await live.says("horario") == []
        assert live.bot.statistics().missed == 1
        await live.passes(3601)
        assert await live.says("horario") == ["De 9 a 18."]


async def test_nobody_is_asked_when_the_text_is_empty() -> None:
    async with Lossy(FLOWS, texts=replace(SPANISH, missed="")).connected() as live:
        assert await live.is_quiet_about("x1", ANA)
        assert live.bot.statistics().missed == 1


async def test_asking_disturbs_no_flow_and_is_not_remembered() -> None:
    async with Lossy(FLOWS).connected() as live:
        await live.says("nombre")
        before = await live.state()
        await live.loses("x1")
        assert await live.state() == before
        assert await live.says("Ana") == ["Hola, Ana."]


async def test_a_store_that_refuses_costs_a_question_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(MemoryDelivery):
        async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
            if messages[0].kind == "signal":
                raise StoreError("it is full", retryable=False)
            return await super().accept(messages)

    async with Lossy(FLOWS, store=Refusing(MemoryConversations())).connected() as live:
        with caplog.at_level(logging.WARNING):
            assert await live.is_quiet_about("x1", ANA)
        assert "could not be noted: it is full" in caplog.text
        assert ANA.reveal() not in caplog.text
        assert await live.says("horario") == ["De 9 a 18."]


async def test_a_bot_that_has_stopped_hears_of_no_more_losses() -> None:
    live = Lossy(FLOWS)
    async with live.connected():
        await live.says("horario")
    live.connection.events.publish(MessageMissed(ANA, "x1"))
    assert live.bot.statistics().missed == 0


# Sends


def doubting(*fates: str) -> tuple[Harness, Doubts]:
    doubts = Doubts()
    return Harness(*fates, doubts=doubts), doubts  # type: ignore[arg-type]


async def test_what_is_sent_after_a_restore_is_uncertain_until_the_person_writes() -> None:
    harness, doubts = doubting()
    async with harness:
        harness.post(say("a", 0))
        await harness.finish()
        doubts.begin()
        harness.post(say("a", 1), say("a", 2), say("b", 0))
        await harness.finish()
        doubts.note_inbound(ChatId("a"))
        harness.post(say("a", 3), say("b", 1))
        await harness.finish()
        uncertain = {key for key in ("a-1", "a-2", "b-0", "b-1") if harness.outbox.state(key) == "uncertain"}
        assert uncertain == {"a-1", "a-2", "b-0", "b-1"}
        assert sorted(harness.said) == ["a-0", "a-1", "a-2", "a-3", "b-0", "b-1"]  # each went out, once
        assert (harness.counts.sent, harness.counts.uncertain) == (2, 4)


async def test_an_uncertain_send_says_why_and_is_told_once() -> None:
    harness, doubts = doubting("no", "ok")
    async with harness:
        doubts.begin()
        harness.post(say("a", 0))
        await harness.finish()
        [told] = harness.told(SendUncertain)
        assert isinstance(told, SendUncertain)
        assert isinstance(told.error, TransportError)
        assert (told.key, told.error.reason, told.error.sent) == ("a-0", "session_restored", "maybe")
        assert not harness.told(MessageSent)


async def test_only_a_new_message_of_the_person_ends_the_doubt() -> None:
    async with DeliveryHarness() as harness:
        await harness.delivery.accept([inbound("a", 1)])
        await harness.delivery.drain(5)
        harness.delivery.doubt_sends()
        owner = InboundMessage(id="o", chat=ChatId("a"), sent_at=0.0, text="hola", from_me=True)
        signal = InboundMessage(id="s", chat=ChatId("a"), sent_at=0.0, text="due", kind="signal")
        await harness.delivery.accept([inbound("a", 1), owner, signal])  # the first is known
        await harness.delivery.drain(5)
        assert harness.delivery.statistics().uncertain == 2
        await harness.delivery.accept([inbound("a", 2)])
        await harness.delivery.drain(5)
        assert harness.delivery.statistics().uncertain == 2


def test_chats_beyond_the_limit_are_doubted_again() -> None:
    doubts = Doubts()
    doubts.note_inbound(ANA)  # before any restore nothing is remembered
    doubts.begin()
    assert doubts.about(ANA) is not None
    for number in range(MAX_CERTAIN + 1):
        doubts.note_inbound(ChatId(str(number)))
    assert (doubts.about(ChatId("0")) is None, doubts.about(ChatId("1")) is None) == (False, True)


async def test_a_bot_whose_session_was_restored_tells_which_answers_are_uncertain() -> None:
    live = Lossy(FLOWS)
    uncertain: list[str] = []
    live.bot.events.on(SendUncertain, lambda event: uncertain.append(event.key))
    async with live.connected():
        live.transport.tell(SessionRestored(45.0))
        await live.bot.send(BEN, "Su pedido está listo.", key="ready")
        async with asyncio.timeout(5):
            await live.transport.wait_sent(1)
        await live.clock.settle()
        assert uncertain == ["ready"]
        live.transport.deliver(InboundMessage(id="m1", chat=BEN, sent_at=live.clock.now, text="horario"))
        async with asyncio.timeout(5):
            await live.transport.wait_sent(2)
        await live.clock.settle()
        assert uncertain == ["ready"]
        statistics = live.bot.statistics()
        assert (statistics.sent, statistics.uncertain) == (1, 1)
