"""The traps of BuilderBot's flows, as its probes showed them: one test for each, by its name; here they are gone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tecnobot_core import Flow
from tecnobot_core.bot import SPANISH
from tecnobot_core.errors import FlowError
from tecnobot_core.flows import FlowContext, FlowMatch, MatchIndex
from tecnobot_core.flows.expressions import Expression
from tecnobot_core.flows.steps import Ask, Do, End, Goto, Jump, Media, Repeat, Send, Stay, When
from tecnobot_core.flows.templates import render
from tecnobot_core.messages import MediaReference
from tests.flow_chat import AGE, BYE, MENU, NAME, Chat, Steps, returning
from tests.live_bot import LiveBot


def matched(flows: list[Flow], text: str) -> str:
    match: FlowMatch | None = MatchIndex(flows).find(text)
    return "" if match is None else match.flow.id


def keyword(text: str, id: str = "") -> Flow:
    return Flow(id or text).on(text).say("…")


# match


@pytest.mark.parametrize(
    ("word", "text", "fits"),
    [
        ("hi", "this is it", False),
        ("hi", "oh, hi!", True),
        ("a", "banana", False),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
        ("c++", "quiero c++", True),
        ("(", "(", True),
    ],
)
def test_a_keyword_is_words_and_no_expression(word: str, text: str, fits: bool) -> None:
    """There a keyword is an unanchored expression: "hi" is found in "this", and "c++" fails for every message."""
    assert (matched([keyword(word)], text) == word) == fits


@pytest.mark.parametrize("turned", [False, True])
def test_the_more_specific_keyword_wins_in_any_order(turned: bool) -> None:
    """There the first flow in the order of creation wins, whatever the others say."""
    flows = [keyword("pizza", "any"), keyword("pizza grande", "large")]
    assert matched(flows[::-1] if turned else flows, "una pizza grande, por favor") == "large"


# sensitive


@pytest.mark.parametrize("text", ["ola amigo", "OLA", "Olá!", "olaaa"])
def test_a_whole_word_is_found_in_any_case(text: str) -> None:
    """There whole words come only with the flag "sensitive", which then refuses "OLA" as well."""
    assert matched([keyword("ola")], text) == "ola"
    assert matched([keyword("ola")], "hola") == ""


# regex: true


def test_what_is_stored_is_never_evaluated() -> None:
    """There a stored expression is a piece of JavaScript that is run."""
    evil = "/x/; process.exit()"
    (error,) = MatchIndex([Flow("f").on(evil, kind="regex").say("…")]).broken
    assert "'f'" in str(error)
    assert render("{__class__} {name.__class__}", {"name": "Ana"}) == " "
    with pytest.raises(ValueError, match=r"no part of a condition|expected"):
        Expression("__import__('os').system('true')")


# addAnswer


async def test_an_answer_is_one_message_with_all_that_it_has() -> None:
    """There a chained answer becomes two rows, of which the second has the options."""
    picture = Send(text="mira", buttons=("sí", "no"), media=Media("image", "https://example.org/a.png"), delay_s=0.3)
    chat = Chat().flow("f", Send(text="uno"), picture)
    await chat.start()
    assert chat.last.says == (Send(text="uno"), picture)


# addAction


async def test_a_function_does_not_wait_and_a_question_without_words_does() -> None:
    """There an action with "capture" waits for an answer to nothing."""
    chat = Chat({"f": lambda context: None}).flow("f", Do(function="f"), Ask(text="", into="name"), BYE)
    assert await chat.start() == []
    assert await chat.say("Ana") == ["Adiós, Ana"]


# delay


@pytest.mark.parametrize("way", ["direct", "goto", "branch"])
async def test_delay_is_waited_once(way: str) -> None:
    """There a delay of a chained answer is waited twice, and ignored behind a goto."""
    late = Send(id="late", text="dos", delay_s=0.3)
    chat = Chat().flow("direct", Send(text="uno"), late, Send(text="tres"))
    chat.flow("goto", Send(text="uno"), Jump(to=Goto(flow="direct", step="late")))
    chat.flow("branch", Send(text="uno"), When(condition="x=1", then=(late,)), Send(text="tres"))
    await chat.start(way, x=1)
    assert [(said.text, said.delay_s) for said in chat.last.says] == [("uno", 0.0), ("dos", 0.3), ("tres", 0.0)]


async def test_delay_reaches_the_outgoing_message() -> None:
    """There the delay is slept in the process, and lost with it; here it is a part of what is sent."""
    async with LiveBot([Flow("hola").on("hola").say("uno").say("dos", delay_s=0.01)]).running() as live:
        assert await live.says("hola") == ["uno", "dos"]
        assert [message.delay_s for message in live.turns[-1].outgoing] == [0.0, 0.01]


# capture


async def test_an_answer_is_taken_once_and_the_flow_goes_on() -> None:
    """There the callback of the next message and the following steps are two things that both may move."""
    calls: list[str] = []
    chat = Chat({"note": lambda context: calls.append(context.text)}).flow("f", NAME, Do(function="note"), BYE)
    await chat.start()
    assert await chat.say("Ana") == ["Adiós, Ana"]
    assert calls == ["Ana"]


# keyword during capture


async def test_a_keyword_is_an_answer_while_a_question_waits() -> None:
    """There both run: the callback of the question, and then the flow of the keyword."""
    menu = Flow("menu").on("menu").say("MENU")
    cancel = Flow("cancelar", interrupts=True).on("cancelar").say("Cancelado.")
    ask = Flow("nombre").on("nombre").ask("¿Tu nombre?", into="name").say("Hola, {name}.")
    async with LiveBot([menu, cancel, ask]).running() as live:
        await live.says("nombre")
        assert await live.says("menu") == ["Hola, menu."]
        await live.says("nombre")
        assert await live.says("cancelar") == ["Cancelado."]
        assert await live.says("menu") == ["MENU"]


# two fast replies to one capture


async def test_two_fast_replies_to_one_question_are_one_answer() -> None:
    """There the handler runs twice, the next question is sent twice, and the first answer is overwritten."""
    calls: list[str] = []
    chat = Chat({"note": lambda context: calls.append(context.text)})
    chat.flow("f", NAME, Do(function="note"), replace(NAME, id="last", text="¿Apellido?", into="last"), BYE)
    await chat.start()
    chat.clock.now += 10  # the second one lay in the lane while the first one was answered
    assert await chat.say("Ana", sent_at=1008) == ["¿Apellido?"]
    assert await chat.say("Anita", sent_at=1009) == []
    assert (chat.variables, calls) == ({"name": "Ana"}, ["Ana"])
    assert await chat.say("Gil", sent_at=1012) == ["Adiós, Ana"]


# fallBack


async def test_a_step_cannot_forget_to_return() -> None:
    """There a fallBack that is not returned asks again and goes on as well."""

    def forgetful(context: FlowContext) -> None:
        Repeat("otra vez")

    chat = Chat({"f": forgetful}).flow("f", NAME, Do(function="f"), BYE)
    await chat.start()
    assert await chat.say("Ana") == ["Adiós, Ana"]
    chat = Chat(returning("repeat")).flow("f", NAME, Do(function="f"), BYE)
    await chat.start()
    with pytest.raises(TypeError, match="returned a str; wanted is None, or a Goto, End, Repeat or Stay"):
        await chat.say("Ana")


async def test_asking_again_stays_on_the_question_and_counts() -> None:
    """There a fallBack repeats for ever, and clears what was queued for the chat."""
    chat = Chat(returning(Repeat("¿Seguro?"))).flow("f", replace(NAME, max_retries=1), Send(text="a"), Do(function="f"))
    await chat.start()
    assert await chat.say("Ana") == ["a", "¿Seguro?"]
    assert chat.position is not None
    assert (chat.position.step, chat.position.retries) == ("name", 1)
    assert await chat.say("Ana") == ["a"]
    assert chat.position is None


# flowDynamic


async def test_sending_never_moves() -> None:
    """There flowDynamic goes on to the next step by itself, unless it is told not to."""

    async def talk(context: FlowContext) -> Stay:
        for number in range(8):
            await context.send(str(number))
        return Stay()

    chat = Chat({"talk": talk}).flow("f", NAME, Do(function="talk"), BYE)
    await chat.start()
    assert await chat.say("Ana") == list("01234567")
    assert chat.position is not None
    assert chat.position.step == "name"


# gotoFlow


async def test_goto_and_direct_entry_say_the_same_in_the_same_order() -> None:
    """There a goto sends all texts first and then runs all callbacks."""

    def speak(context: FlowContext) -> None:
        context.send(f"{context.arguments['n']}-function")

    def one(number: str) -> Steps:
        return Send(text=number), Do(function="speak", arguments={"n": number})

    direct = Chat({"speak": speak}).flow("f", *one("one"), *one("two"), NAME)
    wanted = ["one", "one-function", "two", "two-function", "¿Nombre?"]
    assert await direct.start() == wanted
    assert await direct.flow("g", Jump(to=Goto(flow="f"))).start("g") == wanted


# endFlow


async def test_nothing_is_left_of_a_flow_that_ended() -> None:
    """There the state outlives the end of its flow."""
    chat = Chat(returning(End("chao"))).flow("f", NAME, Do(function="f"), BYE)
    await chat.start()
    assert await chat.say("Ana") == ["chao"]
    assert chat.position is None
    await chat.start()
    assert chat.variables == {}


# idle


async def test_waiting_too_long_needs_no_flag_in_a_function() -> None:
    """There the callback of the answer is called with a flag when nobody answered."""
    calls: list[str] = []
    late = replace(NAME, timeout_s=1, on_timeout=Goto(step="late"))
    chat = Chat({"note": lambda context: calls.append(context.text)})
    chat.flow("f", late, Do(function="note"), BYE, Send(id="late", text="tarde"))
    await chat.start()
    assert await chat.time_out() == ["tarde"]
    assert calls == []


async def test_a_question_waits_its_time_across_a_restart() -> None:
    """There the timer lives in the process, looks once a second, and is gone with it."""
    chat = Chat().flow("f", replace(NAME, timeout_s=60, remind_s=30, on_timeout=End("tarde")), BYE)
    await chat.start()  # a Chat begins anew with each message, from what was stored
    assert await chat.remind() != []
    assert await chat.time_out() == ["tarde"]


# nested


async def test_a_menu_is_never_dead() -> None:
    """There a wrong choice is answered with silence, and every later one too."""
    chat = Chat().flow("f", MENU)
    await chat.start()
    for _ in range(3):
        assert await chat.say("nada de eso") == ["Elija 1 o 2"]
    assert await chat.say("1") == ["tarjeta"]


async def test_a_menu_without_words_for_it_shows_itself_again() -> None:
    """There a menu repeats only if its owner validates each answer."""
    chat = Chat().flow("f", replace(MENU, unknown=""))
    await chat.start(name="Ana")
    assert await chat.say("nada de eso") == ["¿Cómo paga, Ana?"]
    assert chat.last.says[0].buttons == ("Tarjeta", "Más tarde")


async def test_the_words_of_a_menu_mean_nothing_elsewhere() -> None:
    """There so too; and a word of another flow does not leave the menu here either."""
    pay = Flow("pagar").on("pagar").menu("¿Cómo?", {"Efectivo": "En caja.", "Tarjeta": "Por enlace."}, unknown="¿Cuál?")
    async with LiveBot([pay, Flow("horario").on("horario").say("De 9 a 18.")]).running() as live:
        assert await live.says("efectivo") == [SPANISH.unknown]
        await live.says("pagar")
        assert await live.says("horario") == ["¿Cuál?"]
        assert await live.says("efectivo") == ["En caja."]


# WELCOME


async def test_a_welcome_is_said_once_and_not_after_every_flow() -> None:
    """There it answers every text that matches nothing, also behind a flow that has just ended."""
    flows = [Flow("hola", event="welcome").say("Bienvenido."), Flow("horario").on("horario").say("De 9 a 18.")]
    async with LiveBot(flows).running() as live:
        assert await live.says("¿qué tal?") == ["Bienvenido."]
        assert await live.says("horario") == ["De 9 a 18."]
        assert await live.says("¿qué tal?") == [SPANISH.unknown]


# state


async def test_state_does_not_leak_internal_keys() -> None:
    """There getMyState() has a key "__end_flow__" of the framework's own."""
    seen: list[dict[str, Any]] = []
    flow = (
        Flow("alta")
        .on("alta")
        .form("alta", Ask(text="¿Edad?", into="age", type="integer", timeout_s=60), consent="¿Aceptas?")
        .do("note")
        .ask("¿Nombre?", into="name")
    )
    functions: dict[str, Callable[..., Any]] = {"note": lambda context: seen.append(dict(context.variables))}
    async with LiveBot([flow], functions=functions).running() as live:
        for text in ("alta", "sí", "x", "7", "confirmar"):
            await live.says(text)
    assert seen == [{"age": 7}]


