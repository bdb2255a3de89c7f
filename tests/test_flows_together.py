"""What only several flows beside each other show."""

from tecnobot_core.errors import FlowProblem
from tecnobot_core.flows import Flow
from tecnobot_core.flows.steps import Ask, Call, Choice, Goto, Jump, Menu, When
from tecnobot_core.flows.together import check_together

HELLO = Flow("hola").on("hola").say("¡Hola!")


def problems_of(*flows: Flow) -> list[str]:
    return [str(problem) for problem in check_together(flows).problems]


def warnings_of(*flows: Flow) -> list[FlowProblem]:
    return check_together(flows).warnings


def test_sound_flows_have_nothing_wrong() -> None:
    way = Flow("a").on("a").then(Call(flow="hola"), Jump(to=Goto("hola")))
    assert (problems_of(HELLO, way), warnings_of(HELLO, way)) == ([], [])


def test_a_way_to_a_flow_that_does_not_exist_is_a_problem() -> None:
    assert problems_of(Flow("a").on("a").then(Call(flow="ola")), HELLO) == [
        "flow 'a', step 1: call: there is no flow 'ola'; did you mean 'hola'?"
    ]


def test_a_way_to_a_step_that_another_flow_does_not_have_is_a_problem_wherever_it_stands() -> None:
    lost, found = Goto("hola", "firts"), Goto("hola", "first")
    hello = Flow("hola").on("hola").then(Ask(id="first", text="¿?", into="x"))
    ask = Ask(text="¿?", into="x", on_failure=lost, on_timeout=found)
    menu = Menu(text="¿?", choices=(Choice(label="a", steps=(When(condition="x = 1", then=(Jump(to=lost),)),)),))
    assert problems_of(hello, Flow("a").on("a").then(ask, menu)) == [
        "flow 'a', step 1: there is no step 'firts' in the flow 'hola'; did you mean 'first'?",
        "flow 'a', step 2, choice 1, step 1, then, step 1: there is no step 'firts' in the flow 'hola'; "
        "did you mean 'first'?",
    ]


def test_a_way_inside_of_a_flow_is_its_own_matter() -> None:
    flow = Flow("a").on("a").then(Ask(id="x", text="¿?", into="x"), Jump(to=Goto("a", "x")))
    assert (problems_of(flow), warnings_of(flow)) == ([], [])


def test_a_keyword_that_a_better_flow_has_is_a_warning_at_the_one_that_loses() -> None:
    (warning,) = warnings_of(Flow("z").on("¡HOLA!", "buenas").say("x"), HELLO)
    assert (warning.flow_id, warning.path, warning.name) == ("z", ("keywords",), "¡HOLA!")
    assert warning.sentence == "the word keyword '¡HOLA!' starts the flow 'hola' before this one: its id comes first"


def test_the_flow_of_the_higher_priority_is_the_better_one() -> None:
    (warning,) = warnings_of(Flow("a").on("hola", "x").say("x"), Flow("z", priority=1).on("hola").say("x"))
    assert warning.flow_id == "a"
    assert warning.sentence.endswith("starts the flow 'z' before this one: its priority is higher")


def test_the_same_word_of_another_kind_is_no_rival() -> None:
    assert warnings_of(HELLO, Flow("z").on("hola", kind="exact").say("x")) == []


def test_a_flow_that_interrupts_has_a_use_beside_one_that_does_not() -> None:
    cancel = Flow("z", interrupts=True).on("hola").say("x")
    assert warnings_of(HELLO, cancel) == []
    assert len(warnings_of(Flow("a", interrupts=True).on("hola").say("x"), cancel)) == 2


def test_an_event_has_one_flow() -> None:
    (warning, nothing) = warnings_of(Flow("a", event="voice").say("x"), Flow("b", event="voice").say("x"))
    assert warning.sentence == "the event 'voice' starts the flow 'a' before this one: its id comes first"
    assert nothing.sentence.startswith("nothing starts it")


def test_a_flow_that_nothing_starts_is_a_warning_unless_another_leads_there() -> None:
    rival = Flow("z").on("hola").say("x")
    assert [warning.path for warning in warnings_of(HELLO, rival)] == [("keywords",), ()]
    round_trip = Flow("z").on("hola").then(Ask(text="¿?", into="x"), Jump(to=Goto("z")))
    assert [warning.path for warning in warnings_of(HELLO, round_trip)] == [("keywords",), ()]
    way = Flow("a").on("a").then(Call(flow="z"))
    assert [warning.path for warning in warnings_of(HELLO, rival, way)] == [("keywords",)]
