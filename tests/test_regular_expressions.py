"""Expressions of owners: what google-re2 finds, what it refuses, and that no expression can take long."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._flows.matching import BOMBS
from tecnobot_core.adapters.regular_expressions import Re2Set
from tecnobot_core.errors import FlowError
from tecnobot_core.flows import Flow, MatchIndex
from tecnobot_core.flows.matching import MAX_PATTERN_SUBJECT_CHARS
from tecnobot_core.flows.triggers import MAX_PATTERN_CHARS


@pytest.mark.parametrize(
    ("patterns", "text", "number"),
    [
        (["b", "a"], "xa", 1),
        (["b", "a", "x"], "xa", 1),
        (["nothing"], "xa", None),
        ([], "xa", None),
        (["PRECIO"], "el precio", 0),
        (["(?-i)PRECIO"], "el precio", None),
        (["información"], "INFORMACIÓN", 0),
        ([r"^\p{Latin}+$"], "niño", 0),
        ([r"\bcu[aá]nto\b"], "¿Cuánto es?", 0),
        ([r"^\d{3}-\d{4}$"], "555-1234", 0),
        (["."], "👍", 0),
        ([r"^\?$"], "\ud800", 0),
        (["^$"], "", 0),
        (["x\x00y"], "x\x00y", 0),
    ],
)
def test_the_first_expression_that_occurs_is_found(patterns: Sequence[str], text: str, number: int | None) -> None:
    assert Re2Set(patterns).first(text) == number


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)", r"\(\?="),
        ("(?<=a)b", r"\(\?<"),
        (r"(a)\1", r"\\1"),
        ("(", "missing"),
        ("[z-a]", "z-a"),
        ("*", "no argument"),
        ("x{1001}", "repetition size"),
        ("((a{100}){100}){100}", "repetition size"),
        ("[^x]{200}", "too large"),
        ("(a?){400}a{400}", "too large"),
        ("\ud800", "character 1 is half of a surrogate pair"),
    ],
)
def test_what_cannot_be_found_in_linear_time_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(FlowError, match=reason):
        Re2Set(["sound", pattern])


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FlowError):
        Re2Set(["("])
    Re2Set([str(number) + "x" * 400 for number in range(300)])
    assert capfd.readouterr().err == ""


def test_more_expressions_than_one_set_can_hold_keep_their_order() -> None:
    expressions = Re2Set([f"^{number}{'x' * 400}" for number in range(600)])
    assert len(expressions._sets) > 1
    for number in (0, 299, 300, 599):
        assert expressions.first(f"{number}{'x' * 400}") == number
    assert expressions.first("600" + "x" * 400) is None


def test_a_flow_whose_expression_is_refused_is_told_and_the_rest_serves() -> None:
    flows = [Flow("bad").on("a(?=b)", kind="regex").say("…"), Flow("good").on("^(hola|buenas)", kind="regex").say("…")]
    index = MatchIndex(flows, engine=Re2Set)
    assert [str(error) for error in index.broken] == ["flow 'bad': regex 'a(?=b)': invalid perl operator: (?="]
    match = index.find("Buenas a todos")
    assert match is not None
    assert (match.flow.id, match.matched) == ("good", "^(hola|buenas)")


@pytest.mark.parametrize("pattern", BOMBS)
def test_a_bomb_is_served_or_refused(pattern: str) -> None:
    assert len(pattern) <= MAX_PATTERN_CHARS
    try:
        expressions = Re2Set([pattern])
    except FlowError:
        return
    for text in ("a" * MAX_PATTERN_SUBJECT_CHARS + "!", "ab" * (MAX_PATTERN_SUBJECT_CHARS // 2)):
        assert expressions.first(text) in (None, 0)


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=20), max_size=4), st.text())
def test_any_expression_is_served_or_refused(patterns: list[str], text: str) -> None:
    try:
        expressions = Re2Set(patterns)
    except FlowError:
        return
    number = expressions.first(text)
    assert number is None or 0 <= number < len(patterns)
