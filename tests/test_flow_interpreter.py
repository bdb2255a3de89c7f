"""The interpreter: one message is one transition, and a position is all that is kept between two."""

from dataclasses import replace

import pytest

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.context import Answer, FlowContext
from tecnobot_core.flows.interpreter import Interpreter
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Goto,
    Jump,
    Menu,
    Repeat,
    Send,
    Stay,
    When,
)
from tests.flow_chat import (
    AGE,
    BYE,
    MENU,
    NAME,
    Chat,
    Steps,
    count,
    holds,
    render,
    returning,
)

# Saying, asking, choosing


async def test_a_flow_says_its_texts_with_variables_and_ends() -> None:
    chat = Chat().flow("f", Send(text="Hola, {name}", buttons=("a", "b")), Send(text="Adiós"))
    assert await chat.start(name="Ana") == ["Hola, Ana", "Adiós"]
    assert chat.last.says[0].buttons == ("a", "b")
    assert chat.last.trace == ("f:1", "f:2")
    assert chat.position is None


async def test_a_question_waits_and_its_answer_is_kept() -> None:
    chat = Chat().flow("f", NAME, AGE, BYE)
    assert await chat.start() == ["¿Nombre?"]
    assert await chat.say("Ana") == ["¿Edad?"]
    assert chat.variables == {"name": "Ana"}
    assert await chat.say("7") == ["Adiós, Ana"]
    assert chat.last.trace == ("f:age", "f:bye")
    assert chat.position is None


async def test_a_refused_answer_is_told_why_and_then_it_gives_up() -> None:
    failing = replace(AGE, on_failure=End("Lo dejamos, {name}"))
    chat = Chat().flow("f", failing, BYE)
    await chat.start(name="Ana")
    assert await chat.say("x") == ["Eso no: un número, por favor"]
    assert await chat.say("y") == ["Eso no: un número, por favor"]
    assert await chat.say("z") == ["Lo dejamos, Ana"]
    assert chat.position is None


async def test_a_refused_answer_without_a_retry_text_gets_the_reason_and_the_question_again() -> None:
    chat = Chat().flow("f", replace(AGE, text="¿Edad, {name}?", retry=""))
    await chat.start(name="Ana")
    assert await chat.say("x") == ["un número, por favor\n¿Edad, Ana?"]


async def test_a_refused_answer_without_a_reason_gets_the_question_again() -> None:
    def refuse(ask: Ask, answer: Answer) -> object:
        raise ValueError

    chat = Chat(read_answer=refuse).flow("f", replace(AGE, retry=""))
    await chat.start()
    assert await chat.say("x") == ["¿Edad?"]


async def test_giving_up_goes_where_the_question_says() -> None:
    chat = Chat().flow("f", replace(AGE, max_retries=0, on_failure=Goto(step="bye")), NAME, BYE)
    await chat.start(name="Ana")
    assert await chat.say("x") == ["Adiós, Ana"]


async def test_a_question_that_is_reached_again_counts_from_zero() -> None:
    chat = Chat().flow("f", AGE, Jump(to=Goto(step="age")))
    await chat.start()
    for _ in range(3):
        assert [await chat.say("x"), await chat.say("x"), await chat.say("1")][-1] == ["¿Edad?"]


async def test_an_error_that_is_not_about_the_answer_is_raised() -> None:
    def broken(ask: Ask, answer: Answer) -> object:
        raise FlowError("limits.min must be a number")

    chat = Chat().flow("f", AGE)
    await chat.start()
    interpreter = Interpreter(
        lambda flow, version: chat.programs.get((flow, version)),
        {},
        read_answer=broken,
        holds=holds,
        render=render,
        clock=chat.clock,
    )
    assert chat.position is not None
    with pytest.raises(FlowError, match=r"limits\.min"):
        await interpreter.resume(chat.position, Answer(text="1", sent_at=1000))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("1", "tarjeta"),
        ("1.", "tarjeta"),
        ("1️⃣", "tarjeta"),
        ("TARJETA!", "tarjeta"),
        ("credito", "tarjeta"),
        ("2", "luego"),
        ("mas tarde", "luego"),
    ],
)
async def test_a_choice_is_made_by_number_label_or_keyword(typed: str, said: str) -> None:
    chat = Chat().flow("f", MENU, Send(text="Pagado: {way}"))
    assert await chat.start(name="Ana") == ["¿Cómo paga, Ana?"]
    assert chat.last.says[0].buttons == ("Tarjeta", "Más tarde")
    assert (await chat.say(typed))[0] == said
    assert chat.last.says[1].text.startswith("Pagado: ")


