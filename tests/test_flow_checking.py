"""A flow that cannot be served is refused, with every reason; a flow that can is not."""

import math
import time
from collections.abc import Callable
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.checking import check_steps
from tecnobot_core.flows.expressions import Expression
from tecnobot_core.flows.reading import read_steps
from tecnobot_core.flows.steps import AnyStep, Ask, Call, Choice, Do, Form, FormField, Goto, Jump, Menu, Send, When
from tecnobot_core.flows.templates import check_template

NOT_QUADRATIC_S = 5.0  # of processor time; alone the slowest takes 0.3, and what grows with the square takes minutes

SOUND: list[object] = [
    "Hola",
    {"say": "", "media": {"kind": "image", "address": "a.png"}},
    {"ask": "¿Tu edad?", "id": "age", "into": "age", "type": "integer", "min": 0, "max": 120},
    {"when": "age < 18", "then": [{"end": "No"}], "otherwise": ["Sí"]},
    {
        "menu": "¿Cómo pagas?",
        "choices": [
            {"label": "Paypal", "keywords": ["pp", "paypal"], "steps": [{"call": "other"}]},
            {"label": "Otra vez", "steps": [{"goto": "", "step": "age"}]},
        ],
    },
    {"handoff": "Te atiende Ana"},
    {"goto": "other", "step": "anything"},
]


def check(*stored: object, flows: tuple[str, ...] | None = ("f", "other")) -> None:
    check_steps("f", read_steps([*stored], "f"), known_flows=flows)


def problems_of(*stored: object) -> list[str]:
    with pytest.raises(FlowError) as caught:
        check(*stored)
    return str(caught.value).splitlines()


def problem_of(*stored: object) -> str:
    (problem,) = problems_of(*stored)
    return problem


def problem_of_built(*steps: AnyStep) -> str:
    with pytest.raises(FlowError) as caught:
        check_steps("f", steps, known_flows=None)
    return str(caught.value)


def say(id: str) -> object:
    return {"say": "…", "id": id}


def go(step: str, flow: str = "") -> object:
    return {"goto": flow, "step": step}


def form(*fields: object, **others: object) -> dict[str, object]:
    return {"form": "registro", "fields": [*fields], **others}


def menu(*labels: str, steps: list[object] | None = None) -> dict[str, object]:
    return {"menu": "¿?", "choices": [{"label": label, "steps": steps or []} for label in labels]}


def test_a_sound_flow_passes() -> None:
    check(*SOUND)


def test_all_problems_of_a_flow_are_told_at_once() -> None:
    assert len(problems_of({"say": ""}, {"say": "", "id": "a"}, {"goto": "nowhere"}, "late")) == 4


def test_a_flow_without_steps_is_refused() -> None:
    assert problem_of() == "flow 'f': has no steps; give it at least one"


def test_more_than_ten_thousand_steps_are_refused() -> None:
    check_steps("f", (Send(text="x"),) * 10_000, known_flows=None)
    assert "more than 10,000 steps" in problem_of_built(*(Send(text="x"),) * 10_001)


def nested(levels: int) -> AnyStep:
    step: AnyStep = Send(text="x")
    for _ in range(levels - 1):
        step = When(condition="x", then=(step,))
    return step


def test_more_than_fifty_levels_are_refused() -> None:
    check_steps("f", (nested(50),), known_flows=None)
    assert "steps are nested more than 50 levels deep" in problem_of_built(nested(51))


def test_a_text_of_more_than_4096_characters_is_refused() -> None:
    check("x" * 4_096)
    assert problem_of({"say": "x" * 4_097}) == "flow 'f', step 1: text has 4,097 characters; at most 4,096"
    assert "on_timeout.text has 5,000" in problem_of({"ask": "x", "into": "z", "on_timeout": {"end": "x" * 5_000}})


def test_a_label_of_more_than_100_characters_is_refused() -> None:
    assert "choices.label has 101 characters; at most 100" in problem_of(menu("x" * 101))


def test_lists_in_the_place_of_tuples_are_looked_into() -> None:
    step = Send(text="x", buttons=["y" * 5_000])  # type: ignore[arg-type]
    assert "buttons has 5,000 characters" in problem_of_built(step)


def test_a_flow_of_more_than_a_mebibyte_is_refused() -> None:
    text = Send(text="x" * 4_000)
    check_steps("f", (text,) * 261, known_flows=None)
    assert "bigger than 1 MiB" in problem_of_built(*(text,) * 263)


