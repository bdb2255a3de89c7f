"""What an application provides to its flows, and how a stored place is found again in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import FlowError
from .context import Answer
from .forms import FormMenu, PlacedStep
from .phrases import Phrases
from .program import Program
from .steps import Ask

WAITING_KINDS = frozenset({"ask", "menu", "handoff"})

Frame: TypeAlias = tuple[str, str, int]  # flow, step and version of a call


@dataclass(frozen=True, slots=True)
class Place:
    """A step of a program, by its address, or behind the last one (None); ``stack`` are its callers, innermost last."""

    program: Program
    address: str | None
    stack: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        return f"flow {self.program.flow_id!r}, step {self.address!r}"

    @property
    def step(self) -> PlacedStep:
        """The step; only where there is one."""
        assert self.address is not None
        return self.program[self.address]

    @property
    def frame(self) -> Frame:
        """What has to be known to find this step again; only where there is one."""
        assert self.address is not None
        return self.program.flow_id, self.address, self.program.version

    def inside(self, branch: str) -> "Place":
        """Where a branch of this step begins."""
        assert self.address is not None
        return replace(self, address=self.program.enter(self.address, branch))

    def behind(self) -> "Place":
        """Where it goes on after this step."""
        assert self.address is not None
        return replace(self, address=self.program.next(self.address))


class Found(NamedTuple):
    """A place, and whether it is the one that was looked for: else the flow begins again there."""

    place: Place
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What an application provides to its flows; see Interpreter."""

    programs: Callable[[str, int | None], Program | None]
    functions: Mapping[str, Callable[..., Any]]
    read_answer: Callable[[Ask, Answer], object]
    holds: Callable[[str, Mapping[str, object]], bool]
    render: Callable[[str, Mapping[str, object]], str]
    clock: Callable[[], float]
    phrases: Phrases
    max_steps: int
    on_lost: Literal["restart", "end"]

    def current(self, flow: str, wanted_by: str) -> Program:
        """The current version of a flow. Raises FlowError in the name of *wanted_by*."""
        program = self.programs(flow, None)
        if program is None:
            raise FlowError(f"{wanted_by}: there is no flow {flow!r} to go on with")
        return program

    def find(self, frame: Frame, stack: tuple[Frame, ...], kinds: frozenset[str]) -> Found | None:
        """The step of *frame* if it is of one of *kinds*, in its version, else in the current one.

        Where there is none, ``on_lost`` decides: the first step of the flow, or None. None as well without the flow.
        """
        flow, address, version = frame
        program = self.programs(flow, version) or self.programs(flow, None)
        if program is None:
            return None
        if program.has(address) and kind_of(program[address]) in kinds:
            return Found(Place(program, address, stack), same=True)
        return None if self.on_lost == "end" else Found(Place(program, program.first, stack), same=False)


def kind_of(step: PlacedStep) -> str:
    """The kind of a step, as positions hold it: "ask", "menu", …"""
    return "menu" if isinstance(step, FormMenu) else type(step).__name__.lower()
