"""Files of flows as people write them: what each means, and what is said of the line where something is wrong."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.adapters.flow_files import FileFlow, parse_flow_file, yaml_reading
from tecnobot_core.adapters.flow_files.json_reading import read_json
from tecnobot_core.adapters.flow_files.meaning import Meaning, meaning_of
from tecnobot_core.adapters.flow_files.nodes import UnreadableError
from tecnobot_core.errors import FlowProblem
from tecnobot_core.flows import Flow, Keyword
from tecnobot_core.flows.steps import Ask, Choice, Do, Finish, Menu, Send

SOON_S = 15.0  # of processor time; alone the slowest of them takes one, on a busy machine more


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers of PyYAML: some builds have only the one in Python."""
    if request.param == "python":
        monkeypatch.setattr(yaml_reading, "_LOADER", yaml.SafeLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no libyaml")
    return str(request.param)


def flows_of(text: str | bytes, name: str = "f.yaml") -> tuple[FileFlow, ...]:
    file = parse_flow_file(text if isinstance(text, bytes) else text.encode(), name)
    assert file.error is None, file.error
    return file.flows


def flow_of(text: str | bytes, name: str = "f.yaml") -> Flow:
    (flow,) = flows_of(text, name)
    assert flow.flow is not None, flow.error
    return flow.flow


def problems_of(text: str | bytes, name: str = "f.yaml") -> list[FlowProblem]:
    file = parse_flow_file(text if isinstance(text, bytes) else text.encode(), name)
    errors = [error for error in (file.error, *(flow.error for flow in file.flows)) if error is not None]
    return [problem for error in errors for problem in error.problems]


def problem_of(text: str | bytes, name: str = "f.yaml") -> str:
    (problem,) = problems_of(text, name)
    return str(problem)


def with_steps(*lines: str) -> str:
    return "\n".join(["id: f", "keywords: [hola]", "steps:", *(f"  {line}" for line in lines)]) + "\n"


def steps_of(*lines: str) -> tuple[object, ...]:
    return flow_of(with_steps(*lines)).steps


# What is written


def test_a_file_may_hold_one_flow() -> None:
    text = """
    id: menu
    keywords: [hola, buenas tardes]
    exact:
      - menú
    event: welcome
    interrupts: true
    priority: 3
    steps:
      - ¡Hola!
      - ask: ¿Tu nombre?
        into: name
      - end:
    """
    assert flow_of(text) == Flow(
        "menu",
        (Keyword("hola"), Keyword("buenas tardes"), Keyword("menú", "exact")),
        "welcome",
        (Send(text="¡Hola!"), Ask(text="¿Tu nombre?", into="name"), Finish()),
        3,
        interrupts=True,
    )


def test_a_file_may_hold_several_flows() -> None:
    text = "flows:\n- {id: a, keywords: [x], steps: [A]}\n- {id: b, keywords: [y], steps: [B]}\n"
    assert [flow.id for flow in flows_of(text)] == ["a", "b"]


def test_a_broken_flow_leaves_the_others_of_its_file() -> None:
    bad, good = flows_of("flows:\n- {id: a, keywords: [x], steps: [5, {}]}\n- {id: b, keywords: [y], steps: [B]}\n")
    assert bad.flow is None
    assert good.flow is not None


@pytest.mark.parametrize("word", ["5", "007", "1.50", "no", "si", "yes", "on", "off", "Y", "2026-01-31", "12:30", "1_000", "true"])  # fmt: skip  # noqa: E501
def test_a_plain_word_is_a_text_where_a_text_is_wanted(word: str) -> None:
    flow = flow_of(
        f"id: {word}\nkeywords: [{word}]\nsteps:\n- {word}\n- say: {word}\n  buttons: [{word}]\n"
        f"- menu: {word}\n  choices: [{{label: {word}}}]\n"
    )
    assert (flow.id, flow.keywords) == (word, (Keyword(word),))
    menu = Menu(text=word, choices=(Choice(label=word),))
    assert flow.steps == (Send(text=word), Send(text=word, buttons=(word,)), menu)


def test_a_plain_number_is_a_number_where_one_is_wanted() -> None:
    (ask,) = steps_of("- {ask: x, into: x, type: integer, min: 1, max: 2.0, max_retries: 4, timeout_s: 1.5}")
    assert isinstance(ask, Ask)
    assert (ask.limits, ask.max_retries, ask.timeout_s) == ({"min": 1, "max": 2.0}, 4, 1.5)


@pytest.mark.parametrize("day", ["2026-01-31", "today", '"2026-01-31"'])
def test_where_a_number_or_a_text_is_wanted_a_day_is_a_text(day: str) -> None:
    (ask,) = steps_of(f"- {{ask: x, into: x, type: date, min: {day}}}")
    assert isinstance(ask, Ask)
    assert ask.limits == {"min": day.strip('"')}


def test_in_quotes_a_number_is_a_text() -> None:
    assert "priority: must be a whole number, not '5'" in problem_of(with_steps("- x") + 'priority: "5"\n')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("false", False), ("5", 5), ("-0.5e3", -500.0),
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("True", "True"), ("012", "012"), ("+34600", "+34600"),
        (".5", ".5"), ("1_000", "1_000"), ("0x1F", "0x1F"), (".inf", ".inf"), ("1e999", "1e999"), ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_where_anything_may_stand_numbers_and_truths_are_those_of_json(written: str, meant: object) -> None:
    assert meaning_of(written) == meant
    assert type(meaning_of(written)) is type(meant)


def test_arguments_hold_what_is_written() -> None:
    (do,) = steps_of("- do: save", "  arguments: {no: [5, yes, 1.5, '5', ~], 5: {a: true}}")
    assert do == Do(function="save", arguments={"no": [5, "yes", 1.5, "5", None], "5": {"a": True}})


def test_texts_may_have_several_lines() -> None:
    assert steps_of("- |", "  uno", "   dos", "- >-", "  tres", "  cuatro") == (
        Send(text="uno\n dos\n"),
        Send(text="tres cuatro"),
    )


@pytest.mark.parametrize("change", [lambda data: b"\xef\xbb\xbf" + data, lambda data: data.replace(b"\n", b"\r\n")])
def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing(change: Callable[[bytes], bytes]) -> None:
    text = with_steps("- |-", "  uno", "  dos", "- ¡tres!").encode()
    assert flow_of(change(text)) == flow_of(text)
    json_text = b'{"id": "f", "keywords": ["x"],\n "steps": ["x"]}'
    assert flow_of(change(json_text), "f.json") == flow_of(json_text, "f.json")


def test_a_tab_may_stand_between_what_is_written(loader: str) -> None:
    if loader == "python":
        pytest.skip("this parser refuses it, with a clear error")
    assert steps_of("- say:\tx\t# why") == (Send(text="x"),)


def test_an_anchor_may_be_used_again() -> None:
    choice = Choice(label="a", steps=(Send(text="x"),))
    assert steps_of("- menu: x", "  choices: &same [{label: a, steps: [x]}]", "- menu: y", "  choices: *same") == (
        Menu(text="x", choices=(choice,)),
        Menu(text="y", choices=(choice,)),
    )


def test_the_same_written_thing_means_what_each_place_wants() -> None:
    said = steps_of("- {ask: &five 5, into: x}", "- {say: x, buttons: &list [5]}", "- do: f", "  arguments: {a: *list}")
    assert said == (
        Ask(text="5", into="x"),
        Send(text="x", buttons=("5",)),
        Do(function="f", arguments={"a": [5]}),
    )
    assert steps_of("- {ask: &five 5, into: x}", "- {do: f, arguments: {a: *five}}")[1] == Do(
        function="f", arguments={"a": 5}
    )


def test_keywords_may_stand_under_their_kind_alone_or_under_keywords_too() -> None:
    apart = flow_of("id: f\nkeywords: [a]\nexact: [b]\nregex: ['c+']\nsteps: [x]\n")
    assert apart.keywords == (Keyword("a"), Keyword("b", "exact"), Keyword("c+", "regex"))
    as_in_the_database = flow_of("id: f\nkeywords: [a, b, c+]\nexact: [b]\nregex: ['c+']\nsteps: [x]\n")
    assert as_in_the_database == apart


def test_texts_alone_may_stand_under_say() -> None:
    assert flow_of("id: f\nkeywords: [a]\nsay: [x, {text: 'y', buttons: [z]}]\n") == Flow("f").on("a").say("x").say(
        "y", "z"
    )


# JSON


def test_json_means_the_same() -> None:
    text = '{"$schema": "x", "id": "f", "keywords": ["\\ud83d\\ude00\\/"], "steps": ["a\\tb", {"end": null}]}\t'
    assert flow_of(text, "f.json") == Flow("f").on("😀/").say("a\tb").then(Finish())


def test_in_json_a_number_is_no_text() -> None:
    text = '{"id": "f",\n "keywords": [5],\n "steps": ["x"]}'
    assert problem_of(text, "f.json") == "f.json:2:15: flow 'f', keywords, item 1: must be a text, not 5"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(json_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(value: object, indent: int | str | None, ascii: bool) -> None:
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assert Meaning().of(read_json(text)) == value


@given(st.text(alphabet='[]{}",:0123456789.eE+-truefalsn\\ \n\t', max_size=12))
def test_what_the_standard_library_refuses_is_refused(text: str) -> None:
    import json

    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(UnreadableError):
            read_json(text)
    else:
        node = read_json(text)
        assert Meaning().of(node) == value


# What is wrong


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["- x", "- say: x", "  butons: []"], "f.yaml:6:5: flow 'f', step 2: the field 'butons' is unknown; did you"),
        (["- menu: x", "  id: pay", "  choices: [{label: a}, {}]"], "f.yaml:6:27: flow 'f', step 1 'pay', choice 2: "),
        (["- ask: x", "  into: a b"], "f.yaml:4:5: flow 'f', step 1: into must be a name of letters"),
        (["- ask: x", "  into: y", "  type: emial"], "f.yaml:6:11: flow 'f', step 1, type: must be one of"),
        (["- say: x", "  delay_s: soon"], "f.yaml:5:14: flow 'f', step 1, delay_s: must be a number, not 'soon'"),
        (["- goto:", "  step: nowhere"], "f.yaml:4:5: flow 'f', step 1: goto: there is no step 'nowhere'"),
        (
            ["- end"],
            "f.yaml:4:5: flow 'f', step 1: 'end' alone would be said; write 'end:' for the step, or the text in",
        ),
        (
            ["- say: x", "  say: y"],
            "f.yaml:5:5: flow 'f', step 1: the name 'say' stands twice in this object, first in",
        ),
        (
            ["- x", "- id: pay", "  when: x", "  then: [end]"],
            "f.yaml:7:12: flow 'f', step 2 'pay', then, step 1: 'end'",
        ),
        (
            ["- do: x", "  arguments: {a: {b: 1, b: 2}}"],
            "f.yaml:5:27: flow 'f', step 1, arguments, a: the name 'b' stands twice",
        ),
    ],
)
def test_a_problem_is_told_with_its_line_column_and_place(lines: list[str], problem: str) -> None:
    assert problem_of(with_steps(*lines)).startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keywords: [x]\nsteps: [x]", "f.yaml:1:1: a flow has an empty id; give it a name"),
        ("id: [x]\nkeywords: [x]\nsteps: [x]", "f.yaml:1:5: id: must be a text, not a list of 1"),
        ("id: f\nkeywords: [x]", "f.yaml:1:1: flow 'f': the field 'steps' is missing; write a list of steps"),
        ("id: f\nsteps: [x]", "f.yaml:1:1: flow 'f': nothing starts it; give it keywords or an event"),
        ("id: f\nkeywords: hola\nsteps: [x]", "f.yaml:2:11: flow 'f', keywords: must be a list of texts, not 'hola'"),
        ("id: f\nkeywords: [x, ' ']\nsteps: [x]", "f.yaml:2:15: flow 'f': a keyword is empty; write the word"),
        ("id: f\nexact: [x]\ncontains: [y]\nsteps: [x]", "f.yaml:3:12: flow 'f': the contains keyword 'y' would be"),
        ("id: f\nkeyword: [x]\nevent: voice\nsteps: [x]", "f.yaml:2:1: flow 'f': the field 'keyword' is unknown; did"),
        ("id: f\nevent: welcom\nsteps: [x]", "f.yaml:2:8: flow 'f': event 'welcom' is unknown; use welcome"),
        ("id: f\nevent: voice\ninterrupts: yes\nsteps: [x]", "f.yaml:3:13: flow 'f', interrupts: must be true or"),
        ("id: f\nevent: voice\npriority: high\nsteps: [x]", "f.yaml:3:11: flow 'f', priority: must be a whole"),
        ("id: f\nevent: voice\npriority: 3000000000\nsteps: [x]", "f.yaml:3:11: flow 'f': priority must be a whole"),
        ("id: f\nevent: voice\nsteps: []", "f.yaml:3:8: flow 'f': it says nothing; give it at least one step"),
        ("id: f\nevent: voice\nsay: [x]\nsteps: [x]", "f.yaml:1:1: flow 'f': has both 'say' and 'steps'"),
        ("id: f\nevent: voice\nsay: [5, {a: b}]", "f.yaml:3:11: flow 'f', step 2: must be a step with one of"),
        ("id: f\nevent: voice\nsay:\n- x\n- ' '", "f.yaml:5:3: flow 'f', step 2: text is empty"),
        ("flows: {}", "f.yaml:1:8: 'flows' must be a list of flows"),
        ("flows: []\nid: x", "f.yaml:2:1: the field 'id' is unknown beside 'flows'"),
        ("flows: [x]", "f.yaml:1:9: a flow is an object with 'id' and 'steps'"),
        ("- id: f", "f.yaml:1:1: a file holds one flow, with 'id' and 'steps', or several under 'flows'"),
    ],
)
def test_a_problem_of_a_whole_flow_is_told_with_its_line(text: str, problem: str) -> None:
    assert problem_of(text).startswith(problem)


