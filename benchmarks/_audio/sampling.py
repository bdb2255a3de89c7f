"""The memory of a process and of all that it started, seen from outside."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

SAMPLE_EVERY_S = 0.01
MIB = 1 << 20


def alone(way: str, source: Path, folder: Path) -> dict[str, float]:
    """Run ``benchmarks._audio.alone``; what it printed, and ``tree_mb``: the most that it and its children had."""
    command = [sys.executable, "-m", "benchmarks._audio.alone", way, str(source), str(folder / "out.ogg")]
    peak_bytes = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            peak_bytes = max(peak_bytes, _tree_bytes(process))
            time.sleep(SAMPLE_EVERY_S)
        assert running.stdout is not None
        said = running.stdout.read()
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {running.returncode}")
    measured: dict[str, float] = json.loads(said)
    return {**measured, "tree_mb": peak_bytes / MIB}


def _tree_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it ended while it was looked at
    return total