@pytest.mark.parametrize("typed", ["", "0", "3", "tarjetas", "quizás visa"])
async def test_what_is_no_choice_is_told_and_the_menu_waits_on(typed: str) -> None:
    chat = Chat().flow("f", MENU)
    await chat.start()
    for _ in range(5):
        assert await chat.say(typed) == ["Elija 1 o 2"]
        assert chat.last.says[0].buttons == ("Tarjeta", "Más tarde")
    assert await chat.say("2") == ["luego"]


async def test_a_message_without_words_chooses_nothing() -> None:
    chat = Chat().flow("f", Menu(text="?", choices=(Choice(label="a", keywords=("",)), Choice(label="b"))))
    await chat.start()
    assert await chat.say("", kind="image") == ["?"]


async def test_a_label_means_itself_before_it_is_a_number() -> None:
    menu = Menu(text="¿Cuántos?", into="n", choices=(Choice(label="2"), Choice(label="10"), Choice(label="5")))
    chat = Chat().flow("f", menu, Send(text="{n}"))
    await chat.start()
    assert await chat.say("2") == ["2"]
    await chat.start()
    assert await chat.say("3") == ["5"]


async def test_a_menu_within_a_menu_goes_on_behind_both() -> None:
    inner = replace(MENU, id="inner", text="¿Y cuándo?")
    outer = Menu(text="¿Qué?", choices=(Choice(label="Pedir", steps=(inner,)), Choice(label="Nada")))
    chat = Chat().flow("f", outer, Send(text="fin"))
    await chat.start()
    assert await chat.say("pedir") == ["¿Y cuándo?"]
    assert await chat.say("nada") == ["Elija 1 o 2"]
    assert await chat.say("2") == ["luego", "fin"]


@pytest.mark.parametrize(("n", "said"), [(1, ["uno", "fin"]), (2, ["otro", "fin"])])
async def test_a_condition_chooses_a_branch_and_goes_on_behind_it(n: int, said: list[str]) -> None:
    when = When(condition="n=1", then=(Send(text="uno"),), otherwise=(Send(text="otro"),))
    assert await Chat().flow("f", when, Send(text="fin")).start(n=n) == said


# Functions


async def test_a_function_sees_the_message_and_changes_variables() -> None:
    seen: list[object] = []

    async def save(context: FlowContext) -> None:
        seen.extend([context.text, context.kind, context.arguments, dict(context.variables)])
        context.variables["saved"] = True
        await context.send("guardando… {name}")

    chat = Chat({"save": save}).flow("f", NAME, Do(function="save", arguments={"table": "t"}), AGE)
    await chat.start()
    assert await chat.say("Ana", kind="voice") == ["guardando… {name}", "¿Edad?"]
    assert seen == ["Ana", "voice", {"table": "t"}, {"name": "Ana"}]
    assert chat.variables == {"name": "Ana", "saved": True}


async def test_each_call_of_a_function_has_a_key_of_its_own() -> None:
    keys: list[str] = []

    def note(context: FlowContext) -> None:
        keys.append(context.idempotency_key)

    chat = Chat({"note": note}).flow("f", Do(function="note"), NAME, Do(function="note"), Do(function="note"), AGE)
    await chat.start()
    before = chat.position
    await chat.say("Ana")
    chat.position = before  # the answer was not committed, and the message comes again
    await chat.say("Ana")
    assert keys == ["m0/1", "m1/1", "m1/2", "m1/1", "m1/2"]


async def test_a_function_that_raises_leaves_everything_as_it_was() -> None:
    def pay(context: FlowContext) -> None:
        context.variables["items"].append("paid")
        context.send("pagado")
        raise ConnectionError("the bank is closed")

    chat = Chat({"pay": pay}).flow("f", NAME, Do(function="pay"))
    await chat.start(items=["book"])
    position = chat.position
    with pytest.raises(ConnectionError):
        await chat.say("Ana")
    assert chat.position is position
    assert chat.variables == {"items": ["book"]}


