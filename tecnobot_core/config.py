"""The environment, read once, in one place: text, MiB and milliseconds outside; numbers, bytes and seconds inside."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from .errors import ConfigurationError

T = TypeVar("T")

MIB = 1024 * 1024
DAY_MS = 86_400_000
MAX_SECRET_FILE_BYTES = 64 * 1024  # beyond that the name points at something else, perhaps at a device without end


class Secret:
    """A text that never prints; ``reveal()`` gives it to those who must use it. Empty is false."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return "***" if self else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a variable may hold.

    ``wanted`` says it to a person; ``read`` makes a value of stripped text or raises ValueError; ``write`` is its inverse,
    but for secrets, which it hides.
    """

    wanted: str
    read: Callable[[str], T]
    write: Callable[[T], str] = str
    secret: bool = False


def whole(unit: str, least: int, most: int, *, scale: int = 1) -> Kind[int]:
    """A count of *unit*, each worth *scale* inside."""

    def read(text: str) -> int:
        # int() alone would take "1_000", "+5" and the digits of other scripts.
        if not re.fullmatch("[0-9]{1,15}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text) * scale

    return Kind(f"a whole number of {unit} from {least} to {most}", read, lambda value: str(value // scale))


def milliseconds(least: int, most: int = DAY_MS) -> Kind[float]:
    """A time, in seconds inside."""
    kind = whole("milliseconds", least, most)
    return Kind(kind.wanted, lambda text: kind.read(text) / 1000, lambda seconds: str(round(seconds * 1000)))


def one_of(*names: str) -> Kind[str]:
    """One of *names*, in any case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(text)
        return text.lower()

    return Kind("one of " + ", ".join(names), read)


def text(wanted: str, pattern: str = r"\P{C}*", *, check: Callable[[str], bool] = str.isprintable) -> Kind[str]:
    raise NotImplementedError
