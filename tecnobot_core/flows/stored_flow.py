"""The stored form of a flow as a whole: a document beside its keywords and its priority."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from .problems import TOP, Place, Problems, found
from .reading import write_steps
from .steps import AnyStep
from .stored import STEPS, Form, ListOf, Nullable, Value
from .stored.values import INTEGER, TEXT
from .triggers import FlowEvent, Keyword, TriggerKind

if TYPE_CHECKING:
    from .model import Flow

KINDS: tuple[TriggerKind, ...] = get_args(TriggerKind)
EVENTS: tuple[FlowEvent, ...] = get_args(FlowEvent)

_BOOLEAN = Value(("boolean",), "true or false", lambda value: isinstance(value, bool))
_TEXTS = ListOf(TEXT)

FIELDS: Mapping[str, Form] = {
    "id": TEXT,
    "keywords": _TEXTS,
    **dict.fromkeys(KINDS, _TEXTS),
    "event": Nullable(Value(("string",), "one of " + ", ".join(EVENTS), lambda value: value in EVENTS, EVENTS)),
    "interrupts": _BOOLEAN,
    "priority": INTEGER,
    "say": STEPS,
    "steps": STEPS,
}
"""What may stand beside each other in a stored flow, in the order in which it is written."""

_SAY = Place(key="say")


def write_response(flow: "Flow") -> dict[str, object]:
    """The stored form of everything but keywords and priority, in JSON types."""
    stored: dict[str, object] = {"steps": write_steps(flow.steps)}
    if flow.event is not None:
        stored["event"] = flow.event
    if flow.interrupts:
        stored["interrupts"] = True
    return stored | _stored_kinds(flow.keywords)


def read_fields(keywords: object, response: object, priority: object, problems: Problems) -> dict[str, Any]:
    """The fields of a Flow that a stored one holds. What is wrong with their form is added to *problems*."""
    if not isinstance(response, Mapping):
        problems.add(TOP, f"response must be an object with a list 'steps', not {found(response)}")
        problems.raise_if_any()
        return {}
    problems.weigh(response, TOP)
    for name in response.keys() - (FIELDS.keys() - {"id", "keywords", "priority"}):
        problems.add(TOP, f"the field {found(name)} is unknown", name=name, known=FIELDS)
    return {
        "keywords": _read_keywords(keywords, response, problems),
        "event": response.get("event"),
        "steps": _read_steps(response, problems),
        "priority": INTEGER.read(priority, TOP.at("priority"), problems),
        "interrupts": _BOOLEAN.read(response.get("interrupts", False), TOP.at("interrupts"), problems),
    }


def _stored_kinds(keywords: Iterable[Keyword]) -> dict[str, list[str]]:
    """By kind, the texts of keywords that are not only words."""
    others = {keyword.text for keyword in keywords if keyword.kind != "word"}
    stored: dict[str, list[str]] = {}
    for keyword in keywords:
        if keyword.text in others:
            stored.setdefault(keyword.kind, []).append(keyword.text)
    return stored


def _read_keywords(listed: object, response: Mapping[str, object], problems: Problems) -> tuple[Keyword, ...]:
    kinds: dict[str, list[TriggerKind]] = {text: [] for text in _read_texts("keywords", listed, problems)}
    for kind in KINDS:
        for text in dict.fromkeys(_read_texts(kind, response.get(kind, []), problems)):
            if text in kinds:
                kinds[text].append(kind)
    word: list[TriggerKind] = ["word"]
    return tuple(Keyword(text, kind) for text, found in kinds.items() for kind in found or word)


def _read_texts(name: str, value: object, problems: Problems) -> list[str]:
    return [text for text in _TEXTS.read(value, TOP.at(name), problems) if isinstance(text, str)]


def _read_steps(response: Mapping[str, object], problems: Problems) -> tuple[AnyStep, ...]:
    """Steps of every kind under "steps", or texts alone under "say"."""
    if "say" in response and "steps" in response:
        problems.add(TOP, "has both 'say' and 'steps'; put the texts among the steps")
    if "steps" in response:
        return _read_list(response["steps"], Place(), problems)
    if "say" not in response:
        problems.add(Place(), "the field 'steps' is missing; write a list of steps")
        return ()
    say = response["say"]
    return _read_list([_say(item) for item in say] if isinstance(say, list) else say, _SAY, problems)


def _read_list(data: object, place: Place, problems: Problems) -> tuple[AnyStep, ...]:
    steps: tuple[AnyStep, ...] = STEPS.read(data, place, problems)
    return steps


def _say(item: object) -> object:
    """A text with buttons, as a step."""
    if not isinstance(item, Mapping) or "text" not in item:
        return item
    return {"say" if name == "text" else name: value for name, value in item.items()}
