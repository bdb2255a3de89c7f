"""Every benchmark reports in one form, and names what it missed."""

import ast
import json
from pathlib import Path

import pytest

from benchmarks._report import Report

BENCHMARKS = [path for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py") if not path.name.startswith("_")]


def report() -> Report:
    report = Report("sample")
    report.add("rate", 6000.0, "/s", "at least 5,000", True)
    report.add("memory", 81.5, "MiB", "at most 80", False)
    report.add("peer", "not installed", "")
    return report


def test_a_table_with_the_goals_then_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report().finish(check=False) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert [line.split() for line in table] == [
        ["figure", "measured", "goal"],
        ["rate", "6,000", "/s", "at", "least", "5,000", "ok"],
        ["memory", "81.5", "MiB", "at", "most", "80", "MISSED"],
        ["peer", "not", "installed", "-"],
    ]
    found = json.loads(last)
    assert found["benchmark"] == "sample"
    assert [(figure["figure"], figure["ok"]) for figure in found["figures"]] == [
        ("rate", True),
        ("memory", False),
        ("peer", None),
    ]


def test_a_check_fails_and_names_each_goal_that_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    assert report().finish(check=True) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "missed: memory: 81.5 MiB, wanted at most 80"


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_list_can_say_what_a_benchmark_measures(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert path.read_text("utf-8").startswith(f'"""{said.splitlines()[0]}')
