"""What watching costs, how memory goes back, and what reservations leave behind."""

import json
import subprocess
import sys

from benchmarks._memory.reserving import carry_out
from benchmarks._memory.timed import add_timed
from benchmarks._report import Report

N_RUNS = 10_000
RUNS = 3
RELEASED = {
    "media": "attachments of 100 to 600 kB",
    "packed": "HybridCache, answers of 1 kB",
    "dicts": "for comparison, an LRU of small dicts",
}


def report_readings(report: Report, seconds: float) -> None:
    """One reading, and a process at rest that reads 20 times a second."""
    found = _alone("readings", str(seconds))
    own_us, group_us = found["own_us"], found["with_group_us"]
    assert own_us is not None
    add_timed(report, "one reading of RSS", own_us, "µs", "at most 10", own_us <= 10)
    if group_us is None:
        report.add("one reading, with a control group", "not measured: there is none here", "", "at most 60")
    else:
        add_timed(report, "one reading, with a control group", group_us, "µs", "at most 60", group_us <= 60)
    for figure, name in (
        ("psutil: one reading of RSS", "psutil_us"),
        ("a check that finds nothing to do", "check_us"),
        ("statistics()", "statistics_us"),
    ):
        report.add(figure, found[name] or 0.0, "µs")
    percent, waking_percent = found["watched_percent"] or 0.0, found["waking_percent"] or 0.0
    add_timed(report, "CPU at 20 Hz", percent, "%", "at most 0.3", percent <= 0.3)
    report.add("CPU of a process that only wakes 20 times a second", waking_percent, "%")


def report_giving_back(report: Report) -> None:
    """From "critical" to below 0.75 of 256 MiB, 0.7 of which one part holds."""
    for kind, what in RELEASED.items():
        runs = [_alone("giving_back", kind) for _ in range(RUNS)]
        estimated_mib, actual_mib = (sum(run[name] or 0.0 for run in runs) for name in ("estimated_mib", "actual_mib"))
        freed, calm_s = actual_mib / max(estimated_mib, 1e-9), [run["calm_s"] for run in runs]
        longest_s = max((one for one in calm_s if one is not None), default=0.0)
        figure = f"{what}: critical to below 0.75, longest of {RUNS}"
        if kind == "dicts":
            report.add(f"{what}: freed, actual over estimated", freed, "×")
            report.add(figure, "never" if None in calm_s else longest_s, "" if None in calm_s else "s")
            continue
        report.add(f"{what}: freed, actual over estimated", freed, "×", "at least 0.8", freed >= 0.8)
        if None in calm_s:
            report.add(figure, "never", "", "at most 1", False)
        else:
            add_timed(report, figure, longest_s, "s", "at most 1", longest_s <= 1)


def report_reserving(report: Report) -> None:
    """Random downloads, all at one budget."""
    ends, left, took_s = carry_out(N_RUNS)
    told = ", ".join(f"{n:,} {end}" for end, n in sorted(ends.items()))
    report.add(f"reserve, cancel, fail, {N_RUNS:,} random runs", told, "")
    report.add("of them dead-locks", ends["deadlocked"], "", "0", ends["deadlocked"] == 0)
    remains = left.reserved_bytes + left.expected_bytes + left.leases + left.waiting
    report.add("reserved, expected, leases and waiting at the end", remains, "", "0", remains == 0)
    report.add("downloads that waited", left.waits, "")
    report.add("all of it took", took_s, "s")


def _alone(part: str, *arguments: str) -> dict[str, float | None]:
    command = (sys.executable, "-m", f"benchmarks._memory.{part}", *arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float | None] = json.loads(done.stdout)
    return measured