def test_all_problems_of_a_flow_are_told_in_the_order_of_its_lines() -> None:
    text = "id: f\nevnt: welcome\nkeywords: [' ']\npriority: high\nsteps:\n- end\n- {say: x, butons: []}\n"
    assert [problem.line for problem in problems_of(text)] == [2, 3, 4, 6, 7]


def test_problems_are_told_to_programs_by_path() -> None:
    text = with_steps("- menu: x", "  choices: [{label: a}, {label: 5, keywords: {}}]")
    (problem,) = problems_of(text)
    assert (problem.flow_id, problem.path) == ("f", ("steps", 0, "choices", 1, "keywords"))
    assert (problem.file, problem.line, problem.column) == ("f.yaml", 5, 48)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        (" \n# nothing\n", "f.yaml:1:1: a file holds one flow"),
        ("id: 'x", ": the quotes that open in line 1 are never closed"),
        ("id: f\nsteps:\n\t- x", "f.yaml:3:1: a tab stands where only blanks may; indent with blanks"),
        ("id: Hola: Ana", "f.yaml:1:9: a ':' stands where no name can be; put a text that holds ': '"),
        ("id: @f", "f.yaml:1:5: a value cannot begin with this sign"),
        ("id: f\nsteps:\n  - x\n - y", "f.yaml:4:2: the indentation does not fit"),
        ("id: [x\nsteps: y", ": a ',' or the closing bracket is missing"),
        ('id: "\\q"', ": no such '\\' in double quotes; write it twice"),
        ("id: a\x07", "f.yaml:1:6: the character U+0007 cannot stand in YAML; take it out"),
        ("a: &a [*a]", "f.yaml:1:8: *a stands inside of &a, which would contain itself"),
        ("a: *b", "f.yaml:1:4: *b stands for nothing; there is no &b above"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: tags, words that begin with '!', are not read"),
        ("a: !!str 5", "f.yaml:1:4: tags"),
        ("a: !x {}", "f.yaml:1:4: tags"),
        ("base: &b {id: f}\n<<: *b", "f.yaml:2:1: '<<' is not understood"),
        ("? [a]\n: b", "f.yaml:1:3: a name must be a text, not a list or an object"),
        ("id: f\n---\nid: g", "f.yaml:2:1: a second document begins; write several flows under 'flows:'"),
    ],
)
def test_what_is_no_yaml_of_ours_is_one_clear_error(text: str, problem: str) -> None:
    assert problem in problem_of(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing", "f.json:1:1: a value is missing: a text in double quotes"),
        ('{"a": 1,}', "f.json:1:9: a name in double quotes is missing"),
        ('{"a" 1}', "f.json:1:6: a ':' is missing behind the name"),
        ("[1\n2]", "f.json:2:1: a ',' or ']' is missing"),
        ("[1,]", "f.json:1:4: a value is missing"),
        ('["a\nb"]', "f.json:1:4: a line break or tab stands in a text; write \\n or \\t"),
        ('["a', "f.json:1:2: these quotes are never closed"),
        ('["\\q"]', "f.json:1:3: no such '\\' in a text"),
        ("[01]", "f.json:1:3: a ',' or ']' is missing"),
        ("[NaN]", "f.json:1:2: a value is missing"),
        ("[1e999]", "f.json:1:2: this number is too big"),
        ("[" + "9" * 5000 + "]", "f.json:1:2: this number is too big"),
        ("{} // flows", "f.json:1:4: the value has ended; remove what stands behind it"),
    ],
)
def test_what_is_no_json_is_one_clear_error(text: str, problem: str) -> None:
    assert problem_of(text, "f.json").startswith(problem)


