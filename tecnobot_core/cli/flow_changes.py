"""What an import of flows would change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff

from ..adapters.flow_files import write_flow
from ..flows import Flow
from .output import count


@dataclass(slots=True)
class Changes:
    """Flows by what an import does with them, in the order of their ids; ``changed`` has the stored form before."""

    added: list[Flow] = field(default_factory=list)
    changed: list[tuple[str, Flow]] = field(default_factory=list)
    only_stored: list[str] = field(default_factory=list)
    unchanged: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.only_stored)

    @property
    def to_put(self) -> list[Flow]:
        """The flows that are not in the database as they are in the files."""
        return [*self.added, *(flow for _, flow in self.changed)]

    def differences(self) -> Iterator[str]:
        """The lines of a unified diff of the flows as files."""
        for flow in self.added:
            yield from _difference(flow.id, "", write_flow(flow))
        for before, flow in self.changed:
            yield from _difference(flow.id, before, write_flow(flow))
        for id in self.only_stored:
            yield f"only in the database: {id}"

    def summary(self, *, removes: bool) -> Iterator[str]:
        """A line for each kind of change."""
        others = "removed" if removes else "only in the database, and left there"
        groups = {
            "added": [flow.id for flow in self.added],
            "changed": [flow.id for _, flow in self.changed],
            others: self.only_stored,
        }
        yield from (f"{name}: {', '.join(ids)}" for name, ids in groups.items() if ids)
        yield f"unchanged: {count(self.unchanged, 'flow')}"


def compare(stored: Sequence[Flow], broken: Sequence[str], flows: Sequence[Flow]) -> Changes:
    """What would change if *flows* were put over those *stored*, and over those of which only the ids can be read."""
    before = {flow.id: write_flow(flow) for flow in stored} | dict.fromkeys(broken, "# it is broken, and not shown\n")
    changes = Changes(only_stored=sorted(before.keys() - {flow.id for flow in flows}))
    for flow in sorted(flows, key=lambda flow: flow.id):
        if flow.id not in before:
            changes.added.append(flow)
        elif before[flow.id] != write_flow(flow):
            changes.changed.append((before[flow.id], flow))
        else:
            changes.unchanged += 1
    return changes


def _difference(id: str, before: str, after: str) -> Iterator[str]:
    old, new = before.splitlines(), after.splitlines()
    names = (f"database: {id}" if before else "/dev/null", f"files: {id}")
    return unified_diff(old, new, *names, lineterm="")
