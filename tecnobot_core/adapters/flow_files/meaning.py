"""What the values of a file mean: a plain 5 is a number where a number is wanted, and the text "5" where a text is."""

from collections.abc import Mapping

from ...flows.problems import TOP, Place
from ...flows.stored import Form, ListOf, Nullable, OneOf, Record, StepForm, Value
from .json_reading import number_of
from .nodes import ListNode, Node, ObjectNode, Scalar, UnreadableError

_NOTHING = ("", "~", "null")
_TRUTHS = {"true": True, "false": False}
_TYPES: Mapping[type, frozenset[str]] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"integer", "number"}),
    float: frozenset({"integer", "number"}),
    str: frozenset({"string"}),
}


def meaning_of(plain: str) -> object:
    """What a plain word means where nothing says what is wanted: nothing, a truth, a number as in JSON, or a text.

    The other words and numbers of YAML, such as no, yes, 012, 1_000 and 2026-01-31, are texts.
    """
    if plain in _NOTHING:
        return None
    if plain in _TRUTHS:
        return _TRUTHS[plain]
    number = number_of(plain)
    return plain if number is None else number


class Meaning:
    """Turns nodes into what the stored form of a flow holds; ``faults`` are theirs, and its own, with their places.

    What several aliases stand for is one object in the result as well, so that it takes no more room.
    """

    def __init__(self) -> None:
        self.faults: list[tuple[Place, UnreadableError]] = []
        self._known: dict[tuple[int, int], object] = {}

    def of(self, node: Node, form: Form | None = None, place: Place = TOP) -> object:
        """The value of *node*, which stands at *place*, where *form* is wanted; None: anything."""
        while isinstance(form, Nullable):
            form = form.form
        if isinstance(node, Scalar):
            return self._scalar(node, form, place) if node.is_plain else node.value
        key = (id(node), id(form))
        if key not in self._known:
            self.faults += [(place, fault) for fault in node.faults]
            if isinstance(node, ListNode):
                self._known[key] = self._list(node, form, place)
            else:
                self._known[key] = self._object(node, form, place)
        return self._known[key]

    def _list(self, node: ListNode, form: Form | None, place: Place) -> object:
        item_form = form.item if isinstance(form, ListOf) else None
        result = []
        for index, item in enumerate(node.items):
            result.append(self.of(item, item_form, place.at(index, _id_of(item))))
        return result

    def _object(self, node: ObjectNode, form: Form | None, place: Place) -> object:
        record = _record(node, form)
        fields = {} if record is None else record.fields
        result = {}
        for name, item in node.items.items():
            result[name] = self.of(item, fields[name].form if name in fields else None, place.at(name))
        return result

    def _scalar(self, node: Scalar, form: Form | None, place: Place) -> object:
        plain = str(node.value)
        meaning = meaning_of(plain)
        if isinstance(form, StepForm) and plain in form.records:
            sentence = f"{plain!r} alone would be said; write '{plain}:' for the step, or the text in quotes"
            self.faults.append((place, UnreadableError(sentence, node.at)))
        types = ("string",) if isinstance(form, StepForm) else form.types if isinstance(form, Value) else ()
        is_wanted = not _TYPES[type(meaning)].isdisjoint(types)
        return meaning if is_wanted or meaning is None or "string" not in types else plain


def _id_of(node: Node) -> str:
    """How a step names itself."""
    named = node.items.get("id") if isinstance(node, ObjectNode) else None
    return str(named.value) if isinstance(named, Scalar) else ""


def _record(node: ObjectNode, form: Form | None) -> Record | None:
    if isinstance(form, Record):
        return form
    if isinstance(form, OneOf):
        leads = [lead for lead in form.records if lead in node.items]
        return form.records[leads[0]] if len(leads) == 1 else None
    return None
