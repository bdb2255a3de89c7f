"""The files that hold the flows of one chatbot."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock

from ...errors import FlowError, FlowProblem, StoreError
from ...flows.model import Flow
from ...flows.problems import flow_error
from .document import FlowFile, is_json, parse_flow_file
from .files import Stamp, read_bytes, remove, scan, translated, write_text
from .writing import FileFormat, write_flows
from .yaml_reading import has_comments

logger = logging.getLogger(__package__)

_MAX_STEM_CHARS = 60
_HEADER = re.compile(r"\A(?:[ \t]*(?:#.*)?\n)*")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A flow of a file, without the nodes that it was read from."""

    id: str
    file: str
    line: int
    flow: Flow | None
    error: FlowError | None


class ChatbotFolder:
    """Reads and writes the files of *path*; what has not changed since is not read again. Blocks; for any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._stamps: dict[str, Stamp] | None = {}
        self._version = 0
        self._has_been_there = False
        self._read: dict[str, tuple[Stamp, list[_Entry], FlowError | None]] = {}

    def version(self) -> int:
        """How often the files were seen changed."""
        with self._lock:
            stamps = self._scan()
            if stamps != self._stamps:
                self._stamps = stamps
                self._version += 1
            return self._version

    def load(self) -> tuple[list[Flow], list[FlowError]]:
        """The flows by id, and one error for each flow or file that is broken."""
        with self._lock:
            self._refresh()
            served: dict[str, _Entry] = {}
            errors: list[FlowError] = []
            for _, entries, error in self._read.values():
                errors += [error] if error is not None else []
                for entry in entries:
                    if entry.error is not None:
                        errors.append(entry.error)
                    elif (first := served.setdefault(entry.id, entry)) is not entry:
                        errors.append(_twice(entry, first))
            return [entry.flow for _, entry in sorted(served.items()) if entry.flow is not None], errors

    def put(self, flow: Flow, *, replaces: bool = True) -> bool:
        """Write *flow* where it stands, or to a file of its own; not *replaces*: False where there is one."""
        with self._lock:
            self._refresh()
            holders = self._holders(flow.id)
            if holders and not replaces:
                return False
            if holders:
                self._rewrite(holders, flow.id, [flow])
            else:
                with translated(self._path, "made"):
                    self._path.mkdir(exist_ok=True)
                self._write(self._free_path(flow.id), write_flows([flow], "yaml", as_list=False))
            return True

    def remove(self, flow_id: str) -> bool:
        """Remove a flow; False when there was none."""
        with self._lock:
            self._refresh()
            holders = self._holders(flow_id)
            if holders:
                self._rewrite(holders, flow_id, [])
            return bool(holders)

    def _scan(self) -> dict[str, Stamp]:
        stamps = scan(self._path)
        if stamps is None and self._has_been_there:
            raise StoreError(f"the folder {self._path} is gone; bring it back", retryable=True)
        self._has_been_there = stamps is not None
        return stamps or {}

    def _refresh(self) -> None:
        """Read what is new or has changed."""
        before, self._read = self._read, {}
        for name, stamp in self._scan().items():
            known = before.get(name)
            self._read[name] = known if known and known[0] == stamp else (stamp, *self._read_file(name))

    def _read_file(self, name: str) -> tuple[list[_Entry], FlowError | None]:
        try:
            file = parse_flow_file(read_bytes(self._path / name), name)
        except PermissionError as error:
            return [], flow_error(
                [FlowProblem(flow_id="", path=(), sentence=f"cannot be read: {error.strerror}", file=name)]
            )
        return [_Entry(flow.id, name, flow.node.at[0], flow.flow, flow.error) for flow in file.flows], file.error

    def _holders(self, flow_id: str) -> list[_Entry]:
        return [entry for _, entries, _ in self._read.values() for entry in entries if entry.id == flow_id]

    def _rewrite(self, holders: list[_Entry], flow_id: str, replacements: Sequence[Flow]) -> None:
        """Put *replacements* in the place of the flow *flow_id*, and keep what stands beside it in its file."""
        if len(holders) > 1:
            places = ", ".join(f"{holder.file}:{holder.line}" for holder in holders)
            raise _refusal(f"flow {flow_id!r} stands in {places}; remove all but one")
        path = self._path / holders[0].file
        data = read_bytes(path)
        file = parse_flow_file(data, path.name)
        flows = list(_with(file, flow_id, replacements))
        if not flows:
            self._remove(path)
            return
        header = "" if is_json(path.name) else _header_of(data, path)
        format: FileFormat = "json" if is_json(path.name) else "yaml"
        self._write(path, header + write_flows(flows, format, as_list=file.is_list, schema=file.schema))
        if len(flows) > 1:
            logger.info("%s was written anew, with all its %d flows", path, len(flows))

    def _write(self, path: Path, text: str) -> None:
        self._stamps = None  # another version, even if the clock of the files does not tell
        write_text(path, text)

    def _remove(self, path: Path) -> None:
        self._stamps = None
        remove(path)

    def _free_path(self, flow_id: str) -> Path:
        stem = re.sub(r"[^\w-]+", "-", flow_id)[:_MAX_STEM_CHARS].strip("-") or "flow"
        taken = {name.lower() for name in self._read}
        numbered = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        return self._path / next(f"{name}.yaml" for name in numbered if f"{name}.yaml".lower() not in taken)


def _with(file: FlowFile, flow_id: str, replacements: Sequence[Flow]) -> Iterator[Flow]:
    """The flows of *file*, with *replacements* in the place of one."""
    if file.error is not None:
        raise _refusal(f"what stands beside its flows would be lost: {file.error}")
    for flow in file.flows:
        if flow.id == flow_id:
            yield from replacements
        elif flow.flow is None:
            raise _refusal(f"a broken flow beside it would be lost; mend it first: {flow.error}")
        else:
            yield flow.flow


def _header_of(data: bytes, path: Path) -> str:
    """The comments before all else, which stay. Raises StoreError where there are others."""
    text = data.decode("utf-8-sig")
    found = _HEADER.match(text)
    header = found[0] if found else ""
    if has_comments(text[len(header) :]):
        raise _refusal(f"{path} holds comments, which would be lost; change the flow in the file")
    return header


def _twice(entry: _Entry, first: _Entry) -> FlowError:
    sentence = f"it stands in {first.file}:{first.line} already, which is served; remove one, or give it another id"
    problem = FlowProblem(flow_id=entry.id, path=("id",), sentence=sentence, file=entry.file, line=entry.line, column=1)
    return flow_error([problem])


def _refusal(sentence: str) -> StoreError:
    return StoreError(sentence, retryable=False)
