"""``tecnobot flows check`` and ``schema``, which need no database, and what every command does about trouble."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tecnobot_core.cli import main
from tecnobot_core.flows.document_schema import document_schema_text

HELLO = "id: hola\nkeywords: [hola]\nsteps:\n  - ¡Hola!\n"
BYE = "id: adios\nkeywords: [adiós]\nsteps:\n  - goto: hola\n"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DATA_DIR", raising=False)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[str], list[str]]:
    """The exit status, and the lines of both streams."""
    status = main(["flows", *argv])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err.splitlines()


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(text, "utf-8")


def test_sound_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write(hello=HELLO, bye=BYE)
    assert run(capsys, "check", "hello.yaml", "bye.yaml") == (0, ["2 flows: 0 problems, 0 warnings"], [])


def test_each_problem_is_a_line_with_file_line_and_column(capsys: pytest.CaptureFixture[str]) -> None:
    write(hello=HELLO.replace("¡Hola!", "{sya: x}"), bye=BYE + "evnt: voice\n", broken="id: [\n")
    status, out, _ = run(capsys, "check", ".")
    assert status == 1
    assert [line.partition(": ")[0] for line in out[:-1]] == ["broken.yaml:2:1", "bye.yaml:5:1", "hello.yaml:4:6"]
    assert out[-1] == "2 flows: 3 problems, 0 warnings"


def test_ways_between_the_given_files_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    write(hello=HELLO, bye=BYE)
    status, out, _ = run(capsys, "check", "bye.yaml")
    assert (status, out[0]) == (1, "bye.yaml:4:5: flow 'adios', step 1: goto: there is no flow 'hola'")
    assert run(capsys, "check", "bye.yaml", "hello.yaml")[0] == 0


def test_an_id_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    write(a=HELLO, b="\n" + HELLO)
    status, out, _ = run(capsys, "check", "a.yaml", "b.yaml")
    assert (status, out[0]) == (1, "b.yaml:2:5: flow 'hola': this id is taken by the flow in a.yaml:1")


def test_a_warning_counts_only_when_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write(a=HELLO, b="id: z\nkeywords:\n- zas\n- hola\nsteps: [x]\n")
    line = (
        "b.yaml:4:3: flow 'z': the word keyword 'hola' starts the flow 'hola' before this one: its id comes first"
        " (warning)"
    )
    assert run(capsys, "check", ".") == (0, [line, "2 flows: 0 problems, 1 warning"], [])
    assert run(capsys, "check", ".", "--strict")[0] == 1


def test_an_expression_that_is_refused_is_a_problem_at_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    write(a="id: a\nregex:\n- ^a+$\n- (b\nsteps: [x]\n")
    status, out, _ = run(capsys, "check", "a.yaml")
    assert status == 1
    assert out[0].startswith("a.yaml:4:3: flow 'a': regex '(b': missing )")


def test_problems_are_told_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    write(a="id: a\nkeywords: [hola]\nsteps:\n- x\n- ask: ñ\n", b=HELLO, c=HELLO.replace("id: hola", "id: z"))
    status, out, _ = run(capsys, "check", ".", "--json")
    error, warning, *_ = json.loads("\n".join(out))
    assert status == 1
    assert error == {
        "severity": "error",
        "flow_id": "a",
        "path": ["steps", 1],
        "sentence": "the field 'into' is missing; write a text",
        "place": "step 2",
        "name": "",
        "file": "a.yaml",
        "line": 5,
        "column": 3,
    }
    assert (warning["severity"], warning["file"], warning["line"]) == ("warning", "c.yaml", 2)


def test_folders_inside_of_a_folder_belong_to_other_chatbots(capsys: pytest.CaptureFixture[str]) -> None:
    for chatbot in ("shop", "bakery"):
        Path("flows", chatbot).mkdir(parents=True)
        Path("flows", chatbot, "a.yaml").write_text(HELLO, "utf-8")
    assert run(capsys, "check", "flows") == (0, ["2 flows: 0 problems, 0 warnings"], [])
    assert run(capsys, "check", "flows/shop", "flows/bakery")[0] == 1


@pytest.mark.parametrize("path", ["none.yaml", "empty"])
def test_a_path_without_flows_exits_2(capsys: pytest.CaptureFixture[str], path: str) -> None:
    Path("empty").mkdir()
    status, out, err = run(capsys, "check", path)
    assert (status, out, len(err)) == (2, [], 1)
    assert path in err[0]


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flows", "schema"]) == 0
    assert capsys.readouterr().out == document_schema_text()


def test_without_a_database_nothing_is_made_and_what_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write(a=HELLO)
    for command in (["export"], ["import", "a.yaml"], ["diff", "a.yaml"]):
        status, out, err = run(capsys, *command, "--chatbot", "shop")
        assert (status, out) == (2, [])
        assert err == ["there is no database: DATABASE_URL is unset, and data/postgres does not exist"]
    assert not Path("data").exists()


@pytest.mark.parametrize("command", ["check", "import", "export", "diff"])
def test_the_help_tells_what_the_exit_status_means(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit):
        main(["flows", command, "--help"])
    assert "exit status: 0" in capsys.readouterr().out


def test_help_loads_nothing_that_it_does_not_need() -> None:
    script = (
        "import sys; from tecnobot_core.cli import main\n"
        "try: main(['flows', '--help'])\n"
        "except SystemExit: print({'asyncio', 'yaml', 'asyncpg', 'tecnobot_core.flows'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    write(**{f"f{number}": f"id: f{number}\nsteps: [{{}}]\n" for number in range(3_000)})
    command = (
        f"{sys.executable} -c 'from tecnobot_core.cli import main; raise SystemExit(main())' flows check . | head -1"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
