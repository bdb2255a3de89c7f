"""A few at a time, some more waiting, the rest refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import AudioError


class JobQueue:
    """At most *concurrency* run and *max_queue* wait; first come, first served."""

    def __init__(self, concurrency: int, max_queue: int) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._max_queue = max_queue
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Run inside; raises AudioError "busy" at once when too many wait."""
        if self._slots.locked() and self.waiting >= self._max_queue:
            raise AudioError(
                f"{self.waiting} recordings wait to be converted already; send it again in a minute", kind="busy"
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
