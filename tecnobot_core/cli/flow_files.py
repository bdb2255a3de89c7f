"""The files of flows that a command line names."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..adapters.flow_files import FileFlow, FlowFile, is_flow_file, parse_flow_file
from ..adapters.flow_files.files import read_bytes
from ..errors import ConfigurationError, FlowError, FlowProblem
from ..flows import Flow
from ..flows.matching import RegexEngine
from ..flows.together import check_together


@dataclass(slots=True)
class Checked:
    """Flows that belong together, with what is wrong with their files."""

    flows: list[FileFlow] = field(default_factory=list)
    problems: list[FlowProblem] = field(default_factory=list)
    warnings: list[FlowProblem] = field(default_factory=list)

    @property
    def sound(self) -> list[Flow]:
        """The flows that can be served."""
        return [flow.flow for flow in self.flows if flow.flow is not None]


def find_files(paths: Sequence[str]) -> list[list[Path]]:
    """The files that *paths* name, in groups of one chatbot: the named ones and those of named folders are one group.

    A folder inside of a named one is the folder of another chatbot. Raises ConfigurationError for a path without files.
    """
    first: list[Path] = []
    others: dict[Path, list[Path]] = {}
    for path in map(Path, paths):
        found = sorted(_files_in(path))
        if not found:
            raise ConfigurationError(f"{path} holds no file of flows; wanted are *.yaml, *.yml and *.json")
        for file in found:
            group = first if file == path or file.parent == path else others.setdefault(file.parent, [])
            group.append(file)
    return [group for group in [first, *others.values()] if group]


def check_files(files: Iterable[Path], *, beside: Sequence[Flow] = ()) -> Checked:
    """Read and check files of one chatbot, which also has the flows *beside*, where no file has one of their id."""
    checked = Checked()
    for file in files:
        read = parse_flow_file(read_bytes(file), str(file))
        checked.problems += _problems_of(read.error)
        _add_flows(read, checked)
    served = {flow.id: flow for flow in [*beside, *checked.sound]}
    findings = check_together([*served.values()])
    places = {flow.id: flow for flow in checked.flows}
    checked.problems += _located(findings.problems, places)
    checked.warnings += _located(findings.warnings, places)
    return checked


def _files_in(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if is_flow_file(file.name) and file.is_file())
    elif path.exists():
        yield path
    else:
        raise ConfigurationError(f"there is no file or folder {path}")


def _add_flows(file: FlowFile, checked: Checked) -> None:
    known = {flow.id: flow for flow in checked.flows}
    for flow in file.flows:
        checked.problems += _problems_of(flow.error)
        if flow.flow is not None:
            checked.problems += _bad_expressions(flow, flow.flow)
        if (first := known.setdefault(flow.id, flow)) is not flow and flow.id:
            at = f"{first.file}:{first.node.at[0]}"
            taken = FlowProblem(flow_id=flow.id, path=("id",), sentence=f"this id is taken by the flow in {at}")
            checked.problems.append(flow.located(taken))
    checked.flows += file.flows


def _bad_expressions(place: FileFlow, flow: Flow) -> Iterator[FlowProblem]:
    for keyword in flow.keywords:
        if keyword.kind == "regex":
            try:
                _engine()([keyword.text])
            except FlowError as error:
                sentence = f"regex {keyword.text!r}: {error}"
                yield place.located(FlowProblem(flow_id=flow.id, path=("regex",), sentence=sentence, name=keyword.text))


def _engine() -> RegexEngine:
    from ..adapters.regular_expressions import Re2Set  # noqa: PLC0415  # most flows have no expressions

    return Re2Set


def _located(problems: Iterable[FlowProblem], places: dict[str, FileFlow]) -> Iterator[FlowProblem]:
    """Those that stand in the files, each with its line."""
    return (places[problem.flow_id].located(problem) for problem in problems if problem.flow_id in places)


def _problems_of(error: FlowError | None) -> Sequence[FlowProblem]:
    return () if error is None else error.problems
