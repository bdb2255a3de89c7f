"""Random conversations through random flows are those of the reference."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.forms import without_consents
from tecnobot_core.flows.steps import (
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
    Menu,
    Repeat,
    Send,
    Stay,
    When,
)
from tests.flow_chat import Chat, Steps, count
from tests.flow_reference import MAX_STEPS, RELEASE, REMINDER, TIMEOUT, Path, Reference, Tree, find

# Random flows: three of them, each with its steps named s1, s2, … in the order of reading

FLOWS = ("f", "g", "h")
targets = st.builds(
    Goto, flow=st.sampled_from(("", "", *FLOWS)), step=st.sampled_from(("", "s1", "s2", "s2", "s3", "s3", "s5"))
)
ends = st.builds(End, st.sampled_from(("", "end")))
results = st.one_of(
    st.none(), st.none(), targets, ends, st.builds(Repeat, st.sampled_from(("", "again"))), st.just(Stay())
)
times: dict[str, st.SearchStrategy[Any]] = {
    "remind_s": st.sampled_from((None, 30.0)),
    "reminder": st.sampled_from(("", "hello?")),
    "timeout_s": st.sampled_from((None, 60.0)),
    "on_timeout": st.one_of(targets, ends),
}
asks = st.builds(
    Ask,
    text=st.sampled_from(("q1", "q2")),
    into=st.sampled_from("ab"),
    type=st.sampled_from(("integer", "text")),
    retry=st.sampled_from(("", "retry")),
    max_retries=st.integers(0, 2),
    on_failure=st.one_of(targets, ends),
    **times,
)
conditions = ("n=1", "a=1", "b=2")
fields = st.lists(
    st.builds(FormField, asks, st.sampled_from(("", "", *conditions))),
    min_size=1,
    max_size=2,
    unique_by=lambda field: field.ask.into,
).map(tuple)
forms = st.builds(
    Form,
    name=st.just("form"),
    fields=fields,
    consent=st.sampled_from(("", "agreed?")),
    on_refusal=st.one_of(targets, ends),
    confirm=st.sampled_from((False, True, "right?")),
    on_cancel=st.one_of(targets, ends),
    skip_known=st.booleans(),
    **times,
)
plain_steps = st.one_of(
    st.builds(Send, text=st.sampled_from(("x", "y"))),
    asks,
    asks,
    forms,
    st.builds(Do, function=st.just("count"), arguments=st.fixed_dictionaries({"returns": results})),
    st.builds(Jump, to=targets),
    st.builds(Call, flow=st.sampled_from(FLOWS)),
    st.builds(Handoff, text=st.just("wait"), timeout_s=st.sampled_from((None, 60.0))),
    st.builds(Finish, text=st.sampled_from(("", "bye"))),
)


def _steps(depth: int) -> st.SearchStrategy[Steps]:
    if depth == 0:
        return st.lists(plain_steps, max_size=2).map(tuple)
    inner = _steps(depth - 1)
    whens = st.builds(When, condition=st.sampled_from(conditions), then=inner, otherwise=inner)
    choices = st.tuples(inner, inner).map(
        lambda both: (Choice(label="one", keywords=("uno",), steps=both[0]), Choice(label="two", steps=both[1]))
    )
    menus = st.builds(Menu, text=st.just("menu"), unknown=st.just("which?"), choices=choices, **times)
    return st.lists(st.one_of(plain_steps, plain_steps, whens, menus), min_size=1, max_size=4).map(tuple)


def _named(steps: Steps, names: list[str]) -> Steps:
    """*steps* with an id for each; *names* grows by them."""
    done: list[AnyStep] = []
    for step in steps:
        names.append(name := f"s{len(names) + 1}")
        step = replace(step, id=name, name=f"form {name}") if isinstance(step, Form) else replace(step, id=name)
        if isinstance(step, When):
            then = _named(step.then, names)
            step = replace(step, then=then, otherwise=_named(step.otherwise, names))
        elif isinstance(step, Menu):
            step = replace(
                step, choices=tuple(replace(choice, steps=_named(choice.steps, names)) for choice in step.choices)
            )
        done.append(step)
    return tuple(done)


def _unnamed(steps: Steps) -> Steps:
    """*steps* without the ids that no Goto names."""
    done: list[AnyStep] = []
    for step in steps:
        step = step if step.id in {"s1", "s2", "s3", "s5"} else replace(step, id="")
        if isinstance(step, When):
            step = replace(step, then=_unnamed(step.then), otherwise=_unnamed(step.otherwise))
        elif isinstance(step, Menu):
            step = replace(
                step, choices=tuple(replace(choice, steps=_unnamed(choice.steps)) for choice in step.choices)
            )
        done.append(step)
    return tuple(done)


def _flow(first: AnyStep, others: Steps) -> Steps:
    return _named((first, *others), [])


asking_forms = forms.map(lambda form: replace(form, confirm="right?"))

# The first begins with a question: without one there is nothing to repeat, and nothing to answer.
some_flows = st.fixed_dictionaries(
    {flow: st.builds(_flow, st.one_of(asks, asking_forms) if flow == "f" else plain_steps, _steps(2)) for flow in FLOWS}
)
events = st.sampled_from(("1", "1", "1", "2", "3", "one", "uno", "x", "x", TIMEOUT, RELEASE, REMINDER, "<early>"))


def _moved(path: Path, trees: dict[str, Tree], kind: type) -> tuple[Path, bool]:
    """*path* in other trees, and whether its last step is there, of the same kind."""
    moved: Path = [(trees[tree.flow], wanted) for tree, wanted in path]
    tree, wanted = moved[-1]
    same = find(tree.steps, wanted, kind) is not None
    return ([*moved[:-1], (tree, wanted if same else None)], same)


async def _happen(chat: Chat, event: str) -> None:
    if event == TIMEOUT:
        await chat.time_out()
    elif event == REMINDER:
        await chat.remind()
    elif event == RELEASE:
        await chat.release()
    else:
        await chat.say(event, sent_at=500.0 if event == "<early>" else None)


def _heard(reference: Reference, lost: bool, happening: str) -> None:
    """Let it happen in the reference; where the step is lost, the flow begins again."""
    if lost:
        reference.begin(reference.path)
    elif happening == "<early>":
        reference.says, reference.trace, reference.records = [], [], []
    else:
        reference.send(happening)


@settings(max_examples=300, deadline=None)
@given(
    some_flows,
    st.lists(events, min_size=3, max_size=12),
    some_flows,
    st.sets(st.sampled_from(FLOWS)),
    st.integers(0, 4),
    st.sampled_from(("kept", "gone", "same")),
)
async def test_random_conversations_are_those_of_the_reference(
    flows: dict[str, Steps],
    happens: list[str],
    others: dict[str, Steps],
    edited: set[str],
    change_at: int,
    old: str,
) -> None:
    others |= {flow: (Send(id="new", text="new"), *flows[flow][:-1]) for flow in edited}
    chat = Chat({"count": count}, max_steps=MAX_STEPS)
    reference = Reference({flow: Tree(flow, steps) for flow, steps in flows.items()})
    for flow, steps in flows.items():
        chat.flow(flow, *(_unnamed(steps) if old == "same" else steps))
    lost = False
    reference.begin([(reference.trees["f"], None)])
    await chat.start()
    for number, happening in enumerate(happens):
        _agree(chat, reference, traced=old != "same")
        if chat.position is None:
            event(f"over after {number} messages")
            return
        if number == change_at and old != "same":
            lost = _change(chat, reference, others, gone=old == "gone")
            event(f"change: {old}, lost: {lost}")
        if lost and happening in (TIMEOUT, RELEASE, REMINDER):
            return
        try:
            _heard(reference, lost, happening)
        except FlowError:
            with pytest.raises(FlowError):
                await _happen(chat, happening)
            event("an error")
            return
        await _happen(chat, happening)
        lost = False
    _agree(chat, reference, traced=old != "same")
    event("all messages")


def _agree(chat: Chat, reference: Reference, *, traced: bool) -> None:
    assert [replace(said, id="") for said in chat.last.says] == [replace(said, id="") for said in reference.says]
    assert [replace(record, submitted_at=0.0) for record in chat.last.records] == reference.records
    assert not traced or list(chat.last.trace) == reference.trace
    assert (chat.position is None) == (reference.going is None)
    if chat.position is not None:
        own, consents = without_consents(chat.variables)
        assert own == reference.variables
        assert [*consents.values()] == [*reference.consents.values()] or not traced
        flows = [flow for flow, _, _ in chat.position.stack] + [chat.position.flow]
        assert flows == [tree.flow for tree, _ in reference.path]


def _change(chat: Chat, reference: Reference, others: dict[str, Steps], *, gone: bool) -> bool:
    """Publish *others* while the conversation waits, with the old version kept or gone; True when its step is lost."""
    reference.trees = {flow: Tree(flow, steps) for flow, steps in others.items()}
    for flow, steps in others.items():
        chat.flow(flow, *steps, version=2)
        if gone:
            chat.forget(flow, 1)
    if not gone:
        return False
    tree, wanted = reference.path[-1]
    waiting = find(tree.steps, wanted)
    path, same = _moved(reference.path, reference.trees, type(waiting))
    kept = reference.says, reference.trace
    if same:
        reference.begin(path, "stay")
        reference.says, reference.trace = kept
    reference.path = path
    return not same
