"""From the text of a condition to a function of its variables."""

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .tokens import read_tokens
from .values import Value

MAX_LEVELS = 50  # of parentheses; the parser and the condition call themselves once a level

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Values = Mapping[str, Value]
Node = Callable[[Values], Value]
_TRUTH = {False: Value(False), True: Value(True)}
_CONSTANTS = {"true": _TRUTH[True], "false": _TRUTH[False], "no": _TRUTH[False], "null": Value(None)}


class Parser:
    """One method a level of precedence; every token is looked at once."""

    def __init__(self, text: str) -> None:
        self._tokens = read_tokens(text)
        self._place = 0
        self._levels = 0
        self.names: set[str] = set()

    def parse(self) -> Node:
        node = self._either()
        if self._kind != "end":
            raise self._error("expected and, or, or the end")
        return node

    @property
    def _kind(self) -> str:
        return self._tokens[self._place][0]

    def _take(self, *kinds: str) -> str | None:
        """Go past a token of one of *kinds*; its kind, or None when another stands here."""
        if (kind := self._kind) not in kinds:
            return None
        self._place += 1
        return kind

    def _want(self, kind: str) -> None:
        if not self._take(kind):
            raise self._error(f"expected {kind}")

    def _error(self, wanted: str) -> ValueError:
        _, written, position = self._tokens[self._place]
        found = f"not {written}" if written else "but the condition ends"
        return ValueError(f"character {position}: {wanted}, {found}")

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _truth(lambda values: any(part(values).is_true for part in parts))

    def _both(self) -> Node:
        parts = [self._opposite()]
        while self._take("and"):
            parts.append(self._opposite())
        return parts[0] if len(parts) == 1 else _truth(lambda values: all(part(values).is_true for part in parts))

    def _opposite(self) -> Node:
        negations = 0
        while self._take("not", "no"):
            negations += 1
        node = self._comparison()
        for _ in range(2 - negations % 2 if negations else 0):  # a hundred in a row are as good as two
            node = _negated(node)
        return node

    def _comparison(self) -> Node:
        left = self._operand()
        if sign := self._take("=", "==", "!=", *_ORDERS):
            return self._compared(left, sign, self._operand())
        if self._take("is"):
            negated = self._take("not", "no")
            self._want("empty")
            empty = _truth(lambda values: left(values).is_empty)
            return _negated(empty) if negated else empty
        if self._take("contains"):
            return _containing(left, self._operand())
        negated = self._take("not", "no")
        if self._take("in"):
            inside = self._inside(left)
            return _negated(inside) if negated else inside
        if negated:
            raise self._error("expected in")
        return left

    def _compared(self, left: Node, sign: str, right: Node) -> Node:
        if self._kind in ("=", "==", "!=", *_ORDERS):
            raise self._error("compare two values at a time and join with and")
        if order := _ORDERS.get(sign):
            return _truth(lambda values: left(values).stands(order, right(values)))
        equal = _truth(lambda values: left(values).equals(right(values)))
        return _negated(equal) if sign == "!=" else equal

    def _inside(self, left: Node) -> Node:
        if not self._take("["):
            return _containing(self._operand(), left)
        items = [] if self._kind == "]" else [self._item()]
        while items and self._take(","):
            items.append(self._item())
        self._want("]")
        return _truth(lambda values: _is_among(left(values), [item(values) for item in items]))

    def _operand(self) -> Node:
        if self._kind != "(":
            return self._item()
        if self._levels == MAX_LEVELS:
            raise self._error(f"at most {MAX_LEVELS} parentheses may be open")
        self._want("(")
        self._levels += 1
        node = self._either()
        self._want(")")
        self._levels -= 1
        return node

    def _item(self) -> Node:
        """A name or a literal."""
        written = self._tokens[self._place][1]
        if kind := self._take(*_CONSTANTS):
            return _constant(_CONSTANTS[kind])
        if self._take("number"):
            return _constant(Value(Decimal(written)))
        if self._take("text"):
            return _constant(Value(written[1:-1]))
        if self._take("name"):
            self.names.add(written)
            return lambda values: values[written]
        raise self._error("expected a variable, a number or a text in quotes")


def _truth(test: Callable[[Values], bool]) -> Node:
    return lambda values: _TRUTH[test(values)]


def _negated(node: Node) -> Node:
    return _truth(lambda values: not node(values).is_true)


def _constant(value: Value) -> Node:
    return lambda values: value


def _containing(whole: Node, part: Node) -> Node:
    return _truth(lambda values: whole(values).contains(part(values)))


def _is_among(value: Value, items: Sequence[Value]) -> bool:
    return any(item.equals(value) for item in items)
