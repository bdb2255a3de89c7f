"""The values that a condition compares."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any

from ..folding import fold

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_SIZED = (list, tuple, Mapping)


def look_up(variables: Mapping[str, object], name: str) -> object:
    """What is at the dotted *name*, going through mappings only; None where nothing is."""
    found: object = variables
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


class Value:
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
    def members(self) -> "list[Value]":
        return [Value(item) for item in self.raw] if isinstance(self.raw, list | tuple) else []

    @property
    def is_empty(self) -> bool:
        raw = self.raw
        return raw is None or (not raw.strip() if isinstance(raw, str) else isinstance(raw, _SIZED) and not raw)

    @property
    def is_true(self) -> bool:
        return not self.is_empty and bool(self.raw)

    def equals(self, other: "Value") -> bool:
        if (pair := self._alike(other)) is not None:
            return bool(pair[0] == pair[1])
        return self.raw is other.raw and (self.raw is None or isinstance(self.raw, bool))

    def stands(self, order: Callable[[Any, Any], bool], other: "Value") -> bool:
        pair = self._alike(other)
        return pair is not None and order(*pair)

    def contains(self, other: "Value") -> bool:
        if self.folded is None or other.folded is None or not isinstance(other.raw, str):
            return any(member.equals(other) for member in self.members)
        # Signs are lost in folding: an "@" is looked for as it is.
        return other.raw in str(self.raw) or other.folded in self.folded

    def _alike(self, other: "Value") -> tuple[Decimal, Decimal] | tuple[str, str] | None:
        if self.number is not None and other.number is not None:
            return self.number, other.number
        return None if self.folded is None or other.folded is None else (self.folded, other.folded)


def _is_finite(number: float | Decimal) -> bool:
    return isinstance(number, int) or isfinite(number)
