"""The stored form of steps: every step comes back as it was, and what is wrong is said in one clear error."""

import time
from collections.abc import Callable
from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.reading import read_steps, write_steps
from tecnobot_core.flows.steps import (
    AnswerType,
    AnyStep,
    Ask,
    Call,
    Choice,
    Do,
    End,
    Finish,
    Form,
    FormField,
    Goto,
    Handoff,
    Jump,
    Media,
    Menu,
    Send,
    When,
)

NOT_QUADRATIC_S = 5.0  # of processor time; alone the slowest takes 0.4, and what grows with the square takes minutes

texts = st.text(max_size=8)
seconds = st.integers(0, 10**6) | st.floats(0, 1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "min": st.integers() | st.floats(allow_nan=False) | texts,
        "max": st.integers() | st.floats(allow_nan=False) | texts,
        "choices": st.lists(texts, max_size=3).map(tuple),
        "kinds": st.lists(texts, max_size=3).map(tuple),
    },
)

gotos = st.builds(Goto, texts, texts)
destinations = gotos | st.builds(End, texts)
some_texts = st.lists(texts, max_size=3).map(tuple)
media = st.builds(Media, st.sampled_from(["image", "video", "audio", "document"]), texts, texts)
times: dict[str, st.SearchStrategy[Any]] = {
    "remind_s": st.none() | seconds,
    "reminder": texts,
    "timeout_s": st.none() | seconds,
    "on_timeout": destinations,
}
asks = st.builds(
    Ask,
    id=texts,
    text=texts,
    into=texts,
    label=texts,
    type=st.sampled_from(get_args(AnswerType)),
    limits=limits,
    retry=texts,
    max_retries=st.integers(),
    on_failure=destinations,
    **times,
)
forms = st.builds(
    Form,
    id=texts,
    name=texts,
    fields=st.lists(st.builds(FormField, asks, texts), max_size=3).map(tuple),
    consent=texts,
    on_refusal=destinations,
    confirm=st.booleans() | texts,
    on_cancel=destinations,
    skip_known=st.booleans(),
    **times,
)
leaves: st.SearchStrategy[AnyStep] = st.one_of(
    st.builds(Send, id=texts, text=texts, buttons=some_texts, media=st.none() | media, delay_s=seconds),
    asks,
    forms,
    st.builds(Do, id=texts, function=texts, arguments=st.dictionaries(texts, json_values, max_size=3)),
    st.builds(Jump, id=texts, to=gotos),
    st.builds(Call, id=texts, flow=texts),
    st.builds(Handoff, id=texts, text=texts, timeout_s=st.none() | seconds),
    st.builds(Finish, id=texts, text=texts),
)


def _around(inner: st.SearchStrategy[AnyStep]) -> st.SearchStrategy[AnyStep]:
    rows = st.lists(inner, max_size=3).map(tuple)
    choices = st.lists(st.builds(Choice, label=texts, keywords=some_texts, steps=rows), max_size=3).map(tuple)
    menus = st.builds(Menu, id=texts, text=texts, choices=choices, into=texts, unknown=texts, **times)
    return menus | st.builds(When, id=texts, condition=texts, then=rows, otherwise=rows)


any_steps = st.lists(st.recursive(leaves, _around, max_leaves=6), max_size=4).map(tuple)


def problems_of(data: object) -> list[str]:
    with pytest.raises(FlowError) as caught:
        read_steps(data, "registro")
    return str(caught.value).splitlines()


def problem_of(data: object) -> str:
    (problem,) = problems_of(data)
    return problem


