"""Whether steps make a flow that can be served: nothing missing, nothing twice, no way that leads nowhere."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias

from .answers import check_limits
from .checking_forms import check_form
from .expressions import RESERVED
from .folding import fold
from .graph import Graph, Node, arrange
from .problems import MAX_LABEL_CHARS, MAX_TEXT_CHARS, Place, Problems, found
from .reading import write_steps
from .steps import AnyStep, Ask, Call, Do, End, Form, Goto, Menu, Send, When
from .stored import OBJECT

SyntaxCheck: TypeAlias = Callable[[str], object]
"""Raises ValueError, with what is wrong and wanted, unless a text is a condition (or a template)."""

MIN_DUE_S = 1.0  # a question whose time is over at once and leads back to itself would be asked without end
MAX_WAIT_S = 366 * 86_400.0  # nobody waits longer than a year; a due time stays inside what databases can store

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL refuses NUL, UTF-8 has no half of a surrogate pair
_SHOWN_OF_A_LOOP = 10
_DESTINATIONS = ("on_failure", "on_timeout", "on_refusal", "on_cancel")
_SHORT = ("label", "keywords", "id", "into", "function", "name")
_RESERVED = RESERVED | {"reason"}  # what Ask.retry calls the reason of a refusal


def check_steps(
    flow_id: str,
    steps: Sequence[AnyStep],
    *,
    known_flows: Collection[str] | None,
    check_condition: SyntaxCheck = lambda condition: None,
    check_template: SyntaxCheck = lambda template: None,
) -> None:
    """Raise one FlowError with a line for each problem, unless the flow *flow_id* can be served.

    *known_flows* are the ids of all flows of the chatbot; with None, what leads to other flows is not checked. A flow
    that has too many steps, is nested too deep or holds what cannot be stored is not looked at further. Takes time in
    proportion to the size of the flow, and recurses no deeper than a flow may be nested.
    """
    problems = Problems(flow_id)
    nodes = arrange(steps, problems)
    problems.raise_if_any()
    for node in nodes:
        _check_storable(node, problems)
    problems.raise_if_any()
    if not nodes:
        problems.add(Place(), "has no steps; give it at least one")
    for node in nodes:
        _check_presence(node, problems)
        _check_syntax(node, problems, check_condition, check_template)
        _check_waits(node, problems)
        if isinstance(node.step, Ask):
            _check_ask(node.step, node.place, problems)
        elif isinstance(node.step, Menu):
            _check_menu(node.step, node.place, problems)
        elif isinstance(node.step, Form):
            check_form(node.step, node.place, problems)
    _check_ways(Graph(flow_id, nodes), nodes, None if known_flows is None else frozenset(known_flows), problems)
    problems.raise_if_any()
    problems.weigh(write_steps(steps), Place())


def _check_storable(node: Node, problems: Problems) -> None:
    is_field = node.above is not None and isinstance(node.above.step, Form)
    if not isinstance(node.step, Ask if is_field else AnyStep):
        problems.add(node.place, f"must be {'a field' if is_field else 'a step'}, not {found(node.step)}")
        return
    for name, text in _texts(node.step):
        limit = MAX_LABEL_CHARS if name.rpartition(".")[2] in _SHORT else MAX_TEXT_CHARS
        if len(text) > limit:
            problems.add(node.place, f"{name} has {len(text):,} characters; at most {limit:,}")
        elif _UNSTORABLE.search(text):
            problems.add(node.place, f"{name} holds a character that cannot be stored; take out {found(text)}")
    if isinstance(node.step, Do):
        Problems(problems.flow_id).weigh(node.step.arguments, node.place.at("arguments"))
        OBJECT.read(node.step.arguments, node.place.at("arguments"), problems)


def _check_presence(node: Node, problems: Problems) -> None:
    for name, text in _needed(node.step):
        if not fold(text):
            problems.add(node.place, f"{name} is empty; write something, or leave it out")


def _check_syntax(node: Node, problems: Problems, check_condition: SyntaxCheck, check_template: SyntaxCheck) -> None:
    checks = [(name, text, check_template) for name, text in _said(node.step)]
    checks += [(name, text, check_condition) for name, text in _conditions(node.step)]
    for name, text, check in checks:
        try:
            check(text)
        except ValueError as error:
            problems.add(node.place, f"{name}: {error}")


def _check_waits(node: Node, problems: Problems) -> None:
    waits = [(name, getattr(node.step, name, None)) for name in ("delay_s", "remind_s", "timeout_s")]
    for name, wait_s in waits:
        # Written so that nan, which is in no order, fails as well.
        least_s = 0.0 if name == "delay_s" else MIN_DUE_S
        if wait_s is not None and not least_s <= wait_s <= MAX_WAIT_S:
            sentence = f"{name} must be seconds from {least_s:.0f} to {MAX_WAIT_S:.0f}, not {found(wait_s)}"
            problems.add(node.place, sentence)
    (_, remind_s), (_, timeout_s) = waits[1:]
    if remind_s is not None and timeout_s is not None and remind_s >= timeout_s:
        sentence = f"remind_s, {found(remind_s)}, must be less than timeout_s, {found(timeout_s)}"
        problems.add(node.place, f"{sentence}: nobody is reminded of what is over")


def _check_ask(ask: Ask, place: Place, problems: Problems) -> None:
    _check_variable(ask.into, place, problems)
    if ask.max_retries < 0:
        problems.add(place, f"max_retries must be 0 or more, not {found(ask.max_retries)}")
    try:
        check_limits(ask)
    except ValueError as error:
        problems.add(place, str(error))


def _check_variable(into: str, place: Place, problems: Problems) -> None:
    if not into.isidentifier():
        problems.add(place, f"into must be a name of letters, digits and _, not {found(into)}")
    elif into.casefold() in _RESERVED:
        problems.add(place, f"into may not be {found(into)}, which means something else; take another name")


def _check_menu(menu: Menu, place: Place, problems: Problems) -> None:
    if menu.into:
        _check_variable(menu.into, place, problems)
    if not menu.choices:
        problems.add(place, "the menu has no choices; give it at least one")
    taken: dict[str, int] = {}
    for number, choice in enumerate(menu.choices, 1):
        _claim(choice.label, number, taken, place, problems)
    for number in range(1, len(menu.choices) + 1):
        taken.setdefault(str(number), number)  # a number chooses, unless it is a label; then keywords do
    for number, choice in enumerate(menu.choices, 1):
        for keyword in choice.keywords:
            _claim(keyword, number, taken, place, problems)


def _claim(text: str, number: int, taken: dict[str, int], place: Place, problems: Problems) -> None:
    owner = taken.setdefault(fold(text), number)
    if owner != number and fold(text):
        problems.add(place, f"choice {number}: {found(text)} chooses choice {owner} already; write another word")


def _check_ways(graph: Graph, nodes: list[Node], known_flows: frozenset[str] | None, problems: Problems) -> None:
    for node in nodes:
        owner = graph.addresses[node.address]
        if owner is not node and not _is_same_field(owner.step, node):
            problems.add(node.place, f"the id {found(node.address)} is taken by {owner.place}; give one another id")
        for name, to in _targets(node.step):
            _check_target(name, to, node.place, graph, known_flows, problems)
    for node in graph.find_unreachable():
        problems.add(node.place, "nothing leads here: the step before it goes elsewhere; remove it, or give it an id")
    if loop := graph.find_endless_loop():
        _add_loop(loop, problems)


def _is_same_field(first: AnyStep, node: Node) -> bool:
    """Whether *node* is a field whose variable is that of a question *first* in its form: ``check_form`` tells it."""
    if node.above is None or not isinstance(node.above.step, Form) or not isinstance(node.step, Ask):
        return False
    return first in [field.ask for field in node.above.step.fields if field.ask.into == node.step.into]


def _check_target(
    name: str, to: Goto, place: Place, graph: Graph, known_flows: frozenset[str] | None, problems: Problems
) -> None:
    if not graph.is_own(to.flow):
        if known_flows is not None and to.flow not in known_flows:
            problems.add(place, f"{name}: there is no flow {found(to.flow)}", name=to.flow, known=known_flows)
    elif to.step and to.step not in graph.addresses:
        problems.add(place, f"{name}: there is no step {found(to.step)}", name=to.step, known=graph.addresses)


def _add_loop(loop: list[Node], problems: Problems) -> None:
    names = [found(node.step.id) if node.step.id else str(node.place) for node in loop[:_SHOWN_OF_A_LOOP]]
    more = f"{len(loop) - len(names):,} more → " if len(loop) > len(names) else ""
    way = " → ".join(names)
    problems.add(loop[0].place, f"goes round for ever and never waits for a person: {way} → {more}{names[0]}")


def _targets(step: AnyStep) -> Iterator[tuple[str, Goto]]:
    """Where a step leads by name, with the names of the fields."""
    for name in ("to", *_DESTINATIONS):
        if isinstance(to := getattr(step, name, None), Goto):
            yield ("goto" if name == "to" else name), to
    if isinstance(step, Call):
        yield "call", Goto(step.flow)


def _said(step: AnyStep) -> Iterator[tuple[str, str]]:
    """The texts of a step that are sent with variables in them, with the names of the fields."""
    for name in ("text", "retry", "unknown", "reminder", "consent", "confirm"):
        if isinstance(text := getattr(step, name, ""), str):
            yield name, text
    for name in _DESTINATIONS:
        if isinstance(end := getattr(step, name, None), End):
            yield f"{name}.text", end.text


def _conditions(step: AnyStep) -> Iterator[tuple[str, str]]:
    """The conditions of a step, with the names of the fields."""
    if isinstance(step, When):
        yield "condition", step.condition
    elif isinstance(step, Form):
        yield from ((f"{field.ask.into}.when", field.when) for field in step.fields if field.when)


def _needed(step: AnyStep) -> Iterator[tuple[str, str]]:
    """The texts of a step that may not be empty, with the names of the fields."""
    match step:
        case Send():
            if step.media is None:
                yield "text", step.text
            else:
                yield "media.address", step.media.address
            yield from (("a button", button) for button in step.buttons)
        case Ask():
            yield "text", step.text
        case Menu():
            yield "text", step.text
            for choice in step.choices:
                yield from (("a label", choice.label), *(("a keyword", keyword) for keyword in choice.keywords))
        case Form():
            yield "name", step.name
            if isinstance(step.confirm, str):
                yield "confirm", step.confirm
        case Do():
            yield "function", step.function
        case When():
            yield "condition", step.condition
        case Call():
            yield "flow", step.flow


def _texts(part: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a step, but not of the steps in it, with the names of the fields."""
    if isinstance(part, str):
        yield name, part
    elif isinstance(part, tuple | list):
        for item in part:
            if not isinstance(item, AnyStep):
                yield from _texts(item, name)
    elif is_dataclass(part) and not isinstance(part, type):
        for attribute in _attributes(type(part)):
            value = getattr(part, attribute)
            if isinstance(value, str):
                yield (f"{name}.{attribute}" if name else attribute), value
            elif value and not isinstance(value, AnyStep):
                yield from _texts(value, f"{name}.{attribute}" if name else attribute)


@cache
def _attributes(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
