"""One load among all processes that share a store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from ..errors import StoreError
from ..tasks import Tasks
from .envelope import Entry
from .ports import Leases

MAX_WAIT_S = 60.0  # a wait is asked for again after it, in case its wake-up was lost
MAX_EMPTY_WAKES = (
    2  # a leader that fails, or whose value cannot be stored, must not make one process wait for the other
)


class Flushing(Protocol):
    """A tier that gathers writes."""

    async def flush(self) -> None:
        """Return when what was written until now is stored, or was dropped."""
        ...


class SharedLoads:
    """Lets the process that has the lease load, and the others wait for what it stores.

    The lease is renewed at a third of *lease_s*; one that is not, of a process that was killed, ends by itself, and
    another takes its place. When the leases cannot be had, everybody loads for himself.
    """

    def __init__(
        self,
        leases: Leases,
        tier: Flushing,
        tasks: Tasks,
        *,
        lease_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._leases = leases
        self._tier = tier
        self.tasks = tasks
        self._lease_s = lease_s
        self._clock = clock
        self._sleep = sleep

    async def load(
        self, key: bytes, read: Callable[[], Awaitable[Entry | None]], lead: Callable[[], Awaitable[Any]]
    ) -> Any:
        """What *lead* returns, or the Entry that *read* finds after another process has loaded it."""
        empty_wakes = 0
        while empty_wakes < MAX_EMPTY_WAKES:
            try:
                is_ours = await self._leases.acquire(key, self._lease_s)
                if not is_ours:
                    asked_at = self._clock()
                    await self._leases.wait(key, MAX_WAIT_S)
            except StoreError:
                break
            if is_ours:
                return await self._lead(key, read, lead)
            if (entry := await read()) is not None:
                return entry
            empty_wakes += self._clock() - asked_at < MAX_WAIT_S
        return await lead()

    async def _lead(
        self, key: bytes, read: Callable[[], Awaitable[Entry | None]], lead: Callable[[], Awaitable[Any]]
    ) -> Any:
        async with self._held(key):
            # The one before us may have stored it between our look and our lease.
            if (entry := await read()) is not None:
                return entry
            value = await lead()
            with suppress(StoreError):
                await self._tier.flush()  # before the others are woken
            return value

    @asynccontextmanager
    async def _held(self, key: bytes) -> AsyncIterator[None]:
        beating = self.tasks.start(self._beat(key), "lease")
        try:
            yield
        finally:
            beating.cancel()
            with suppress(StoreError):
                await self._leases.release(key)

    async def _beat(self, key: bytes) -> None:
        while True:
            await self._sleep(self._lease_s / 3)
            try:
                if not await self._leases.renew(key, self._lease_s):
                    return  # another process loads too; both answers are good
            except StoreError:
                continue
