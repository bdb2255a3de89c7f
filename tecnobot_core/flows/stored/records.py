"""The stored form of the parts of a flow, derived from their dataclasses: each step an object named by its kind."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache, cached_property
from types import UnionType
from typing import Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

from .. import steps
from ..problems import Place, Problems, found
from ..steps import AnyStep, Ask, Call, Do, End, Finish, FormField, Goto, Handoff, Jump, Menu, Send, When
from .values import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_OR_BOOLEAN,
    TEXT_OR_NUMBER,
    Form,
    ListOf,
    Nullable,
    Value,
)

KINDS: Mapping[type, tuple[str, str]] = {
    Send: ("say", "text"),
    Ask: ("ask", "text"),
    Menu: ("menu", "text"),
    steps.Form: ("form", "name"),
    Do: ("do", "function"),
    When: ("when", "condition"),
    Jump: ("goto", "flow"),
    Call: ("call", "flow"),
    Handoff: ("handoff", "text"),
    Finish: ("end", "text"),
    Goto: ("goto", "flow"),
    End: ("end", "text"),
    FormField: ("ask", ""),
}
"""The key that names each kind in the stored form, and the attribute that is its value."""


class Limits(TypedDict, total=False):
    """What ``Ask.limits`` may hold."""

    min: float | str
    max: float | str
    choices: tuple[str, ...]
    kinds: tuple[str, ...]


# These attributes have no object of their own: their fields stand beside the others.
_INLINED: Mapping[tuple[type, str], type] = {(Ask, "limits"): Limits, (Jump, "to"): Goto, (FormField, "ask"): Ask}


@dataclass(frozen=True)
class Field:
    """A field of a record: its stored *name*, and the attributes that lead to its value. MISSING: it is required."""

    name: str
    attributes: tuple[str, ...]
    form: Form
    default: object

    def of(self, record: Any) -> Any:
        """The value of this field."""
        value = record
        for name in self.attributes:
            value = value.get(name, self.default) if isinstance(value, Mapping) else getattr(value, name)
        return value


@dataclass(frozen=True)
class Record:
    """An object that holds the fields of the dataclass *kind*, its leading field first."""

    kind: type

    @property
    def wanted(self) -> str:
        name = self.kind.__name__
        return f"a {(name.removeprefix('Form') or name).lower()} object"

    @property
    def lead(self) -> str:
        """The key that names this kind; empty when its place alone tells what it is."""
        return KINDS.get(self.kind, ("", ""))[0]

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """By stored name: the leading one, then in the order of the dataclass."""
        own = list(_fields(self.kind))
        return {field.name: field for field in sorted(own, key=lambda field: field.name != self.lead)}

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        if not isinstance(value, dict):
            problems.add(place, f"must be {self.wanted}, not {found(value)}")
            return None
        missing = [field for field in self.fields.values() if field.default is MISSING and field.name not in value]
        for field in missing:
            problems.add(place, f"the field {field.name!r} is missing; write {field.form.wanted}")
        given: dict[str, Any] = {}
        for name, item in value.items():
            if known := self.fields.get(name):
                _put(given, known.attributes, known.form.read(item, place.at(name), problems))
            else:
                problems.add(place, f"the field {found(name)} is unknown", name=name, known=self.fields)
        return None if missing else self._make(given)

    def write(self, value: Any) -> object:
        stored = {}
        for field in self.fields.values():
            item = field.of(value)
            if field.name == self.lead or item != field.default:
                stored[field.name] = field.form.write(item)
        return stored

    def _make(self, given: dict[str, Any]) -> Any:
        for (kind, attribute), inlined in _INLINED.items():
            if kind is self.kind and attribute in given:
                given[attribute] = inlined(**given[attribute])
        return self.kind(**given)


@dataclass(frozen=True)
class OneOf:
    """One of several records, told apart by the key that only one of them has."""

    kinds: tuple[type, ...]
    name: str

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """By the key that names them."""
        return {KINDS[kind][0]: Record(kind) for kind in self.kinds}

    @property
    def wanted(self) -> str:
        return f"a {self.name}"

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        leads = [lead for lead in self.records if lead in value] if isinstance(value, dict) else []
        if isinstance(value, dict) and len(leads) == 1:
            return self.records[leads[0]].read(value, place, problems)
        if len(leads) > 1:
            problems.add(place, f"has both {leads[0]!r} and {leads[1]!r}; write one of them")
        else:
            wrong = self._wrong_lead(value)
            sentence = f"must be {self.wanted} with one of {', '.join(self.records)}, not {found(value)}"
            problems.add(place, sentence, name=wrong, known=self.records)
        return None

    def write(self, value: Any) -> object:
        return self.records[KINDS[type(value)][0]].write(value)

    def _wrong_lead(self, value: object) -> object:
        # Not simply the first key: a database may have sorted them.
        known = {name for record in self.records.values() for name in record.fields}
        return next((key for key in value if key not in known), None) if isinstance(value, dict) else None


@dataclass(frozen=True)
class StepForm(OneOf):
    """A step; a text alone is said."""

    def read(self, value: object, place: Place, problems: Problems) -> Any:
        id = value.get("id") if isinstance(value, dict) else None
        if isinstance(id, str) and place.above:
            place = place.above.at(place.key, id)
        if not problems.enter_step(place):
            return None
        return Send(text=value) if isinstance(value, str) else super().read(value, place, problems)

    def write(self, value: Any) -> object:
        return value.text if value == Send(text=getattr(value, "text", "")) else super().write(value)


_PLAIN: Mapping[object, Form] = {
    str: TEXT,
    int: INTEGER,
    float: NUMBER,
    bool: BOOLEAN,
    float | str: TEXT_OR_NUMBER,
    bool | str: TEXT_OR_BOOLEAN,
    Mapping[str, object]: OBJECT,
    AnyStep: StepForm(get_args(AnyStep), "step"),
    Goto | End: OneOf((Goto, End), "destination"),
}


@cache
def form_of(hint: Any) -> Form:
    """The stored form of values of the type *hint*."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Value(("string",), "one of " + ", ".join(arguments), lambda value: value in arguments, arguments)
    if origin is tuple:
        return ListOf(form_of(arguments[0]))
    if origin in (Union, UnionType):
        return Nullable(form_of(arguments[0]))
    return Record(hint)


STEPS = ListOf(form_of(AnyStep))


def _fields(kind: type, above: tuple[str, ...] = ()) -> Iterator[Field]:
    hints = get_type_hints(kind)
    defaults = {item.name: _default(item) for item in fields(kind)} if kind is not Limits else {}
    for attribute, hint in hints.items():
        if inlined := _INLINED.get((kind, attribute)):
            yield from _fields(inlined, (*above, attribute))
            continue
        lead, of_lead = KINDS.get(kind, ("", ""))
        name, form, default = attribute, form_of(hint), defaults.get(attribute)
        if attribute == of_lead:
            name, form = lead, form if default is MISSING else Nullable(form, default)
        yield Field(name, (*above, attribute), form, default)


def _default(field: Any) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _put(given: dict[str, Any], attributes: tuple[str, ...], value: object) -> None:
    for attribute in attributes[:-1]:
        given = given.setdefault(attribute, {})
    given[attributes[-1]] = value
