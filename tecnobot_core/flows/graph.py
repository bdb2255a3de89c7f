"""The steps of a flow as a graph: which step may come behind which. No walk recurses, each takes linear time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .forms import field_address
from .menus import branch_of
from .problems import Place, Problems
from .program import address_of
from .steps import AnyStep, Ask, Call, Do, End, Finish, Form, FormField, Goto, Handoff, Jump, Menu, When


@dataclass(slots=True, eq=False)
class Node:
    """A step with its neighbours: *before* in its list or around it, *behind* it in its list or out of its branch.

    The fields of a form are its branch, each a question.
    """

    step: AnyStep
    place: Place
    number: int
    above: "Node | None"
    branch: str
    before: "Node | None"
    behind: "Node | None"
    branches: list[list["Node"]] = field(default_factory=list)
    address: str = ""

    @property
    def entries(self) -> list["Node | None"]:
        """Where its branches begin."""
        return [branch[0] if branch else self.behind for branch in self.branches]


def arrange(steps: Iterable[AnyStep], problems: Problems) -> list[Node]:
    """A node for each step, in the order of reading; what is too deep is a problem and left out."""
    nodes: list[Node] = []
    waiting = _line(steps, Place())[::-1]
    while waiting:
        node = waiting.pop()
        if not problems.enter_step(node.place):
            continue
        nodes.append(node)
        node.branches = [_line(inner, place, node, branch) for branch, inner, place in _branches(node)]
        waiting += [inner for branch in node.branches for inner in branch][::-1]
    return nodes


class Graph:
    """Ways through the *nodes* of the flow *flow_id*, which are those that ``arrange`` gave, in its order.

    Steps have addresses as ``Program`` gives them; of several with one address the first is found.
    """

    def __init__(self, flow_id: str, nodes: Sequence[Node]) -> None:
        self._flow_id = flow_id
        self._nodes = nodes
        self.addresses: dict[str, Node] = {}
        for node in nodes:
            node.address = _address(node)
            self.addresses.setdefault(node.address, node)

    def is_own(self, flow: str) -> bool:
        """Whether *flow* names this flow."""
        return flow in ("", self._flow_id)

    def find_unreachable(self) -> Iterator[Node]:
        """The first of each row of steps that nothing leads to.

        A step with an id is always reached: functions, other flows and stored positions may lead there.
        """
        reached = set(self._nodes[:1]) | {node for node in self._nodes if node.step.id}
        waiting = list(reached)
        while waiting:
            ways = [way for way in self._ways(waiting.pop()) if way is not None and way not in reached]
            reached.update(ways)
            waiting += ways
        return (node for node in self._nodes if node not in reached and node.before in reached)

    def find_endless_loop(self) -> list[Node]:
        """Steps that lead round for ever without waiting, if there are any; the last leads to the first."""
        done: set[Node] = set()
        for start in self._nodes:
            trail: dict[Node, Iterator[Node | None]] = {} if start in done else {start: self._hurried_ways(start)}
            while trail:
                node = next(reversed(trail))
                way = next((way for way in trail[node] if way is not None and way not in done), None)
                if way is None:
                    trail.popitem()
                    done.add(node)
                elif way in trail:
                    passed = list(trail)
                    return passed[passed.index(way) :]
                else:
                    trail[way] = self._hurried_ways(way)
        return []

    def _ways(self, node: Node) -> Iterator[Node | None]:
        match node.step:
            case Finish():
                return
            case Jump(to=to):
                yield self._target(to)
            case When():
                yield from node.entries
            case Menu(on_timeout=on_timeout):
                yield from node.entries or [node.behind]
                yield from self._targets(on_timeout)
            case Ask(on_failure=on_failure, on_timeout=on_timeout):
                yield node.behind
                yield from self._targets(on_failure, on_timeout)
            case Form(on_refusal=on_refusal, on_cancel=on_cancel, on_timeout=on_timeout):
                yield node.behind
                yield from (field for fields in node.branches for field in fields)
                yield from self._targets(on_refusal, on_cancel, on_timeout)
            case _:
                yield node.behind

    def _hurried_ways(self, node: Node) -> Iterator[Node | None]:
        """Where it goes on without waiting, and with nothing changed: the same conditions will hold again.

        A function may change what conditions hold, another flow may wait: both are trusted to.
        """
        match node.step:
            case Ask() | Menu() | Handoff() | Do():
                return iter(())
            case Form() as form:
                return iter(() if _waits(form) else (node.behind,))
            case Call(flow=flow):
                return iter(self._nodes[:1] if self.is_own(flow) else ())
        return self._ways(node)

    def _targets(self, *ways: Goto | End) -> Iterator[Node | None]:
        return (self._target(to) for to in ways if isinstance(to, Goto))

    def _target(self, to: Goto) -> Node | None:
        if not self.is_own(to.flow):
            return None
        return self.addresses.get(to.step) if to.step else self._nodes[0]


def _address(node: Node) -> str:
    if node.above is None:
        return address_of("", node.number, node.step)
    if isinstance(node.above.step, Form) and isinstance(node.step, Ask):
        return field_address(node.above.address, node.step)
    return address_of(f"{node.above.address}.{node.branch}.", node.number, node.step)


def _waits(form: Form) -> bool:
    """Whether nobody gets through *form* without answering something."""
    certain = not form.skip_known and any(not field.when for field in form.fields)
    return bool(form.consent or form.confirm or certain)


def _line(steps: Iterable[AnyStep], place: Place, above: Node | None = None, branch: str = "") -> list[Node]:
    nodes: list[Node] = []
    for index, step in enumerate(steps):
        before = nodes[-1] if nodes else above
        here = place.at(index, getattr(step, "id", "") or (getattr(step, "into", "") if place.key == "fields" else ""))
        nodes.append(Node(step, here, index + 1, above, branch, before, above.behind if above else None))
        if index:
            nodes[-2].behind = nodes[-1]
    return nodes


def _branches(node: Node) -> Iterator[tuple[str, Iterable[AnyStep], Place]]:
    match node.step:
        case When(then=then, otherwise=otherwise):
            yield "then", then, node.place.at("then")
            yield "otherwise", otherwise, node.place.at("otherwise")
        case Form(fields=fields):
            # What is no field at all is a step that is none, for the error that refuses it.
            asks = [field.ask if isinstance(field, FormField) else field for field in fields]
            yield "", asks, node.place.at("fields")
        case Menu(choices=choices):
            for index, choice in enumerate(choices):
                yield branch_of(choice), choice.steps, node.place.at("choices").at(index).at("steps")