@given(any_steps)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_reads_as_it_was(steps: tuple[AnyStep, ...]) -> None:
    assert read_steps(write_steps(steps), "f") == steps


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        ("Hola", Send(text="Hola")),
        (
            {
                "say": "Mira, {name}",
                "id": "mira",
                "buttons": ["sí", "no"],
                "media": {"kind": "image", "address": "https://example.org/a.png"},
                "delay_s": 1,
            },
            Send(
                id="mira",
                text="Mira, {name}",
                buttons=("sí", "no"),
                media=Media("image", "https://example.org/a.png"),
                delay_s=1,
            ),
        ),
        (
            {
                "ask": "¿Tu edad?",
                "into": "age",
                "type": "integer",
                "min": 18,
                "max": 99,
                "retry": "Solo números",
                "max_retries": 2,
                "timeout_s": 120,
                "on_timeout": {"goto": "bye", "step": "last"},
                "on_failure": {"end": "Adiós"},
            },
            Ask(
                text="¿Tu edad?",
                into="age",
                type="integer",
                limits={"min": 18, "max": 99},
                retry="Solo números",
                max_retries=2,
                timeout_s=120,
                on_timeout=Goto("bye", "last"),
                on_failure=End("Adiós"),
            ),
        ),
        (
            {"ask": "¿Talla?", "into": "size", "type": "choice", "choices": ["S", "M"]},
            Ask(text="¿Talla?", into="size", type="choice", limits={"choices": ("S", "M")}),
        ),
        (
            {
                "menu": "¿Cómo pagas?",
                "choices": [{"label": "Paypal", "keywords": ["pp"], "steps": ["Bien"]}],
                "into": "p",
            },
            Menu(
                text="¿Cómo pagas?",
                choices=(Choice(label="Paypal", keywords=("pp",), steps=(Send(text="Bien"),)),),
                into="p",
            ),
        ),
        (
            {
                "form": "registro",
                "fields": [
                    {"ask": "¿Tu nombre?", "into": "name", "label": "Nombre", "min": 2},
                    {"ask": "¿Empresa?", "into": "company", "when": "is_company"},
                ],
                "consent": "¿Aceptas?",
                "on_refusal": {"goto": "bye"},
                "confirm": "¿Está bien?",
                "on_cancel": {"end": "Adiós"},
                "skip_known": True,
                "remind_s": 3600,
                "reminder": "¿Seguimos?",
                "timeout_s": 7200,
            },
            Form(
                name="registro",
                fields=(
                    FormField(Ask(text="¿Tu nombre?", into="name", label="Nombre", limits={"min": 2})),
                    FormField(Ask(text="¿Empresa?", into="company"), when="is_company"),
                ),
                consent="¿Aceptas?",
                on_refusal=Goto("bye"),
                confirm="¿Está bien?",
                on_cancel=End("Adiós"),
                skip_known=True,
                remind_s=3600,
                reminder="¿Seguimos?",
                timeout_s=7200,
            ),
        ),
        ({"do": "save", "arguments": {"tags": ["a", None]}}, Do(function="save", arguments={"tags": ["a", None]})),
        (
            {"when": "age >= 18", "then": ["Pasa"], "otherwise": [{"end": "No"}]},
            When(condition="age >= 18", then=(Send(text="Pasa"),), otherwise=(Finish(text="No"),)),
        ),
        ({"goto": "other", "step": "x"}, Jump(to=Goto("other", "x"))),
        ({"call": "other"}, Call(flow="other")),
        ({"handoff": "Te atiende Ana", "timeout_s": None}, Handoff(text="Te atiende Ana", timeout_s=None)),
        ({"end": "Adiós", "id": "fin"}, Finish(text="Adiós", id="fin")),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_kind_of_step_has_one_stored_form(stored: object, step: AnyStep) -> None:
    assert read_steps([stored], "f") == (step,)
    assert write_steps([step]) == [stored]


def test_what_has_its_default_value_is_not_written() -> None:
    data = [
        {"say": "Hola", "buttons": [], "media": None, "delay_s": 0, "id": ""},
        {"ask": "¿?", "into": "x", "type": "text", "max_retries": 3, "timeout_s": None, "on_failure": {"end": None}},
        {"handoff": "Ya", "timeout_s": 86400},
    ]
    assert write_steps(read_steps(data, "f")) == ["Hola", {"ask": "¿?", "into": "x"}, {"handoff": "Ya"}]


@pytest.mark.parametrize(
    ("stored", "step"),
    [({"end": None}, Finish()), ({"handoff": None}, Handoff()), ({"goto": None, "step": "x"}, Jump(to=Goto("", "x")))],
)
def test_a_kind_without_a_text_may_stand_alone(stored: object, step: AnyStep) -> None:
    assert read_steps([stored], "f") == (step,)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    (step,) = read_steps([{"ask": "¿?", "into": "x", "max_retries": 2.0}], "f")
    assert isinstance(step, Ask)
    assert isinstance(step.max_retries, int)


def test_steps_do_not_change_with_the_document() -> None:
    arguments = {"tags": ["a"]}
    (step,) = read_steps([{"do": "save", "arguments": arguments}], "f")
    arguments["tags"].append("b")
    assert step == Do(function="save", arguments={"tags": ["a"]})


