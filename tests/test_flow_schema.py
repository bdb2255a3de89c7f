"""The schema of stored steps takes what read_steps takes, and refuses what it refuses for its form."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.reading import read_steps, write_steps
from tecnobot_core.flows.schema import DESCRIPTIONS, stored_flow_schema
from tecnobot_core.flows.steps import AnswerType, AnyStep, Send
from tests.test_flow_reading import any_steps, json_values

SCHEMA: dict[str, Any] = stored_flow_schema()
DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
    "boolean": bool,
}
_UNDERSTOOD = {"type", "enum", "anyOf", "oneOf", "items", "$ref", "properties", "required", "additionalProperties"}
_ANNOTATIONS = {"description", "default", "title", "$schema", "$defs"}


def valid(value: object, schema: Mapping[str, Any]) -> bool:
    """A validator of the few keywords that the schema uses; ``test_only_understood_keywords…`` keeps it honest."""
    if "$ref" in schema:
        return valid(value, DEFINITIONS[schema["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in schema:
        return any(valid(value, option) for option in schema["anyOf"])
    if "oneOf" in schema:
        return sum(valid(value, option) for option in schema["oneOf"]) == 1
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, name) for name in types):
        return False
    if isinstance(value, list):
        return all(valid(item, schema["items"]) for item in value)
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return value.keys() >= set(schema["required"]) and all(
            name in known and valid(item, known[name]) for name, item in value.items()
        )
    return "enum" not in schema or value in schema["enum"]


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float) and not value.is_integer():
        return False
    return isinstance(value, _TYPES[name])


def reads(data: object) -> bool:
    try:
        read_steps(data, "f")
    except FlowError:
        return False
    return True


def _subschemas(schema: object) -> Iterator[dict[str, Any]]:
    """Every schema in *schema*, which is one itself."""
    if isinstance(schema, dict):
        yield schema
        for name in ("properties", "$defs"):
            for inner in schema.get(name, {}).values():
                yield from _subschemas(inner)
        yield from _subschemas(schema.get("items"))
        for option in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
            yield from _subschemas(option)


def test_the_schema_is_json_and_names_its_draft() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_only_understood_keywords_are_used_so_that_these_tests_see_everything() -> None:
    for schema in _subschemas(SCHEMA):
        assert schema.keys() <= _UNDERSTOOD | _ANNOTATIONS
        assert "properties" not in schema or schema["additionalProperties"] is False


def test_every_reference_leads_to_a_definition_and_every_definition_is_used() -> None:
    used = {schema["$ref"].removeprefix("#/$defs/") for schema in _subschemas(SCHEMA) if "$ref" in schema}
    assert used == DEFINITIONS.keys()


def test_every_kind_of_step_is_described() -> None:
    kinds = {option["$ref"].removeprefix("#/$defs/") for option in DEFINITIONS["step"]["oneOf"] if "$ref" in option}
    assert kinds == {kind.__name__ for kind in get_args(AnyStep)}
    assert DEFINITIONS["Ask"]["properties"]["type"]["enum"] == list(get_args(AnswerType))


def test_every_field_has_a_description_and_every_description_a_field() -> None:
    described = {
        field["description"] for schema in DEFINITIONS.values() for field in schema.get("properties", {}).values()
    }
    assert described == set(DESCRIPTIONS.values())


def test_defaults_are_shown() -> None:
    ask = DEFINITIONS["Ask"]["properties"]
    assert (ask["max_retries"]["default"], ask["on_failure"]["default"]) == (3, {"end": ""})
    assert "default" not in ask["into"]


@given(any_steps)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_valid(steps: tuple[AnyStep, ...]) -> None:
    assert valid(write_steps(steps), SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        [],
        ["Hola"],
        [{"end": None}],
        [{"say": "x", "id": "a", "media": None}],
        [{"handoff": "x", "timeout_s": None}],
        [{"ask": "x", "into": "y", "max_retries": 2.0, "min": "2026-01-01", "max": 5}],
        [{"do": "x", "arguments": {"a": [{}, None, True]}}],
        [{"form": "x", "fields": [{"ask": "a", "into": "b", "when": ""}], "confirm": False, "skip_known": True}],
        [{"form": "x", "fields": [], "confirm": "¿Sí?"}],
    ],
)
def test_what_reads_is_valid(data: object) -> None:
    assert reads(data)
    assert valid(data, SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        "Hola",
        {"say": "x"},
        [5],
        [None],
        [{}],
        [["x"]],
        [{"sey": "x"}],
        [{"buttons": ["x"]}],
        [{"say": "x", "butons": []}],
        [{"say": "x", "ask": "y", "into": "z"}],
        [{"say": "x", "delay_s": True}],
        [{"say": "x", "media": {"kind": "foto", "address": "x"}}],
        [{"say": "x", "media": {"kind": "image"}}],
        [{"ask": "x"}],
        [{"ask": None, "into": "y"}],
        [{"ask": "x", "into": "y", "max_retries": 1.5}],
        [{"ask": "x", "into": "y", "on_timeout": {"goto": "a", "end": "b"}}],
        [{"ask": "x", "into": "y", "on_timeout": {"goto": "a", "id": "b"}}],
        [{"menu": "x", "choices": ["a"]}],
        [{"when": "x", "then": {"say": "y"}}],
        [{"goto": "a", "flow": "b"}],
        [{"do": "x", "arguments": []}],
        [{"form": "x"}],
        [{"form": "x", "fields": ["a"]}],
        [{"form": "x", "fields": [{"ask": "a", "into": "b"}], "confirm": None}],
        [{"form": "x", "fields": [{"ask": "a", "into": "b", "fields": []}]}],
    ],
)
def test_what_is_refused_for_its_form_is_not_valid(data: object) -> None:
    assert not reads(data)
    assert not valid(data, SCHEMA)


def _containers(data: object) -> Iterator[Any]:
    """Every list and object in *data* that has something in it, but what arguments hold."""
    if isinstance(data, dict | list) and data:
        yield data
        for name, inner in data.items() if isinstance(data, dict) else enumerate(data):
            if name != "arguments":
                yield from _containers(inner)


def _break(draw: st.DrawFn, data: object) -> None:
    container = draw(st.sampled_from(list(_containers(data))))
    key = draw(st.sampled_from(range(len(container)) if isinstance(container, list) else sorted(container)))
    action = draw(st.sampled_from(["replace", "remove", "rename"]))
    value = container[key] if action == "replace" else container.pop(key)
    if action == "replace":
        container[key] = draw(json_values | st.sampled_from([[value], {"end": value}, {"say": "x"}]))
    elif action == "rename" and isinstance(container, dict):
        container[draw(st.sampled_from([f"{key}s", *_FIELDS]))] = value


_FIELDS = sorted({name for schema in DEFINITIONS.values() for name in schema.get("properties", {})})


@st.composite
def broken_documents(draw: st.DrawFn) -> object:
    data = deepcopy(write_steps(draw(any_steps.filter(bool))))
    for _ in range(draw(st.integers(1, 3))):
        if data:
            _break(draw, data)
    return data


@given(broken_documents())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_broken_document_is_valid_just_when_it_reads(data: object) -> None:
    assert valid(data, SCHEMA) == reads(data)


def test_the_validator_of_these_tests_refuses() -> None:
    assert valid(["x", {"say": "x"}], SCHEMA)
    assert not valid(["x", 5], SCHEMA)
    assert not valid([*write_steps([Send(text="x", id="a")]), {"say": 5}], SCHEMA)
