"""``tecnobot flows check``."""

import argparse
import json
from dataclasses import asdict

from ..errors import FlowProblem
from .flow_files import check_files, find_files
from .output import count, say


def check(arguments: argparse.Namespace) -> int:
    """Tell what is wrong with files of flows, each problem with its line."""
    groups = [check_files(files) for files in find_files(arguments.files)]
    problems = [problem for group in groups for problem in group.problems]
    warnings = [warning for group in groups for warning in group.warnings]
    if arguments.json:
        listed = [_described(problem, "error") for problem in problems]
        listed += [_described(warning, "warning") for warning in warnings]
        say(json.dumps(listed, ensure_ascii=False, indent=2))
    else:
        say(*_lines(problems, warnings))
        flows = count(sum(len(group.flows) for group in groups), "flow")
        say(f"{flows}: {count(len(problems), 'problem')}, {count(len(warnings), 'warning')}")
    return 1 if problems or (warnings and arguments.strict) else 0


def _lines(problems: list[FlowProblem], warnings: list[FlowProblem]) -> list[str]:
    marked = [(problem, str(problem)) for problem in problems]
    marked += [(warning, f"{warning} (warning)") for warning in warnings]
    return [line for _, line in sorted(marked, key=lambda pair: (pair[0].file, pair[0].line, pair[0].column))]


def _described(problem: FlowProblem, severity: str) -> dict[str, object]:
    return {"severity": severity, **asdict(problem)}
