"""Each message once: in memory beside BuilderBot, then durable: rate, commits, bytes on the disk, a far database."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import _builderbot
from benchmarks._builderbot import ROOT, Found
from benchmarks._delivery.customers import N_FLOWS
from benchmarks._delivery.lasting import LongRun
from benchmarks._delivery.meter import device_bytes_written, device_statistics
from benchmarks._delivery.run import Run
from benchmarks._report import Report
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres

REQUIRES: list[str] = []
NPM_PEER = "builderbot"

REPEATS = 3
REPEATS_IN_MEMORY = 5  # of a third of a second each, in which something else easily falls
N_BURST = 5000
N_CHATS = 500
N_FIRST = 20
PEER_SETTINGS = {"its default": None, "its limit 1": 1}
KIB = 1024
IDLE_S = 3.0
IDLE_TRIES = 5
MAX_IDLE_BYTES_PER_S = 128 * KIB  # the leanest of the runs writes about as much in a second
FAULTS = ("lost", "doubled", "out_of_order", "rows_missing")

OPTIONS = {"max_connections": "60"}  # as a server far away allows; several runs ask it at once

numbers = count(1)


def measure(run: Run) -> Found:
    """Carry out *run*, in a process of its own; as a chatbot of its own where there is a database."""
    run = replace(run, chatbot_id=f"bench-{next(numbers)}")
    return _builderbot.json_of([sys.executable, "-m", "benchmarks._delivery.run", json.dumps(asdict(run))], ROOT)


def measure_long(run: LongRun) -> Found:
    """Carry out *run*, in a process and as a chatbot of its own."""
    run = replace(run, chatbot_id=f"bench-{next(numbers)}")
    return _builderbot.json_of([sys.executable, "-m", "benchmarks._delivery.lasting", json.dumps(asdict(run))], ROOT)


def measure_peer(wait_ms: float, concurrency_limit: int | None) -> Found:
    """The burst through BuilderBot, in a folder that is thrown away: it writes logs where it runs."""
    options = {
        "n_messages": N_BURST,
        "n_chats": N_CHATS,
        "n_flows": N_FLOWS,
        "wait_ms": wait_ms,
        "concurrency_limit": concurrency_limit,
    }
    return _builderbot.burst(options)


def middle(runs: Sequence[Found]) -> Found:
    """Medians; of what must not happen at all, the worst."""
    return {key: (max if key in FAULTS else median)(run[key] for run in runs) for key in runs[0]}


def in_turn(*designs: Callable[[], Found], repeats: int = REPEATS) -> list[Found]:
    """The medians of each, measured in turn, so that what else the machine does falls on all of them."""
    rounds = [[design() for design in designs] for _ in range(repeats)]
    return [middle(runs) for runs in zip(*rounds, strict=True)]


def repeat(run: Run) -> Found:
    """The medians of *run*."""
    return in_turn(partial(measure, run))[0]


def report_memory(report: Report, _: Run) -> None:
    """The same burst through both, with the peer as it comes and with the only setting that keeps the order."""
    version = _builderbot.version()
    report.add("BuilderBot", version or "not measured: no npm", "")
    for handler, wait_ms in (("no wait", 0.0), ("0-5 ms", 5.0)):
        run = Run("memory", n_messages=N_BURST, n_chats=N_CHATS, wait_ms=wait_ms)
        ours, *peers = in_turn(
            partial(measure, run),
            *(partial(measure_peer, wait_ms, limit) for limit in PEER_SETTINGS.values() if version),
            repeats=REPEATS_IN_MEMORY,
        )
        _describe(report, f"in memory, {handler}", ours)
        _report_faults(report, f"in memory, {handler}", ours)
        for (setting, limit), peer in zip(PEER_SETTINGS.items(), peers, strict=False):
            name = f"BuilderBot, {setting}, {handler}"
            _describe(report, name, peer)
            report.add(f"{name}: lost, doubled, out of order", _faults(peer), "")
            ratio = ours["per_s"] / peer["per_s"]
            goal, ok = ("at least 3", ratio >= 3) if limit == 1 else ("", None)
            report.add(f"{name}: ours is", ratio, "times as fast", goal, ok)


def report_rate(report: Report, base: Run) -> None:
    """The durable store on a local database: a burst, and messages that come at their own pace."""
    burst = repeat(replace(base, n_messages=N_BURST))
    _describe(report, "durable, burst", burst, "at least 1,500", burst["per_s"] >= 1500)
    _report_commits(report, "durable, burst", burst, N_BURST, 60)

    fast = repeat(replace(base, n_messages=N_BURST, per_s=1500))
    _describe(report, "durable, 1,500/s", fast)
    _report_commits(report, "durable, 1,500/s", fast, N_BURST, 100)

    calm = repeat(replace(base, n_messages=1000, per_s=200))
    report.add("durable, 200/s: the bot's own time, p50", calm["p50_ms"], "ms")
    report.add("durable, 200/s: the bot's own time, p99", calm["p99_ms"], "ms", "at most 50", calm["p99_ms"] <= 50)
    _report_commits(report, "durable, 200/s", calm, 1000)

    window = repeat(replace(base, n_messages=1000, per_s=200, window_s=0.010))
    report.add("durable, 200/s, 10 ms window: p99", window["p99_ms"], "ms")
    _report_commits(report, "durable, 200/s, 10 ms window", window, 1000, 400)


def report_disk(report: Report, base: Run) -> None:
    """The same replay, written by ours and by a bot that commits each statement."""
    can_tell, why_not = _device_is_idle(Path(base.directory))
    report.add("device, before the runs", why_not, "")
    calm = replace(base, n_messages=600, per_s=100)
    _report_disk(report, "100/s", calm, {"": (calm, 0.40), ", 20 ms window": (_window(calm), 0.15)}, can_tell)
    burst = replace(base, n_messages=2000)
    _report_disk(report, "burst", burst, {"": (burst, 0.10), ", 20 ms window": (_window(burst), None)}, can_tell)


def report_far(report: Report, base: Run) -> None:
    """The database far away, at a pace that leaves it idle most of the time: both distances at once."""
    far = replace(base, n_messages=200, n_first=N_FIRST, per_s=20)
    rtts_ms = (40, 120)
    with ThreadPoolExecutor(len(rtts_ms)) as both:
        for rtt_ms, found in zip(
            rtts_ms, both.map(lambda ms: repeat(replace(far, rtt_s=ms / 1000)), rtts_ms), strict=True
        ):
            trips, p99 = found["round_trips"], found["p99_ms"] / rtt_ms
            report.add(f"{rtt_ms} ms away: round trips a write", trips, "", "at most 2", trips <= 2)
            report.add(f"{rtt_ms} ms away: p50", found["p50_ms"] / rtt_ms, "round trips")
            report.add(f"{rtt_ms} ms away: p99", p99, "round trips", "at most 8", p99 <= 8)
            first = found["first_ms"] / rtt_ms
            report.add(f"{rtt_ms} ms away: slowest of the {N_FIRST} after the start", first, "round trips")
            _report_faults(report, f"{rtt_ms} ms away", found)


def report_long(report: Report, base: Run) -> None:
    """Many chats, a chat that hangs, and a restart with a backlog."""
    found = measure_long(LongRun(base.dsn, "", n_messages=200_000, n_chats=50_000))
    quarter, whole = found["rss_quarter_mib"], found["rss_whole_mib"]
    growth = (whole / quarter - 1) * 100
    report.add("200,000 messages of 50,000 chats: RSS at 25 % / 100 %", f"{quarter:.1f} / {whole:.1f}", "MiB")
    report.add("200,000 messages of 50,000 chats: growth after 25 %", growth, "%", "at most 5", growth <= 5)
    report.add("200,000 messages of 50,000 chats: rate", found["per_s"], "messages/s")
    _report_faults(report, "200,000 messages of 50,000 chats", found)

    calm = Run("memory", n_messages=3000, n_chats=N_CHATS, per_s=1000, wait_ms=5, apart=True)
    alone, beside = in_turn(partial(measure, calm), partial(measure, replace(calm, hangs=True)))
    ratio = beside["p99_ms"] / alone["p99_ms"]
    report.add("a chat that hangs: the others' p99", beside["p99_ms"], "ms")
    report.add("a chat that hangs: the others' p99", ratio, "of without it", "at most 1.1", ratio <= 1.1)

    waiting = measure_long(LongRun(base.dsn, "", n_messages=10_000, n_chats=N_CHATS, waiting=True))
    first_s = waiting["first_s"]
    report.add("10,000 wait at the start: first answer", first_s, "s", "at most 2", first_s <= 2)
    _report_faults(report, "10,000 wait at the start", waiting)


def _describe(report: Report, name: str, found: Found, goal: str = "", ok: bool | None = None) -> None:
    report.add(f"{name}: rate", found["per_s"], "messages/s", goal, ok)
    report.add(f"{name}: p50 / p99", f"{found['p50_ms']:.0f} / {found['p99_ms']:.0f}", "ms")
    report.add(f"{name}: peak RSS", found["peak_mib"], "MiB")


def _faults(found: Found) -> str:
    return ", ".join(f"{found[key]:.0f}" for key in FAULTS if key in found)


def _report_faults(report: Report, name: str, found: Found) -> None:
    names = ", ".join(key.replace("_", " ") for key in FAULTS if key in found)
    report.add(f"{name}: {names}", _faults(found), "", "all 0", not any(found.get(key) for key in FAULTS))


def _report_commits(report: Report, name: str, found: Found, n_messages: int, at_most: int | None = None) -> None:
    """Commits as the store counts them, and as the server does."""
    commits, counted = (found[key] * 1000 / n_messages for key in ("commits", "writing_transactions"))
    ok = None if at_most is None else commits <= at_most
    report.add(f"{name}: commits", commits, "a 1,000 messages", "" if at_most is None else f"at most {at_most}", ok)
    report.add(f"{name}: writing transactions, by the server", counted, "a 1,000 messages")
    _report_faults(report, name, found)


def _window(run: Run) -> Run:
    return replace(run, window_s=0.020)


def _report_disk(
    report: Report, pace: str, naive_base: Run, ours: dict[str, tuple[Run, float | None]], can_tell: bool
) -> None:
    runs = [replace(naive_base, store="naive"), *(run for run, _ in ours.values())]
    naive, *found_of_ours = in_turn(*(partial(measure, run) for run in runs))
    n_messages = naive_base.n_messages
    _describe_disk(report, f"disk, {pace}, a commit each statement", naive, n_messages, can_tell)
    for name, found in zip(ours, found_of_ours, strict=True):
        title = f"disk, {pace}{name}"
        _describe_disk(report, title, found, n_messages, can_tell)
        report.add(f"{title}: WAL bytes", found["wal_bytes"] / naive["wal_bytes"], "of the naive bot's")
        if not can_tell:
            continue
        at_most = ours[name][1]
        ratio = found["device_bytes"] / naive["device_bytes"]
        goal, ok = ("", None) if at_most is None else (f"at most {at_most:.2f}", ratio <= at_most)
        report.add(f"{title}: device bytes", ratio, "of the naive bot's", goal, ok)
        checkpointed = found["device_bytes_checkpointed"] / naive["device_bytes_checkpointed"]
        report.add(f"{title}: with the checkpoint after it", checkpointed, "of the naive bot's")


def _describe_disk(report: Report, title: str, found: Found, n_messages: int, can_tell: bool) -> None:
    if can_tell:
        report.add(f"{title}: device", found["device_bytes"] / KIB / n_messages, "KiB a message")
    report.add(f"{title}: WAL", found["wal_bytes"] / n_messages, "B a message")
    report.add(f"{title}: WAL syncs", found["wal_syncs"] / n_messages, "a message")
    _report_faults(report, title, found)


def _device_is_idle(directory: Path) -> tuple[bool, str]:
    """Whether the device's counter will tell what the runs write, and a sentence about it; waits a while for it."""
    statistics = device_statistics(directory)
    if statistics is None:
        return False, "not measured: the device's counters cannot be read"
    for _ in range(IDLE_TRIES):
        before = device_bytes_written(statistics)
        time.sleep(IDLE_S)
        per_s = (device_bytes_written(statistics) - before) / IDLE_S
        said = f"{per_s / KIB:.0f} KiB/s written by others"
        if per_s <= MAX_IDLE_BYTES_PER_S:
            return True, said
    return False, f"not measured: {said}"


PARTS = {"memory": report_memory, "rate": report_rate, "disk": report_disk, "far": report_far, "long": report_long}


async def report_parts(report: Report, parts: Sequence[str], directory: Path | None) -> None:
    """Measure *parts*, over one private server with its usual settings in a new folder of *directory*."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres", options=OPTIONS) as server:
            base = Run(dsn=server.dsn, directory=folder)
            for part in parts:
                await asyncio.to_thread(PARTS[part], report, base)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="a part of it")
    parser.add_argument("--directory", type=Path, help="where the database is put; on a disk that nobody else uses")
    arguments = parser.parse_args(argv)
    report = Report("delivery", versions=("tecnobot-core", "asyncpg", "embedded-postgres"))
    asyncio.run(report_parts(report, arguments.only, arguments.directory))
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
