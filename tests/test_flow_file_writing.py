"""Written flows read as they were, and are pleasant to read."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tecnobot_core.adapters.flow_files import parse_flow_file, write_flow, write_flows
from tecnobot_core.adapters.flow_files.meaning import Meaning
from tecnobot_core.adapters.flow_files.nodes import ObjectNode
from tecnobot_core.adapters.flow_files.writing import flow_document, write_document
from tecnobot_core.adapters.flow_files.yaml_reading import has_comments, read_yaml
from tecnobot_core.adapters.flow_files.yaml_writing import write_yaml
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow, Keyword
from tecnobot_core.flows.reading import read_steps
from tecnobot_core.flows.steps import AnyStep, Ask, Choice, Do, Finish, Goto, Jump, Media, Menu, Send, When
from tecnobot_core.flows.stored import STEPS
from tecnobot_core.flows.stored_flow import KINDS
from tests.test_flow_reading import any_steps

REGISTRATION = Flow(
    "registro",
    (Keyword("alta"), Keyword("registro"), Keyword("menú", "exact"), Keyword(r"^alta\b", "regex")),
    "welcome",
    (
        Send(text="¡Hola! 👋🏽\nBienvenida a Electrónica Sol: aquí te atendemos."),
        Ask(text="¿Tu edad?", into="age", type="integer", limits={"min": 18, "max": 99}, retry="Solo números: 18"),
        When(condition="age < 18", then=(Finish(),)),
        Menu(
            id="pay",
            text="¿Cómo pagas?",
            choices=(
                Choice(label="Efectivo", keywords=("1", "no")),
                Choice(label="Tarjeta", steps=(Jump(to=Goto(step="pay")),)),
            ),
        ),
        Send(text="end"),
        Send(text="", media=Media("image", "https://example.org/a.png")),
        Do(function="save", arguments={"list": "customers", "tags": ["a", None, 5, "5", True, 0.5], "empty": {}}),
    ),
    priority=-1,
    interrupts=True,
)

PLEASANT = """\
id: registro
keywords: [alta, registro]
exact: [menú]
regex: [^alta\\b]
event: welcome
interrupts: true
priority: -1
steps:
  - |-
    ¡Hola! 👋🏽
    Bienvenida a Electrónica Sol: aquí te atendemos.
  - ask: ¿Tu edad?
    into: age
    type: integer
    min: 18
    max: 99
    retry: "Solo números: 18"
  - when: age < 18
    then:
      - end:
  - menu: ¿Cómo pagas?
    id: pay
    choices:
      - label: Efectivo
        keywords: ["1", "no"]
      - label: Tarjeta
        steps:
          - goto:
            step: pay
  - "end"
  - say:
    media:
      kind: image
      address: https://example.org/a.png
  - do: save
    arguments:
      list: customers
      tags: [a, null, 5, "5", true, 0.5]
      empty: {}
