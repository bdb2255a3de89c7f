"""What type checkers see of flows built in Python; mypy checks this file, and running it shows that it is also true."""

from typing import assert_type

from tecnobot_core import Flow
from tecnobot_core.flows.steps import AnyStep, Ask, End, Form, Goto, Send


class Named(Flow):
    """A flow of an application's own."""


def test_building_keeps_the_type_of_the_flow() -> None:
    flow = assert_type(Flow("f").say("Hola").ask("¿Nombre?", into="name", min=2).end(), Flow)
    assert len(assert_type(flow.steps, tuple[AnyStep, ...])) == 3
    named = assert_type(Named("f").menu("¿?", {"a": Flow("b").say("x"), "c": Goto("d"), "e": [Send(text="f")]}), Named)
    assert type(named) is Named


def test_branches_and_destinations_are_checked() -> None:
    sends = [Send(text="x")]
    flow = Flow("f").when("x", then=sends, otherwise=End()).form("g", Ask(text="¿?", into="a"), on_refusal=Goto("h"))
    assert isinstance(flow.steps[1], Form)
    flow.ask("¿?", into="a", type="emial")  # type: ignore[arg-type]
    flow.ask("¿?", into="a", on_timeout="bye")  # type: ignore[arg-type]
    flow.form("g", Send(text="x"))  # type: ignore[arg-type]
    flow.media("foto", "a.png")  # type: ignore[arg-type]