@pytest.mark.parametrize("result", ["next", True, End, {"goto": "bye"}, Send(text="x")])
async def test_a_function_that_returns_something_else_is_a_type_error(result: object) -> None:
    chat = Chat(returning(result)).flow("shop", NAME, Do(id="save", function="f"))
    await chat.start("shop")
    with pytest.raises(TypeError, match=r"'shop', step 'save': function 'f' returned a \w+; wanted is None, or a Goto"):
        await chat.say("Ana")


async def test_repeat_asks_the_question_again_and_counts_as_a_refused_answer() -> None:
    chat = Chat(returning(Repeat("¿Seguro, {name}?"))).flow(
        "f", replace(NAME, max_retries=1, on_failure=End("Pues nada")), Send(text="a ver"), Do(function="f")
    )
    await chat.start()
    assert await chat.say("Ana") == ["a ver", "¿Seguro, {name}?"]
    assert await chat.say("Eva") == ["a ver", "Pues nada"]
    assert chat.position is None


async def test_repeat_without_a_text_shows_the_menu_again() -> None:
    chat = Chat(returning(Repeat())).flow("f", MENU, Do(function="f"))
    await chat.start(name="Ana")
    for _ in range(5):
        assert await chat.say("2") == ["luego", "¿Cómo paga, Ana?"]
        assert chat.last.says[1].buttons == ("Tarjeta", "Más tarde")


async def test_repeat_returns_into_the_called_flow_that_asked() -> None:
    chat = Chat(returning(Repeat())).flow("f", Call(flow="sub"), Do(function="f")).flow("sub", NAME)
    await chat.start()
    assert await chat.say("Ana") == ["¿Nombre?"]
    assert chat.position is not None
    assert (chat.position.flow, chat.position.stack) == ("sub", (("f", "1", 1),))


async def test_stay_says_nothing_and_waits_at_the_same_question() -> None:
    chat = Chat(returning(Stay())).flow("f", replace(NAME, timeout_s=60), Do(function="f"), BYE)
    await chat.start()
    before = chat.position
    chat.clock.now += 30
    assert await chat.say("Ana") == []
    assert before is not None
    assert chat.position == replace(before, variables={"name": "Ana"})


@pytest.mark.parametrize("result", [Repeat(), Stay()])
async def test_repeat_and_stay_want_a_question(result: object) -> None:
    with pytest.raises(FlowError, match=r"'f', step '1': .* question"):
        await Chat(returning(result)).flow("f", Do(function="f")).start()


async def test_goto_and_end_are_followed() -> None:
    chat = Chat(returning(Goto(step="bye"))).flow("f", NAME, Do(function="f"), AGE, BYE)
    await chat.start()
    assert await chat.say("Ana") == ["Adiós, Ana"]
    chat = Chat(returning(End("Hasta {luego}"))).flow("f", Do(function="f"), BYE)
    assert await chat.start(luego="!") == ["Hasta {luego}"]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((Do(function="nope"),), "function 'nope'"),
        ((Jump(to=Goto(step="nope")),), "no step 'nope'"),
        ((Jump(to=Goto(flow="nope")),), "no flow 'nope'"),
        ((Call(flow="nope"),), "no flow 'nope'"),
    ],
)
async def test_what_is_not_there_is_named_with_the_place_that_wants_it(steps: Steps, problem: str) -> None:
    with pytest.raises(FlowError, match=f"flow 'f', step '1'.*{problem}"):
        await Chat().flow("f", *steps).start()


async def test_a_flow_that_is_not_there_cannot_be_started() -> None:
    with pytest.raises(FlowError, match="start: there is no flow 'f'"):
        await Chat().start()


# Jumps, calls, ends


async def test_a_jump_to_a_flow_begins_it_and_leaves_the_callers() -> None:
    chat = Chat().flow("f", Call(flow="sub"), Send(text="back")).flow("sub", Jump(to=Goto(flow="other")))
    chat.flow("other", NAME, BYE)
    assert await chat.start() == ["¿Nombre?"]
    assert chat.position is not None
    assert (chat.position.flow, chat.position.stack) == ("other", ())
    assert await chat.say("Ana") == ["Adiós, Ana"]


