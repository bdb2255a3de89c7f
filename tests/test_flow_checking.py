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
from tecnobot_core.flows.reading import read_steps
from tecnobot_core.flows.steps import AnyStep, Ask, Call, Choice, Do, Goto, Jump, Menu, Send, When

WELL_UNDER_A_SECOND = 0.8  # on a busy machine; alone the slowest of them takes 0.3

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
    assert "on_timeout.text has 5,000" in problem_of({"ask": "x", "into": "y", "on_timeout": {"end": "x" * 5_000}})


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
        {"ask": "x", "into": "y", "on_timeout": go("pagr")},
        {"ask": "x", "into": "y", "on_failure": go("pagr")},
    ],
)
def test_a_way_to_a_step_that_does_not_exist_is_refused(way: object) -> None:
    assert "there is no step 'pagr'; did you mean 'pagar'?" in problem_of(say("pagar"), way)


@pytest.mark.parametrize(
    "way",
    [{"goto": "othr"}, {"call": "othr"}, {"ask": "x", "into": "y", "on_timeout": {"goto": "othr"}}],
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
        ([{"ask": "x", "into": "y"}, say("a"), {"when": "x", "otherwise": [go("a")]}], "'a' → step 3 → "),
    ],
)
def test_a_loop_that_never_waits_for_a_person_is_refused(steps: list[object], loop: str) -> None:
    assert f"goes round for ever and never waits for a person: {loop}" in problem_of(*steps)


@pytest.mark.parametrize(
    "steps",
    [
        [{"ask": "x", "into": "y", "id": "a"}, go("a")],
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
    assert problem_of({"ask": "x", "into": "y", **limits}).startswith(f"flow 'f', step 1: {problem}")


@pytest.mark.parametrize("wait_s", [-1, math.nan, math.inf, 10**400, 1e9])
def test_a_wait_that_is_no_time_is_refused(wait_s: float) -> None:
    wanted = "must be seconds from 0 to 31622400"
    assert f"delay_s {wanted}" in problem_of({"say": "x", "delay_s": wait_s})
    assert f"timeout_s {wanted}" in problem_of({"ask": "x", "into": "y", "timeout_s": wait_s})
    assert f"timeout_s {wanted}" in problem_of({"handoff": "x", "timeout_s": wait_s})


def test_a_negative_number_of_retries_is_refused() -> None:
    assert "max_retries must be 0 or more, not -1" in problem_of({"ask": "x", "into": "y", "max_retries": -1})


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
        (Ask(text="x", into="y", limits={"mim": 1}), "limit 'mim'"),
        (Ask(text="x", into="y", limits={"choices": 5}), "limit 'choices'"),
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
def test_hostile_steps_give_one_error_in_well_under_a_second(
    make: Callable[[], tuple[AnyStep, ...]], problem: str
) -> None:
    steps = make()
    began = time.process_time()
    with pytest.raises(FlowError) as caught:
        check_steps("f", steps, known_flows=[f"flow{n}" for n in range(10_000)])
    assert time.process_time() - began < WELL_UNDER_A_SECOND
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 4_000


_ids = st.sampled_from(["a", "b", "c", "d"])
_small_flows = st.lists(
    st.one_of(
        st.builds(Send, id=_ids, text=st.just("x")),
        st.builds(Ask, id=_ids, text=st.just("x"), into=st.just("y")),
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
