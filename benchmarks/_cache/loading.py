"""One load for many callers: what waiting costs, and how late the last of them is."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks._cache.worker import N_CALLERS, POLICY
from benchmarks._report import Report
from tecnobot_core import HybridCache

N_IN_PROCESS = 100
ROUNDS = 5  # the best counts: other processes of the machine come between
LOADS_S = (0.5, 3.0)  # 30 s are tested in virtual time


async def report_loading(report: Report) -> None:
    """100 callers in this process."""
    for takes_s in LOADS_S:
        rounds = [await _ask_at_once(takes_s) for _ in range(ROUNDS if takes_s < 1 else 2)]
        _report(report, f"4 {N_IN_PROCESS} callers, loader of {takes_s:g} s", rounds)


async def report_processes(report: Report, dsn: str) -> None:
    """Twice 50 callers in two processes."""
    async with _worker(dsn) as one, _worker(dsn) as two:
        await _ask_both(one, two, "warm", 0.1)
        for takes_s in LOADS_S:
            n_rounds = ROUNDS if takes_s < 1 else 2
            rounds = [await _ask_both(one, two, f"{takes_s}/{number}", takes_s) for number in range(n_rounds)]
            _report(report, f"4 two processes × {N_CALLERS}, loader of {takes_s:g} s", rounds)


def _report(report: Report, what: str, rounds: list[tuple[int, float, float]]) -> None:
    n_calls = max(calls for calls, _, _ in rounds)
    cpu_s, late_ms = min(cpu for _, cpu, _ in rounds), 1000 * min(late for _, _, late in rounds)
    what_best = f"{what}, best of {len(rounds)}"
    report.add(f"{what}: calls, most of {len(rounds)}", n_calls, "", "1", n_calls == 1)
    report.add(f"{what_best}: CPU of waiting", cpu_s, "s", "at most 0.02", cpu_s <= 0.02)
    report.add(f"{what_best}: last waiter after the leader", late_ms, "ms", "at most 25", late_ms <= 25)


async def _ask_at_once(takes_s: float) -> tuple[int, float, float]:
    """Calls, CPU seconds, and seconds between the load and the last caller who has it."""
    n_calls, loaded_at = 0, 0.0

    async def load() -> str:
        nonlocal n_calls, loaded_at
        n_calls += 1
        await asyncio.sleep(takes_s)
        loaded_at = time.perf_counter()
        return "answer"

    async with HybridCache() as cache:
        cpu_s = time.process_time()
        await asyncio.gather(*(cache.get_or_load("k", load, policy=POLICY) for _ in range(N_IN_PROCESS)))
        return n_calls, time.process_time() - cpu_s, time.perf_counter() - loaded_at


async def _ask_both(
    one: asyncio.subprocess.Process, two: asyncio.subprocess.Process, key: str, takes_s: float
) -> tuple[int, float, float]:
    for process in (one, two):
        assert process.stdin is not None
        process.stdin.write(json.dumps([key, takes_s]).encode() + b"\n")
    answers: list[dict[str, Any]] = [json.loads(await _line_of(process)) for process in (one, two)]
    if any(answer["right"] != N_CALLERS for answer in answers):
        raise RuntimeError(f"callers got something else than was loaded: {answers}")
    n_calls = sum(answer["calls"] for answer in answers)
    return n_calls, max(answer["cpu_s"] for answer in answers), abs(answers[0]["at"] - answers[1]["at"])


@asynccontextmanager
async def _worker(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "benchmarks._cache.worker", "callers", dsn)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        await _line_of(process)  # "ready"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode()
