"""RateLimiter: memory under a flood of senders and time per hit, beside the moving window of the package limits."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

import psutil

from benchmarks._report import Report
from tecnobot_core.rate_limit import RateLimiter

REQUIRES: list[str] = ["limits"]
MIB = 1024 * 1024
N_SENDERS = 1_000_000
N_KEYS = 10_000
ROUNDS = 7
START = 1_700_000_000.0

Hit = Callable[[str], object]


def sender(number: int) -> str:
    """The address of a WhatsApp user."""
    return f"52155{number:08d}@s.whatsapp.net"


def growth_mib(hit: Callable[[str, float], object], messages: Iterable[tuple[str, float]]) -> float:
    """How much the process grew at most while *messages* were hit."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    for number, (key, at) in enumerate(messages):
        hit(key, at)
        if number % 10_000 == 0:
            peak = max(peak, process.memory_info().rss)
    return (max(peak, process.memory_info().rss) - before) / MIB


def hit_us(make_hit: Callable[[], Hit], keys: Sequence[str]) -> tuple[float, float]:
    """CPU microseconds of the first hit of a key and of a later one; the best of several rounds."""
    new, known = [], []
    for _ in range(ROUNDS):
        hit = make_hit()
        new.append(_cpu_us(hit, keys))
        known.append(_cpu_us(hit, keys))
    return min(new), min(known)


def _cpu_us(hit: Hit, keys: Sequence[str]) -> float:
    began = time.process_time()
    for key in keys:
        hit(key)
    return (time.process_time() - began) * 1e6 / len(keys)


def _peer_hit() -> Hit:
    limits = import_module("limits")
    limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.parse("30/minute")
    return lambda key: limiter.hit(item, key)


def _report_memory(report: Report) -> None:
    flooded = RateLimiter()
    flood = growth_mib(flooded.hit, ((sender(n), START + n / 1000) for n in range(N_SENDERS)))
    report.add(f"growth of RSS, {N_SENDERS:,} senders at 1,000/s", flood, "MiB", "at most 6", flood <= 6)
    busy = RateLimiter()
    full = growth_mib(busy.hit, ((sender(n % N_KEYS), START + n // N_KEYS) for n in range(30 * N_KEYS)))
    report.add(f"growth of RSS, {N_KEYS:,} senders of 30 messages each", full, "MiB")
    peer_hit = _peer_hit()
    peer = growth_mib(lambda key, at: peer_hit(key), ((sender(n), START) for n in range(10 * N_KEYS)))
    report.add(f"limits: growth of RSS, {10 * N_KEYS:,} senders", peer, "MiB")


def _report_time(report: Report) -> None:
    keys = [sender(number) for number in range(N_KEYS)]
    strangers = [sender(number) for number in range(N_KEYS, 2 * N_KEYS)]
    ours_new, ours_known = hit_us(lambda: RateLimiter().hit, keys)
    peer_new, peer_known = hit_us(_peer_hit, keys)
    flooded = RateLimiter()
    for key in keys:
        flooded.hit(key)
    report.add("hit, new key", ours_new, "µs")
    report.add("hit, known key", ours_known, "µs")
    report.add(
        "hit, stranger while the table is full", min(_cpu_us(flooded.hit, strangers) for _ in range(ROUNDS)), "µs"
    )
    report.add("limits: hit, new key", peer_new, "µs")
    report.add("limits: hit, known key", peer_known, "µs")
    report.add("new key, over limits", ours_new / peer_new, "", "at most 1", ours_new <= peer_new)
    report.add("known key, over limits", ours_known / peer_known, "", "at most 0.7", ours_known <= 0.7 * peer_known)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    arguments = parser.parse_args(argv)
    report = Report("limits", versions=("tecnobot-core", "limits"))
    _report_memory(report)
    _report_time(report)
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
