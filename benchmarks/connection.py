"""ConnectionManager and WhatsApp: the real library against the tests' own server, and the manager on virtual time."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._connection.answering import report_answers
from benchmarks._connection.child_memory import report_child
from benchmarks._connection.customers import report_bursts, report_pace
from benchmarks._connection.findings import Findings
from benchmarks._connection.kills import report_kills
from benchmarks._connection.links import report_blocked, report_cuts, report_half_open, report_library_alone
from benchmarks._connection.sessions import report_copies
from benchmarks._connection.stopping import report_killed, report_stops
from benchmarks._connection.virtual import report_delays, report_flaps
from benchmarks._report import Report
from tests.whatsapp_server import trust

REQUIRES: list[str] = ["websockets"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=f"{__doc__} Counts that must be right, such as messages lost, always make it fail."
    )
    parser.add_argument("--check", action="store_true", help="exit 1 also for a time or a size that misses its goal")
    parser.add_argument(
        "--long",
        action="store_true",
        help="1,200 messages at a human pace, 20 bursts, 100 kills, 5,000 messages into a blocked loop, 2 min of "
        "copies and the library alone on a half-open link, as the goals say: about 15 minutes",
    )
    arguments = parser.parse_args(argv)
    report = Report("connection", versions=("tecnobot-core", "neonize", "protobuf", "tenacity"))
    if not arguments.long:
        print(
            "shortened: 150 messages at a human pace, 3 bursts, 20 kills, 1,000 messages, 15 s of copies; --long: all"
        )
    findings = Findings(report)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(findings, Path(name), long=arguments.long))
    missed = report.finish(arguments.check)
    for wrong in findings.wrong:
        print(wrong)
    return 1 if findings.wrong else missed


async def measure(findings: Findings, folder: Path, *, long: bool) -> None:
    """All of it; what mostly waits, waits together."""
    await report_flaps(findings)
    await report_delays(findings)
    if (why := trust.missing()) is not None:
        findings.note("nothing with the real library", why)
        return
    async with asyncio.TaskGroup() as waiting:
        waiting.create_task(report_half_open(findings, folder / "half-open"))
        if long:
            waiting.create_task(report_library_alone(findings, folder / "alone"))
        waiting.create_task(report_pace(findings, folder / "pace", n_messages=1200 if long else 150))
        waiting.create_task(report_stops(findings, folder / "stops"))
    await report_killed(findings, folder / "killed")
    await report_cuts(findings, folder / "cuts")
    await report_answers(findings, folder / "answers", n_questions=200 if long else 50)
    await report_child(findings, folder / "child")
    await report_copies(findings, folder / "copies", lasts_s=120 if long else 15)
    await report_bursts(findings, folder / "bursts", n_bursts=20 if long else 3)
    await report_kills(findings, folder / "kills", n_kills=100 if long else 20)
    # Last, as it shows what this process holds.
    await report_blocked(findings, folder / "blocked", n_messages=5000 if long else 1000)


if __name__ == "__main__":
    sys.exit(main())
