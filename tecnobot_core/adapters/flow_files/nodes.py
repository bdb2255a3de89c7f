"""A file as it was parsed: values, each with the line and the column where it stands, from 1."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_HEIGHT = 300  # levels of lists and objects; 50 levels of menus with arguments take 260
MAX_VALUES = 500_000  # about what one flow may weigh; each takes some 150 bytes
MAX_WEIGHT = 32 * 1024 * 1024  # characters, and two for each value; only aliases make more of a file of 16 MiB

Position: TypeAlias = tuple[int, int]


class UnreadableError(Exception):
    """A file cannot be parsed; the sentence says why, and what is wanted."""

    def __init__(self, sentence: str, at: Position = (0, 0)) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.at = at


@dataclass(slots=True, eq=False)
class Scalar:
    """A value without parts; a plain one, which only YAML has, is the text that was written and may mean a number."""

    value: object
    at: Position
    is_plain: bool = False
    height: int = 0

    @property
    def weight(self) -> int:
        return 2 + (len(self.value) if isinstance(self.value, str) else 0)


@dataclass(slots=True, eq=False)
class ListNode:
    """A list."""

    at: Position
    items: "list[Node]" = field(default_factory=list)
    height: int = 1
    weight: int = 2
    faults: list[UnreadableError] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ObjectNode:
    """An object. ``faults`` are what is wrong with it although it can be read: a name that stands twice."""

    at: Position
    items: "dict[str, Node]" = field(default_factory=dict)
    names: dict[str, Position] = field(default_factory=dict)
    height: int = 1
    weight: int = 2
    faults: list[UnreadableError] = field(default_factory=list)


Node: TypeAlias = Scalar | ListNode | ObjectNode


def locate(node: Node, path: Sequence[str | int], name: str = "") -> Position:
    """Where in *node* the value at *path* stands, or the last that exists on the way; of an object the *name* in it."""
    for key in path:
        inner = _inner(node, key)
        if inner is None:
            break
        node = inner
    if isinstance(node, ObjectNode) and name in node.names:
        return node.names[name]
    if isinstance(node, ListNode):
        return next((item.at for item in node.items if isinstance(item, Scalar) and item.value == name), node.at)
    return node.at


def _inner(node: Node, key: str | int) -> Node | None:
    if isinstance(node, ObjectNode) and isinstance(key, str):
        return node.items.get(key)
    if isinstance(node, ListNode) and isinstance(key, int) and key < len(node.items):
        return node.items[key]
    return None


class Builder:
    """Puts the values together that a parser finds one after the other. Nothing recurses."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[ListNode | ObjectNode] = []
        self._names: list[Scalar | None] = []
        self._values = 0

    @property
    def is_complete(self) -> bool:
        """Whether a whole value has been read."""
        return self.root is not None and not self._open

    @property
    def innermost(self) -> ListNode | ObjectNode | None:
        """What is being read."""
        return self._open[-1] if self._open else None

    def open(self, container: ListNode | ObjectNode) -> None:
        """Begin a list or an object."""
        if len(self._open) >= MAX_HEIGHT:
            raise UnreadableError(f"is nested more than {MAX_HEIGHT} levels deep", container.at)
        if self.innermost is not None and self._wants_name():
            raise UnreadableError("a name must be a text, not a list or an object", container.at)
        self._count(container.at)
        self._open.append(container)
        self._names.append(None)
        if self.root is None:
            self.root = container

    def close(self) -> ListNode | ObjectNode:
        """End the innermost list or object, and put it where it belongs."""
        container = self._open.pop()
        self._names.pop()
        if self._open:
            self._put(container)
        return container

    def add(self, node: Node) -> None:
        """Put a value, or a name, where it belongs."""
        self._count(node.at)
        if self.root is None:
            self.root = node
        elif self._wants_name():
            if not isinstance(node, Scalar):
                raise UnreadableError("a name must be a text, not a list or an object", node.at)
            self._names[-1] = node
        else:
            self._put(node)

    def _wants_name(self) -> bool:
        return isinstance(self.innermost, ObjectNode) and self._names[-1] is None

    def _put(self, node: Node) -> None:
        container = self._open[-1]
        container.height = max(container.height, node.height + 1)
        container.weight += node.weight
        # An alias may stand for something high or big without being written deep or long.
        if container.height > MAX_HEIGHT:
            raise UnreadableError(f"is nested more than {MAX_HEIGHT} levels deep", node.at)
        if container.weight > MAX_WEIGHT:
            raise UnreadableError("with all that its aliases stand for, it is bigger than 16 MiB", node.at)
        if isinstance(container, ListNode):
            container.items.append(node)
            return
        name, self._names[-1] = self._names[-1], None
        assert name is not None
        text = str(name.value)
        if (first := container.names.get(text)) is not None:
            sentence = f"the name {text[:80]!r} stands twice in this object, first in line {first[0]}; remove one"
            container.faults.append(UnreadableError(sentence, name.at))
            return
        container.items[text] = node
        container.names[text] = name.at

    def _count(self, at: Position) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise UnreadableError(f"holds more than {MAX_VALUES:,} values; make several files of it", at)
