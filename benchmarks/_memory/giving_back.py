"""How soon and how truly memory goes back: python -m benchmarks._memory.giving_back KIND prints it as JSON."""

import asyncio
import json
import logging
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from itertools import count, islice
from typing import Any

from tecnobot_core import HybridCache, MemoryManager
from tecnobot_core.memory import Priority, Release, read_rss_bytes

Add = Callable[[int], Awaitable[object]]
MIB = 1 << 20
LIMIT_BYTES = 256 * MIB
HELD_SHARE, FULL_SHARE, CALM_SHARE = 0.7, 0.92, 0.75  # what can be released; with all else; what is wanted
GIVE_UP_S = 10.0
LOOK_EVERY_S = 0.005
FILL_STEP = 50  # values between two looks at what is held


def media(chance: random.Random) -> tuple[Add, Release]:
    """Attachments of 100 to 600 kB, the oldest first."""
    held: OrderedDict[int, bytes] = OrderedDict()

    async def add(number: int) -> None:
        held[number] = chance.randbytes(1024) * chance.randrange(100, 600)

    return add, lambda wanted_bytes: _drop_oldest(held, len, wanted_bytes)


def packed(chance: random.Random) -> tuple[Add, Release]:
    """HybridCache with answers of 1 kB, some of which are asked for again."""
    cache = HybridCache(int(HELD_SHARE * LIMIT_BYTES * 1.05))  # full, as it is in ordinary life

    async def add(number: int) -> None:
        await cache.set(f"question {number}", chance.randbytes(500).hex())
        await cache.get(f"question {chance.randrange(number + 1)}")

    return add, cache.release_slowly


def dicts(chance: random.Random) -> tuple[Add, Release]:
    """The usual way: an LRU of little dicts, used in any order."""
    held: OrderedDict[int, dict[str, Any]] = OrderedDict()

    async def add(number: int) -> None:
        held[number] = {"number": number, "text": f"respuesta {number} " * 8, "at": time.time()}
        held.move_to_end(chance.choice((number, chance.randrange(number + 1))))

    return add, lambda wanted_bytes: _drop_oldest(held, lambda row: 600, wanted_bytes)


KINDS = {"media": media, "packed": packed, "dicts": dicts}


async def measure(kind: str) -> dict[str, float | None]:
    """Fill to 0.92 of the limit at once, 0.7 of it with *kind*, and see how long from "critical" to below 0.75."""
    memory = MemoryManager(LIMIT_BYTES)
    add, release = KINDS[kind](random.Random(1))
    memory.register(kind, release, priority=Priority.MEDIA)
    began = asyncio.get_running_loop().create_future()
    memory.on("critical", lambda event: None if began.done() else began.set_result(time.perf_counter()))
    async with memory:
        await _fill(add, read_rss_bytes() + HELD_SHARE * LIMIT_BYTES)
        ballast = bytearray(max(int(FULL_SHARE * LIMIT_BYTES) - read_rss_bytes(), 0))
        critical_at = await began
        calm_s = await _calm_s(critical_at)
        await asyncio.sleep(0.5)  # the last trim may come later
        releaser = memory.statistics().releasers[kind]
        assert len(ballast)
    return {
        "calm_s": calm_s,
        "asked": releaser.asked,
        "estimated_mib": releaser.estimated_bytes / MIB,
        "actual_mib": releaser.actual_bytes / MIB,
    }


async def _fill(add: Add, target_bytes: float) -> None:
    """In one go: nothing that it awaits waits."""
    numbers = count()
    while read_rss_bytes() < target_bytes:
        for number in islice(numbers, FILL_STEP):
            await add(number)


async def _calm_s(critical_at: float) -> float | None:
    """None when it did not come to that."""
    while time.perf_counter() - critical_at < GIVE_UP_S:
        if read_rss_bytes() < CALM_SHARE * LIMIT_BYTES:
            return time.perf_counter() - critical_at
        await asyncio.sleep(LOOK_EVERY_S)
    return None


def _drop_oldest(held: "OrderedDict[int, Any]", weigh: Callable[[Any], int], wanted_bytes: int) -> int:
    freed_bytes = 0
    while held and freed_bytes < wanted_bytes:
        freed_bytes += weigh(held.popitem(last=False)[1])
    return freed_bytes


if __name__ == "__main__":
    logging.getLogger("tecnobot_core").addHandler(logging.NullHandler())
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
