"""JSON with the line and the column of each value, which the standard library does not tell."""

import json
import re
from bisect import bisect_right
from math import isfinite

from .nodes import Builder, ListNode, Node, ObjectNode, Position, Scalar, UnreadableError

_BLANKS = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"\w+")
_WORDS = {"true": True, "false": False, "null": None}
_TEXT = json.JSONDecoder()

_CLOSED_BY = {ListNode: "]", ObjectNode: "}"}


def read_json(text: str) -> Node:
    """The value that *text* holds. Raises UnreadableError; takes what the standard says, and nothing more."""
    return _Reader(text).read()


def number_of(text: str) -> int | float | None:
    """The number that *text* is in JSON; None when it is none, or none that a float holds."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    try:
        number = float(text) if match[1] or match[2] else int(text)
    except ValueError:  # Python reads no more than 4,300 digits
        return None
    return number if isinstance(number, int) or isfinite(number) else None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._builder = Builder()

    def read(self) -> Node:
        self._take_value()
        while not self._builder.is_complete:
            self._take_part()
        if self._peek():
            raise self._unreadable("the value has ended; remove what stands behind it")
        root = self._builder.root
        assert root is not None
        return root

    def _take_part(self) -> None:
        """What may follow inside of a list or an object: its end, or one more part of it."""
        container = self._builder.innermost
        assert container is not None
        closing = _CLOSED_BY[type(container)]
        if self._peek() == closing:
            self._at += 1
            self._builder.close()
            return
        if container.items or container.faults:
            self._skip(",", f"a ',' or '{closing}' is missing")
        if isinstance(container, ObjectNode):
            if self._peek() != '"':
                raise self._unreadable("a name in double quotes is missing")
            self._take_value()
            self._skip(":", "a ':' is missing behind the name")
        self._take_value()

    def _take_value(self) -> None:
        sign = self._peek()
        position = self._position()
        if sign in ("[", "{"):
            self._at += 1
            self._builder.open(ListNode(position) if sign == "[" else ObjectNode(position))
        elif sign == '"':
            self._builder.add(Scalar(self._text_value(), position))
        else:
            self._builder.add(Scalar(self._other_value(), position))

    def _text_value(self) -> object:
        try:
            value, self._at = _TEXT.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = error.pos
            if "Unterminated" in error.msg:
                raise self._unreadable("these quotes are never closed") from error
            if "control" in error.msg:
                raise self._unreadable("a line break or tab stands in a text; write \\n or \\t") from error
            raise self._unreadable("no such '\\' in a text; write '\\\\' for the sign itself") from error
        return value

    def _other_value(self) -> object:
        if match := _NUMBER.match(self._text, self._at):
            number = number_of(match[0])
            if number is None:
                raise self._unreadable("this number is too big")
            self._at = match.end()
            return number
        word = _WORD.match(self._text, self._at)
        if word is None or word[0] not in _WORDS:
            raise self._unreadable("a value is missing: a text in double quotes, a number, true, false, null, [ or {")
        self._at = word.end()
        return _WORDS[word[0]]

    def _skip(self, sign: str, problem: str) -> None:
        if self._peek() != sign:
            raise self._unreadable(problem)
        self._at += 1

    def _peek(self) -> str:
        """The next sign that is no blank; empty at the end."""
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()
        return self._text[self._at : self._at + 1]

    def _unreadable(self, sentence: str) -> UnreadableError:
        return UnreadableError(sentence, self._position())

    def _position(self) -> Position:
        line = bisect_right(self._lines, self._at)
        return line, self._at - self._lines[line - 1] + 1
