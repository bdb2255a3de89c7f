"""Start of the import and of the example, and the memory of bot and database at rest."""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks._report import Report

REQUIRES: list[str] = []
REPEATS = 5
START_DEADLINE_S = 60
ROOT = Path(__file__).parent.parent
EXAMPLE = [sys.executable, str(ROOT / "examples" / "tecnobot_app.py")]
SCRIPT = [str(ROOT / "scripts" / "run")]
IMPORT = """
import resource, sys, time
def rss_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024
before, started = rss_kib(), time.perf_counter()
import tecnobot_core
print((time.perf_counter() - started) * 1000, (rss_kib() - before) / 1024)
"""


def _import_cost() -> tuple[float, float]:
    """Milliseconds and MiB of ``import tecnobot_core`` in a bare interpreter, medians."""
    runs = [
        tuple(
            map(float, subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True).stdout.split())
        )
        for _ in range(21)
    ]
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def _environment(data_dir: str) -> dict[str, str]:
    ours = ("DATABASE_", "OPENAI_", "WEB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "DATA_DIR": data_dir, "WEB_PORT": "0"}


@contextmanager
def _example(command: list[str], data_dir: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The example with the web page on a free port; its process and address."""
    process = subprocess.Popen(command, env=_environment(data_dir), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://[^\s/]+", line):
                yield process, found[0]
                break
        else:
            raise RuntimeError(f"the example ended with {process.wait()} before it told its address")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _ask(url: str) -> None:
    """Send a message as the page does; returns when the bot took it."""
    body = json.dumps({"chat": "bench", "id": f"bench-{time.time_ns()}", "text": "hola"}).encode()
    request = urllib.request.Request(f"{url}/chat/messages", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=START_DEADLINE_S):
        pass


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


def _memory_kib(pid: int, file: str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _start(data_dir: str, command: list[str] = EXAMPLE) -> tuple[float, float, float]:
    """Seconds until a message is taken, then MiB RSS of the bot and MiB PSS of the database."""
    started = time.perf_counter()
    with _example(command, data_dir) as (process, url):
        _ask(url)
        took_s = time.perf_counter() - started
        bot = _memory_kib(process.pid, "status", "VmRSS") / 1024
        database = sum(_memory_kib(child, "smaps_rollup", "Pss") for child in _children(process.pid)) / 1024
    return took_s, bot, database


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    arguments = parser.parse_args(argv)
    report = Report("start")
    import_ms, import_mib = _import_cost()
    report.add("import tecnobot_core", import_ms, "ms", "at most 3", import_ms <= 3)
    report.add("import tecnobot_core, memory", import_mib, "MiB", "at most 1", import_mib <= 1)

    cold, warm, scripted = [], [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            cold.append(_start(f"{folder}/data"))
            warm.append(_start(f"{folder}/data"))
            # Installs when something is missing, which is not what is measured here.
            subprocess.run(
                [*SCRIPT, "chat"],
                env=_environment(f"{folder}/data"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            scripted.append(_start(f"{folder}/data", SCRIPT))
    cold_s, warm_s, scripted_s = (statistics.median(run[0] for run in runs) for runs in (cold, warm, scripted))
    report.add("example ready, data directory made", cold_s, "s", "at most 3", cold_s <= 3)
    report.add("example ready, warm", warm_s, "s", "at most 1", warm_s <= 1)
    report.add("scripts/run, second start", scripted_s, "s", "under 3", scripted_s < 3)
    bot_mib, database_mib = max(run[1] for run in cold + warm), max(run[2] for run in cold + warm)
    report.add("bot process, RSS", bot_mib, "MiB", "at most 80", bot_mib <= 80)
    report.add("database, PSS of all its processes", database_mib, "MiB", "at most 25", database_mib <= 25)
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