async def test_state_outlives_the_process_and_belongs_to_one_conversation() -> None:
    """There the state of all flows is one mapping in memory, gone at a restart."""
    chat = Chat().flow("f", NAME, AGE, BYE)
    await chat.start()
    await chat.say("Ana")  # a Chat begins anew with each message, from what was stored
    assert chat.variables == {"name": "Ana"}
    await chat.start()
    assert chat.variables == {}


# events in body


async def test_a_media_event_cannot_be_typed() -> None:
    """There a picture arrives as the text "_event_media__…", which anybody can write."""
    flows = [Flow("foto", event="image").say("Bonita foto.")]
    async with LiveBot(flows).running() as live:
        assert await live.says("_event_media__1") == [SPANISH.unknown]
        assert await live.says("", kind="image") == ["Bonita foto."]
    seen: list[tuple[str, MediaReference | None]] = []
    chat = Chat({"f": lambda context: seen.append((context.kind, context.media))})
    chat.flow("f", NAME, Do(function="f"), Jump(to=Goto(step="name")))
    await chat.start()
    await chat.say("_event_media__1")
    await chat.say("", kind="image", media=(picture := MediaReference(kind="image", address="x")))
    assert seen == [("text", None), ("image", picture)]


# custom event


@pytest.mark.parametrize("text", ["release", "due", "_event_custom_release_"])
async def test_what_the_bot_tells_itself_cannot_be_typed(text: str) -> None:
    """There an event of the application is a text under a key of the process; here it is another kind of message."""
    async with LiveBot([Flow("humano").on("humano").handoff("Ya viene alguien.").say("He vuelto.")]).running() as live:
        await live.says("humano")
        assert await live.says(text) == []
        position = (await live.state()).position
        assert position is not None
        assert position.kind == "handoff"


