"""Everything that is wrong with a flow is told at once, in words and by place."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tecnobot_core.errors import FlowError, FlowProblem
from tecnobot_core.flows import Flow
from tecnobot_core.flows.problems import TOP, Place, Problems


def error_of(action: Callable[[], object]) -> FlowError:
    with pytest.raises(FlowError) as caught:
        action()
    return caught.value


def stored(response: object, keywords: Any = ("hola",), priority: Any = 0) -> FlowError:
    listed = list(keywords) if isinstance(keywords, tuple) else keywords
    return error_of(lambda: Flow.from_stored("f", listed, response, priority))


def test_an_error_without_places_has_no_problems() -> None:
    assert (str(FlowError("x")), FlowError("x").problems) == ("x", ())


def test_a_problem_prints_as_a_line_for_its_owner() -> None:
    problem = FlowProblem(flow_id="f", path=("steps", 2), place="step 3 'pay'", sentence="is wrong")
    assert str(problem) == "flow 'f', step 3 'pay': is wrong"
    assert str(FlowProblem(flow_id="", path=(), sentence="is wrong")) == "is wrong"
    assert str(FlowProblem(flow_id="", path=(), sentence="is big", file="a.yaml")) == "a.yaml: is big"
    placed = FlowProblem(flow_id="f", path=(), sentence="is wrong", file="a.yaml", line=3, column=5)
    assert str(placed) == "a.yaml:3:5: flow 'f': is wrong"


def test_an_error_with_problems_survives_a_copy() -> None:
    error = stored({"steps": [5]})
    assert copy.copy(error).problems == error.problems == pickle.loads(pickle.dumps(error)).problems
    assert str(copy.copy(error)) == str(error)


@pytest.mark.parametrize(
    ("response", "path"),
    [
        ({"steps": [{"say": 5}]}, ("steps", 0, "say")),
        ({"steps": ["x", {"when": "a", "then": [{"end": 5}]}]}, ("steps", 1, "then", 0, "end")),
        ({"steps": ["x", {"menu": "a", "choices": [{}]}]}, ("steps", 1, "choices", 0)),
        ({"steps": [{"menu": "a", "choices": [{"label": "a"}, {"label": 5}]}]}, ("steps", 0, "choices", 1, "label")),
        ({"steps": [{"goto": "", "step": "nowhere"}]}, ("steps", 0)),
        ({"steps": "x"}, ("steps",)),
        ({}, ("steps",)),
        ({"say": [5]}, ("say", 0)),
        ({"steps": ["x"], "event": "earthquake"}, ("event",)),
        ({"steps": ["x"], "interrupts": 1}, ("interrupts",)),
        ({"steps": ["x"], "exact": [5]}, ("exact", 0)),
        ({"steps": ["x"], "evnt": "voice"}, ()),
        ([], ()),
    ],
)  # fmt: skip
def test_a_problem_leads_to_its_place_from_the_top_of_the_stored_flow(response: object, path: tuple[Any, ...]) -> None:
    (problem,) = stored(response).problems
    assert (problem.flow_id, problem.path) == ("f", path)


def test_everything_that_is_wrong_with_a_flow_is_told_at_once() -> None:
    response = {"steps": [{}, {"ask": "x"}], "evnt": "voice", "event": "earthquake", "interrupts": 1, "exact": "x"}
    error = stored(response, (" ", "hola"), priority="high")
    assert {problem.path[:1] for problem in error.problems} == {
        (), ("steps",), ("event",), ("interrupts",), ("exact",), ("keywords",), ("priority",),
    }  # fmt: skip
    assert len(error.problems) == len(str(error).splitlines()) == 8


def test_what_is_wrong_with_sound_steps_is_told_with_what_starts_them() -> None:
    error = error_of(Flow("f", event="voice").on(" ").say("").say("", "").check)
    assert [problem.path for problem in error.problems] == [
        ("keywords",), ("steps", 0), ("steps", 1), ("steps", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("priority", [2**31, -(2**31), 10**400])
def test_a_priority_that_no_database_holds_is_refused(priority: int) -> None:
    assert "priority must be a whole number from" in str(error_of(Flow("f", priority=priority).on("x").say("x").check))


def test_a_name_that_is_too_long_is_refused() -> None:
    assert "the id has 101 characters; at most 100" in str(error_of(Flow("f" * 101).on("x").say("x").check))


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        ({"steps": ["x"], "evnt": "voice"}, "the field 'evnt' is unknown; did you mean 'event'?"),
        ({"steps": ["x"], "event": "welcom"}, "; did you mean 'welcome'?"),
        ({"steps": [{"sya": "x"}]}, "; did you mean 'say'?"),
    ],
)
def test_the_nearest_word_is_suggested(response: object, sentence: str) -> None:
    assert str(stored(response)).endswith(sentence)


def test_the_first_ten_are_listed_and_a_thousand_are_told_to_programs() -> None:
    error = stored({"steps": [{"say": 5}] * 2_000})
    assert str(error).splitlines()[10:] == ["and 1,990 more"]
    assert len(error.problems) == 1_000


def test_suggestions_end_where_they_would_cost_too_much() -> None:
    problems = Problems("f")
    known = [f"name{number}" for number in range(1_000)]
    for _ in range(100):
        problems.add(TOP, "is unknown", name="nmae1", known=known)
    suggested = [problem for problem in problems.listed if "did you mean" in problem.sentence]
    assert 10 <= len(suggested) <= 11


def test_what_another_check_found_is_told_as_well() -> None:
    problems = Problems("f")
    problems.add(TOP.about("event"), "event is wrong")
    problems.include(stored({"steps": [5]}))
    problems.include(FlowError("something else"))
    assert [problem.path for problem in error_of(problems.raise_if_any).problems] == [("event",), ("steps", 0), ()]
    assert not problems.is_sound("event")
    assert problems.is_sound("keywords")


def test_places_are_paths_too() -> None:
    assert Place().at(2, "pay").at("choices").at(1).path == ("steps", 2, "choices", 1)
    assert Place(key="say").at(0).path == ("say", 0)
    assert TOP.at("steps").at(0).path == ("steps", 0)
    assert (TOP.path, Place().path) == ((), ("steps",))
    assert (str(TOP.at("exact").at(1)), str(TOP.about("event"))) == ("exact, item 2", "")
