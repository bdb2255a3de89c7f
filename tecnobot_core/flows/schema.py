"""The JSON Schema of stored steps, for editors that complete and check what an owner writes."""

from collections.abc import Mapping
from dataclasses import MISSING

from .stored import STEPS, AnyObject, Field, Form, ListOf, Nullable, OneOf, Record, StepForm, Value

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# A name alone describes the field wherever it stands; "kind.name" where it says something of its own.
DESCRIPTIONS: Mapping[str, str] = {
    "say": "Sends this text, with variables in braces: Hola {name}.",
    "ask": "Sends this text and waits for an answer, which is kept in a variable.",
    "menu": "Sends this text with its choices and waits until one of them is chosen.",
    "form": "Asks for the fields one after another; what was confirmed is kept as a record of the form of this name.",
    "do": "Calls the registered function of this name; what it returns may lead elsewhere.",
    "when": "Goes through 'then' where this condition holds over the variables, else through 'otherwise'.",
    "goto": "Goes on in this flow; empty or null is the same flow.",
    "call": "Goes through this flow with the same variables, and comes back.",
    "handoff": "Sends this text, if there is one, and is silent until a person gives the chat back.",
    "end": "Sends this text, if there is one, and ends the flow.",
    "id": "A name for this step, so that others can lead to it and conversations find it after an edit.",
    "buttons": "Answers to tap on; a numbered list where there are no buttons.",
    "media": "An attachment.",
    "delay_s": "Seconds to wait after what was sent before.",
    "kind": "What kind of file it is.",
    "address": "A URL, or a path that the transport knows.",
    "file_name": "The name that people see.",
    "into": "The variable that keeps the answer; of a menu, the label of the choice.",
    "type": "What the answer must be.",
    "min": "The least that is taken: characters of a text, a number, or a day as 2026-12-31 or today.",
    "max": "The most that is taken: characters of a text, a number, or a day as 2026-12-31 or today.",
    "choices": "The choices, in the order in which they are shown.",
    "ask.choices": "The answers that a question of type choice takes.",
    "kinds": "The kinds of media that a question of type file takes.",
    "retry": "What is said to an answer that is not taken.",
    "max_retries": "How often it is asked again, before it goes on at 'on_failure'.",
    "on_failure": "Where it goes on after the last try.",
    "timeout_s": "Seconds without an answer, after which it goes on at 'on_timeout'; null waits for ever.",
    "handoff.timeout_s": "Seconds after which the bot speaks again by itself; null never.",
    "on_timeout": "Where it goes on when nobody answers.",
    "unknown": "What is said to an answer that is none of the choices.",
    "ask.label": "What the answer is called where a form shows it; the variable without it.",
    "ask.when": "The field is asked where this condition holds over the variables and the fields before it.",
    "remind_s": "Seconds without an answer, after which the person is reminded once; null never.",
    "reminder": "What is said to remind; a sentence and the question again without it.",
    "fields": "The questions, in their order.",
    "consent": "Asks for a yes before anything else; the words are kept with the record.",
    "on_refusal": "Where it goes on when the consent is not given.",
    "confirm": "Whether all answers are shown to be confirmed or corrected at the end, and under which text.",
    "on_cancel": "Where it goes on when the form is cancelled instead of confirmed.",
    "skip_known": "Whether a field is passed over whose variable has a value already.",
    "label": "What is shown, and what people write to choose it.",
    "keywords": "Other words that choose it.",
    "steps": "What follows when it is chosen; then the flow goes on behind the menu.",
    "arguments": "What the function is given, by name.",
    "then": "The steps where the condition holds.",
    "otherwise": "The steps where it does not hold.",
    "step": "The id of the step to go on at; the first one without it.",
}


def stored_flow_schema() -> dict[str, object]:
    """The schema, of draft 2020-12, of the list that ``read_steps`` takes: the same forms, described.

    It tells the form alone; what ``check_steps`` tells, and limits of size, are beyond a schema.
    """
    definitions: dict[str, object] = {}
    steps = _schema(STEPS, definitions)
    return {"$schema": DIALECT, "title": "The steps of a flow", **steps, "$defs": definitions}


def _schema(form: Form, definitions: dict[str, object]) -> dict[str, object]:
    match form:
        case Value(types=types, options=options):
            return {"type": types[0] if len(types) == 1 else [*types], **({"enum": [*options]} if options else {})}
        case Nullable(form=inner):
            return {"anyOf": [_schema(inner, definitions), {"type": "null"}]}
        case ListOf(item=item):
            return {"type": "array", "items": _schema(item, definitions)}
        case AnyObject():
            return {"type": "object"}
        case OneOf() | Record():
            return _reference(form, definitions)
    raise TypeError(f"{type(form).__name__} has no schema; describe it here")


def _reference(form: OneOf | Record, definitions: dict[str, object]) -> dict[str, object]:
    name = form.name if isinstance(form, OneOf) else form.kind.__name__
    if name not in definitions:
        definitions[name] = None  # a step holds steps: the name is taken before they are described
        definitions[name] = _one_of(form, definitions) if isinstance(form, OneOf) else _record(form, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _one_of(form: OneOf, definitions: dict[str, object]) -> dict[str, object]:
    text = [{"type": "string", "description": DESCRIPTIONS["say"]}] if isinstance(form, StepForm) else []
    return {"oneOf": [*text, *(_reference(record, definitions) for record in form.records.values())]}


def _record(record: Record, definitions: dict[str, object]) -> dict[str, object]:
    fields = record.fields.values()
    return {
        "type": "object",
        "properties": {
            field.name: {**_schema(field.form, definitions), **_annotations(record, field)} for field in fields
        },
        "required": [field.name for field in fields if field.default is MISSING or field.name == record.lead],
        "additionalProperties": False,
    }


def _annotations(record: Record, field: Field) -> dict[str, object]:
    description = DESCRIPTIONS.get(f"{record.lead}.{field.name}") or DESCRIPTIONS[field.name]
    default = None if field.default in (MISSING, None) else field.form.write(field.default)
    return {"description": description, **({"default": default} if default else {})}
