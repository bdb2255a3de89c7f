"""A conversation with the interpreter, for tests: a store holds its position between two messages, and nothing else."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from tecnobot_core.flows.context import Answer, FlowContext, Outcome
from tecnobot_core.flows.interpreter import Interpreter
from tecnobot_core.flows.program import Program
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Choice,
    Menu,
    Send,
)
from tecnobot_core.messages import FormRecord, Position
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
        self.records: list[FormRecord] = []

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
            **{"read_answer": read_answer, "holds": holds, "render": render, "clock": self.clock, **self.options},
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

    async def remind(self) -> list[str]:
        """Let the time of the reminder come, if there is one."""
        assert self.position is not None
        self.clock.now = max(self.clock.now, self.position.remind_at or 0.0)
        return self.keep(await self.interpreter().remind(self.position))

    async def release(self) -> list[str]:
        assert self.position is not None
        return self.keep(await self.interpreter().release(self.position))

    def keep(self, outcome: Outcome) -> list[str]:
        self.last = outcome
        self.records += outcome.records
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


def count(context: FlowContext) -> object:
    """Counts its calls, says so, and returns what its step wants returned."""
    context.variables["n"] = int(context.variables.get("n", 0)) + 1
    context.send(f"n={context.variables['n']}")
    return context.arguments.get("returns")