def test_a_day_is_written_as_text() -> None:
    ask = Ask(text="¿?", into="x", type="date", limits={"min": date(2026, 1, 31)})
    assert write_steps([ask]) == [{"ask": "¿?", "into": "x", "type": "date", "min": "2026-01-31"}]


def test_the_order_of_keys_does_not_matter() -> None:
    assert read_steps([{"id": "a", "say": "Hola"}], "f") == (Send(id="a", text="Hola"),)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Hola", "flow 'registro': must be a list of steps, not 'Hola'"),
        ({"say": "x"}, "flow 'registro': must be a list of steps, not an object with say"),
        (None, "flow 'registro': must be a list of steps, not nothing"),
        ([{"say": 5}], "flow 'registro', step 1, say: must be a text, not 5"),
        (["x", {"say": "x", "butons": []}], "step 2: the field 'butons' is unknown; did you mean 'buttons'?"),
        ([{"say": "x", "qwxz": 1}], "flow 'registro', step 1: the field 'qwxz' is unknown"),
        ([{"id": "x", "sey": "x"}], "not an object with id, sey; did you mean 'say'?"),
        (
            [{}],
            "must be a step with one of say, ask, menu, form, do, when, goto, call, handoff, end, not an empty object",
        ),
        ([["x"]], "not a list of 1"),
        ([{"say": "x", "ask": "y"}], "step 1: has both 'say' and 'ask'; write one of them"),
        ([{"ask": "x"}], "step 1: the field 'into' is missing; write a text"),
        ([{"say": "x", "delay_s": "1"}], "step 1, delay_s: must be a number, not '1'"),
        ([{"say": "x", "delay_s": True}], "step 1, delay_s: must be a number, not true"),
        ([{"say": "x", "buttons": "sí"}], "step 1, buttons: must be a list of texts, not 'sí'"),
        ([{"say": "x", "buttons": ["a", 5]}], "step 1, buttons, item 2: must be a text, not 5"),
        (
            [{"say": "x", "media": {"kind": "foto", "address": "x"}}],
            "step 1, media, kind: must be one of image, video,",
        ),
        ([{"say": "x", "media": "a.png"}], "step 1, media: must be a media object, not 'a.png'"),
        ([{"ask": "x", "into": "y", "type": "emial"}], "type: must be one of text, integer,"),
        ([{"ask": "x", "into": "y", "type": "emial"}], "not 'emial'; did you mean 'email'?"),
        ([{"ask": "x", "into": "y", "max_retries": 1.5}], "max_retries: must be a whole number, not 1.5"),
        ([{"ask": "x", "into": "y", "min": date(2026, 1, 31)}], "not the date 2026-01-31; write it in quotes"),
        (
            [{"ask": "x", "into": "y", "on_timeout": {"gto": "x"}}],
            "step 1, on_timeout: must be a destination with one of",
        ),
        (
            [{"menu": "x", "choices": {"a": "b"}}],
            "step 1, choices: must be a list of choice objects, not an object with a",
        ),
        ([{"menu": "x", "choices": ["a"]}], "step 1, choice 1: must be a choice object, not 'a'"),
        ([{"form": "x"}], "step 1: the field 'fields' is missing; write a list of field objects"),
        ([{"form": "x", "fields": ["¿Nombre?"]}], "must be a field object, not '¿Nombre?'"),
        ([{"form": "x", "fields": [{"ask": "y"}]}], "the field 'into' is missing; write a text"),
        ([{"form": "x", "fields": [{"ask": "y", "into": "z", "wen": "b"}]}], "did you mean 'when'?"),
        ([{"form": "x", "fields": [], "confirm": 5}], "step 1, confirm: must be true, false or a text, not 5"),
        ([{"form": "x", "fields": [], "skip_known": 1}], "step 1, skip_known: must be true or false, not 1"),
        ([{"do": "x", "arguments": []}], "step 1, arguments: must be an object, not a list of 0"),
        ([{"do": "x", "arguments": {5: 1}}], "step 1, arguments: the name 5 must be a text; write it in quotes"),
        ([{"do": "x", "arguments": {"a": {1}}}], "true, false, null, lists and objects, not a set"),
        ([{"say": "x", True: 1}], "step 1: the field true is unknown"),
        ([{"call": 10**5000}], "not a number of more than 80 digits"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_wanted(data: object, problem: str) -> None:
    assert problem in problem_of(data)


def test_the_path_of_an_inner_step_is_named_with_the_ids_on_it() -> None:
    menu = {
        "menu": "x",
        "id": "pay",
        "choices": [{"label": "a"}, {"label": "b", "steps": [{"when": "c", "then": [5]}]}],
    }
    assert problem_of(["x", menu]).startswith("flow 'registro', step 2 'pay', choice 2, step 1, then, step 1: must be")


def test_what_was_found_is_cut() -> None:
    assert len(problem_of([{"say": "x", "delay_s": "y" * 10_000}])) < 200
    assert len(problem_of([{"say": "x", "z" * 10_000: 1}])) < 200


def test_the_first_problems_are_listed_and_the_others_counted() -> None:
    problems = problems_of([{"say": index} for index in range(25)])
    assert problems[0] == "flow 'registro', step 1, say: must be a text, not 0"
    assert problems[9] == "flow 'registro', step 10, say: must be a text, not 9"
    assert problems[10:] == ["and 15 more"]


def nested(inner: object, levels: int, wrap: Callable[[object], object]) -> object:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


def when(inner: object) -> object:
    return [{"when": "x", "then": inner}]


def test_fifty_levels_of_steps_are_read_and_one_more_is_refused() -> None:
    fifty = nested(["x"], 49, when)
    assert write_steps(read_steps(fifty, "f")) == fifty
    assert "steps are nested more than 50 levels deep" in problem_of(when(fifty))


def test_fifty_levels_of_menus_are_read() -> None:
    menus = nested(["x"], 49, lambda inner: [{"menu": "x", "choices": [{"label": "a", "steps": inner}]}])
    assert write_steps(read_steps(menus, "f")) == menus


def test_ten_thousand_steps_are_read_and_one_more_is_refused() -> None:
    assert len(read_steps(["x"] * 10_000, "f")) == 10_000
    assert problem_of(["x"] * 10_001) == "flow 'registro': has more than 10,000 steps; make several flows of it"


def test_a_flow_of_a_mebibyte_is_refused() -> None:
    assert len(read_steps(["x" * (2**20 - 100)], "f")) == 1
    assert problem_of(["x" * 2**20]) == "flow 'registro': is bigger than 1 MiB; make several flows of it"
    assert "bigger than 1 MiB" in problem_of(["é" * 2**19])


def _itself() -> object:
    step: dict[str, object] = {"when": "x"}
    step["then"] = [step, step]
    return [step]


def _arguments_of_themselves() -> object:
    arguments: dict[str, object] = {}
    arguments["a"] = [arguments]
    return [{"do": "x", "arguments": arguments}]


HOSTILE: dict[str, tuple[Callable[[], object], str]] = {
    "an object in itself": (_itself, "step 1, then, step 1: contains itself"),
    "arguments in themselves": (_arguments_of_themselves, "contains itself"),
    "aliases of aliases": (
        lambda: nested(["x"], 40, lambda inner: [{"when": "x", "then": inner, "otherwise": inner}]),
        "bigger than 1 MiB",
    ),
    "5,000 levels of steps": (lambda: nested(["x"], 5_000, when), "50 levels deep"),
    "5,000 levels of lists": (lambda: nested([], 5_000, lambda inner: [inner]), "must be a step"),
    "5,000 levels of arguments": (
        lambda: [{"do": "x", "arguments": {"a": nested([], 5_000, lambda inner: [inner])}}],
        "arguments: is nested more than 50 levels deep",
    ),
    "more than half a million steps": (lambda: [5] * 600_000, "bigger than 1 MiB"),
    "a hundred thousand wrong buttons": (lambda: [{"say": "x", "buttons": [1] * 300_000}], "and at least 9,991 more"),
    "ten thousand unknown kinds": (lambda: [{f"k{n}": 1} for n in range(10_000)], "and 9,990 more"),
    "a hundred thousand unknown fields": (lambda: [{"say": "x"} | {f"k{n}": 1 for n in range(80_000)}], "more"),
}


@pytest.mark.parametrize(("make", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_gives_one_error_without_growing_with_the_square(
    make: Callable[[], object], problem: str
) -> None:
    data = make()
    began = time.process_time()
    with pytest.raises(FlowError) as caught:
        read_steps(data, "f")
    assert time.process_time() - began < NOT_QUADRATIC_S
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 3_000
