"""Marks and leases of a store that may be broken."""

from collections.abc import Callable, Mapping, Sequence

from ..ports import Leases, Marks
from .breaker import Breaker

WAIT_MARGIN_S = 5.0  # for the questions of a wait, beside its own time


class GuardedLeases:
    """Leases that are a StoreError at once while the store is broken."""

    def __init__(self, leases: Leases, breaker: Breaker, *, timeout_s: float) -> None:
        self._leases = leases
        self._breaker = breaker
        self._timeout_s = timeout_s

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        async with self._breaker.call(self._timeout_s):
            return await self._leases.acquire(key, ttl_s)

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        async with self._breaker.call(self._timeout_s):
            return await self._leases.renew(key, ttl_s)

    async def release(self, key: bytes) -> None:
        async with self._breaker.call(self._timeout_s):
            await self._leases.release(key)

    async def wait(self, key: bytes, timeout_s: float) -> None:
        async with self._breaker.call(timeout_s + WAIT_MARGIN_S):
            await self._leases.wait(key, timeout_s)


class GuardedMarks:
    """Marks that are a StoreError at once while the store is broken; whoever marks tells it again later."""

    def __init__(self, marks: Marks, breaker: Breaker, *, timeout_s: float) -> None:
        self._marks = marks
        self._breaker = breaker
        self._timeout_s = timeout_s

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        async with self._breaker.call(self._timeout_s):
            await self._marks.mark(tags, at)

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        """Not counted: whoever follows waits nearly always."""
        await self._marks.follow(heard)