# lint rules


async def test_nothing_has_to_be_awaited_to_be_said() -> None:
    """There rules of a linter say what has to be awaited or returned."""

    async def hasty(context: FlowContext) -> End:
        context.send("uno")
        await context.send("dos")
        context.variables["x"] = "tres"
        return End("fin")

    chat = Chat({"hasty": hasty}).flow("f", Do(function="hasty"), Send(text="never"))
    assert await chat.start() == ["uno", "dos", "fin"]  # an end behind a send is no mistake


# handleMsg


async def test_a_person_on_the_blacklist_gets_no_answer_and_moves_nothing() -> None:
    """There the idle timers of the chat are stopped before the blacklist is looked at."""
    ask = Flow("nombre").on("nombre").ask("¿Tu nombre?", into="name").say("Hola, {name}.")
    async with LiveBot([ask], blacklist={"+52551111*"}).running() as live:
        assert await live.says("nombre") == []
        assert (await live.state()).position is None


async def test_a_message_without_words_is_answered() -> None:
    """There a message with an empty body is dropped."""
    ask = Flow("nombre").on("nombre").ask("¿Tu nombre?", into="name", retry="Por escrito, por favor.")
    async with LiveBot([ask]).running() as live:
        assert await live.says("") != []
        await live.says("nombre")
        assert await live.says("", kind="location") == ["Por escrito, por favor."]


