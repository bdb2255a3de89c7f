"""Programs: every step has an address, and what comes behind it is known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.program import Program
from tecnobot_core.flows.steps import AnyStep, Choice, Do, Finish, Menu, Send, When

PAY = Menu(
    text="¿Cómo paga?",
    choices=(
        Choice(label="PayPal", steps=(Send(text="a"), Send(text="b"))),
        Choice(label="Más tarde", steps=(Send(text="c"),)),
        Choice(label="Nada"),
    ),
)


def program(*steps: AnyStep) -> Program:
    return Program("f", 1, steps)


def test_a_step_is_named_by_its_id_and_else_by_its_place() -> None:
    flow = program(Send(text="x"), Send(id="hello", text="y"), PAY, When(condition="c", then=(Send(text="z"),)))
    for address in ("1", "hello", "3", "3.paypal.1", "3.paypal.2", "3.mas-tarde.1", "4.then.1"):
        assert flow.has(address), address
    assert not flow.has("2")
    assert flow["3.paypal.2"] == Send(text="b")


def test_places_within_a_step_begin_with_its_id() -> None:
    assert program(replace(PAY, id="pay")).has("pay.paypal.1")


def test_behind_a_branch_comes_what_is_behind_its_step() -> None:
    flow = program(PAY, Send(text="z"))
    assert (flow.first, flow.next("1"), flow.next("2")) == ("1", "2", None)
    assert (flow.next("1.paypal.1"), flow.next("1.paypal.2"), flow.next("1.mas-tarde.1")) == ("1.paypal.2", "2", "2")


def test_a_branch_without_steps_begins_behind_its_step() -> None:
    flow = program(PAY, When(condition="c"))
    assert (flow.enter("1", "paypal"), flow.enter("1", "nada")) == ("1.paypal.1", "2")
    assert (flow.enter("2", "then"), flow.enter("2", "otherwise")) == (None, None)


def test_a_flow_without_steps_has_no_first_one() -> None:
    assert program().first is None


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ((Send(id="a", text="x"), Send(id="a", text="y")), "'a'"),
        ((Send(id="2", text="x"), Send(text="y")), "'2'"),
        ((Send(id="a", text="x"), When(condition="c", then=(Do(id="a", function="f"),))), "'a'"),
        ((Menu(text="?", choices=(Choice(label="Sí"), Choice(label="si"))),), "'1'.*'si'"),
        (("hola",), "'1': str is no kind of step"),
    ],
)
def test_steps_that_cannot_be_told_apart_are_refused(steps: tuple[AnyStep, ...], problem: str) -> None:
    with pytest.raises(FlowError, match=f"'f'.*{problem}"):
        program(*steps)


def test_nesting_costs_no_recursion() -> None:
    step: AnyStep = Finish(text="here")
    for level in range(2_000):
        step = When(id=f"level{level}", condition="c", then=(step,))
    flow = program(step)
    assert flow[flow.enter("level0", "then") or ""] == Finish(text="here")


def test_each_step_of_a_long_flow_is_laid_out_once() -> None:
    flow = program(*(Send(text="x") for _ in range(10_000)))
    address, count = flow.first, 0
    while address is not None:
        address, count = flow.next(address), count + 1
    assert count == 10_000


def blocks(depth: int) -> st.SearchStrategy[tuple[AnyStep, ...]]:
    sends = st.builds(Send, text=st.text("xyz", max_size=2))
    if depth == 0:
        return st.lists(sends, max_size=3).map(tuple)
    inner = blocks(depth - 1)
    whens = st.builds(When, condition=st.just("c"), then=inner, otherwise=inner)
    choices = st.lists(st.builds(Choice, label=st.sampled_from(["a", "b", "c"]), steps=inner), unique_by=_label)
    menus = st.builds(Menu, text=st.just("?"), choices=choices.map(tuple))
    return st.lists(st.one_of(sends, whens, menus), max_size=3).map(tuple)


def _label(choice: Choice) -> str:
    return choice.label


def _tree(steps: tuple[AnyStep, ...], prefix: str = "") -> dict[str, AnyStep]:
    """Every step by its place, found by looking into each step."""
    found: dict[str, AnyStep] = {}
    for number, step in enumerate(steps, 1):
        found[place := f"{prefix}{number}"] = step
        if isinstance(step, When):
            found |= _tree(step.then, f"{place}.then.") | _tree(step.otherwise, f"{place}.otherwise.")
        elif isinstance(step, Menu):
            for choice in step.choices:
                found |= _tree(choice.steps, f"{place}.{choice.label}.")
    return found


@given(blocks(2))
def test_every_step_is_found_at_its_place(steps: tuple[AnyStep, ...]) -> None:
    flow = program(*steps)
    for address, step in _tree(steps).items():
        assert flow[address] is step


@given(blocks(2), blocks(1), st.data())
def test_a_name_a_new_branch_or_a_step_behind_changes_no_address_elsewhere(
    steps: tuple[AnyStep, ...], added: tuple[AnyStep, ...], data: st.DataObject
) -> None:
    edited = [*steps, *added]
    changed = set()
    if steps:
        index = data.draw(st.integers(0, len(steps) - 1))
        edited[index] = When(id="new", condition="c", then=added)
        changed = {str(index + 1)}
    flow = program(*edited)
    for address, step in _tree(steps).items():
        if address.partition(".")[0] not in changed:
            assert flow[address] is step
