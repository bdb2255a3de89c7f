"""YAML that is pleasant to read and to edit, and means the same to every reader of YAML, old or new."""

import json
import re
from collections.abc import Iterator, Mapping

_MAX_INLINE_CHARS = 100
_MAX_INLINE_ITEM_CHARS = 30  # words stand beside each other, sentences below
_MAX_NAME_CHARS = 1_000  # YAML finds the ':' behind a longer name only where '?' announces it

# What a text cannot hold without quotes, whatever stands around it: signs that begin something else, what ends a value,
# and what is not seen or would be taken for the end of a line.
_INVISIBLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff"
_HIDDEN = re.compile(f"[{_INVISIBLE}]")
_UNSAFE = re.compile(rf"\A[\s\-.?:,\[\]{{}}#&*!|>'\"%@`=<~]|: | #|[:\s]\Z|[\t\n{_INVISIBLE}]")
_UNSAFE_INLINE = re.compile(r"[,?:\[\]{}]")
_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][-+.:_/xXoO0-9a-fA-FTtZ ]*|[-+]?\.(inf|nan)", re.IGNORECASE)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_BLOCK = re.compile(rf"(?!\n*[ \t])(?!\n+\Z)[^\t{_INVISIBLE}]*\n[^\t{_INVISIBLE}]*")


def write_yaml(value: object, *, steps: frozenset[str] = frozenset(), reserved: frozenset[str] = frozenset()) -> str:
    """*value*, of JSON types, as a YAML document.

    Lists under the names *steps* get a line for each item, and quotes around the texts in them that are *reserved*.
    """
    return "\n".join(_Writer(steps, reserved).lines(value)) + "\n"


class _Writer:
    def __init__(self, steps: frozenset[str], reserved: frozenset[str]) -> None:
        self._steps = steps
        self._reserved = reserved

    def lines(self, value: object) -> Iterator[str]:
        """The lines of a document, or of what stands in a list or an object, without their indentation."""
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                yield from self._entry(str(name), item)
        elif isinstance(value, list | tuple) and value:
            for item in value:
                # What belongs to an item begins beside its '-'.
                for number, line in enumerate(self._item(item)):
                    yield f"- {line}" if number == 0 else f"  {line}".rstrip(" ")
        else:
            yield self._scalar(value)

    def _item(self, item: object) -> Iterator[str]:
        if isinstance(item, str) and item in self._reserved:
            yield json.dumps(item)
        elif (inline := self._inline(item)) is not None:
            yield inline
        elif isinstance(item, str):
            yield from self._text(item)
        else:
            yield from self.lines(item)

    def _entry(self, name: str, item: object) -> Iterator[str]:
        key = self._scalar(name)
        if len(key) > _MAX_NAME_CHARS:
            yield f"? {key}"
            key = ""
        inline = self._inline(item) if name not in self._steps or not item else None
        if item is None or inline is not None:
            yield f"{key}:" if item is None else f"{key}: {inline}"
            return
        first, *lines = self._text(item) if isinstance(item, str) else ["", *self.lines(item)]
        yield f"{key}: {first}".rstrip(" ")
        for line in lines:
            yield f"  {line}".rstrip(" ")

    def _text(self, text: str) -> Iterator[str]:
        """A text of several lines, as one."""
        yield "|" if text.endswith("\n") else "|-"
        yield from text.removesuffix("\n").split("\n")

    def _inline(self, value: object) -> str | None:
        """How *value* is written in one line; None where it wants several."""
        if isinstance(value, str):
            return None if _is_block(value) else self._scalar(value)
        if not value or not isinstance(value, list | tuple | Mapping):
            return self._scalar(value)
        if isinstance(value, Mapping) or any(isinstance(item, list | tuple | Mapping) for item in value):
            return None
        items = [self._scalar(item, inline=True) for item in value]
        inline = "[" + ", ".join(items) + "]"
        fits = len(inline) <= _MAX_INLINE_CHARS and max(map(len, items)) <= _MAX_INLINE_ITEM_CHARS
        return inline if fits else None

    def _scalar(self, value: object, *, inline: bool = False) -> str:
        if not isinstance(value, str):
            return json.dumps(value, allow_nan=False)
        if _wants_quotes(value) or (inline and _UNSAFE_INLINE.search(value)):
            quoted = json.dumps(value, ensure_ascii=False)
            return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
        return value


def _wants_quotes(text: str) -> bool:
    return not text or bool(_UNSAFE.search(text) or _LIKE_A_NUMBER.fullmatch(text)) or text.lower() in _WORDS


def _is_block(text: str) -> bool:
    if not _BLOCK.fullmatch(text) or text.endswith("\n\n"):
        return False
    return not any(line.endswith(" ") for line in text.split("\n"))
