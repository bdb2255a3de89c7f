"""Memory, expiry and import, each in a process of its own."""

import json
import subprocess
import sys
from operator import itemgetter
from statistics import median

from benchmarks._cache.alone import N_ENTRIES, N_EXPIRING, PEERS
from benchmarks._report import Report

IMPORTS = 7  # RSS of a new process differs by some pages from one to the next
RUNS = 3
MIB = 1 << 20
IMPORT = "from tecnobot_core import HybridCache\nHybridCache()"
WITHOUT_REDIS = "import sys\nsys.modules['redis'] = None"
RSS = "print(int(open('/proc/self/statm').read().split()[1]) * 4096)"


def report_shrink(report: Report) -> None:
    """What a shrink of 130 MB by half takes, and what the system gets back."""
    for traffic, label in (("sets", "sets only"), ("reads", "sets and reads")):
        runs = [_alone("shrink", traffic) for _ in range(RUNS)]
        shrunk = min(runs, key=itemgetter("took_ms"))
        slice_ms = max(run["slice_ms"] for run in runs)
        what = f"7 shrink 130 → 65 MB, {label}"
        report.add(f"{what}: time, best of {RUNS}", shrunk["took_ms"], "ms", "at most 100", shrunk["took_ms"] <= 100)
        report.add(f"{what}: CPU of that run", shrunk["cpu_ms"], "ms")
        report.add(f"{what}: longest slice of all runs, CPU", slice_ms, "ms", "at most 5", slice_ms <= 5)
        percent = 100 * min(run["returned"] for run in runs)
        report.add(
            f"{what}: left RSS, least of all runs, of {shrunk['freed_mb']:.0f} MB",
            percent,
            "%",
            "at least 80",
            percent >= 80,
        )
    at_once = min(_alone("shrink_at_once")["took_ms"] for _ in range(RUNS))
    report.add(f"7 HybridCache.shrink, in one go, best of {RUNS}", at_once, "ms")


def report_memory(report: Report) -> None:
    """RSS over payload of everybody."""
    what = f"8 RSS over payload, {N_ENTRIES:,} values of 1 KB with ttl"
    for peer in PEERS:
        grown = _alone("rss", peer)
        if not grown:
            report.add(f"{what}, {peer}", "not installed", "")
        elif peer == "HybridCache":
            ratio = grown["per_payload"]
            report.add(f"{what}, {peer}", ratio, "×", "at most 1.25", ratio <= 1.25)
        else:
            report.add(f"{what}, {peer}", grown["per_payload"], "×")
    ratio = _alone("accounted")["over_real"]
    report.add("8 accounted over real bytes", ratio, "×", "0.95 to 1.05", 0.95 <= ratio <= 1.05)


def report_expiry(report: Report) -> None:
    """How long the loop stands still while many entries expire."""
    what = f"9 {N_EXPIRING:,} entries expire in one second, worst of {RUNS}"
    for peer in ("HybridCache", "aiocache", "cashews"):
        runs = [_alone("expiry", peer) for _ in range(RUNS)]
        if not runs[0]:
            report.add(f"{what}, {peer}", "not installed", "")
            continue
        stall_ms, wall_ms, idle = (max(run[name] for run in runs) for name in ("stall_ms", "wall_ms", "idle_percent"))
        goals = [("at most 5", stall_ms <= 5), ("at most 0.5", idle <= 0.5)] if peer == "HybridCache" else [(), ()]
        report.add(f"{what}, {peer}: longest stall, CPU", stall_ms, "ms", *goals[0])
        report.add(f"{what}, {peer}: longest stall, wall clock", wall_ms, "ms")
        report.add(f"{what}, {peer}: idle CPU after it", idle, "%", *goals[1])


def report_import(report: Report) -> None:
    """What HybridCache adds to a process that has asyncio."""
    bare = median(_rss_bytes("import asyncio") for _ in range(IMPORTS))
    ours = median(_rss_bytes(f"import asyncio\n{WITHOUT_REDIS}\n{IMPORT}") for _ in range(IMPORTS))
    mib = (ours - bare) / MIB
    report.add("10 import of HybridCache over asyncio, redis not importable", mib, "MiB", "at most 3", mib <= 3)
    aiocache = median(_rss_bytes(f"import asyncio\n{WITHOUT_REDIS}\nimport aiocache") for _ in range(IMPORTS))
    report.add("10 of it aiocache itself", (aiocache - bare) / MIB, "MiB")
    loaded = _python("-c", f"{IMPORT}\nimport sys\nprint('redis' in sys.modules)")
    report.add("10 redis imported", loaded, "", "False", loaded == "False")


def _alone(*arguments: str) -> dict[str, float]:
    measured: dict[str, float] = json.loads(_python("-m", "benchmarks._cache.alone", *arguments))
    return measured


def _rss_bytes(code: str) -> int:
    return int(_python("-c", f"{code}\n{RSS}"))


def _python(*arguments: str) -> str:
    done = subprocess.run((sys.executable, *arguments), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
