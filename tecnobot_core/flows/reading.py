"""The steps of a flow as owners store them: objects of JSON types, each named by its kind, "say", "ask" or another."""

from collections.abc import Iterable
from typing import cast

from .problems import Place, Problems
from .steps import AnyStep
from .stored import STEPS


def read_steps(data: object, flow_id: str) -> tuple[AnyStep, ...]:
    """The steps that *data* stores: a list, as JSON or YAML was parsed.

    Raises one FlowError with a line for each problem of form. Whether the steps make a flow that can be served is told
    by ``check_steps``.
    """
    problems = Problems(flow_id)
    problems.weigh(data, Place())
    steps = STEPS.read(data, Place(), problems)
    problems.raise_if_any()
    return cast("tuple[AnyStep, ...]", steps)


def write_steps(steps: Iterable[AnyStep]) -> list[object]:
    """The stored form of *steps*, without what has its default value. They must have passed ``check_steps``."""
    return cast("list[object]", STEPS.write(steps))
