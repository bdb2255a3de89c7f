"""Conditions over variables, as owners write them: "total >= 100 and (city in ['Lima', 'Cusco'] or not new)"."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any

from .folding import fold

MAX_CHARS = 1_000
MAX_LEVELS = 50  # of parentheses; the parser and the condition call themselves once a level

NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"

_TOKEN = re.compile(
    rf"""\s*(?: (?P<number> -?[0-9]+(?:\.[0-9]+)?(?![\w.]) ) | (?P<text> "[^"]*" | '[^']*' )
       | (?P<name> {NAME} ) | (?P<sign> == | != | <= | >= | [=<>()\[\],] ) | (?P<end> \Z ) )""",
    re.VERBOSE,
)
_WORDS = {word: word for word in ("and", "or", "not", "no", "in", "contains", "is", "empty", "true", "false", "null")}
_WORDS |= {"y": "and", "o": "or", "si": "true", "sí": "true"}
RESERVED = frozenset(_WORDS)
"""The words that are no names, in small letters."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Expression:
    """A condition, parsed once; it can reach nothing but the variables it is given.

    Literals are numbers, texts in single or double quotes, true, false, null, ``sí``, and, behind a comparison or in a
    list, ``no``. Names reach into mappings by dots. Between them stand ``=`` or ``==``, ``!=``, ``<``, ``<=``, ``>``,
    ``>=``, ``in``, ``not in``, ``contains``, ``is empty`` and ``is not empty``; around them parentheses and, from the
    loosest, ``or``/``o``, ``and``/``y``, ``not``/``no``. A list in brackets follows ``in``. These words are no names.

    Raises ValueError, with the place counted from 1, for what is not a condition. Reading takes linear time.
    """

    __slots__ = ("_condition", "names", "text")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ValueError(f"the condition has {len(text)} characters; at most {MAX_CHARS}")
        if not text.strip():
            raise ValueError("the condition is empty; write for example: total > 100")
        parser = _Parser(text)
        self.text = text
        self._condition = parser.parse()
        self.names = frozenset(parser.names)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Whether the condition is true of *variables*, which are of JSON types. Never raises.

        A missing variable is null. Texts are compared as ``fold`` has them, and as numbers where both sides read as
        numbers. Unlike kinds are neither equal nor ordered; nor are null and lists ordered. A name alone holds unless
        it is null, false, zero or empty.
        """
        # Each name is looked up and folded once, however often the condition has it.
        return self._condition({name: _Value(look_up(variables, name)) for name in self.names}).is_true


def look_up(variables: Mapping[str, object], name: str) -> object:
    """What is at the dotted *name*, going through mappings only; None where nothing is."""
    found: object = variables
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


class _Value:
    """A value with the forms that it is compared in, each made when first needed."""

    def __init__(self, raw: object) -> None:
        self.raw = raw

    @cached_property
    def number(self) -> Decimal | None:
        raw = self.raw
        if isinstance(raw, str):
            return Decimal(raw) if _NUMBER.fullmatch(raw.strip()) else None
        if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal) or not _is_finite(raw):
            return None
        # Through its digits: as people write it, 0.1 is one tenth.
        return Decimal(repr(raw)) if isinstance(raw, float) else Decimal(raw)

    @cached_property
    def folded(self) -> str | None:
        return fold(self.raw) if isinstance(self.raw, str) else None

    @cached_property
    def members(self) -> "list[_Value]":
        return [_Value(item) for item in self.raw] if isinstance(self.raw, list | tuple) else []

    @property
    def is_empty(self) -> bool:
        raw = self.raw
        return raw is None or (not raw.strip() if isinstance(raw, str) else isinstance(raw, _SIZED) and not raw)

    @property
    def is_true(self) -> bool:
        return not self.is_empty and bool(self.raw)

    def equals(self, other: "_Value") -> bool:
        if (pair := self._alike(other)) is not None:
            return bool(pair[0] == pair[1])
        return self.raw is other.raw and (self.raw is None or isinstance(self.raw, bool))

    def stands(self, order: Callable[[Any, Any], bool], other: "_Value") -> bool:
        pair = self._alike(other)
        return pair is not None and order(*pair)

    def contains(self, other: "_Value") -> bool:
        if self.folded is None or other.folded is None or not isinstance(other.raw, str):
            return any(member.equals(other) for member in self.members)
        # Signs are lost in folding: an "@" is looked for as it is.
        return other.raw in str(self.raw) or other.folded in self.folded

    def _alike(self, other: "_Value") -> tuple[Decimal, Decimal] | tuple[str, str] | None:
        if self.number is not None and other.number is not None:
            return self.number, other.number
        return None if self.folded is None or other.folded is None else (self.folded, other.folded)


_SIZED = (list, tuple, Mapping)
_Values = Mapping[str, _Value]
_Node = Callable[[_Values], _Value]
_TRUTH = {False: _Value(False), True: _Value(True)}
_CONSTANTS = {"true": _TRUTH[True], "false": _TRUTH[False], "no": _TRUTH[False], "null": _Value(None)}


def _is_finite(number: float | Decimal) -> bool:
    return isinstance(number, int) or isfinite(number)


def _truth(test: Callable[[_Values], bool]) -> _Node:
    return lambda values: _TRUTH[test(values)]


def _negated(node: _Node) -> _Node:
    return _truth(lambda values: not node(values).is_true)


def _constant(value: _Value) -> _Node:
    return lambda values: value


class _Parser:
    """One method a level of precedence; every token is looked at once."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._place = 0
        self._levels = 0
        self.names: set[str] = set()

    def parse(self) -> _Node:
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

    def _either(self) -> _Node:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _truth(lambda values: any(part(values).is_true for part in parts))

    def _both(self) -> _Node:
        parts = [self._opposite()]
        while self._take("and"):
            parts.append(self._opposite())
        return parts[0] if len(parts) == 1 else _truth(lambda values: all(part(values).is_true for part in parts))

    def _opposite(self) -> _Node:
        negations = 0
        while self._take("not", "no"):
            negations += 1
        node = self._comparison()
        for _ in range(2 - negations % 2 if negations else 0):  # a hundred in a row are as good as two
            node = _negated(node)
        return node

    def _comparison(self) -> _Node:
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

    def _compared(self, left: _Node, sign: str, right: _Node) -> _Node:
        if self._kind in ("=", "==", "!=", *_ORDERS):
            raise self._error("compare two values at a time and join with and")
        if order := _ORDERS.get(sign):
            return _truth(lambda values: left(values).stands(order, right(values)))
        equal = _truth(lambda values: left(values).equals(right(values)))
        return _negated(equal) if sign == "!=" else equal

    def _inside(self, left: _Node) -> _Node:
        if not self._take("["):
            return _containing(self._operand(), left)
        items = [] if self._kind == "]" else [self._item()]
        while items and self._take(","):
            items.append(self._item())
        self._want("]")
        return _truth(lambda values: _is_among(left(values), [item(values) for item in items]))

    def _operand(self) -> _Node:
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

    def _item(self) -> _Node:
        """A name or a literal."""
        written = self._tokens[self._place][1]
        if kind := self._take(*_CONSTANTS):
            return _constant(_CONSTANTS[kind])
        if self._take("number"):
            return _constant(_Value(Decimal(written)))
        if self._take("text"):
            return _constant(_Value(written[1:-1]))
        if self._take("name"):
            self.names.add(written)
            return lambda values: values[written]
        raise self._error("expected a variable, a number or a text in quotes")


def _containing(whole: _Node, part: _Node) -> _Node:
    return _truth(lambda values: whole(values).contains(part(values)))


def _is_among(value: _Value, items: Sequence[_Value]) -> bool:
    return any(item.equals(value) for item in items)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and place, counted from 1, of every token; the last is the end."""
    tokens: list[tuple[str, str, int]] = []
    place = 0
    while not tokens or tokens[-1][0] != "end":
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _unreadable(text, place)
        written = match[match.lastgroup]
        kind = _WORDS.get(written.casefold(), match.lastgroup) if match.lastgroup == "name" else match.lastgroup
        tokens.append((written if kind == "sign" else kind, written, match.start(match.lastgroup) + 1))
        place = match.end()
    return tokens


def _unreadable(text: str, place: int) -> ValueError:
    rest = text[place:].lstrip()
    position = len(text) - len(rest) + 1
    if rest[0] in "'\"":
        return ValueError(f"character {position}: the text that begins here has no closing quote")
    if rest[0].isdecimal() or rest[0] == "-":
        return ValueError(f"character {position}: not a number; write it like 1234.5")
    return ValueError(f"character {position}: {rest[0]!r} is no part of a condition; texts are written in quotes")
