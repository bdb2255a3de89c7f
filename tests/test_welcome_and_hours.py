"""Who is welcomed and when, what is said while nobody is there, and what a mistyped word may have meant."""

from tecnobot_core import ChatId, Flow, InboundMessage
from tecnobot_core.bot import SPANISH, OpeningHours, Welcome
from tecnobot_core.flows import Suggestions
from tecnobot_core.flows.steps import Ask, Send
from tests.live_bot import ANA, LiveBot

DAY_S = 86_400.0
# 2033-05-18 03:33 UTC, a Wednesday
HOURS = OpeningHours(timezone="UTC", weekly={"wed": ["09:00-18:00"], "thu": ["09:00-18:00"]})
WELCOME = Flow("bienvenida", event="welcome").say("¡Hola! Soy Sol.")
PRICES = Flow("precios").on("precios").say("Desde $99.")
CLOSED = Flow("cerrado", event="closed").say("Abrimos {opens_at}.")
CANCEL = Flow("cancelar", interrupts=True).on("cancelar").say("Cancelado.")
NAME = Flow("nombre").on("nombre").then(Ask(text="¿Tu nombre?", into="name"), Send(text="Hola, {name}."))


async def test_a_person_is_welcomed_once() -> None:
    async with LiveBot([WELCOME, PRICES]).running() as live:
        assert await live.says("buenas") == ["¡Hola! Soy Sol."]
        assert await live.says("eh") == [SPANISH.unknown]
        await live.passes(400 * DAY_S)
        assert await live.says("eh") == [SPANISH.unknown]


async def test_a_person_is_welcomed_again_after_days() -> None:
    async with LiveBot([WELCOME, PRICES], welcome=Welcome(again_after_s=30 * DAY_S)).running() as live:
        await live.says("buenas")
        await live.passes(29 * DAY_S)
        assert await live.says("eh") == [SPANISH.unknown]
        await live.passes(2 * DAY_S)
        assert await live.says("eh") == ["¡Hola! Soy Sol."]
        assert (await live.state()).welcomed_at == live.clock.now


async def test_the_welcome_is_remembered_though_the_history_is_not() -> None:
    async with LiveBot([WELCOME]).running() as live:
        await live.says("buenas")
        assert (await live.state()).welcomed_at == live.clock.now


async def test_outside_of_the_opening_hours_the_closed_flow_answers() -> None:
    async with LiveBot([PRICES, CLOSED], opening_hours=HOURS).running() as live:
        assert await live.says("precios") == ["Abrimos hoy a las 9:00."]
        assert await live.says("otra cosa") == ["Abrimos hoy a las 9:00."]
        await live.clock.advance(8 * 3600)
        assert await live.says("precios") == ["Desde $99."]


async def test_a_flow_in_progress_goes_on_after_closing() -> None:
    async with LiveBot([NAME, CLOSED], opening_hours=HOURS, at=2_000_000_000 + 14 * 3600).running() as live:
        assert await live.says("nombre") == ["¿Tu nombre?"]
        await live.clock.advance(3600)
        assert await live.says("Ana") == ["Hola, Ana."]
        assert await live.says("nombre") == ["Abrimos mañana a las 9:00."]


async def test_words_that_interrupt_are_heard_while_it_is_closed() -> None:
    async with LiveBot([CANCEL, CLOSED], opening_hours=HOURS).running() as live:
        assert await live.says("cancelar") == ["Cancelado."]


async def test_without_a_closed_flow_the_hours_change_nothing() -> None:
    async with LiveBot([PRICES], opening_hours=HOURS).running() as live:
        assert await live.says("precios") == ["Desde $99."]


async def test_a_mistyped_keyword_is_asked_back_and_a_yes_starts_its_flow() -> None:
    async with LiveBot([PRICES], suggestions=Suggestions()).running() as live:
        assert await live.says("presios") == [SPANISH.did_you_mean("precios")]
        assert live.turns[-1].outgoing[0].buttons == (SPANISH.yes, SPANISH.no)
        assert await live.says("sí") == ["Desde $99."]
        assert (await live.state()).position is None


