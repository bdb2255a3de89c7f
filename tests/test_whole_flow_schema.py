"""The schema of a file of flows takes what is written, refuses what is refused for its form, and is shipped."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.flow_files import parse_flow_file, write_flows
from tecnobot_core.flows import Flow
from tecnobot_core.flows.document_schema import DESCRIPTIONS, document_schema, document_schema_text
from tecnobot_core.flows.schema import stored_flow_schema
from tecnobot_core.flows.stored_flow import EVENTS, FIELDS

SCHEMA: dict[str, Any] = document_schema()
REGENERATE = "run: tecnobot flows schema > tecnobot_core/flows/flow.schema.json"

GREETING: dict[str, Any] = {"id": "hola", "keywords": ["hola"], "steps": ["¡Hola!"]}


def valid(value: object, schema: Mapping[str, Any] = SCHEMA) -> bool:
    """A validator of the few keywords that the schema uses beside those of steps, which have tests of their own."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return valid(value, SCHEMA["$defs"][name]) if name in ("flow", "flows") else True
    if "anyOf" in schema:
        return any(valid(value, option) for option in schema["anyOf"])
    if "oneOf" in schema and sum(valid(value, option) for option in schema["oneOf"]) != 1:
        return False
    types = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return False
    if isinstance(value, bool) and schema.get("type") == "integer":
        return False
    if isinstance(value, list) and "items" in schema:
        return all(valid(item, schema["items"]) for item in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        extra_is_wrong = schema.get("additionalProperties") is False and not value.keys() <= known.keys()
        return value.keys() >= set(schema.get("required", ())) and not extra_is_wrong and all(
            valid(item, known[name]) for name, item in value.items() if name in known
        )  # fmt: skip
    return "enum" not in schema or value in schema["enum"]


def reads(document: object) -> bool:
    """Whether the form of a file is right, whatever else is wrong."""
    file = parse_flow_file(json.dumps(document).encode(), "a.json")
    return file.error is None and all(flow.error is None for flow in file.flows)


def test_the_shipped_schema_is_the_one_that_the_forms_give() -> None:
    shipped = files("tecnobot_core.flows") / "flow.schema.json"
    assert shipped.read_text("utf-8") == document_schema_text(), REGENERATE


def test_the_schema_is_json_and_names_its_draft() -> None:
    assert json.loads(document_schema_text()) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_of_steps_is_inside_as_it_is() -> None:
    steps: dict[str, Any] = stored_flow_schema()
    assert SCHEMA["$defs"].items() >= steps["$defs"].items()
    assert SCHEMA["$defs"]["flow"]["properties"]["steps"]["items"] == steps["items"]


def test_every_field_and_every_event_is_described() -> None:
    flow = SCHEMA["$defs"]["flow"]["properties"]
    assert flow.keys() == {"$schema", *FIELDS}
    assert DESCRIPTIONS.keys() == {*FIELDS, "flows"}
    assert flow["event"]["anyOf"][0]["enum"] == list(EVENTS)


def references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(name := schema.get("$ref"), str):
            yield name.removeprefix("#/$defs/")
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


def test_every_reference_leads_to_a_definition() -> None:
    assert set(references(SCHEMA)) == SCHEMA["$defs"].keys()


def test_what_is_written_is_valid() -> None:
    flows = [
        Flow("a", event="welcome", interrupts=True, priority=3).on("hola").on("x", kind="exact").say("¡Hola!", "Sí"),
        Flow("b").on("y", kind="prefix").on("y").say("Y"),
    ]
    assert valid(json.loads(write_flows(flows, "json")))
    assert valid(json.loads(write_flows(flows[:1], "json", as_list=False)))


@pytest.mark.parametrize(
    ("document", "is_right"),
    [
        (GREETING, True),
        ({"flows": []}, True),
        ({"flows": [GREETING]}, True),
        ({"$schema": "flow.schema.json", **GREETING}, True),
        ({"$schema": "flow.schema.json", "flows": [GREETING]}, True),
        ({**GREETING, "event": None, "priority": -1, "interrupts": False}, True),
        ({"id": "a", "exact": ["x"], "say": ["x", {"text": "y", "buttons": ["z"]}]}, True),
        ([], False),
        ({}, False),
        ({"id": "a", "keywords": ["x"]}, False),
        ({"keywords": ["x"], "steps": ["x"]}, False),
        ({**GREETING, "say": ["x"]}, False),
        ({**GREETING, "event": "earthquake"}, False),
        ({**GREETING, "priority": "high"}, False),
        ({**GREETING, "interrupts": "yes"}, False),
        ({**GREETING, "keywords": "hola"}, False),
        ({**GREETING, "keywords": [5]}, False),
        ({**GREETING, "keyword": ["hola"]}, False),
        ({"flows": [GREETING], "id": "x"}, False),
        ({"flows": GREETING}, False),
    ],
)
def test_the_schema_says_of_a_form_what_reading_says(document: object, is_right: bool) -> None:
    assert valid(document) == is_right == reads(document)


@pytest.mark.parametrize("field", ["id", "keywords", "steps"])
def test_the_validator_of_these_tests_refuses(field: str) -> None:
    assert not valid({**GREETING, field: 5})


def test_a_yaml_file_may_name_the_schema_in_a_comment(tmp_path: Path) -> None:
    text = b"# yaml-language-server: $schema=flow.schema.json\nid: hola\nkeywords: [hola]\nsteps: [Hola]\n"
    assert [flow.error for flow in parse_flow_file(text, "a.yaml").flows] == [None]
