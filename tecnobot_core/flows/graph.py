"""The steps of a flow as a graph: which step may come behind which. No walk recurses, each takes linear time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .menus import branch_of
from .problems import Place, Problems
from .steps import AnyStep, Ask, Call, Do, Finish, Goto, Handoff, Jump, Menu, When


@dataclass(slots=True, eq=False)
class Node:
    """A step with its neighbours: *before* in its list or around it, *behind* it in its list or out of its branch."""

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
            prefix = f"{node.above.address}.{node.branch}." if node.above else ""
            node.address = node.step.id or f"{prefix}{node.number}"
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
            case When() | Menu():
                yield from node.entries or [node.behind]
            case Ask(on_failure=on_failure, on_timeout=on_timeout):
                yield node.behind
                yield from (self._target(to) for to in (on_failure, on_timeout) if isinstance(to, Goto))
            case _:
                yield node.behind

    def _hurried_ways(self, node: Node) -> Iterator[Node | None]:
        """Where it goes on without waiting, and with nothing changed: the same conditions will hold again.

        A function may change what conditions hold, another flow may wait: both are trusted to.
        """
        match node.step:
            case Ask() | Menu() | Handoff() | Do():
                return iter(())
            case Call(flow=flow):
                return iter(self._nodes[:1] if self.is_own(flow) else ())
        return self._ways(node)

    def _target(self, to: Goto) -> Node | None:
        if not self.is_own(to.flow):
            return None
        return self.addresses.get(to.step) if to.step else self._nodes[0]


def _line(steps: Iterable[AnyStep], place: Place, above: Node | None = None, branch: str = "") -> list[Node]:
    nodes: list[Node] = []
    for index, step in enumerate(steps):
        before = nodes[-1] if nodes else above
        here = place.at(index, getattr(step, "id", ""))
        nodes.append(Node(step, here, index + 1, above, branch, before, above.behind if above else None))
        if index:
            nodes[-2].behind = nodes[-1]
    return nodes


def _branches(node: Node) -> Iterator[tuple[str, Iterable[AnyStep], Place]]:
    match node.step:
        case When(then=then, otherwise=otherwise):
            yield "then", then, node.place.at("then")
            yield "otherwise", otherwise, node.place.at("otherwise")
        case Menu(choices=choices):
            for index, choice in enumerate(choices):
                yield branch_of(choice), choice.steps, node.place.at("choices").at(index).at("steps")
