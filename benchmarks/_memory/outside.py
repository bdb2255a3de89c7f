"""Runs the bot and looks at it from outside: who is above the limit is killed, sooner than the kernel would do it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks._memory.bot import MIB, Storm

SAMPLE_EVERY_S = 0.002
LOADED_SHARE = 0.75  # of the limit: from the first time that so much was used, the bot is under load
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Outcome:
    """``peak_bytes`` is the worse of what was seen and what the kernel remembers; means are over time.

    ``loaded_mean_bytes`` is the mean from the first reading of 0.75 of the limit on. *said* is what the bot printed.
    """

    killed: bool = False
    peak_bytes: int = 0
    mean_bytes: float = 0.0
    loaded_mean_bytes: float = 0.0
    longest_gap_s: float = 0.0
    samples: int = 0
    watched_s: float = 0.0
    said: Mapping[str, Any] = field(default_factory=dict)


class Mean:
    """Of readings, each for as long as it was the last."""

    def __init__(self) -> None:
        self._sum = self._seconds = 0.0

    def add(self, n_bytes: int, seconds: float) -> None:
        """*n_bytes* were used for *seconds*."""
        self._sum += n_bytes * seconds
        self._seconds += seconds

    def value(self) -> float:
        """0.0 when nothing was added."""
        return self._sum / self._seconds if self._seconds else 0.0


def run(storm: Storm, *, kill_above_mib: int | None) -> Outcome:
    """Carry out *storm* in a process of its own, whose RSS is read every 2 ms."""
    command = [sys.executable, "-m", "benchmarks._memory.bot", json.dumps(asdict(storm))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        outcome = _watch(running, kill_above_mib)
        assert running.stdout is not None
        said = running.stdout.read()
    if not outcome.killed:
        if running.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {running.returncode}")
        outcome.said = json.loads(said)
        outcome.peak_bytes = max(outcome.peak_bytes, outcome.said["peak_bytes"])
    return outcome


def _watch(running: "subprocess.Popen[str]", kill_above_mib: int | None) -> Outcome:
    outcome, mean, loaded = Outcome(), Mean(), Mean()
    loaded_bytes = LOADED_SHARE * (kill_above_mib or 0) * MIB
    statm = os.open(f"/proc/{running.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        last_at = time.perf_counter()
        while running.poll() is None and (rss_bytes := _rss_bytes(statm)):
            now = time.perf_counter()
            outcome.samples += 1
            outcome.watched_s += now - last_at
            outcome.longest_gap_s = max(outcome.longest_gap_s, now - last_at)
            outcome.peak_bytes = max(outcome.peak_bytes, rss_bytes)
            mean.add(rss_bytes, now - last_at)
            if outcome.peak_bytes >= loaded_bytes:
                loaded.add(rss_bytes, now - last_at)
            last_at = now
            if kill_above_mib is not None and rss_bytes > kill_above_mib * MIB:
                running.kill()
                outcome.killed = True
                break
            time.sleep(SAMPLE_EVERY_S)
    finally:
        os.close(statm)
    outcome.mean_bytes, outcome.loaded_mean_bytes = mean.value(), loaded.value()
    return outcome


def _rss_bytes(statm: int) -> int:
    """0 when the process has ended."""
    try:
        return int(os.pread(statm, 128, 0).split()[1]) * PAGE_BYTES
    except (ProcessLookupError, IndexError):
        return 0