async def test_a_no_to_a_suggestion_is_no_answer_and_it_is_forgotten() -> None:
    async with LiveBot([PRICES], suggestions=Suggestions()).running() as live:
        await live.says("presios")
        assert await live.says("no") == [SPANISH.unknown]
        assert await live.says("sí") == [SPANISH.unknown]


async def test_anything_else_after_a_suggestion_is_a_message_like_any_other() -> None:
    async with LiveBot([PRICES, NAME], suggestions=Suggestions()).running() as live:
        await live.says("presios")
        assert await live.says("nombre") == ["¿Tu nombre?"]


async def test_a_yes_that_comes_late_does_not_mean_the_suggestion() -> None:
    async with LiveBot([PRICES], suggestions=Suggestions()).running() as live:
        await live.says("presios")
        assert await live.passes(3601) == []
        assert await live.says("sí") == [SPANISH.unknown]


async def test_nothing_is_suggested_where_it_is_off() -> None:
    async with LiveBot([PRICES]).running() as live:
        assert await live.says("presios") == [SPANISH.unknown]


async def test_who_is_blocked_is_not_heard_and_an_allow_list_admits_only_its_own() -> None:
    async with LiveBot([PRICES], blacklist=["+52551111*"]).running() as live:
        assert await live.says("precios") == []
        assert await live.says("precios", chat=ChatId("+525500000000")) == ["Desde $99."]
    async with LiveBot([PRICES], allowlist=["+52551111????"]).running() as live:
        assert await live.says("precios") == ["Desde $99."]
        assert await live.says("precios", chat=ChatId("+525500000000")) == []
        await live.bot.replace_access_list(live.bot.access_list.with_blocked(ANA))
        assert await live.says("precios") == []


async def test_buttons_may_be_chosen_by_their_number() -> None:
    flows = [Flow("menu").on("menu").say("¿Qué necesitas?", "Horario", "Precios"), PRICES]
    async with LiveBot(flows).running() as live:
        await live.says("menu")
        assert await live.says("2") == ["Desde $99."]
        assert (await live.state()).position is None
        assert await live.says("2") == [SPANISH.unknown]


async def test_another_message_after_buttons_means_what_it_says() -> None:
    flows = [Flow("menu").on("menu").say("¿Qué necesitas?", "Horario", "Precios"), PRICES, NAME]
    async with LiveBot(flows).running() as live:
        await live.says("menu")
        assert await live.says("nombre") == ["¿Tu nombre?"]
        assert await live.says("2") == ["Hola, 2."]


async def test_a_number_that_is_no_button_and_one_that_comes_late_mean_nothing() -> None:
    flows = [Flow("menu").on("menu").say("¿Qué necesitas?", "Horario", "Precios"), PRICES]
    async with LiveBot(flows).running() as live:
        await live.says("menu")
        assert await live.says("3") == [SPANISH.unknown]
        await live.says("menu")
        await live.clock.advance(3601)
        assert await live.says("2") == [SPANISH.unknown]


async def test_a_keyword_that_is_a_number_goes_before_the_number_of_a_button() -> None:
    two = Flow("dos").on("2", kind="exact").say("Dos.")
    flows = [Flow("menu").on("menu").say("¿Qué necesitas?", "Horario", "Precios"), PRICES, two]
    async with LiveBot(flows).running() as live:
        await live.says("menu")
        assert await live.says("2") == ["Dos."]


async def test_who_is_blocked_by_one_address_is_known_by_another() -> None:
    async with LiveBot([PRICES], blacklist=["555@lid"]).running() as live:
        assert await live.says("precios") == ["Desde $99."]
        live.transport.deliver(
            InboundMessage(id="x", chat=ChatId("555@lid"), sent_at=live.clock.now, text="precios", aliases=(ANA,))
        )
        assert await live.next() == []
        assert await live.says("precios") == []