@pytest.mark.parametrize("character", ["\0", "\ud800"])
def test_a_character_that_cannot_be_stored_is_refused(character: str) -> None:
    assert "text holds a character that cannot be stored" in problem_of(f"a{character}")


def test_an_id_given_twice_is_refused() -> None:
    assert "step 3, then, step 1 'a': the id 'a' is taken by step 1 'a'" in problem_of(
        say("a"), "x", {"when": "x", "then": [say("a")]}
    )


def test_an_id_that_is_the_place_of_another_step_is_refused() -> None:
    assert "the id '2' is taken by step 1 '2'" in problem_of(say("2"), "x")


@pytest.mark.parametrize(
    "way",
    [
        go("pagr"),
        go("pagr", "f"),
        {"ask": "x", "into": "z", "on_timeout": go("pagr")},
        {"ask": "x", "into": "z", "on_failure": go("pagr")},
    ],
)
def test_a_way_to_a_step_that_does_not_exist_is_refused(way: object) -> None:
    assert "there is no step 'pagr'; did you mean 'pagar'?" in problem_of(say("pagar"), way)


@pytest.mark.parametrize(
    "way",
    [{"goto": "othr"}, {"call": "othr"}, {"ask": "x", "into": "z", "on_timeout": {"goto": "othr"}}],
)
def test_a_way_to_a_flow_that_does_not_exist_is_refused(way: object) -> None:
    assert "there is no flow 'othr'; did you mean 'other'?" in problem_of(way)


def test_without_the_known_flows_ways_to_other_flows_are_trusted() -> None:
    check({"call": "anything"}, go("x", "something"), flows=None)


def test_a_place_can_be_gone_to_as_well_as_an_id() -> None:
    check({"when": "x", "then": [go("2.mas-tarde.1")]}, menu("Más tarde", steps=["Bien"]))
    assert "there is no step '2.then.1'" in problem_of("x", menu("Más tarde", steps=["y"]), go("2.then.1"))


@pytest.mark.parametrize(
    ("steps", "loop"),
    [
        ([say("a"), go("a")], "'a' → step 2 → 'a'"),
        ([{"goto": "", "step": "a", "id": "a"}], "'a' → 'a'"),
        (["x", {"goto": "f"}], "step 1 → step 2 → step 1"),
        (["x", {"call": "f"}], "step 1 → step 2 → step 1"),
        ([say("a"), {"when": "x", "then": [go("a")]}, "y"], "'a' → step 2 → step 2, then, step 1 → 'a'"),
        ([{"ask": "x", "into": "z"}, say("a"), {"when": "x", "otherwise": [go("a")]}], "'a' → step 3 → "),
    ],
)
def test_a_loop_that_never_waits_for_a_person_is_refused(steps: list[object], loop: str) -> None:
    assert f"goes round for ever and never waits for a person: {loop}" in problem_of(*steps)


@pytest.mark.parametrize(
    "steps",
    [
        [{"ask": "x", "into": "z", "id": "a"}, go("a")],
        [say("a"), {"menu": "x", "choices": [{"label": "1"}]}, go("a")],
        [{"handoff": "x", "id": "a"}, go("a")],
        [{"do": "next", "id": "a"}, {"when": "more", "then": [go("a")]}],
        [{"call": "other", "id": "a"}, go("a")],
        [{"when": "x", "then": [go("end")]}, say("b"), say("end")],
    ],
)
def test_a_loop_that_waits_or_may_change_something_is_allowed(steps: list[object]) -> None:
    check(*steps)


def test_a_long_loop_is_shown_in_part() -> None:
    problem = problem_of(*(say(f"s{n}") for n in range(100)), go("s0"))
    assert problem.endswith("'s9' → 91 more → 's0'")


@pytest.mark.parametrize(
    "steps",
    [
        [{"end": "x"}, "dead"],
        [{"goto": "other"}, "dead", "dead too"],
        [{"when": "x", "then": [{"end": ""}], "otherwise": [{"end": ""}]}, "dead"],
        [{"menu": "x", "choices": [{"label": "a", "steps": [{"goto": "other"}]}]}, {"when": "dead", "then": ["too"]}],
    ],
)
def test_steps_that_nothing_leads_to_are_refused(steps: list[object]) -> None:
    assert problem_of(*steps).startswith("flow 'f', step 2: nothing leads here")