async def test_where_a_chat_stands_does_not_depend_on_its_history() -> None:
    """There the position is the last row of the history that has a keyword."""
    chat = Chat().flow("f", NAME, BYE)
    await chat.start()
    assert chat.position is not None
    assert (chat.position.flow, chat.position.step, chat.position.version) == ("f", "name", 1)


async def test_a_choice_is_looked_for_among_the_open_choices_only() -> None:
    """There the children of the last row are, while all flows hear what answers a question."""
    chat = Chat().flow("f", NAME, MENU)
    await chat.start()
    assert await chat.say("tarjeta") == ["¿Cómo paga, tarjeta?"]


async def test_an_answer_is_read_before_anything_that_follows_is_said() -> None:
    """There the callback of the question runs at the start of whatever was matched."""
    refused = replace(AGE, retry="no")
    chat = Chat().flow("f", refused, BYE)
    await chat.start()
    assert await chat.say("x") == ["no"]


def test_a_flow_that_would_fail_for_every_message_is_refused_alone() -> None:
    """There one keyword that is no expression is an unhandled rejection for every message."""
    index = MatchIndex([Flow("bad").on("(", kind="regex").say("…"), keyword("hola")])
    assert [str(error).split(":")[0] for error in index.broken] == ["flow 'bad'"]
    match = index.find("hola")
    assert match is not None
    assert match.flow.id == "hola"
    with pytest.raises(FlowError):
        Flow("empty").on("a").then(Jump(to=Goto(step="nowhere"))).check()
