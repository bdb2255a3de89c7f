"""A process at the cache's store, which tells what happens in lines of JSON: ``-m tests.cache_process URL WHAT KEY``."""

import asyncio
import json
import os
import sys
import time
from itertools import count

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Record

LEASE_S = 1.0


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


async def hold(tier: PostgresTier, key: bytes) -> None:
    """Hold the lease, renewing it, until a line comes; then give it back."""
    tell(got=await tier.acquire(key, LEASE_S))
    line = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    while not (await asyncio.wait((line,), timeout=LEASE_S / 3))[0]:
        await tier.renew(key, LEASE_S)
    await tier.release(key)
    tell(released_at=time.time())


async def wait(tier: PostgresTier, key: bytes) -> None:
    """Wait for the lease of somebody else, then take it."""
    tell(got=await tier.acquire(key, LEASE_S))
    cpu_s = time.process_time()
    await tier.wait(key, 60)
    woken_at = time.time()
    tell(woken_at=woken_at, cpu_s=time.process_time() - cpu_s, got=await tier.acquire(key, LEASE_S))


async def take(tier: PostgresTier, key: bytes) -> None:
    """Take the lease as soon as it can be had."""
    while not (got := await tier.acquire(key, LEASE_S)):
        tell(got=got)
        await tier.wait(key, 60)
    tell(got=True, at=time.time())


async def follow(tier: PostgresTier, _: bytes) -> None:
    await tier.follow(lambda marks: tell(marks={tag.hex(): at for tag, at in marks.items()}))


async def write(tier: PostgresTier, key: bytes) -> None:
    """Write one record after another, behind."""
    guarded = GuardedTier(Opened(tier))
    async with guarded:
        for number in count():
            now = guarded.now()
            await guarded.put_many([Record(b"%b-%d" % (key, number), b"x" * 1000, now, now + 60)])
            tell(number=number, at=now)
            await asyncio.sleep(0.002)


class Opened:
    """A tier that is open already."""

    def __init__(self, tier: PostgresTier) -> None:
        self.now, self.get_many, self.put_many = tier.now, tier.get_many, tier.put_many
        self.delete_many, self.erase = tier.delete_many, tier.erase


async def main(url: str, what: str, key: str) -> None:
    work = {"hold": hold, "wait": wait, "take": take, "follow": follow, "write": write}[what]
    async with Database(url) as database, PostgresTier(database, poll_s=0.1) as tier:
        await work(tier, key.encode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # a thread may still wait for a line