def test_a_step_with_an_id_may_be_led_to_from_elsewhere() -> None:
    check({"end": "x"}, say("a"), "b")


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("", "text"),
        ("\u200b", "text"),
        ({"say": "x", "buttons": [" "]}, "a button"),
        ({"say": "", "media": {"kind": "image", "address": ""}}, "media.address"),
        ({"ask": " ", "into": "x"}, "text"),
        ({"menu": "", "choices": [{"label": "x"}]}, "text"),
        ({"menu": "x", "choices": [{"label": ""}]}, "a label"),
        ({"menu": "x", "choices": [{"label": "x", "keywords": [""]}]}, "a keyword"),
        ({"when": " "}, "condition"),
        ({"do": ""}, "function"),
    ],
)
def test_an_empty_text_is_refused(step: object, name: str) -> None:
    assert problem_of(step) == f"flow 'f', step 1: {name} is empty; write something, or leave it out"


def test_a_call_of_no_flow_is_refused() -> None:
    assert any("flow is empty" in problem for problem in problems_of({"call": ""}))


def test_a_menu_without_choices_is_refused() -> None:
    assert problem_of(menu()) == "flow 'f', step 1: the menu has no choices; give it at least one"


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ([{"label": "Más"}, {"label": "mas!"}], "choice 2: 'mas!' chooses choice 1 already"),
        ([{"label": "a", "keywords": ["B"]}, {"label": "b"}], "choice 1: 'B' chooses choice 2 already"),
        ([{"label": "a", "keywords": ["x"]}, {"label": "b", "keywords": ["x"]}], "choice 2: 'x' chooses choice 1"),
        ([{"label": "a", "keywords": ["2"]}, {"label": "b"}], "choice 1: '2' chooses choice 2 already"),
    ],
)
def test_a_menu_with_two_choices_of_one_word_is_refused(choices: list[object], problem: str) -> None:
    assert problem in problem_of({"menu": "¿?", "choices": choices})


def test_a_choice_may_repeat_its_own_words_and_be_labelled_with_a_number() -> None:
    check({"menu": "¿Cuántos?", "choices": [{"label": "2", "keywords": ["2", "dos", "Dos"]}, {"label": "4"}]})


@pytest.mark.parametrize("into", ["", "two words", "1st", "a-b", "a.b"])
def test_a_variable_that_is_no_name_is_refused(into: str) -> None:
    assert f"into must be a name of letters, digits and _, not {into!r}" in problem_of({"ask": "x", "into": into})
    if into:
        assert "into must be a name" in problem_of({**menu("a"), "into": into})


@pytest.mark.parametrize("into", ["y", "Y", "o", "no", "sí", "and", "in", "contains", "empty", "null", "reason"])
def test_a_variable_that_means_something_else_is_refused(into: str) -> None:
    wanted = f"into may not be {into!r}, which means something else; take another name"
    assert wanted in problem_of({"ask": "x", "into": into})
    assert wanted in problem_of({**menu("a"), "into": into})
    assert wanted in problem_of(form({"ask": "x", "into": into}))


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"type": "integer", "min": 3, "max": 1}, "limit 'min'"),
        ({"type": "date", "min": "2026-02-01", "max": "2026-01-01"}, "limit 'min'"),
        ({"type": "date", "min": "mañana"}, "limit 'min'"),
        ({"type": "text", "min": -1}, "limit 'min'"),
        ({"type": "decimal", "max": math.nan}, "limit 'max'"),
        ({"type": "choice"}, "limit 'choices'"),
        ({"type": "choice", "choices": ["sí", "SI"]}, "limit 'choices'"),
        ({"type": "email", "min": 3}, "limit 'min'"),
        ({"type": "text", "choices": ["a"]}, "limit 'choices'"),
        ({"type": "file", "kinds": ["foto"]}, "limit 'kinds'"),
    ],
)
def test_limits_that_do_not_fit_the_type_are_refused(limits: dict[str, object], problem: str) -> None:
    assert problem_of({"ask": "x", "into": "z", **limits}).startswith(f"flow 'f', step 1: {problem}")


@pytest.mark.parametrize("wait_s", [-1, math.nan, math.inf, 10**400, 1e9])
def test_a_wait_that_is_no_time_is_refused(wait_s: float) -> None:
    assert "delay_s must be seconds from 0 to 31622400" in problem_of({"say": "x", "delay_s": wait_s})
    assert "timeout_s must be seconds from 1 to 31622400" in problem_of({"ask": "x", "into": "z", "timeout_s": wait_s})
    assert "timeout_s must be seconds from 1 to 31622400" in problem_of({"handoff": "x", "timeout_s": wait_s})
    assert "timeout_s must be seconds from 1 to 31622400" in problem_of({**menu("a"), "timeout_s": wait_s})
    assert "remind_s must be seconds from 1 to 31622400" in problem_of({**menu("a"), "remind_s": wait_s})


