"""What watching costs: python -m benchmarks._memory.readings SECONDS prints it as JSON."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from tecnobot_core import MemoryManager
from tecnobot_core.memory.containers import VERSIONS, Container, ContainerUsage
from tecnobot_core.memory.reading import ResidentMemory
from tecnobot_core.tasks import Tasks

MIB = 1 << 20
N_READINGS = 2000
BATCH = 20
EVERY_S = 0.05  # 20 Hz
WARM_S = 0.2
GROUPS = Path("/sys/fs/cgroup")


def reading_us(read: Callable[[], object]) -> float:
    """The median of some batches."""
    times = []
    for _ in range(N_READINGS // BATCH):
        began = time.perf_counter()
        for _ in range(BATCH):
            read()
        times.append((time.perf_counter() - began) * 1e6 / BATCH)
    return median(times)


def group_usage() -> ContainerUsage | None:
    """Of any control group that there is: reading one costs the same whether it has a limit or not."""
    path = Path("/proc/self/cgroup").read_text().partition("0::/")[2].partition("\n")[0]
    for kind, folder in (("cgroup2", GROUPS / path), ("cgroup2", GROUPS), ("cgroup", GROUPS / "memory")):
        if (folder / VERSIONS[kind].usage).exists():
            return ContainerUsage(Container(folder, 1024 * MIB, VERSIONS[kind]))
    return None


async def cpu_percent(seconds: float) -> float:
    """Of one processor, while nothing happens but what runs already."""
    await asyncio.sleep(WARM_S)
    cpu_s, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - cpu_s) / (time.perf_counter() - began)


async def watched_percent(seconds: float) -> float:
    """Of a process at rest that reads its memory 20 times a second."""
    async with MemoryManager(1024 * MIB, interval_s=EVERY_S):
        return await cpu_percent(seconds)


async def waking_percent(seconds: float) -> float:
    """Of one that only wakes as often."""

    async def wake() -> None:
        while True:  # noqa: ASYNC110  waking is what is measured
            await asyncio.sleep(EVERY_S)

    async with Tasks("bench") as tasks:
        tasks.start(wake(), "wake")
        return await cpu_percent(seconds)


def measure(seconds: float) -> dict[str, float | None]:
    """All of it, in this process."""
    own, process, group = ResidentMemory(), psutil.Process(), group_usage()
    return {
        "own_us": reading_us(own.read),
        "psutil_us": reading_us(lambda: process.memory_info().rss),
        "with_group_us": None if group is None else reading_us(lambda: max(own.read(), group.read())),
        "statistics_us": reading_us(MemoryManager(1024 * MIB).statistics),
        "check_us": asyncio.run(_check_us()),
        "watched_percent": asyncio.run(watched_percent(seconds)),
        "waking_percent": asyncio.run(waking_percent(seconds)),
    }


async def _check_us() -> float:
    memory, times = MemoryManager(1024 * MIB), []
    for _ in range(N_READINGS // BATCH):
        began = time.perf_counter()
        for _ in range(BATCH):
            await memory.check()
        times.append((time.perf_counter() - began) * 1e6 / BATCH)
    return median(times)


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