async def test_a_jump_within_a_flow_keeps_its_version_and_its_callers() -> None:
    chat = Chat().flow("f", Call(flow="sub"), BYE)
    chat.flow("sub", NAME, Jump(to=Goto(flow="sub", step="last")), AGE, Send(id="last", text="fin"))
    await chat.start()
    chat.flow("sub", Send(id="last", text="new"), version=2)
    assert await chat.say("Ana") == ["fin", "Adiós, Ana"]


async def test_a_jump_into_a_branch_goes_on_behind_its_step() -> None:
    chat = Chat().flow("f", Jump(to=Goto(step="menu.tarjeta.1")), MENU, Send(text="fin"))
    assert await chat.start() == ["tarjeta", "fin"]


async def test_a_called_flow_shares_the_variables_and_comes_back() -> None:
    chat = Chat().flow("f", Send(text="a"), Call(flow="sub"), BYE).flow("sub", NAME)
    assert await chat.start() == ["a", "¿Nombre?"]
    assert await chat.say("Ana") == ["Adiós, Ana"]
    assert chat.last.trace == ("sub:name", "f:bye")


@pytest.mark.parametrize("last", [Finish(text="Gracias, {name}"), Jump(to=Goto(flow="thanks"))])
async def test_what_ends_a_called_flow_ends_its_callers_too(last: AnyStep) -> None:
    chat = Chat().flow("f", Call(flow="sub"), Send(text="never")).flow("sub", last, Send(text="never"))
    assert await chat.flow("thanks", Send(text="Gracias, {name}")).start(name="Ana") == ["Gracias, Ana"]
    assert chat.position is None


async def test_a_flow_that_calls_itself_is_stopped() -> None:
    with pytest.raises(FlowError, match=r"50 calls inside each other.*'f'"):
        await Chat().flow("f", Call(flow="f")).start()


async def test_fifty_calls_inside_each_other_come_back() -> None:
    chat = Chat().flow("50", Send(text="deep"))
    for number in range(50):
        chat.flow(str(number), Call(flow=str(number + 1)), Send(text="up"))
    assert await chat.start("0") == ["deep"] + ["up"] * 50


async def test_a_circle_without_a_question_is_stopped_and_named() -> None:
    chat = Chat(max_steps=100).flow("f", Send(id="a", text="x"), Jump(id="b", to=Goto(flow="g")))
    with pytest.raises(FlowError, match=r"100 steps and no question.*f:a, f:b, g:1"):
        await chat.flow("g", Jump(to=Goto(flow="f"))).start()


async def test_a_circle_with_a_question_goes_on_for_ever() -> None:
    chat = Chat(max_steps=5).flow("f", NAME, Jump(to=Goto(step="name")))
    await chat.start()
    for _ in range(50):
        assert await chat.say("Ana") == ["¿Nombre?"]


# Stopped and started again after every step

SIX_STEPS: Steps = (
    Send(text="Bienvenido"),
    NAME,
    replace(MENU, text="¿Cómo paga?"),
    Do(function="count"),
    replace(AGE, id="years"),
    When(condition="age=7", then=(Ask(text="¿Y tu madre?", into="mother"),), otherwise=(BYE,)),
    Send(text="{name} {way} {age} {mother} {n}"),
)
ANSWERS = ["Ana", "nada", "2", "x", "7", "Eva"]


async def test_a_flow_that_is_stopped_after_every_step_gives_the_transcript_of_one_that_is_not() -> None:
    chat = Chat({"count": count}).flow("f", *SIX_STEPS)
    restarted = [await chat.start()] + [
        await chat.say(text) for text in ANSWERS
    ]  # a Chat begins anew with each message
    assert chat.position is None
    kept = Chat({"count": count}).flow("f", *SIX_STEPS)
    interpreter = kept.interpreter()
    outcome = await interpreter.start("f", Answer(text="hola", sent_at=1000))
    going = [[said.text for said in outcome.says]]
    for text in ANSWERS:
        assert outcome.position is not None
        outcome = await interpreter.resume(outcome.position, Answer(text=text, sent_at=1000))
        going.append([said.text for said in outcome.says])
    assert restarted == going
    assert restarted[-1] == ["Ana Más tarde 7 Eva 1"]
