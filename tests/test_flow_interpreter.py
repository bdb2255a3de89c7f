"""The interpreter: one message is one transition, and a position is all that is kept between two."""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.context import Answer, FlowContext, Outcome
from tecnobot_core.flows.interpreter import Interpreter
from tecnobot_core.flows.program import Program
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Goto,
    Handoff,
    Jump,
    Media,
    Menu,
    Repeat,
    Send,
    Stay,
    When,
)
from tecnobot_core.messages import MediaReference, Position
from tecnobot_core.testing import FakeClock

Steps: TypeAlias = tuple[AnyStep, ...]


def read_answer(ask: Ask, answer: Answer) -> object:
    if ask.type != "integer":
        return answer.text
    if not answer.text.isdecimal():
        raise ValueError("un número, por favor")
    return int(answer.text)


def holds(condition: str, variables: Mapping[str, object]) -> bool:
    name, _, value = condition.partition("=")
    return str(variables.get(name)) == value


def render(text: str, variables: Mapping[str, object]) -> str:
    for name, value in variables.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def stored(position: Position | None) -> Position | None:
    """The position as it comes back from a store: through JSON."""
    if position is None:
        return None
    fields = json.loads(json.dumps(asdict(position)))
    return Position(**{**fields, "stack": tuple(tuple(frame) for frame in fields["stack"])})


