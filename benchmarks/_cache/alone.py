"""One measurement in a process of its own, printed as JSON: python -m benchmarks._cache.alone NAME [ARGUMENT]."""

import asyncio
import gc
import json
import random
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress

from benchmarks._cache import peers
from benchmarks._cache.peers import MIB, TTL_S, Peer
from tecnobot_core import HybridCache
from tecnobot_core.memory import read_rss_bytes

VALUE_BYTES = 1000
N_WARM = 20_000  # what the first entries cost, tables and arenas, is not what an entry costs
N_ENTRIES = 100_000
N_EXPIRING = 100_000
FILL_S = 4
FULL_BYTES = 130 * MIB

PEERS: dict[str, Callable[[], Peer | None]] = {
    "HybridCache": lambda: peers.ours(256),
    "aiocache": lambda: peers.aiocache(timeout=0),
    "cashews": peers.cashews,
    "cachetools": peers.cachetools_ttl,
}


def key_of(number: int) -> str:
    """As long as a policy's name and a digest."""
    return f"reply:{number:026x}"


def value_of(number: int) -> str:
    """1,000 characters that compressing makes little smaller."""
    return b64encode(random.Random(number).randbytes(VALUE_BYTES * 3 // 4)).decode()


async def rss(peer: str) -> dict[str, float]:
    """Bytes of RSS that 1 KB values with a ttl take, over the bytes of their text."""
    if (cache := PEERS[peer]()) is None:
        return {}
    for number in range(N_WARM):
        await cache.set(key_of(number), value_of(number), TTL_S)
    gc.collect()
    before = read_rss_bytes()
    for number in range(N_WARM, N_WARM + N_ENTRIES):
        await cache.set(key_of(number), value_of(number), TTL_S)
    gc.collect()
    return {"per_payload": (read_rss_bytes() - before) / (N_ENTRIES * VALUE_BYTES)}


async def accounted() -> dict[str, float]:
    """What the cache says that it takes, over what the process grew by."""
    cache = HybridCache(256 * MIB)
    for number in range(N_WARM):
        await cache.set(key_of(number), value_of(number), TTL_S)
    gc.collect()
    rss_bytes, used_bytes = read_rss_bytes(), cache.statistics()["used_bytes"]
    for number in range(N_WARM, N_WARM + N_ENTRIES):
        await cache.set(key_of(number), value_of(number), TTL_S)
    gc.collect()
    return {"over_real": (cache.statistics()["used_bytes"] - used_bytes) / (read_rss_bytes() - rss_bytes)}


async def shrink(traffic: str) -> dict[str, float]:
    """Fill 130 MB and give half back; *traffic*: "sets" alone, or "reads" of recent keys between them."""
    cache, rng = HybridCache(FULL_BYTES), random.Random(2)
    number, statistics = 0, cache.statistics()
    while statistics["used_bytes"] < 0.97 * FULL_BYTES or (traffic == "reads" and number < 2 * N_ENTRIES):
        await cache.set(key_of(number), value_of(number), TTL_S)
        if traffic == "reads" and number % 2:
            await cache.get(key_of(rng.randrange(max(0, number - 80_000), number + 1)))
        number += 1
    gc.collect()
    before = read_rss_bytes()
    async with _Turns() as turns:
        began, cpu = time.perf_counter(), time.thread_time()
        freed_bytes = await cache.shrink_slowly(int(statistics["used_bytes"]) // 2)
        took_s, cpu_s = time.perf_counter() - began, time.thread_time() - cpu
    return {
        "took_ms": took_s * 1e3,
        "cpu_ms": cpu_s * 1e3,
        "slice_ms": turns.worst_cpu_s * 1e3,
        "freed_mb": freed_bytes / 1e6,
        "returned": (before - read_rss_bytes()) / freed_bytes,
    }


async def shrink_at_once() -> dict[str, float]:
    """The same through the cache's own face, which does it in one go."""
    cache, number = HybridCache(FULL_BYTES), 0
    while cache.statistics()["used_bytes"] < 0.97 * FULL_BYTES:
        await cache.set(key_of(number), value_of(number), TTL_S)
        number += 1
    began = time.perf_counter()
    cache.shrink(FULL_BYTES // 2)
    return {"took_ms": (time.perf_counter() - began) * 1e3}


async def expiry(peer: str) -> dict[str, float]:
    """100,000 entries expire within a second, while some are read; then nothing happens for a second."""
    keys, rng, fill_s = [key_of(number) for number in range(N_EXPIRING)], random.Random(3), FILL_S
    while True:
        if (cache := PEERS[peer]()) is None:
            return {}
        dead_at = time.monotonic() + fill_s
        for number, key in enumerate(keys):
            await cache.set(key, "x" * 200, dead_at + number / N_EXPIRING - time.monotonic())
        if time.monotonic() < dead_at - 1:
            break
        fill_s *= 2  # on a machine that others use too, filling must end before the first entries expire
    gc.collect()
    gc.freeze()
    await asyncio.sleep(max(0.0, dead_at - time.monotonic() - 0.2))
    async with _Turns(0.001) as turns:
        while time.monotonic() < dead_at + 1.3:
            for key in rng.choices(keys, k=20):
                await cache.get(key)
            await asyncio.sleep(0.001)
    began, cpu = time.monotonic(), time.thread_time()
    await asyncio.sleep(1)
    idle = (time.thread_time() - cpu) / (time.monotonic() - began)
    return {"stall_ms": turns.worst_cpu_s * 1e3, "wall_ms": turns.worst_s * 1e3, "idle_percent": 100 * idle}


class _Turns:
    """The longest that the loop took between two turns of a task that wakes every *interval_s*."""

    def __init__(self, interval_s: float = 0.0) -> None:
        self.worst_s = self.worst_cpu_s = 0.0
        self._interval_s = interval_s

    async def __aenter__(self) -> "_Turns":
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            at, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(self._interval_s)
            self.worst_s = max(self.worst_s, time.perf_counter() - at - self._interval_s)
            self.worst_cpu_s = max(self.worst_cpu_s, time.thread_time() - cpu)


MEASUREMENTS: dict[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "rss": rss,
    "accounted": accounted,
    "shrink": shrink,
    "shrink_at_once": shrink_at_once,
    "expiry": expiry,
}


async def _main(name: str, *arguments: str) -> None:
    print(json.dumps(await MEASUREMENTS[name](*arguments)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
