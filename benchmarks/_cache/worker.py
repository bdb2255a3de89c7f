"""Other processes of the same cache: python -m benchmarks._cache.worker callers|writer DSN."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random

from tecnobot_core import HybridCache
from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier

N_CALLERS = 50
POLICY = "transcript"
SECRET = bytes(range(32))
TTL_S = 3600


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[HybridCache]:
    """The cache that all processes share."""
    async with Database(dsn) as database, HybridCache(store=PostgresTier(database), secret=SECRET) as cache:
        yield cache


def text_1kb(number: int) -> str:
    """1,000 characters, all different from one number to the next."""
    return Random(number).randbytes(500).hex()


async def callers(dsn: str) -> None:
    """For each line with a key and seconds, ask 50 times for what takes so long to load; answer how it was."""
    async with opened(dsn) as cache:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            key, takes_s = json.loads(line)
            n_calls = 0

            async def load(takes_s: float = takes_s) -> str:
                nonlocal n_calls
                n_calls += 1
                await asyncio.sleep(takes_s)
                return "answer"

            cpu_s = time.process_time()
            answers = await asyncio.gather(*(cache.get_or_load(key, load, policy=POLICY) for _ in range(N_CALLERS)))
            answer = {
                "calls": n_calls,
                "right": answers.count("answer"),
                "at": time.time(),
                "cpu_s": time.process_time() - cpu_s,
            }
            print(json.dumps(answer), flush=True)


async def writer(dsn: str) -> None:
    """Set one value after the other, and say so, until it is killed."""
    async with opened(dsn) as cache:
        for number in count():
            await cache.set(f"written:{number}", text_1kb(number), TTL_S)
            print(json.dumps({"number": number, "at": time.time()}), flush=True)
            await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run({"callers": callers, "writer": writer}[sys.argv[1]](sys.argv[2]))