class Chat:
    """A conversation of which a store holds the position between two messages, and nothing else is kept."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None, **options: Any) -> None:
        self.programs: dict[tuple[str, int | None], Program] = {}
        self.functions = functions or {}
        self.options = options
        self.clock = FakeClock(1000.0)
        self.position: Position | None = None
        self.last = Outcome()

    def flow(self, flow_id: str, *steps: AnyStep, version: int = 1) -> "Chat":
        """Make this the current version of a flow."""
        program = Program(flow_id, version, steps)
        self.programs[flow_id, None] = self.programs[flow_id, version] = program
        return self

    def forget(self, flow_id: str, version: int) -> None:
        del self.programs[flow_id, version]

    def interpreter(self) -> Interpreter:
        return Interpreter(
            lambda flow, version: self.programs.get((flow, version)),
            self.functions,
            read_answer=read_answer,
            holds=holds,
            render=render,
            clock=self.clock,
            **self.options,
        )

    async def start(self, flow: str = "f", text: str = "hola", **variables: object) -> list[str]:
        answer = Answer(text=text, sent_at=self.clock())
        return self.keep(await self.interpreter().start(flow, answer, variables=variables, idempotency_key="m0"))

    async def say(self, text: str, *, sent_at: float | None = None, **fields: Any) -> list[str]:
        assert self.position is not None
        answer = Answer(text=text, sent_at=self.clock() if sent_at is None else sent_at, **fields)
        return self.keep(await self.interpreter().resume(self.position, answer, idempotency_key="m1"))

    async def time_out(self) -> list[str]:
        assert self.position is not None
        return self.keep(await self.interpreter().time_out(self.position))

    async def release(self) -> list[str]:
        assert self.position is not None
        return self.keep(await self.interpreter().release(self.position))

    def keep(self, outcome: Outcome) -> list[str]:
        self.last = outcome
        self.position = stored(outcome.position)
        return [said.text for said in outcome.says]

    @property
    def variables(self) -> Mapping[str, object]:
        assert self.position is not None
        return self.position.variables


def returning(result: object) -> dict[str, Callable[[FlowContext], object]]:
    """The function "f", which returns *result*."""
    return {"f": lambda context: result}


NAME = Ask(id="name", text="¿Nombre?", into="name")
AGE = Ask(id="age", text="¿Edad?", into="age", type="integer", retry="Eso no: {reason}", max_retries=2)
BYE = Send(id="bye", text="Adiós, {name}")


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


async def test_a_refused_answer_without_a_retry_text_gets_the_question_again() -> None:
    chat = Chat().flow("f", replace(AGE, retry=""))
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


MENU = Menu(
    id="menu",
    text="¿Cómo paga, {name}?",
    into="way",
    unknown="Elija 1 o 2",
    choices=(
        Choice(label="Tarjeta", keywords=("visa", "crédito"), steps=(Send(text="tarjeta"),)),
        Choice(label="Más tarde", steps=(Send(text="luego"),)),
    ),
)


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


# Persons and time


async def test_a_handoff_is_silent_until_it_is_released() -> None:
    chat = Chat().flow("f", Handoff(text="Ya viene alguien, {name}", timeout_s=600), BYE)
    assert await chat.start(name="Ana") == ["Ya viene alguien, Ana"]
    assert chat.last.handoff is not None
    assert chat.position is not None
    assert chat.position.expires_at == 1600
    before = chat.position
    assert await chat.say("¿hola?") == []
    assert chat.last.handoff is None
    assert chat.position == before
    assert await chat.release() == ["Adiós, Ana"]


async def test_a_handoff_ends_in_time() -> None:
    chat = Chat().flow("f", Handoff(), BYE)
    await chat.start(name="Ana")
    assert await chat.time_out() == ["Adiós, Ana"]
    assert chat.position is None


async def test_a_question_without_an_answer_goes_on_at_its_timeout() -> None:
    chat = Chat().flow("f", replace(NAME, timeout_s=60, on_timeout=End("Sigue otro día, {x}")), BYE)
    await chat.start(x="Ana")
    assert chat.position is not None
    assert chat.position.expires_at == 1060
    assert await chat.time_out() == ["Sigue otro día, Ana"]
    assert chat.position is None


async def test_a_question_that_is_asked_again_waits_its_whole_time() -> None:
    chat = Chat().flow("f", replace(AGE, timeout_s=60))
    await chat.start()
    chat.clock.now += 50
    await chat.say("x")
    assert chat.position is not None
    assert chat.position.expires_at == 1110


async def test_a_reminder_is_a_question_that_is_repeated_in_time() -> None:
    chat = Chat(returning(Repeat("¿Sigue ahí?"))).flow(
        "f",
        replace(NAME, timeout_s=60, max_retries=1, on_timeout=Goto(step="remind")),
        BYE,
        Do(id="remind", function="f"),
    )
    await chat.start()
    assert await chat.time_out() == ["¿Sigue ahí?"]
    assert await chat.time_out() == []  # once is enough: on_failure is a silent end
    assert chat.position is None


@pytest.mark.parametrize("step", [NAME, MENU, Handoff(timeout_s=None)])
async def test_what_waits_for_ever_has_no_timeout(step: AnyStep) -> None:
    chat = Chat().flow("f", step)
    await chat.start()
    before = chat.position
    assert await chat.time_out() == []
    assert chat.position == before


async def test_only_a_handoff_is_released() -> None:
    chat = Chat().flow("f", NAME, BYE)
    await chat.start()
    before = chat.position
    assert await chat.release() == []
    assert chat.position == before


@pytest.mark.parametrize("question", [NAME, MENU])
@pytest.mark.parametrize(("sent_at", "taken"), [(999.0, False), (999.9, False), (1000.0, True), (1000.8, True)])
async def test_an_answer_from_an_earlier_second_than_its_question_is_not_taken(
    question: AnyStep, sent_at: float, taken: bool
) -> None:
    chat = Chat().flow("f", question)
    chat.clock.now = 1000.8
    await chat.start()
    before = chat.position
    says = await chat.say("1", sent_at=sent_at)
    assert (chat.position is None) == taken
    assert taken or (says, chat.position) == ([], before)


async def test_a_message_of_the_time_before_a_second_asking_is_not_taken_either() -> None:
    chat = Chat().flow("f", AGE)
    await chat.start()
    chat.clock.now += 5
    await chat.say("x")
    assert await chat.say("7", sent_at=1004) == []
    assert await chat.say("7", sent_at=1006) == []
    assert chat.position is None


# Versions


async def test_a_conversation_ends_in_the_version_it_began_with() -> None:
    chat = Chat().flow("f", NAME, BYE)
    await chat.start()
    chat.flow("f", Send(text="new"), replace(NAME, text="new"), Send(text="new"), version=2)
    assert await chat.say("Ana") == ["Adiós, Ana"]
    assert await chat.start() == ["new", "new"]


async def test_without_its_version_it_goes_on_at_the_same_step_of_the_current_one() -> None:
    chat = Chat().flow("f", NAME, BYE)
    await chat.start()
    chat.flow("f", Send(text="new"), NAME, Send(text="Hasta luego, {name}"), version=2).forget("f", 1)
    assert await chat.say("Ana") == ["Hasta luego, Ana"]


async def test_stay_stays_in_the_version_that_it_goes_on_in() -> None:
    chat = Chat(returning(Stay())).flow("f", NAME, Do(function="f"))
    await chat.start()
    chat.flow("f", NAME, Do(function="f"), BYE, version=2).forget("f", 1)
    await chat.say("Ana")
    assert chat.position is not None
    assert (chat.position.step, chat.position.version) == ("name", 2)


@pytest.mark.parametrize("now_there", [replace(MENU, id="name"), Send(id="name", text="x"), AGE])
async def test_a_step_that_is_gone_begins_the_flow_again(now_there: AnyStep) -> None:
    chat = Chat().flow("f", NAME, BYE)
    await chat.start(x=1)
    chat.flow("f", replace(AGE, text="¿Otra vez?"), now_there if now_there != AGE else BYE, version=2).forget("f", 1)
    assert await chat.say("Ana") == ["¿Otra vez?"]
    assert chat.variables == {"x": 1}


async def test_a_step_that_is_gone_ends_the_flow_where_that_is_wanted() -> None:
    chat = Chat(on_lost="end").flow("f", NAME, BYE)
    await chat.start()
    chat.flow("f", AGE, version=2).forget("f", 1)
    assert await chat.say("Ana") == []
    assert chat.last == Outcome(lost=True)


@pytest.mark.parametrize("event", ["say", "time_out", "release"])
async def test_without_its_flow_the_message_is_handed_back(event: str) -> None:
    chat = Chat().flow("f", Handoff())
    await chat.start()
    chat.programs.clear()
    assert await (chat.say("Ana") if event == "say" else getattr(chat, event)()) == []
    assert chat.last == Outcome(lost=True)


async def test_a_caller_that_changed_goes_on_behind_the_call_or_begins_again() -> None:
    chat = Chat().flow("f", Call(id="call", flow="sub"), Send(text="old")).flow("sub", NAME)
    await chat.start()
    before = chat.position
    chat.flow("f", AGE, Call(id="call", flow="sub"), Send(text="new"), version=2).forget("f", 1)
    assert await chat.say("Ana") == ["new"]
    chat.position = before
    chat.flow("f", AGE, version=3).forget("f", 2)
    assert await chat.say("Ana") == ["¿Edad?"]
    chat.position = before
    del chat.programs["f", None], chat.programs["f", 3]
    assert await chat.say("Ana") == []
    assert chat.position is None


async def test_a_position_that_was_written_by_hand_needs_no_kind() -> None:
    chat = Chat().flow("f", NAME, BYE)
    chat.position = Position("f", "name", 1)
    assert await chat.say("Ana") == ["Adiós, Ana"]


# The traps of a popular framework, as its probes showed them; here they are gone


async def test_trap_a_text_and_its_delay_are_said_once() -> None:
    picture = Send(id="p", text="mira", delay_s=0.3, media=Media("image", "https://example.org/a.png"))
    chat = Chat().flow("f", Send(text="uno"), picture)
    chat.flow("g", Jump(to=Goto(flow="f", step="p")))
    said = []
    for flow in ("f", "g"):  # by a jump as well
        await chat.start(flow)
        said.append(chat.last.says)
    assert said == [(Send(text="uno"), picture), (picture,)]


async def test_trap_a_question_of_no_words_waits_without_saying_anything() -> None:
    chat = Chat().flow("f", Ask(text="", into="name"), BYE)
    assert await chat.start() == []
    assert await chat.say("Ana") == ["Adiós, Ana"]


async def test_trap_an_answer_is_an_answer_even_if_it_is_a_word_of_another_menu() -> None:
    chat = Chat().flow("f", NAME, MENU)
    await chat.start()
    assert await chat.say("tarjeta") == ["¿Cómo paga, tarjeta?"]


async def test_trap_two_quick_replies_are_one_answer() -> None:
    calls: list[str] = []
    chat = Chat({"note": lambda context: calls.append(context.text)})
    chat.flow("f", NAME, Do(function="note"), replace(NAME, id="last", text="¿Apellido?", into="last"), BYE)
    await chat.start()
    chat.clock.now += 10  # the second one lay in the lane while the first one was answered
    assert await chat.say("Ana", sent_at=1008) == ["¿Apellido?"]
    assert await chat.say("Anita", sent_at=1009) == []
    assert chat.variables == {"name": "Ana"}
    assert calls == ["Ana"]
    assert await chat.say("Gil", sent_at=1012) == ["Adiós, Ana"]


async def test_trap_a_repeat_that_is_not_returned_does_nothing() -> None:
    def forgetful(context: FlowContext) -> None:
        Repeat("otra vez")

    chat = Chat({"f": forgetful}).flow("f", NAME, Do(function="f"), BYE)
    await chat.start()
    assert await chat.say("Ana") == ["Adiós, Ana"]


async def test_trap_sending_never_moves() -> None:
    async def talk(context: FlowContext) -> Stay:
        for number in range(8):
            await context.send(str(number))
        return Stay()

    chat = Chat({"talk": talk}).flow("f", NAME, Do(function="talk"), BYE)
    await chat.start()
    assert await chat.say("Ana") == list("01234567")
    assert chat.position is not None
    assert chat.position.step == "name"


async def test_trap_a_send_that_is_not_awaited_is_said_all_the_same() -> None:
    async def hasty(context: FlowContext) -> None:
        context.send("uno")
        await context.send("dos")

    assert await Chat({"hasty": hasty}).flow("f", Do(function="hasty")).start() == ["uno", "dos"]


async def test_trap_a_jump_and_a_direct_entry_have_one_order() -> None:
    def speak(context: FlowContext) -> None:
        context.send(f"{context.arguments['n']}-function")

    def one(number: str) -> Steps:
        return Send(text=number), Do(function="speak", arguments={"n": number})

    direct = Chat({"speak": speak}).flow("f", *one("one"), *one("two"), NAME)
    wanted = ["one", "one-function", "two", "two-function", "¿Nombre?"]
    assert await direct.start() == wanted
    assert await direct.flow("g", Jump(to=Goto(flow="f"))).start("g") == wanted


async def test_trap_nothing_is_left_of_a_flow_that_ended() -> None:
    chat = Chat(returning(End("chao"))).flow("f", NAME, Do(function="f"))
    await chat.start()
    assert await chat.say("Ana") == ["chao"]
    assert chat.position is None
    await chat.start()
    assert chat.variables == {}


async def test_trap_waiting_too_long_needs_no_flag_in_a_function() -> None:
    chat = Chat().flow(
        "f", replace(NAME, timeout_s=1, on_timeout=Goto(step="late")), BYE, Send(id="late", text="tarde")
    )
    await chat.start()
    assert await chat.time_out() == ["tarde"]


async def test_trap_a_menu_is_never_dead() -> None:
    chat = Chat().flow("f", MENU)
    await chat.start()
    assert await chat.say("nada de eso") == ["Elija 1 o 2"]
    assert await chat.say("1") == ["tarjeta"]


async def test_trap_variables_hold_nothing_internal() -> None:
    seen: list[dict[str, Any]] = []
    chat = Chat({"f": lambda context: seen.append(context.variables)})
    chat.flow("f", replace(AGE, timeout_s=60), Do(function="f"), NAME)
    await chat.start()
    await chat.say("x")
    await chat.say("7")
    assert chat.variables == {"age": 7}
    assert seen == [{"age": 7}]


async def test_trap_media_is_a_field_and_cannot_be_typed() -> None:
    seen: list[tuple[str, MediaReference | None]] = []
    chat = Chat({"f": lambda context: seen.append((context.kind, context.media))})
    chat.flow("f", NAME, Do(function="f"), Jump(to=Goto(step="name")))
    await chat.start()
    await chat.say("_event_media__1")
    picture = MediaReference(kind="image", address="x")
    await chat.say("", kind="image", media=picture)
    assert seen == [("text", None), ("image", picture)]


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


def count(context: FlowContext) -> object:
    """Counts its calls, says so, and returns what its step wants returned."""
    context.variables["n"] = int(context.variables.get("n", 0)) + 1
    context.send(f"n={context.variables['n']}")
    return context.arguments.get("returns")


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


# Against a reference: a walk over the tree of steps that keeps its place in generators, and is never stored

MAX_STEPS = 40
Mode: TypeAlias = Literal["perform", "again", "stay"]


@dataclass(frozen=True)
class Tree:
    """One version of a flow."""

    flow: str
    steps: Steps = field(repr=False)


Path: TypeAlias = list[tuple[Tree, str | None]]  # callers first; None is the first step


@dataclass
class Walk:
    """A flow that is being walked: looking for a step until it is found, then at a step."""

    tree: Tree
    wanted: str | None
    inner: Path
    mode: Mode
    at: str | None = None


class Leave(Exception):  # noqa: N818 - no error, the walk goes on elsewhere
    """The walk ends here, and another begins at *path*; none does without one."""

    def __init__(self, path: Path | None, mode: Mode = "perform", text: str = "") -> None:
        self.path, self.mode, self.text = path, mode, text


Going: TypeAlias = Generator[None, str, None]
TIMEOUT, RELEASE = "<timeout>", "<release>"


class Reference:
    """What an interpreter should do, written without positions, programs or addresses."""

    def __init__(self, trees: dict[str, Tree]) -> None:
        self.trees = trees
        self.variables: dict[str, Any] = {}
        self.says: list[Send] = []
        self.walks: list[Walk] = []
        self.question: Path | None = None
        self.retries = 0
        self.timed = False
        self.trace: list[str] = []
        self.again = ""
        self.going: Going | None = None
        self.path: Path = []

    def begin(self, path: Path, mode: Mode = "perform") -> None:
        """Start at *path*; with "stay" only to wait there for the next message."""
        self.going = self.conversation(path, mode)
        self.question, self.says, self.trace = None, [], []
        self.proceed(None)

    def send(self, event: str) -> None:
        """Let one message, timeout or release happen."""
        self.says, self.trace = [], []
        self.proceed(event)

    def proceed(self, event: str | None) -> None:
        assert self.going is not None
        try:
            self.going.send(cast("str", event))
        except StopIteration:
            self.going = None

    def conversation(self, path: Path | None, mode: Mode) -> Going:
        while path is not None:
            self.walks = []
            try:
                yield from self.walk_path(path, mode)
                return
            except Leave as leave:
                path, mode, self.again = leave.path, leave.mode, leave.text

    def walk_path(self, path: Path, mode: Mode) -> Going:
        (tree, wanted), *inner = path
        self.walks.append(walk := Walk(tree, wanted, inner, mode))
        if len(self.walks) > 51:
            raise FlowError("too many calls")
        if inner and _find(tree.steps, wanted, Call) is None:  # the call is gone: this flow begins again when it is due
            yield from self.walk_path(inner, mode)
            walk.wanted, walk.inner, walk.mode = None, [], "perform"
        if walk.wanted is None or walk.wanted == "":
            walk.wanted = None
        yield from self.walk_steps(walk, tree.steps)
        self.walks.pop()

    def walk_steps(self, walk: Walk, steps: Steps) -> Going:
        for step in steps:
            if walk.wanted in (None, step.id):
                yield from self.perform(walk, step)
            else:
                for branch in _branches(step):
                    if _find(branch, walk.wanted) is not None:
                        yield from self.walk_steps(walk, branch)

    def perform(self, walk: Walk, step: AnyStep) -> Going:
        mode, inner, walk.wanted, walk.inner, walk.mode = walk.mode, walk.inner, None, [], "perform"
        walk.at = step.id
        if inner:
            yield from self.walk_path(inner, mode)
            return
        if mode == "perform":
            self.note(walk, step)
        match step:
            case Send():
                self.says.append(step)
            case Ask() | Menu():
                yield from self.ask(walk, step, mode)
            case Do():
                self.do(step)
            case When():
                yield from self.walk_steps(walk, step.then if holds(step.condition, self.variables) else step.otherwise)
            case Jump():
                self.go(step.to)
            case Call():
                yield from self.walk_path([(self.trees[step.flow], None)], "perform")
            case Handoff():
                yield from self.hand_off(walk, step, mode)
            case Finish():
                self.go(End(step.text))

    def note(self, walk: Walk, step: AnyStep) -> None:
        self.trace.append(f"{walk.tree.flow}:{step.id}")
        if len(self.trace) > MAX_STEPS:
            raise FlowError("too many steps")

    def here(self) -> Path:
        return [(walk.tree, walk.at) for walk in self.walks]

    def ask(self, walk: Walk, step: Ask | Menu, mode: Mode) -> Going:
        if mode == "perform":
            self.put(step, "", 0)
        elif mode == "again":
            self.refuse(step, self.again)
        while True:
            self.path = self.here()
            event = yield
            if event == RELEASE or (event == TIMEOUT and not self.timed):
                continue
            self.question = self.here()
            self.note(walk, step)
            if isinstance(step, Menu):
                if (choice := _chosen(step, event)) is not None:
                    yield from self.walk_steps(walk, choice.steps)
                    return
                self.refuse(step, step.unknown)
            elif event == TIMEOUT:
                self.go(step.on_timeout)
            elif step.type == "integer" and not event.isdecimal():
                self.refuse(step, step.retry)
            else:
                self.variables[step.into] = int(event) if step.type == "integer" else event
                return

    def put(self, step: Ask | Menu, text: str, retries: int) -> None:
        labels = tuple(choice.label for choice in step.choices) if isinstance(step, Menu) else ()
        self.says.append(Send(text=text or step.text, buttons=labels))
        self.retries = retries
        self.timed = isinstance(step, Ask) and step.timeout_s is not None

    def refuse(self, step: Ask | Menu, text: str) -> None:
        if isinstance(step, Ask) and self.retries >= step.max_retries:
            self.go(step.on_failure)
        self.put(step, text, self.retries + 1)

    def hand_off(self, walk: Walk, step: Handoff, mode: Mode) -> Going:
        if mode == "perform":
            self.says.append(Send(text=step.text))
            self.timed = step.timeout_s is not None
        self.path = self.here()
        while (event := (yield)) != RELEASE and not (event == TIMEOUT and self.timed):
            pass
        self.question = None
        self.note(walk, step)

    def do(self, step: Do) -> None:
        self.variables["n"] = self.variables.get("n", 0) + 1
        self.says.append(Send(text=f"n={self.variables['n']}"))
        result = step.arguments["returns"]
        if isinstance(result, Goto | End):
            self.go(result)
        elif result is not None:
            if self.question is None:
                raise FlowError("no question")
            raise Leave(self.question, "stay" if isinstance(result, Stay) else "again", getattr(result, "text", ""))

    def go(self, to: Goto | End) -> None:
        if isinstance(to, End):
            self.says += [Send(text=to.text)] if to.text else []
            raise Leave(None)
        callers, tree = self.here()[:-1], self.walks[-1].tree
        if to.flow not in ("", tree.flow):
            callers, tree = [], self.trees[to.flow]
        if to.step and _find(tree.steps, to.step) is None:
            raise FlowError("no such step")
        raise Leave([*callers, (tree, to.step or None)])


def _branches(step: AnyStep) -> list[Steps]:
    if isinstance(step, Menu):
        return [choice.steps for choice in step.choices]
    return [step.then, step.otherwise] if isinstance(step, When) else []


def _find(steps: Steps, wanted: str | None, kind: type | None = None) -> AnyStep | None:
    for step in steps:
        if step.id == wanted and (kind is None or isinstance(step, kind)):
            return step
        for branch in _branches(step):
            if (found := _find(branch, wanted, kind)) is not None:
                return found
    return None


def _chosen(menu: Menu, text: str) -> Choice | None:
    for number, choice in enumerate(menu.choices, 1):
        if text in (choice.label, str(number), *choice.keywords):
            return choice
    return None


# Random flows: three of them, each with its steps named s1, s2, … in the order of reading

FLOWS = ("f", "g", "h")
targets = st.builds(
    Goto, flow=st.sampled_from(("", "", *FLOWS)), step=st.sampled_from(("", "s1", "s2", "s2", "s3", "s3", "s5"))
)
ends = st.builds(End, st.sampled_from(("", "end")))
results = st.one_of(
    st.none(), st.none(), targets, ends, st.builds(Repeat, st.sampled_from(("", "again"))), st.just(Stay())
)
asks = st.builds(
    Ask,
    text=st.sampled_from(("q1", "q2")),
    into=st.sampled_from("ab"),
    type=st.sampled_from(("integer", "text")),
    retry=st.sampled_from(("", "retry")),
    max_retries=st.integers(0, 2),
    on_failure=st.one_of(targets, ends),
    timeout_s=st.sampled_from((None, 60.0)),
    on_timeout=st.one_of(targets, ends),
)
plain_steps = st.one_of(
    st.builds(Send, text=st.sampled_from(("x", "y"))),
    asks,
    asks,
    st.builds(Do, function=st.just("count"), arguments=st.fixed_dictionaries({"returns": results})),
    st.builds(Jump, to=targets),
    st.builds(Call, flow=st.sampled_from(FLOWS)),
    st.builds(Handoff, text=st.just("wait"), timeout_s=st.sampled_from((None, 60.0))),
    st.builds(Finish, text=st.sampled_from(("", "bye"))),
)


def _steps(depth: int) -> st.SearchStrategy[Steps]:
    if depth == 0:
        return st.lists(plain_steps, max_size=2).map(tuple)
    inner = _steps(depth - 1)
    whens = st.builds(When, condition=st.sampled_from(("n=1", "a=1", "b=2")), then=inner, otherwise=inner)
    menus = st.tuples(inner, inner).map(
        lambda both: Menu(
            text="menu",
            unknown="which?",
            choices=(Choice(label="one", keywords=("uno",), steps=both[0]), Choice(label="two", steps=both[1])),
        )
    )
    return st.lists(st.one_of(plain_steps, plain_steps, whens, menus), min_size=1, max_size=4).map(tuple)


def _named(steps: Steps, names: list[str]) -> Steps:
    """*steps* with an id for each; *names* grows by them."""
    done: list[AnyStep] = []
    for step in steps:
        names.append(name := f"s{len(names) + 1}")
        step = replace(step, id=name)
        if isinstance(step, When):
            then = _named(step.then, names)
            step = replace(step, then=then, otherwise=_named(step.otherwise, names))
        elif isinstance(step, Menu):
            step = replace(
                step, choices=tuple(replace(choice, steps=_named(choice.steps, names)) for choice in step.choices)
            )
        done.append(step)
    return tuple(done)


def _unnamed(steps: Steps) -> Steps:
    """*steps* without the ids that no Goto names."""
    done: list[AnyStep] = []
    for step in steps:
        step = step if step.id in {"s1", "s2", "s3", "s5"} else replace(step, id="")
        if isinstance(step, When):
            step = replace(step, then=_unnamed(step.then), otherwise=_unnamed(step.otherwise))
        elif isinstance(step, Menu):
            step = replace(
                step, choices=tuple(replace(choice, steps=_unnamed(choice.steps)) for choice in step.choices)
            )
        done.append(step)
    return tuple(done)


def _flow(first: AnyStep, others: Steps) -> Steps:
    return _named((first, *others), [])


# The first begins with a question: without one there is nothing to repeat, and nothing to answer.
some_flows = st.fixed_dictionaries(
    {flow: st.builds(_flow, asks if flow == "f" else plain_steps, _steps(2)) for flow in FLOWS}
)
events = st.sampled_from(("1", "1", "2", "one", "uno", "two", "x", "x", TIMEOUT, RELEASE, "<early>"))


def _moved(path: Path, trees: dict[str, Tree], kind: type) -> tuple[Path, bool]:
    """*path* in other trees, and whether its last step is there, of the same kind."""
    moved: Path = [(trees[tree.flow], wanted) for tree, wanted in path]
    tree, wanted = moved[-1]
    same = _find(tree.steps, wanted, kind) is not None
    return ([*moved[:-1], (tree, wanted if same else None)], same)


async def _happen(chat: Chat, event: str) -> None:
    if event == TIMEOUT:
        await chat.time_out()
    elif event == RELEASE:
        await chat.release()
    else:
        await chat.say(event, sent_at=500.0 if event == "<early>" else None)


def _heard(reference: Reference, lost: bool, happening: str) -> None:
    """Let it happen in the reference; where the step is lost, the flow begins again."""
    if lost:
        reference.begin(reference.path)
    elif happening == "<early>":
        reference.says, reference.trace = [], []
    else:
        reference.send(happening)


@settings(max_examples=300, deadline=None)
@given(
    some_flows,
    st.lists(events, min_size=3, max_size=12),
    some_flows,
    st.sets(st.sampled_from(FLOWS)),
    st.integers(0, 4),
    st.sampled_from(("kept", "gone", "same")),
)
async def test_random_conversations_are_those_of_the_reference(
    flows: dict[str, Steps],
    happens: list[str],
    others: dict[str, Steps],
    edited: set[str],
    change_at: int,
    old: str,
) -> None:
    others |= {flow: (Send(id="new", text="new"), *flows[flow][:-1]) for flow in edited}
    chat = Chat({"count": count}, max_steps=MAX_STEPS)
    reference = Reference({flow: Tree(flow, steps) for flow, steps in flows.items()})
    for flow, steps in flows.items():
        chat.flow(flow, *(_unnamed(steps) if old == "same" else steps))
    lost = False
    reference.begin([(reference.trees["f"], None)])
    await chat.start()
    for number, happening in enumerate(happens):
        _agree(chat, reference, traced=old != "same")
        if chat.position is None:
            event(f"over after {number} messages")
            return
        if number == change_at and old != "same":
            lost = _change(chat, reference, others, gone=old == "gone")
            event(f"change: {old}, lost: {lost}")
        if lost and happening in (TIMEOUT, RELEASE):
            return
        try:
            _heard(reference, lost, happening)
        except FlowError:
            with pytest.raises(FlowError):
                await _happen(chat, happening)
            event("an error")
            return
        await _happen(chat, happening)
        lost = False
    _agree(chat, reference, traced=old != "same")
    event("all messages")


def _agree(chat: Chat, reference: Reference, *, traced: bool) -> None:
    assert [replace(said, id="") for said in chat.last.says] == [replace(said, id="") for said in reference.says]
    assert not traced or list(chat.last.trace) == reference.trace
    assert (chat.position is None) == (reference.going is None)
    if chat.position is not None:
        assert chat.variables == reference.variables
        flows = [flow for flow, _, _ in chat.position.stack] + [chat.position.flow]
        assert flows == [tree.flow for tree, _ in reference.path]


def _change(chat: Chat, reference: Reference, others: dict[str, Steps], *, gone: bool) -> bool:
    """Publish *others* while the conversation waits, with the old version kept or gone; True when its step is lost."""
    reference.trees = {flow: Tree(flow, steps) for flow, steps in others.items()}
    for flow, steps in others.items():
        chat.flow(flow, *steps, version=2)
        if gone:
            chat.forget(flow, 1)
    if not gone:
        return False
    tree, wanted = reference.path[-1]
    waiting = _find(tree.steps, wanted)
    path, same = _moved(reference.path, reference.trees, type(waiting))
    kept = reference.says, reference.trace
    if same:
        reference.begin(path, "stay")
        reference.says, reference.trace = kept
    reference.path = path
    return not same
