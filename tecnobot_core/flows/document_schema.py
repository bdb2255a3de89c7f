"""The JSON Schema of a file of flows, for editors; shipped as ``flow.schema.json`` beside this module."""

import json
from collections.abc import Mapping
from typing import Any

from .schema import DIALECT, stored_flow_schema
from .stored import Form, ListOf, Nullable, Value
from .stored_flow import FIELDS

DESCRIPTIONS: Mapping[str, str] = {
    "id": "The name of this flow, by which others lead to it.",
    "keywords": "Words that start this flow wherever they stand in a message.",
    "word": "Words that start it wherever they stand, and stand under another kind as well.",
    "exact": "Texts that start it when they are the whole message.",
    "prefix": "Words that start it when a message begins with them.",
    "contains": "Letters that start it when they stand anywhere in a message, also inside of a word.",
    "regex": "Regular expressions, of the syntax of RE2, that start it when they occur in a message.",
    "event": "What starts it besides words: the first message of a person, one that nothing else fits, a voice note…",
    "interrupts": "Whether its keywords also work while another flow waits for an answer.",
    "priority": "Of several flows that fit equally well, the one with the higher number starts.",
    "say": "Texts that are said one after the other, in the place of 'steps'.",
    "steps": "What it says, asks and does, in this order.",
    "flows": "Several flows, one after the other.",
}


def document_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12, of a file that holds one flow, or several under "flows"."""
    stored: dict[str, Any] = stored_flow_schema()
    steps = {"type": "array", "items": stored["items"]}
    flow = _object({name: _described(name, _schema(form, steps)) for name, form in FIELDS.items()}, required=["id"])
    # Beside "say" there is no schema of texts with buttons: they are an older form of steps.
    flow["properties"]["say"] = {"type": "array", "description": DESCRIPTIONS["say"]}
    flow["oneOf"] = [{"required": ["steps"]}, {"required": ["say"]}]
    flows = _described("flows", {"type": "array", "items": {"$ref": "#/$defs/flow"}})
    return {
        "$schema": DIALECT,
        "title": "Flows of tecnobot_core",
        "oneOf": [{"$ref": "#/$defs/flow"}, {"$ref": "#/$defs/flows"}],
        "$defs": {"flow": flow, "flows": _object({"flows": flows}, required=["flows"]), **stored["$defs"]},
    }


def document_schema_text() -> str:
    """What ``flow.schema.json`` holds."""
    return json.dumps(document_schema(), ensure_ascii=False, indent=2) + "\n"


def _object(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    naming = {"$schema": {"type": "string", "description": "The address of this schema, for editors."}}
    return {
        "type": "object",
        "properties": naming | properties,
        "required": required,
        "additionalProperties": False,
    }


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "description": DESCRIPTIONS[name]}


def _schema(form: Form, steps: dict[str, Any]) -> dict[str, Any]:
    match form:
        case Value(types=types, options=options):
            return {"type": types[0], **({"enum": [*options]} if options else {})}
        case Nullable(form=inner):
            return {"anyOf": [_schema(inner, steps), {"type": "null"}]}
        case ListOf(item=Value() as item):
            return {"type": "array", "items": _schema(item, steps)}
    return steps
