"""Whether a flow as a whole can be served: what starts it, and its steps."""

from typing import TYPE_CHECKING

from ..errors import FlowError
from .checking import check_steps
from .expressions import Expression
from .problems import MAX_LABEL_CHARS, TOP, Place, Problems, found
from .stored_flow import EVENTS
from .templates import check_template
from .triggers import keyword_problem

if TYPE_CHECKING:
    from .model import Flow

MAX_PRIORITY = 2**31 - 1  # what databases call an integer


def check_flow(flow: "Flow", problems: Problems) -> None:
    """Add to *problems* all reasons why *flow* cannot be served; what they say of a field already is not looked at."""
    _check_id(flow.id, problems)
    _check_triggers(flow, problems)
    if problems.is_sound("priority") and not -MAX_PRIORITY <= flow.priority <= MAX_PRIORITY:
        limits = f"from -{MAX_PRIORITY} to {MAX_PRIORITY}"
        problems.add(TOP.about("priority"), f"priority must be a whole number {limits}, not {found(flow.priority)}")
    if problems.is_sound("steps") and problems.is_sound("say"):
        _check_steps(flow, problems)


def _check_id(id: str, problems: Problems) -> None:
    if not id.strip():
        problems.add(TOP.about("id"), "a flow has an empty id; give it a name")
    elif not id.isprintable():
        problems.add(TOP.about("id"), "the id has invisible characters; use letters, digits, - and _")
    elif len(id) > MAX_LABEL_CHARS:
        problems.add(TOP.about("id"), f"the id has {len(id):,} characters; at most {MAX_LABEL_CHARS}")


def _check_triggers(flow: "Flow", problems: Problems) -> None:
    if not flow.keywords and flow.event is None and problems.is_sound("keywords"):
        problems.add(TOP, "nothing starts it; give it keywords or an event")
    if flow.interrupts is True and not flow.keywords and problems.is_sound("keywords"):
        problems.add(TOP.about("interrupts"), "it interrupts, but has no keywords; give it the words that interrupt")
    if flow.event is not None and flow.event not in EVENTS:
        sentence = f"event {found(flow.event)} is unknown; use {', '.join(EVENTS)}"
        problems.add(TOP.about("event"), sentence, name=flow.event, known=EVENTS)
    for keyword in flow.keywords:
        if problem := keyword_problem(keyword):
            field = "keywords" if keyword.kind == "word" else keyword.kind
            problems.add(TOP.about(field), problem, name=keyword.text)


def _check_steps(flow: "Flow", problems: Problems) -> None:
    if not flow.steps:
        problems.add(Place(), "it says nothing; give it at least one step")
        return
    try:
        check_steps(flow.id, flow.steps, known_flows=None, check_condition=Expression, check_template=check_template)
    except FlowError as error:
        if not problems.count:
            raise
        problems.include(error)