@pytest.mark.parametrize("name", ["f.yaml", "f.json"])
def test_what_is_not_utf_8_is_told_with_its_line(name: str) -> None:
    text = "\n  {'id': 'caf\xe9'}".encode("latin-1")
    assert problem_of(text, name) == f"{name}:2:14: the byte 0xe9 is not UTF-8; save the file in UTF-8"


# What would take too much


def _bomb(levels: int = 20) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "100,000 brackets": (lambda: "[" * 100_000, "nested more than 300 levels deep"),
    "100,000 braces": (lambda: '{"a":' * 100_000, "nested more than 300 levels deep"),
    "a staircase": (lambda: "\n".join(" " * n + "a:" for n in range(1_000)), "nested more than 300 levels deep"),
    "aliases of aliases": (_bomb, "with all that its aliases stand for, it is bigger than 16 MiB"),
    "a long chain of aliases": (
        lambda: "\n".join(f"a{n + 1}: &a{n + 1} [*a{n}]" if n else "a1: &a1 [x]" for n in range(2_000)),
        "nested more than 300 levels deep",
    ),
    "a flow of two megabytes by aliases": (
        lambda: with_steps(f"- &long {'x' * 200}", *["- *long"] * 9_999),
        "flow 'f': is bigger than 1 MiB",
    ),
    "a million values": (lambda: "[" + "x," * 1_000_000 + "]", "more than 500,000 values"),
    "17 MiB": (lambda: "id: " + "x" * 17 * 2**20, "is bigger than 16 MiB"),
    "a text of 2 MiB": (lambda: with_steps("- " + "x" * 2**21), "flow 'f': is bigger than 1 MiB"),
    "10,001 steps": (lambda: with_steps(*["- x"] * 10_001), "has more than 10,000 steps"),
    "60 levels of steps": (
        lambda: with_steps("- " + "{when: x, then: [" * 60 + "x" + "]}" * 60),
        "nested more than 50 levels deep",
    ),
}


