"""YAML as people write it, read safely: no tags, no dates, nothing that grows."""

import re
from bisect import bisect_right
from typing import Any

from ...errors import MissingDependencyError
from .nodes import MAX_HEIGHT, Builder, ListNode, Node, ObjectNode, Position, Scalar, UnreadableError

try:
    import yaml
except ModuleNotFoundError as error:
    raise MissingDependencyError("pyyaml", extra="flows") from error

# libyaml is ten times as fast; where PyYAML was built without it, its own parser does the same.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMENT = re.compile(r"(?:(?<=\s)|\A)#")

_QUOTE_IT = "put a text that holds ': ' or begins with a sign in quotes"
# By the beginning of what PyYAML or libyaml says.
_SENTENCES = {
    "mapping values are not allowed": f"a ':' stands where no name can be; {_QUOTE_IT}",
    "could not find expected ':'": f"a ':' is missing behind this name; {_QUOTE_IT}",
    "found character": f"a value cannot begin with this sign; {_QUOTE_IT}",
    "did not find expected '-' indicator": "a '-' is missing, or the indentation does not fit the lines above",
    "did not find expected key": "the indentation does not fit the lines above, or a text wants quotes",
    "expected <block end>": "the indentation does not fit the lines above, or a text wants quotes",
    "did not find expected ','": "a ',' or the closing bracket is missing",
    "expected ',' or": "a ',' or the closing bracket is missing",
    "did not find expected node content": "a value is missing here",
    "exceeded maximum nesting": f"is nested more than {MAX_HEIGHT} levels deep",
    "found unknown escape character": "no such '\\' in double quotes; write it twice, or use single quotes",
}


def read_yaml(text: str) -> Node | None:
    """The value that *text* holds, None for nothing. Raises UnreadableError."""
    if found := _FORBIDDEN.search(text):
        sentence = (
            f"the character U+{ord(found[0]):04X} cannot stand in YAML; take it out, or write it as \\u in quotes"
        )
        raise UnreadableError(sentence, _position(text, found.start()))
    return _Reader().read(text)


def has_comments(text: str) -> bool:
    """Whether readable YAML holds comments."""
    candidates = [found.start() for found in _COMMENT.finditer(text)]
    if not candidates:
        return False
    scalars = [event for event in yaml.parse(text, Loader=_LOADER) if isinstance(event, yaml.ScalarEvent)]
    spans = [(scalar.start_mark.index, scalar.end_mark.index) for scalar in scalars]  # type: ignore[union-attr]
    before = [(at, bisect_right(spans, (at, len(text))) - 1) for at in candidates]
    return any(number < 0 or at >= spans[number][1] for at, number in before)


class _Reader:
    """Builds a value from the events of a YAML parser."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._anchors: dict[str, Node] = {}
        self._unfinished: dict[str, ListNode | ObjectNode] = {}
        self._documents = 0

    def read(self, text: str) -> Node | None:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            raise _translate(error, text) from error
        return self._builder.root

    def _take(self, event: yaml.Event) -> None:
        at = _position_of(event.start_mark)
        match event:
            case yaml.ScalarEvent():
                self._take_scalar(event, at)
            case yaml.SequenceStartEvent():
                self._open(ListNode(at), event)
            case yaml.MappingStartEvent():
                self._open(ObjectNode(at), event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._builder.add(self._find(str(event.anchor), at))
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise UnreadableError("a second document begins; write several flows under 'flows:'", at)

    def _take_scalar(self, event: yaml.ScalarEvent, at: Position) -> None:
        scalar = Scalar(event.value, at, is_plain=event.implicit[0])
        if event.anchor is not None:
            self._anchors[event.anchor] = scalar
        self._refuse_tag(event, at)
        if scalar.is_plain and event.value == "<<":
            raise UnreadableError("'<<' is not understood; write out what it should put in", at)
        self._builder.add(scalar)

    def _open(self, container: ListNode | ObjectNode, event: yaml.CollectionStartEvent) -> None:
        self._refuse_tag(event, container.at)
        self._builder.open(container)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
            self._unfinished[event.anchor] = container

    def _close(self) -> None:
        container = self._builder.close()
        for anchor in [name for name, opened in self._unfinished.items() if opened is container]:
            self._anchors[anchor] = self._unfinished.pop(anchor)

    def _find(self, anchor: str, at: Position) -> Node:
        if anchor in self._unfinished:
            raise UnreadableError(f"*{anchor} stands inside of &{anchor}, which would contain itself", at)
        if anchor not in self._anchors:
            raise UnreadableError(f"*{anchor} stands for nothing; there is no &{anchor} above", at)
        return self._anchors[anchor]

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, at: Position) -> None:
        if event.tag is not None:
            raise UnreadableError("tags, words that begin with '!', are not read; put such a text in quotes", at)


def _translate(error: yaml.MarkedYAMLError, text: str) -> UnreadableError:
    mark = error.problem_mark or error.context_mark
    at = _position_of(mark)
    problem, context = str(error.problem or ""), str(error.context or "")
    if "end of stream" in problem and error.context_mark is not None:
        return UnreadableError(f"the quotes that open in line {error.context_mark.line + 1} are never closed", at)
    if "tab" in problem or _is_tab(text, at):
        return UnreadableError("a tab stands where only blanks may; indent with blanks", at)
    for beginning, sentence in _SENTENCES.items():
        if problem.startswith(beginning):
            return UnreadableError(sentence, at)
    return UnreadableError(f"this is not YAML: {context}, {problem}".replace(": ,", ":"), at)


def _position_of(mark: Any) -> Position:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _is_tab(text: str, at: Position) -> bool:
    lines = text.splitlines()[at[0] - 1 : at[0]]
    return bool(lines) and lines[0][at[1] - 1 : at[1]] == "\t"


def _position(text: str, index: int) -> Position:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
