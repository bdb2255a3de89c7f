"""Flows: matching and its memory, spellings, live changes, one transition a message, the loop beside BuilderBot."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks._flows.live import report_live
from benchmarks._flows.matching import report_matching
from benchmarks._flows.spanish import report_spanish
from benchmarks._flows.turns import report_loop, report_turns
from benchmarks._report import Report

REQUIRES: list[str] = ["google-re2", "pyyaml", "chatterbot-corpus"]
NPM_PEER = "builderbot"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    arguments = parser.parse_args(argv)
    report = Report("flows")
    report_matching(report)
    report_spanish(report)
    asyncio.run(report_live(report))
    asyncio.run(report_turns(report))
    report_loop(report)
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
