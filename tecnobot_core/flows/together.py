"""What only several flows beside each other show: ways to flows that do not exist, keywords that never win."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

from ..errors import FlowError, FlowProblem
from .checking import check_steps
from .folding import fold
from .graph import Graph, Node, arrange
from .matching.keywords import rank
from .model import Flow
from .problems import TOP, Place, Problems, found
from .steps import Call, Goto


@dataclass(slots=True)
class Findings:
    """*problems* make a conversation fail; *warnings* are what the owner may not have meant."""

    problems: list[FlowProblem] = field(default_factory=list)
    warnings: list[FlowProblem] = field(default_factory=list)


def check_together(flows: Sequence[Flow]) -> Findings:
    """What is wrong with *flows*, each of which is sound and all of which are those of one chatbot, ids told once."""
    findings = Findings()
    known = {flow.id: flow for flow in flows}
    programs: dict[str, Graph] = {}
    led_to: set[str] = set()
    for flow in known.values():
        findings.problems += _lost_flows(flow, known)
        for place, to in _ways(flow):
            led_to.add(to.flow)
            if (other := known.get(to.flow)) is not None and to.step:
                findings.problems += _lost_step(flow, place, to, programs.setdefault(other.id, _graph(other)))
    _warn_of_rivals(sorted(known.values(), key=rank), led_to, findings)
    return findings


def _lost_flows(flow: Flow, known: Mapping[str, Flow]) -> Sequence[FlowProblem]:
    try:
        check_steps(flow.id, flow.steps, known_flows=known)
    except FlowError as error:
        return error.problems
    return ()


def _lost_step(flow: Flow, place: Place, to: Goto, other: Graph) -> Sequence[FlowProblem]:
    problems = Problems(flow.id)
    if to.step not in other.addresses:
        sentence = f"there is no step {found(to.step)} in the flow {found(to.flow)}"
        problems.add(place, sentence, name=to.step, known=other.addresses)
    return problems.listed


def _ways(flow: Flow) -> Iterator[tuple[Place, Goto]]:
    """Where the steps of *flow* lead outside of it."""
    for node in _nodes(flow):
        values = [getattr(node.step, field.name) for field in fields(node.step)]
        ways = [value for value in values if isinstance(value, Goto)]
        for to in [*ways, *([Goto(node.step.flow)] if isinstance(node.step, Call) else [])]:
            if to.flow not in ("", flow.id):
                yield node.place, to


def _graph(flow: Flow) -> Graph:
    return Graph(flow.id, _nodes(flow))


def _nodes(flow: Flow) -> list[Node]:
    return arrange(flow.steps, Problems(flow.id))


def _warn_of_rivals(ranked: Sequence[Flow], led_to: set[str], findings: Findings) -> None:
    """Tell of triggers that a better flow has as well, and of flows that therefore nothing starts."""
    owners: dict[tuple[str, str], list[Flow]] = {}
    for flow in ranked:
        problems = Problems(flow.id)
        triggers = list(_triggers(flow))
        lost = 0
        for place, text, shown, trigger in triggers:
            if (better := _better(flow, owners.setdefault(trigger, []))) is not None:
                lost += 1
                reason = "its priority is higher" if better.priority > flow.priority else "its id comes first"
                sentence = f"{shown} starts the flow {found(better.id)} before this one: {reason}"
                problems.add(place, sentence, name=text)
            owners[trigger].append(flow)
        if lost and lost == len(triggers) and flow.id not in led_to:
            problems.add(TOP, "nothing starts it: other flows have all its keywords and events, and none leads here")
        findings.warnings += problems.listed


def _better(flow: Flow, before: Sequence[Flow]) -> Flow | None:
    """Who of those *before* always wins over *flow*: one that interrupts also starts where the others do not."""
    return next((other for other in before if other.interrupts or not flow.interrupts), None)


def _triggers(flow: Flow) -> Iterator[tuple[Place, str, str, tuple[str, str]]]:
    for keyword in dict.fromkeys(flow.keywords):
        place = TOP.about("keywords" if keyword.kind == "word" else keyword.kind)
        key = keyword.text if keyword.kind == "regex" else fold(keyword.text)
        yield place, keyword.text, f"the {keyword.kind} keyword {found(keyword.text)}", (keyword.kind, key)
    if flow.event is not None:
        yield TOP.about("event"), flow.event, f"the event {found(flow.event)}", ("event", flow.event)
