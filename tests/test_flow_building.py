"""Flows written in Python: each method adds one step, and the flow stays a value."""

import pickle
from collections.abc import Callable
from datetime import date

import pytest

from tecnobot_core import Flow
from tecnobot_core.flows import FlowContext
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Form,
    FormField,
    Goto,
    Handoff,
    Jump,
    Media,
    Menu,
    Send,
    When,
)

EMPTY = Flow("f").on("f")
BYE = Flow("bye").say("Adiós")


async def save(context: FlowContext) -> None:
    """Saves nothing."""


class Server:
    def keep(self, context: FlowContext) -> None:
        """Keeps nothing."""

    def __call__(self, context: FlowContext) -> None:
        """Has no name."""


BUILT: list[tuple[Flow, AnyStep]] = [
    (EMPTY.say("Hola", "sí", "no", delay_s=2, id="a"), Send(text="Hola", buttons=("sí", "no"), delay_s=2, id="a")),
    (
        EMPTY.media("image", "a.png", "mira", "foto.png", delay_s=1, id="a"),
        Send(text="mira", media=Media("image", "a.png", "foto.png"), delay_s=1, id="a"),
    ),
    (
        EMPTY.ask("¿Tu email?", into="email", type="email", retry="¿?", timeout_s=120, on_timeout=Goto("bye")),
        Ask(text="¿Tu email?", into="email", type="email", retry="¿?", timeout_s=120, on_timeout=Goto("bye")),
    ),
    (
        EMPTY.ask("¿?", "x", type="integer", min=0, max=9, label="X", max_retries=1, on_failure=End("no"), id="a"),
        Ask(
            text="¿?",
            into="x",
            type="integer",
            limits={"min": 0, "max": 9},
            label="X",
            max_retries=1,
            on_failure=End("no"),
            id="a",
        ),
    ),
    (
        EMPTY.ask("¿?", "x", type="date", min=date(2026, 1, 1), remind_s=5, reminder="¿Y?"),
        Ask(text="¿?", into="x", type="date", limits={"min": date(2026, 1, 1)}, remind_s=5, reminder="¿Y?"),
    ),
    (
        EMPTY.ask("¿?", "x", type="choice", choices=["a", "b"]),
        Ask(text="¿?", into="x", type="choice", limits={"choices": ("a", "b")}),
    ),
    (
        EMPTY.ask("¿?", "x", type="file", kinds=["image"]),
        Ask(text="¿?", into="x", type="file", limits={"kinds": ("image",)}),
    ),
    (EMPTY.do("save", {"table": "t"}, id="a"), Do(function="save", arguments={"table": "t"}, id="a")),
    (EMPTY.do(save), Do(function="save")),
    (EMPTY.do(Server().keep), Do(function="keep")),
    (
        EMPTY.menu(
            "¿Pagar?",
            {"Paypal": BYE, "Efectivo": "En caja", "Luego": Goto("bye"), "Nunca": End("Pues no"), "Ya": []},
            into="way",
            unknown="¿Cómo?",
            remind_s=5,
            reminder="¿Y?",
            timeout_s=9,
            on_timeout=End("tarde"),
            id="a",
        ),
        Menu(
            text="¿Pagar?",
            choices=(
                Choice(label="Paypal", steps=(Send(text="Adiós"),)),
                Choice(label="Efectivo", steps=(Send(text="En caja"),)),
                Choice(label="Luego", steps=(Jump(to=Goto("bye")),)),
                Choice(label="Nunca", steps=(Finish(text="Pues no"),)),
                Choice(label="Ya"),
            ),
            into="way",
            unknown="¿Cómo?",
            remind_s=5,
            reminder="¿Y?",
            timeout_s=9,
            on_timeout=End("tarde"),
            id="a",
        ),
    ),
    (
        EMPTY.menu("¿?", [Choice(label="a", keywords=("b",))]),
        Menu(text="¿?", choices=(Choice(label="a", keywords=("b",)),)),
    ),
    (
        EMPTY.when("x > 1", "más", otherwise=[Send(text="a"), Send(text="b")], id="a"),
        When(condition="x > 1", then=(Send(text="más"),), otherwise=(Send(text="a"), Send(text="b")), id="a"),
    ),
    (EMPTY.when("x", Send(text="a")), When(condition="x", then=(Send(text="a"),))),
    (EMPTY.goto("bye", "a", id="b"), Jump(to=Goto("bye", "a"), id="b")),
    (EMPTY.goto(BYE), Jump(to=Goto("bye"))),
    (EMPTY.goto(step="a"), Jump(to=Goto(step="a"))),
    (EMPTY.call(BYE, id="a"), Call(flow="bye", id="a")),
    (EMPTY.call("bye"), Call(flow="bye")),
    (EMPTY.handoff("Ya viene", timeout_s=None, id="a"), Handoff(text="Ya viene", timeout_s=None, id="a")),
    (EMPTY.handoff(), Handoff()),
    (EMPTY.end("Adiós", id="a"), Finish(text="Adiós", id="a")),
    (
        EMPTY.form(
            "registro",
            Ask(text="¿Nombre?", into="name"),
            FormField(Ask(text="¿Empresa?", into="company"), when="is_company"),
            consent="¿Aceptas?",
            on_refusal=Goto("bye"),
            confirm="¿Bien?",
            on_cancel=End("no"),
            skip_known=True,
            remind_s=5,
            reminder="¿Y?",
            timeout_s=9,
            on_timeout=End("tarde"),
            id="a",
        ),
        Form(
            name="registro",
            fields=(
                FormField(Ask(text="¿Nombre?", into="name")),
                FormField(Ask(text="¿Empresa?", into="company"), when="is_company"),
            ),
            consent="¿Aceptas?",
            on_refusal=Goto("bye"),
            confirm="¿Bien?",
            on_cancel=End("no"),
            skip_known=True,
            remind_s=5,
            reminder="¿Y?",
            timeout_s=9,
            on_timeout=End("tarde"),
            id="a",
        ),
    ),
]