@pytest.mark.parametrize(("make", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_clear_error_and_takes_no_time(
    make: Callable[[], str], problem: str, loader: str
) -> None:
    if loader == "python" and len(make()) > 100_000:
        pytest.skip("the parser in Python takes its time for anything long")
    began = time.process_time()
    problems = problems_of(make())
    assert time.process_time() - began < SOON_S
    assert problem in str(problems[0])


def test_the_deepest_that_is_read_is_refused_for_what_it_says() -> None:
    deepest = "- do: x\n    arguments: {a: " + "[" * 296 + "]" * 296 + "}"
    assert "arguments: is nested more than 50 levels deep" in problem_of(with_steps(deepest))
    assert "nested more than 300 levels deep" in problem_of(with_steps(deepest.replace("[]", "[[]]")))


def test_a_hostile_json_file_is_one_clear_error() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000):
        assert "nested more than 300 levels deep" in problem_of(text, "f.json")


@given(st.binary(max_size=60) | st.text(alphabet="-:#&*!|>'\"[]{},? \n\tidsteps", max_size=40).map(str.encode))
def test_no_bytes_bring_anything_but_flows_or_errors(data: bytes) -> None:
    for name in ("f.yaml", "f.json"):
        file = parse_flow_file(data, name)
        assert file.error is not None or all(flow.flow or flow.error for flow in file.flows)


def test_flows_in_code_need_no_yaml() -> None:
    script = "import sys, tecnobot_core.flows, tecnobot_core.cli; print('yaml' in sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
