"""A file of flows: one, or several under "flows"; what is wrong with each is told with its line and column."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from ...errors import FlowError, FlowProblem
from ...flows.model import Flow
from ...flows.problems import TOP, Place, Problems, flow_error, found
from ...flows.stored_flow import FIELDS, KINDS
from .json_reading import read_json
from .meaning import Meaning
from .nodes import ListNode, Node, ObjectNode, Position, Scalar, UnreadableError, locate
from .yaml_reading import read_yaml

MAX_FILE_BYTES = 16 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")

_BESIDE = ("flows", "$schema")  # editors look for the schema of a JSON file under this name
_BESIDE_STEPS = ("id", "keywords", "priority", "$schema")


@dataclass(frozen=True, slots=True)
class FileFlow:
    """A flow as it stands in *file*: ``flow`` where it can be served, else ``error``. Without an id ``id`` is empty."""

    id: str
    file: str
    node: Node
    flow: Flow | None = None
    error: FlowError | None = None

    def located(self, problem: FlowProblem) -> FlowProblem:
        """*problem*, with the line and the column where it stands."""
        return _located(problem, self.file, _find(self.node, problem))


@dataclass(frozen=True, slots=True)
class FlowFile:
    """What stands in a file; ``error``: it is no file of flows, or there is more in it than flows."""

    name: str
    flows: tuple[FileFlow, ...] = ()
    error: FlowError | None = None
    is_list: bool = False
    schema: str = ""


def parse_flow_file(data: bytes, name: str) -> FlowFile:
    """The flows of the file *name*, which decides whether it is JSON or YAML; errors name it."""
    try:
        node = _parse(data, name)
        if not isinstance(node, ObjectNode):
            raise UnreadableError("a file holds one flow, with 'id' and 'steps', or several under 'flows'", (1, 1))
    except UnreadableError as error:
        return FlowFile(name, error=flow_error([_fault(error, name)]))
    schema = node.items.get("$schema")
    schema_name = str(schema.value) if isinstance(schema, Scalar) else ""
    if "flows" in node.items:
        return replace(_read_list(node, name), schema=schema_name)
    return FlowFile(name, (_read_flow(node, name),), schema=schema_name)


def is_json(name: str) -> bool:
    """Whether the file *name* is read as JSON, else as YAML."""
    return name.lower().endswith(".json")


def _parse(data: bytes, name: str) -> Node | None:
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableError("is bigger than 16 MiB; make several files of it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        sentence = f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file in UTF-8"
        raise UnreadableError(sentence, (line, column)) from error
    if not text.strip():
        raise UnreadableError("the file is empty; write a flow, with 'id' and 'steps'", (1, 1))
    return read_json(text) if is_json(name) else read_yaml(text)


def _read_list(node: ObjectNode, name: str) -> FlowFile:
    listed = node.items["flows"]
    problems = Problems("")
    for other in node.items.keys() - set(_BESIDE):
        problems.add(TOP, f"the field {found(other)} is unknown beside 'flows'", name=other, known=_BESIDE)
    if not isinstance(listed, ListNode):
        problems.add(TOP.about("flows"), "'flows' must be a list of flows")
    faults = [_fault(fault, name) for fault in node.faults]
    found_here = [_located(problem, name, _find(node, problem)) for problem in problems.listed]
    flows = tuple(_read_flow(item, name) for item in listed.items) if isinstance(listed, ListNode) else ()
    return FlowFile(name, flows, _error([*faults, *found_here]), is_list=True)


def _read_flow(node: Node, name: str) -> FileFlow:
    if not isinstance(node, ObjectNode):
        problem = FlowProblem(flow_id="", path=(), sentence="a flow is an object with 'id' and 'steps'")
        return FileFlow("", name, node, error=flow_error([_located(problem, name, node.at)]))
    meaning = Meaning()
    places = {"steps": Place(), "say": Place(key="say")}
    values = {key: meaning.of(item, FIELDS.get(key), places.get(key, TOP.at(key))) for key, item in node.items.items()}
    id = values.get("id", "")
    flow, problems = None, list[FlowProblem]()
    try:
        flow = _flow(id, values)
    except FlowError as error:
        problems += error.problems
    id = id if isinstance(id, str) else ""
    located = [_located(problem, name, _find(node, problem)) for problem in problems]
    faults = [*((TOP, fault) for fault in node.faults), *meaning.faults]
    located += [_fault(fault, name, id, place) for place, fault in faults]
    wrong = _error(sorted(located, key=lambda problem: (problem.line, problem.column)))
    return FileFlow(id, name, node, flow if wrong is None else None, wrong)


def _flow(id: object, values: dict[str, object]) -> Flow:
    if not isinstance(id, str):
        problems = Problems("")
        problems.add(TOP.at("id"), f"must be a text, not {found(id)}")
        problems.raise_if_any()
    response = {name: value for name, value in values.items() if name not in _BESIDE_STEPS}
    # Whatever they are: it is said there, with everything else.
    keywords, priority = cast("list[str]", _keywords(values)), cast("int", values.get("priority", 0))
    return Flow.from_stored(str(id), keywords, response, priority)


def _keywords(values: dict[str, object]) -> object:
    """Those under "keywords", then those that stand only under their kind."""
    given = values.get("keywords", [])
    if not isinstance(given, list):
        return given
    texts = list(given)
    for kind in KINDS:
        listed = values.get(kind)
        texts += [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    # A wrong one stays where it is, and is told by its place.
    known = {text for text in given if isinstance(text, str)}
    return [*given, *dict.fromkeys(text for text in texts[len(given) :] if text not in known)]


def _find(node: Node, problem: FlowProblem) -> Position:
    path = problem.path
    if isinstance(node, ObjectNode) and path[:1] == ("steps",) and "say" in node.items:
        path = ("say", *path[1:])  # texts alone are steps as well
    return locate(node, path, problem.name)


def _located(problem: FlowProblem, file: str, at: Position) -> FlowProblem:
    return replace(problem, file=file, line=at[0], column=at[1])


def _fault(error: UnreadableError, file: str, flow_id: str = "", place: Place = TOP) -> FlowProblem:
    problem = FlowProblem(flow_id=flow_id, path=place.path, place=str(place), sentence=error.sentence)
    return _located(problem, file, error.at)


def _error(problems: Iterable[FlowProblem]) -> FlowError | None:
    listed = list(problems)
    return flow_error(listed) if listed else None