def test_a_time_that_is_over_at_once_is_refused_for_what_is_due() -> None:
    # With 0 a question that leads back to itself would be asked without end.
    assert "timeout_s" in problem_of({"ask": "x", "into": "z", "timeout_s": 0})
    assert "remind_s" in problem_of({"ask": "x", "into": "z", "remind_s": 0.5})
    assert "timeout_s" in problem_of({"handoff": "x", "timeout_s": 0})


@pytest.mark.parametrize("step", [{"ask": "x", "into": "z"}, menu("a"), form({"ask": "x", "into": "z"})])
def test_a_reminder_of_what_is_over_is_refused(step: dict[str, object]) -> None:
    check({**step, "remind_s": 59, "timeout_s": 60}, "end")
    problem = problem_of({**step, "remind_s": 60, "timeout_s": 60})
    assert problem.endswith(": remind_s, 60, must be less than timeout_s, 60: nobody is reminded of what is over")


def test_a_negative_number_of_retries_is_refused() -> None:
    assert "max_retries must be 0 or more, not -1" in problem_of({"ask": "x", "into": "z", "max_retries": -1})


def refuse(text: str) -> None:
    if "!" in text:
        raise ValueError(f"character {text.index('!') + 1}: no '!' here")


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ({"say": "a!"}, "text"),
        ({"menu": "a!", "choices": [{"label": "b!"}]}, "text"),
        ({"menu": "a", "choices": [{"label": "b"}], "unknown": "a!"}, "unknown"),
        ({"ask": "a", "into": "x", "retry": "a!"}, "retry"),
        ({"ask": "a", "into": "x", "on_failure": {"end": "a!"}}, "on_failure.text"),
        ({"handoff": "a!"}, "text"),
        ({"end": "a!"}, "text"),
    ],
)
def test_a_text_that_is_no_template_is_refused_in_the_words_of_the_templates(step: object, name: str) -> None:
    with pytest.raises(FlowError, match=rf"^flow 'f', step 1: {name}: character 2: no '!' here$"):
        check_steps("f", read_steps([step], "f"), known_flows=None, check_template=refuse)


def test_a_condition_is_refused_in_the_words_of_the_conditions() -> None:
    with pytest.raises(FlowError, match=r"^flow 'f', step 1: condition: character 2: no '!' here$"):
        check_steps("f", (When(condition="a!"),), known_flows=None, check_condition=refuse)


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (5, "must be a step, not 5"),
        (Do(function="x", arguments={"a": {1}}), "not a set"),
        (Do(function="x", arguments={"a": math}), "not a module"),
        (Ask(text="x", into="z", limits={"mim": 1}), "limit 'mim'"),
        (Ask(text="x", into="z", limits={"choices": 5}), "limit 'choices'"),
    ],
)
def test_what_cannot_be_stored_is_refused(step: AnyStep, problem: str) -> None:
    assert problem in problem_of_built(step)


def test_arguments_may_be_any_mapping() -> None:
    check_steps("f", (Do(function="x", arguments=MappingProxyType({"a": ("b", None)})),), known_flows=None)


def _ring() -> tuple[AnyStep, ...]:
    return tuple(Jump(id=f"s{n}", to=Goto(step=f"s{(n + 1) % 10_000}")) for n in range(10_000))


def _arguments_of_themselves() -> tuple[AnyStep, ...]:
    arguments: dict[str, object] = {}
    arguments["a"] = [arguments]
    return (Do(function="x", arguments=arguments),)


def _shared() -> tuple[AnyStep, ...]:
    steps: tuple[AnyStep, ...] = (Send(text="x"),)
    for _ in range(40):
        steps = (When(condition="x", then=steps, otherwise=steps),)
    return steps


