"""A person answers in the bot's place, and the bot is silent."""

import pytest

from tecnobot_core import ChatId, Flow, RateLimiter
from tecnobot_core.bot import SPANISH
from tecnobot_core.errors import TransportError
from tecnobot_core.flows.steps import Ask, Handoff, Send
from tests.live_bot import ANA, LiveBot

HUMAN = (
    Flow("humano", interrupts=True)
    .on("humano")
    .then(Handoff(text="Te paso con una persona.", timeout_s=3600), Send(text="Ya estoy de vuelta."))
)
HOURS = Flow("horario").on("horario").say("De 9 a 18.")
NAME = Flow("nombre").on("nombre").then(Ask(text="¿Tu nombre?", into="name"), Send(text="Hola, {name}."))
CANCEL = Flow("cancelar", interrupts=True).on("cancelar").say("Cancelado.")
FLOWS = (HUMAN, HOURS, NAME, CANCEL)


async def test_the_bot_is_silent_after_a_handoff_whatever_comes() -> None:
    async with LiveBot(FLOWS, rate_limiter=RateLimiter(4)).running() as live:
        assert await live.says("humano") == ["Te paso con una persona."]
        assert await live.says("horario") == []
        assert await live.says("cancelar") == []
        assert await live.says("", kind="voice") == []
        assert await live.says("¿hay alguien?") == []  # refused by the limit, and not told
        assert await live.says("x" * 5000) == []
        assert live.handoffs == ["began"]


async def test_what_is_said_during_a_handoff_is_remembered_on_both_sides() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says("humano")
        await live.says("¿me llaman?")
        await live.says("te llamo a las 5", from_me=True)
        history = (await live.state()).history
        assert [(row.role, row.content) for row in history[-2:]] == [
            ("user", "¿me llaman?"),
            ("assistant", "te llamo a las 5"),
        ]


async def test_a_released_handoff_goes_on_behind_its_step() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says("humano")
        await live.bot.release(ANA)
        assert await live.next() == ["Ya estoy de vuelta."]
        assert await live.says("horario") == ["De 9 a 18."]
        assert live.handoffs == ["began", "ended"]


async def test_a_handoff_ends_by_itself_when_its_time_is_over_and_nobody_has_to_write() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says("humano")
        assert await live.passes(3599) == []
        assert await live.passes(2) == ["Ya estoy de vuelta."]
        assert live.handoffs == ["began", "ended"]
        assert await live.says("horario") == ["De 9 a 18."]


async def test_a_message_that_comes_before_the_signal_ends_a_handoff_too() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says("humano")
        await live.clock.advance(3601)
        assert await live.says("horario") == ["Ya estoy de vuelta.", "De 9 a 18."]
        assert live.handoffs == ["began", "ended"]
        assert await live.passes(1) == []


async def test_the_owner_who_writes_from_the_phone_takes_over() -> None:
    async with LiveBot(FLOWS, owner_silence_s=600).running() as live:
        assert await live.says("hola, soy Luis", from_me=True) == []
        assert await live.says("horario") == []
        assert live.handoffs == ["began"]
        assert await live.passes(601) == []
        assert live.handoffs == ["began", "ended"]
        assert await live.says("horario") == ["De 9 a 18."]


async def test_each_message_of_the_owner_keeps_the_bot_silent_for_longer() -> None:
    async with LiveBot(FLOWS, owner_silence_s=600).running() as live:
        await live.says("hola", from_me=True)
        assert await live.passes(500) == []
        await live.says("¿sigues ahí?", from_me=True)
        assert await live.passes(500) == []
        assert await live.says("horario") == []
        assert live.handoffs == ["began"]


async def test_the_owner_writing_does_not_shorten_a_handoff_of_a_flow() -> None:
    async with LiveBot(FLOWS, owner_silence_s=600).running() as live:
        await live.says("humano")
        await live.says("dime", from_me=True)
        assert await live.passes(700) == []
        assert await live.says("horario") == []
        await live.bot.release(ANA)
        assert await live.next() == ["Ya estoy de vuelta."]


async def test_the_owner_ends_a_flow_that_waits_for_an_answer() -> None:
    async with LiveBot(FLOWS, owner_silence_s=600).running() as live:
        await live.says("nombre")
        await live.says("te atiendo yo", from_me=True)
        await live.bot.release(ANA)
        assert await live.next() == []
        assert await live.says("Ana") == [SPANISH.unknown]


async def test_the_application_may_hand_over_and_only_in_that_chat() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.bot.hand_off(ANA)
        assert await live.next() == []
        assert await live.says("horario") == []
        assert await live.says("horario", chat=ChatId("luis")) == ["De 9 a 18."]


async def test_an_owner_who_does_not_count_as_a_handoff_is_only_remembered() -> None:
    async with LiveBot(FLOWS, owner_silence_s=0).running() as live:
        await live.says("nombre")
        await live.says("apúrate", from_me=True)
        assert await live.says("Ana") == ["Hola, Ana."]
        assert live.handoffs == []


async def test_releasing_where_nobody_took_over_does_nothing() -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says("nombre")
        await live.bot.release(ANA)
        assert await live.next() == []
        assert live.turns[-1].outcome == "skipped"
        assert await live.says("Ana") == ["Hola, Ana."]


async def test_a_function_that_fails_behind_a_handoff_apologises_to_nobody() -> None:
    def fail(context: object) -> None:
        raise TransportError("the shop's server is away")

    flow = Flow("caja").on("caja").handoff("Un momento.", timeout_s=60).do("fail")
    async with LiveBot([flow], functions={"fail": fail}).running() as live:
        await live.says("caja")
        assert await live.passes(61) == []
        assert live.turns[-1].outcome == "failed"


@pytest.mark.parametrize("text", ["", " "])
async def test_the_owners_pictures_take_over_too(text: str) -> None:
    async with LiveBot(FLOWS).running() as live:
        await live.says(text, from_me=True, kind="image")
        assert live.handoffs == ["began"]


async def test_a_chat_that_the_application_hands_over_waits_for_its_release_where_the_owner_does_not_count() -> None:
    async with LiveBot(FLOWS, owner_silence_s=0).running() as live:
        await live.bot.hand_off(ANA)
        await live.next()
        assert await live.passes(30 * 86_400) == []
        assert await live.says("horario") == []
        await live.bot.release(ANA)
        assert await live.next() == []
        assert await live.says("horario") == ["De 9 a 18."]
