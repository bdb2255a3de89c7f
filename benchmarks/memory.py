"""MemoryManager: a storm of attachments under a sampler that kills, beside the same bot without it; what it costs."""

import argparse
import sys
from collections.abc import Sequence

from benchmarks._memory.parts import report_giving_back, report_readings, report_reserving
from benchmarks._memory.survival import Plan, report_comparison, report_storms
from benchmarks._report import Report

REQUIRES: list[str] = []
SHORT = Plan(seeds=2, seeds_off=1, n_messages=4000, n_compared=6000)
LONG = Plan(seeds=10, seeds_off=10, n_messages=4000, n_compared=20_000)
PARTS = ("storm", "comparison", "readings", "giving-back", "reserving")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed; times are none")
    parser.add_argument(
        "--long", action="store_true", help="10 seeds, and 20,000 messages compared, as the goals say: 10 min, 5 GB"
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="a part of it")
    arguments = parser.parse_args(argv)
    plan = LONG if arguments.long else SHORT
    print(_described(plan, in_full=arguments.long), flush=True)
    report = Report("memory")
    for part in PARTS:
        if part in arguments.only:
            _report(report, part, plan, seconds=20 if arguments.long else 5)
    return report.finish(arguments.check)


def _described(plan: Plan, *, in_full: bool) -> str:
    return (
        f"{'in full' if in_full else 'shortened; --long is in full'}: storms of {plan.n_messages:,} messages,"
        f" {plan.seeds} seeds with the manager, {plan.seeds_off} without; {plan.n_compared:,} messages compared"
    )


def _report(report: Report, part: str, plan: Plan, *, seconds: float) -> None:
    match part:
        case "storm":
            report_storms(report, plan)
        case "comparison":
            report_comparison(report, plan.n_compared)
        case "readings":
            report_readings(report, seconds)
        case "giving-back":
            report_giving_back(report)
        case "reserving":
            report_reserving(report)


if __name__ == "__main__":
    sys.exit(main())