HOSTILE: dict[str, tuple[Callable[[], tuple[AnyStep, ...]], str]] = {
    "10,000 gotos in a ring": (_ring, "9,990 more → 's0'"),
    "10,000 gotos to one": (lambda: tuple(Jump(id=f"s{n}", to=Goto(step="s0")) for n in range(10_000)), "for ever"),
    "10,000 gotos to nowhere": (
        lambda: tuple(Jump(id=f"s{n}", to=Goto(step="x")) for n in range(10_000)),
        "9,990 more",
    ),
    "10,000 calls of unknown flows": (lambda: tuple(Call(flow=f"x{n}") for n in range(10_000)), "9,990 more"),
    "10,000 equal ids": (lambda: (Send(text="x", id="a"),) * 10_000, "9,989 more"),
    "arguments in themselves": (_arguments_of_themselves, "contains itself"),
    "5,000 levels": (lambda: (nested(5_000),), "50 levels deep"),
    "the same steps in each other": (_shared, "more than 10,000 steps"),
    "20,000 equal choices": (
        lambda: (Menu(text="x", choices=(Choice(label="a"),) * 20_000),),
        "at least",
    ),
}


@pytest.mark.parametrize(("make", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_steps_give_one_error_without_growing_with_the_square(
    make: Callable[[], tuple[AnyStep, ...]], problem: str
) -> None:
    steps = make()
    began = time.process_time()
    with pytest.raises(FlowError) as caught:
        check_steps("f", steps, known_flows=[f"flow{n}" for n in range(10_000)])
    assert time.process_time() - began < NOT_QUADRATIC_S
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 4_000


_ids = st.sampled_from(["a", "b", "c", "d"])
_small_flows = st.lists(
    st.one_of(
        st.builds(Send, id=_ids, text=st.just("x")),
        st.builds(Ask, id=_ids, text=st.just("x"), into=st.just("z")),
        st.builds(Jump, id=_ids, to=st.builds(Goto, step=_ids)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda step: step.id,
)


def _runs_for_ever(steps: list[AnyStep], start: int) -> bool:
    places = {step.id: index for index, step in enumerate(steps)}
    at, hops = start, 0
    while at < len(steps) and hops <= len(steps):
        step = steps[at]
        if isinstance(step, Ask):
            return False
        at = places[step.to.step] if isinstance(step, Jump) else at + 1
        hops += 1
    return at < len(steps)


@given(_small_flows)
def test_endless_loops_are_exactly_those_that_a_walk_never_leaves(steps: list[AnyStep]) -> None:
    ids = {step.id for step in steps}
    if any(isinstance(step, Jump) and step.to.step not in ids for step in steps):
        return
    endless = any(_runs_for_ever(steps, start) for start in range(len(steps)))
    assert ("goes round for ever" in problem_or_nothing(steps)) == endless


def problem_or_nothing(steps: list[AnyStep]) -> str:
    try:
        check_steps("f", steps, known_flows=None)
    except FlowError as error:
        return str(error)
    return ""


NAME = {"ask": "¿Nombre?", "into": "name"}
AGE = {"ask": "¿Edad?", "into": "age", "type": "integer"}


def test_a_sound_form_passes() -> None:
    conditional = {"ask": "¿Empresa?", "into": "company", "when": "age >= 18"}
    check(form(NAME, AGE, conditional, consent="¿Aceptas?", confirm="¿Bien, {name}?", on_refusal=go("end")), say("end"))


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (form(), "step 1: the form has no fields; give it at least one"),
        ({**form(NAME), "form": " "}, "step 1: name is empty"),
        (form(NAME, confirm=" "), "step 1: confirm is empty"),
        (form({**NAME, "ask": ""}), "'name': text is empty"),
        (form(NAME, {**AGE, "into": "name"}), "'name': into 'name' keeps the answer of field 1 already"),
        (form(NAME, {**AGE, "label": "Name"}), "'age': the label 'Name' names field 1 already; write another one"),
        (form({**AGE, "min": 3, "max": 1}), "'age': limit 'min'"),
        (form({**NAME, "max_retries": -1}), "'name': max_retries must be 0 or more"),
        (form(NAME, on_refusal=go("x")), "step 1: on_refusal: there is no step 'x'"),
        (form(NAME, on_cancel=go("x")), "step 1: on_cancel: there is no step 'x'"),
        (form({**NAME, "on_failure": go("x")}), "'name': on_failure: there is no step 'x'"),
        (form(NAME, on_timeout={"goto": "x"}), "step 1: on_timeout: there is no flow 'x'"),
        (form({**NAME, "into": "a.b"}), "into must be a name of letters, digits and _, not 'a.b'"),
        (form({**NAME, "timeout_s": 60}, remind_s=60), "'name': remind_s, 60, must be less than timeout_s, 60; one"),
        (form({**NAME, "label": "x" * 101}), "'name': label has 101 characters; at most 100"),
        (form(NAME, consent="x" * 5_000), "step 1: consent has 5,000 characters; at most 4,096"),
        ({**form(NAME), "form": "x" * 101}, "step 1: name has 101 characters; at most 100"),
    ],
)
def test_a_form_that_cannot_be_filled_in_is_refused(step: object, problem: str) -> None:
    assert problem in problem_of(step)


@pytest.mark.parametrize("name", ["consent", "confirm", "reminder"])
def test_the_texts_of_a_form_are_templates(name: str) -> None:
    with pytest.raises(FlowError, match=rf"step 1: {name}: character 2: no '!' here$"):
        check_steps("f", read_steps([form(NAME, **{name: "a!"})], "f"), known_flows=None, check_template=refuse)


def test_the_condition_of_a_field_is_refused_in_the_words_of_the_conditions() -> None:
    steps = read_steps([form({**NAME, "when": "a!"})], "f")
    with pytest.raises(FlowError, match=r"step 1: name\.when: character 2: no '!' here$"):
        check_steps("f", steps, known_flows=None, check_condition=refuse)


def test_what_is_no_field_is_refused() -> None:
    assert "must be a field, not 5" in problem_of_built(Form(name="x", fields=(5,)))  # type: ignore[arg-type]
    said = Form(name="x", fields=(FormField(Send(text="x")),))  # type: ignore[arg-type]
    assert "must be a field, not a Send" in problem_of_built(said)


def test_the_fields_of_a_form_can_be_gone_to_and_their_addresses_are_taken() -> None:
    check(form(NAME, AGE), go("registro.age"))
    check(form(NAME), {"end": "x", "id": "registro.age"})
    assert "the id 'registro' is taken by step 1" in problems_of(form(NAME), form(NAME))[0]
    assert "the id 'registro.name' is taken by step 1" in problem_of(say("registro.name"), form(NAME))
    check(form(NAME), {**form(NAME), "id": "again"})


def test_a_form_of_more_than_fifty_fields_is_refused() -> None:
    fields = [{"ask": "x", "into": f"v{n}"} for n in range(51)]
    check(form(*fields[:50]))
    assert "the form has 51 fields; at most 50: make two forms of it" in problem_of(form(*fields))


def test_the_fields_of_a_form_count_as_steps() -> None:
    fields = tuple(FormField(Ask(text="x", into=f"v{n}")) for n in range(10_000))
    assert "has more than 10,000 steps" in problem_of_built(Form(name="x", fields=fields))
    forms = tuple(Form(name=f"x{n}", fields=fields[:49]) for n in range(200))
    check_steps("f", forms, known_flows=None)
    assert "has more than 10,000 steps" in problem_of_built(*forms, Send(text="x"))


def test_a_form_that_may_be_passed_without_a_question_does_not_stop_a_loop() -> None:
    known = form(NAME, skip_known=True, confirm=False)
    conditional = form({**NAME, "when": "x"}, confirm=False)
    for step in (known, conditional):
        assert "goes round for ever" in problem_of(step, go("registro"))
    for step in (form(NAME, confirm=False), {**known, "confirm": True}, {**known, "consent": "¿Sí?"}):
        check(step, go("registro"))


@pytest.mark.parametrize("way", ["on_refusal", "on_cancel", "on_timeout"])
def test_where_a_form_or_menu_leads_to_is_reached(way: str) -> None:
    check(form(NAME, **{way: go("3")}), {"end": ""}, "late")
    assert "step 3: nothing leads here" in problem_of(form(NAME), {"end": ""}, "late")
    check({**menu("x"), "on_timeout": go("3")}, {"end": ""}, "late")


def _ten_thousand() -> list[AnyStep]:
    steps: list[AnyStep] = []
    for n in range(1_666):
        these: list[AnyStep] = [
            Ask(text="¿Cuántos, {name}?", into=f"v{n}", type="integer", limits={"min": 1, "max": 99}, retry="{reason}"),
            When(condition=f"v{n} > 3 and city in ['a', 'b']", then=(Jump(to=Goto(step="1")),)),
            Menu(text="¿{x}?", choices=(Choice(label="a", keywords=("b", "c")), Choice(label="d"))),
            Form(name=f"form{n}", fields=(FormField(Ask(text="¿{x}?", into="name")),)),
        ]
        steps += these
    return steps


def test_ten_thousand_steps_are_checked_without_growing_with_the_square() -> None:
    steps = _ten_thousand()
    began = time.process_time()
    check_steps("f", steps, known_flows=["f"], check_condition=Expression, check_template=check_template)
    assert time.process_time() - began < NOT_QUADRATIC_S
