"""Time that moves only when told."""

import asyncio
import heapq
from itertools import count

SETTLE_TURNS = 50  # passes of the event loop in which woken tasks get where they want to wait again


class FakeClock:
    """A clock and a sleep for parts that take both as parameters."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was moved by *seconds*."""
        waker = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), waker))
        await waker

    async def advance(self, seconds: float) -> None:
        """Move by *seconds*, waking each sleeper at its own time and letting what it starts run."""
        await self.settle()
        end = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, waker = heapq.heappop(self._sleepers)
            if not waker.done():
                waker.set_result(None)
                await self.settle()
        self.now = end
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that does not wait for the clock."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)
