"""Downloads that come, grow, fail and are cancelled by chance, against one budget."""

import asyncio
import random
import time
from collections import Counter

from tecnobot_core import MemoryManager
from tecnobot_core.errors import MemoryBusyError
from tecnobot_core.memory import Lease, Priority, ReservationStatistics

LIMIT, BASE = 1000, 100
LARGEST = 450
AT_ONCE = 20
LONGEST_S = 0.001
MAX_WAIT_S = 10.0
DEADLOCK_S = 60.0  # two waits, and the work


class Lost(Exception):  # noqa: N818  a download that breaks off
    """The link went away."""


class Downloads:
    """*n* of them, and a cache that fills again whenever there is room."""

    def __init__(self, n: int, seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self._n = n
        self._random = random.Random(seed)
        self._cache = 600
        self._landed = 0
        self._memory = MemoryManager(LIMIT, probe=self._used, max_wait_s=MAX_WAIT_S, find_trim=lambda: None)
        self._memory.register("cache", self._release, priority=Priority.MEDIA)

    async def run(self) -> ReservationStatistics:
        """Carry all out; what is left of them."""
        self._numbers = iter(range(self._n))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._lane())
        return self._memory.statistics().reservations

    def _used(self) -> int:
        return BASE + self._cache + self._landed

    def _release(self, wanted: int) -> int:
        freed = min(wanted, self._cache)
        self._cache -= freed
        return freed

    async def _lane(self) -> None:
        for _ in self._numbers:
            self.ends[await self._one()] += 1
            if self._random.random() < 0.1:
                self._cache += max(min(self._random.randrange(100), LIMIT * 8 // 10 - self._used()), 0)

    async def _one(self) -> str:
        downloading = asyncio.ensure_future(self._download(self._random.randint(0, LARGEST)))
        if self._random.random() < 0.2:
            asyncio.get_running_loop().call_later(self._random.random() / 50, downloading.cancel)
        if not (await asyncio.wait([downloading], timeout=DEADLOCK_S))[0]:
            downloading.cancel()
            await asyncio.wait([downloading])
            return "deadlocked"
        if downloading.cancelled():
            return "cancelled"
        match downloading.exception():
            case None:
                return "done"
            case MemoryBusyError():
                return "busy"
            case Lost():
                return "failed"
            case error:
                raise error

    async def _download(self, n: int) -> None:
        landed = 0
        async with self._memory.reserve(n) as lease:
            try:
                while landed < n:
                    await asyncio.sleep(self._random.random() * LONGEST_S)
                    part = min(n - landed, self._random.randint(50, 250))
                    landed += part
                    self._landed += part
                    lease.landed(part)
                    if self._random.random() < 0.02:
                        raise Lost
                await self._change(lease)
            finally:
                self._landed -= landed

    async def _change(self, lease: Lease) -> None:
        if self._random.random() < 0.2:
            await lease.grow(self._random.randint(0, 100))
        if self._random.random() < 0.2:
            lease.shrink(self._random.randint(0, 50))


def carry_out(n: int) -> tuple[Counter[str], ReservationStatistics, float]:
    """How *n* downloads ended, what they left, and the seconds that it took."""
    downloads, began = Downloads(n, seed=1), time.perf_counter()
    left = asyncio.run(downloads.run())
    return downloads.ends, left, time.perf_counter() - began