"""


def read_back(text: str, name: str = "f.yaml") -> list[Flow]:
    file = parse_flow_file(text.encode(), name)
    assert file.error is None
    assert [flow.error for flow in file.flows if flow.error] == []
    return [flow.flow for flow in file.flows if flow.flow]


def test_a_flow_is_written_as_a_person_would() -> None:
    assert write_flow(REGISTRATION) == PLEASANT


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_written_flow_reads_as_it_was(format: Any) -> None:
    assert read_back(write_flow(REGISTRATION, format), f"f.{format}") == [REGISTRATION]
    several = [REGISTRATION, Flow("b").on("x").say("X")]
    assert read_back(write_flows(several, format), f"f.{format}") == several


def by_kind(flow: Flow) -> Flow:
    kinds = {"word": -1} | {kind: number for number, kind in enumerate(KINDS) if kind != "word"}
    return replace(flow, keywords=tuple(sorted(flow.keywords, key=lambda keyword: kinds[keyword.kind])))


keywords = st.lists(
    st.builds(Keyword, st.text(alphabet="abc5 no:#-'\"é😀", min_size=3, max_size=8), st.sampled_from(KINDS)),
    min_size=1,
    max_size=5,
    unique_by=lambda keyword: keyword.text,
).map(tuple)
sentences = st.text(alphabet="ab \n:#-'\"[],?!|>%@`\\0159.:\t\u2028\x85é😀", max_size=20).map(lambda text: text + "x")
sends = st.builds(Send, text=sentences, buttons=st.lists(sentences, max_size=2).map(tuple))
flows = st.builds(
    Flow,
    st.sampled_from(["a", "no", "5", "x y"]),
    keywords,
    st.sampled_from([None, "welcome", "voice"]),
    st.lists(st.builds(Send, text=sentences, buttons=st.lists(sentences, max_size=2).map(tuple)), min_size=1).map(
        tuple
    ),
    st.integers(-5, 5),
    st.booleans(),
)


@given(flows, st.sampled_from(["yaml", "json"]))
def test_any_flow_that_is_written_reads_as_it_was(flow: Flow, format: Any) -> None:
    try:
        flow.check()
    except ValueError:
        return
    assert read_back(write_flow(flow, format), f"f.{format}") == [by_kind(flow)]


@given(any_steps)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_all_kinds_of_steps_read_as_they_were_written(steps: tuple[AnyStep, ...]) -> None:
    document = flow_document(Flow("f", steps=steps))
    # No file of text can hold the one, JSON has no form for the other.
    assume(not re.search(r"\\u0000|Infinity", json.dumps(document)))
    node = read_yaml(write_document(document, "yaml"))
    assert isinstance(node, ObjectNode)
    # Written as null, an empty text is read as one.
    assert read_steps(Meaning().of(node.items["steps"], STEPS), "f") == steps


awkward = st.text(max_size=12) | st.text(
    alphabet=" \n\t:#-'\"[]{},&*!|>%@`.\\0123456789nulyesofd\x85\u2028é~=<?", max_size=12
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | awkward,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(awkward, json_values, min_size=1))
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_reads_as_it_was_written_by_every_reader_of_yaml(value: dict[str, object]) -> None:
    assume("\\u0000" not in json.dumps(value))
    text = write_yaml(value)
    node = read_yaml(text)
    assert node is not None
    assert Meaning().of(node) == value
    assert yaml.load(text, Loader=yaml.BaseLoader) == yaml.load(
        text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    )


@pytest.mark.parametrize(
    "text", ["no", "Yes", "5", "1_000", "2026-01-31", "12:30", "~", "null", "0x1F", ".inf", "=", "1e5", "True"]
)
def test_what_another_reader_would_take_for_something_else_is_in_quotes(text: str) -> None:
    assert yaml.safe_load(write_yaml({"a": text, "b": [text]})) == {"a": text, "b": [text]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["Sí", "Tal vez", "a, b"], 'a: [Sí, Tal vez, "a, b"]\n'),
        (["Sí", "Quiero hablar con una persona ya"], "a:\n  - Sí\n  - Quiero hablar con una persona ya\n"),
        (["word"] * 20, "a:\n" + "  - word\n" * 20),
        ("uno\ndos\n", "a: |\n  uno\n  dos\n"),
        ("uno\n\n  dos", "a: |-\n  uno\n\n    dos\n"),
        ("uno \ndos", 'a: "uno \\ndos"\n'),  # editors take blanks away at the end of a line
        (" uno\ndos", 'a: " uno\\ndos"\n'),
        ("uno\n\n", 'a: "uno\\n\\n"\n'),
        ([], "a: []\n"),
        (None, "a:\n"),
        ([{"b": 1}, [2, [3]]], "a:\n  - b: 1\n  - - 2\n    - [3]\n"),
    ],
)
def test_values_are_written_as_a_person_would(value: object, text: str) -> None:
    assert write_yaml({"a": value}) == text
    node = read_yaml(text)
    assert node is not None
    assert Meaning().of(node) == {"a": value}


def test_a_long_name_is_written_so_that_yaml_finds_its_end() -> None:
    value = {"x" * 2_000: {"y" * 2_000: "z"}, "a": "b"}
    node = read_yaml(write_yaml(value))
    assert node is not None
    assert Meaning().of(node) == value


def test_fifty_levels_are_written_and_read() -> None:
    steps: tuple[AnyStep, ...] = (Send(text="x"),)
    for _ in range(49):
        steps = (Menu(text="¿?", choices=(Choice(label="a", steps=steps),)),)
    flow = Flow("f").on("x").then(*steps)
    assert read_back(write_flow(flow)) == [flow]


def test_what_no_text_can_hold_is_replaced() -> None:
    (flow,) = read_back(write_flow(Flow("f").on("a\x00b", "c\ud800d").say("x")))
    assert [keyword.text for keyword in flow.keywords] == ["a\ufffdb", "c\ufffdd"]


@pytest.mark.parametrize("format", ["yaml", "json"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_is_refused(format: Any, value: object) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_document({"a": value}, format)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("a: b # c", True),
        ("# c\na: b", True),
        ("a: |\n  b\n# c\n", True),
        ("a: b\n\n  # c\nd: e\n", True),
        ("a: |\n  b # c\n  # d\n", False),
        ("a: 'b # c'", False),
        ('a: "b\n  # c"', False),
        ("a: b#c", False),
        ("a: https://example.org/#top", False),
        ("[a, b]", False),
    ],
)
def test_comments_are_told_from_texts(text: str, has: bool) -> None:
    assert has_comments(text) == has