@pytest.mark.parametrize(("flow", "step"), BUILT)
def test_a_method_adds_its_step(flow: Flow, step: AnyStep) -> None:
    assert flow.steps == (step,)
    assert EMPTY.steps == ()


def test_a_flow_that_was_built_is_data() -> None:
    flow = EMPTY.then(*(step for _, step in BUILT if not step.id and not isinstance(step, Jump | Finish))).end("fin")
    flow.check()
    assert pickle.loads(pickle.dumps(flow)) == flow
    stored = Flow.from_stored("f", ["f"], flow.response())
    assert stored.response() == flow.response()


def test_the_issues_example_can_be_written() -> None:
    flow = (
        Flow("registro")
        .on("registro")
        .say("Vamos a registrarte.")
        .ask("¿Tu email?", into="email", type="email", retry="Eso no es un email", max_retries=3, timeout_s=120)
        .do(save)
        .menu(
            "¿Pagar?", {"Paypal": Flow("paypal").say("Te mando el enlace."), "Efectivo": Goto("caja")}, unknown="¿Cómo?"
        )
    )
    flow.check()
    assert [type(step).__name__ for step in flow.steps] == ["Send", "Ask", "Do", "Menu"]


@pytest.mark.parametrize("function", [lambda context: None, Server(), 5])
def test_a_function_without_a_name_is_a_type_error(function: Callable[[FlowContext], object]) -> None:
    with pytest.raises(TypeError, match="has no name that the bot could find it by"):
        EMPTY.do(function)


def test_what_cannot_follow_a_choice_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a int cannot follow a choice or a condition; wanted is a text"):
        EMPTY.menu("¿?", {"a": 5})  # type: ignore[dict-item]
