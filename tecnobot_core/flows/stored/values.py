"""The stored form of values that are no parts of a flow: texts, numbers, lists, any JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any, Protocol

from ..problems import MAX_NESTING, Place, Problems, found


class Form(Protocol):
    """Reads a stored value and writes it back; ``wanted`` says in words what it has to be."""

    @property
    def wanted(self) -> str: ...

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        """The value that is stored as *value*; what is wrong is added to *problems*."""
        ...

    def write(self, value: Any) -> object:
        """The stored form of *value*."""
        ...


@dataclass(frozen=True)
class Value:
    """A value without parts, of one of the JSON *types* and, where they are given, one of *options*."""

    types: tuple[str, ...]
    wanted: str
    fits: Callable[[object], bool]
    options: tuple[str, ...] = ()

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        if not self.fits(value):
            problems.add(place, f"must be {self.wanted}, not {found(value)}", name=value, known=self.options)
        # JSON does not tell 3 from 3.0, and some of its writers write 3.0.
        return int(value) if "integer" in self.types and isinstance(value, float) and self.fits(value) else value

    def write(self, value: Any) -> object:
        # Flows written in Python may have days as limits; JSON has none.
        return value.isoformat() if isinstance(value, date) else value


@dataclass(frozen=True)
class Nullable:
    """A value, or null for *empty*."""

    form: Form
    empty: object = None

    @property
    def wanted(self) -> str:
        return self.form.wanted

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        return self.empty if value is None else self.form.read(value, place, problems)

    def write(self, value: Any) -> object:
        return None if value is None else self.form.write(value)


@dataclass(frozen=True)
class ListOf:
    """A list of *item*."""

    item: Form

    @property
    def wanted(self) -> str:
        return "a list of " + self.item.wanted.removeprefix("an ").removeprefix("a ") + "s"

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        if not isinstance(value, list):
            problems.add(place, f"must be {self.wanted}, not {found(value)}")
            return ()
        return tuple([self.item.read(item, place.at(index), problems) for index, item in enumerate(value)])

    def write(self, value: Any) -> object:
        return [self.item.write(item) for item in value]


@dataclass(frozen=True)
class AnyObject:
    """An object with any JSON values."""

    wanted: str = "an object"

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        if isinstance(value, Mapping):
            return _read_json(value, place, problems)
        problems.add(place, f"must be {self.wanted}, not {found(value)}")
        return {}

    def write(self, value: Any) -> object:
        return _plain(value)


def _read_json(value: object, place: Place, problems: Problems, depth: int = 0) -> object:
    """A copy of *value*, so that the flow does not change with the document."""
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if depth > MAX_NESTING:
        problems.add(place, f"is nested more than {MAX_NESTING} levels deep")
    elif isinstance(value, list | tuple):
        return [_read_json(item, place, problems, depth + 1) for item in value]
    elif isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                problems.add(place, f"the name {found(name)} must be a text; write it in quotes")
        return {name: _read_json(item, place, problems, depth + 1) for name, item in value.items()}
    else:
        problems.add(place, f"may hold texts, numbers, true, false, null, lists and objects, not {found(value)}")
    return None


def _plain(value: Any) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


OBJECT = AnyObject()
TEXT = Value(("string",), "a text", _is_text)
NUMBER = Value(("number",), "a number", _is_number)
INTEGER = Value(("integer",), "a whole number", _is_whole)
TEXT_OR_NUMBER = Value(("string", "number"), "a number or a text", lambda value: _is_text(value) or _is_number(value))
BOOLEAN = Value(("boolean",), "true or false", _is_truth)
TEXT_OR_BOOLEAN = Value(
    ("string", "boolean"), "true, false or a text", lambda value: _is_text(value) or _is_truth(value)
)
