"""Reads of one pass of the event loop, asked together."""

import asyncio
from collections.abc import Mapping, Sequence

from ...errors import StoreError
from ...tasks import Tasks, TimeLimit, is_being_cancelled
from ..ports import Record, Tier
from .breaker import Breaker
from .statistics import StoreStatistics

MAX_KEYS = 1000  # of one query


class CoalescedReads:
    """Asks *tier* once for all keys that are read in one pass of the event loop.

    The first reader asks, in its own task, for a task of its own would cost as much as the query; the others wait for
    it. When it is cancelled, a task takes its place. What is not answered in *timeout_s* is absent.
    """

    def __init__(self, tier: Tier, breaker: Breaker, statistics: StoreStatistics, *, timeout_s: float) -> None:
        self._tier = tier
        self._breaker = breaker
        self._statistics = statistics
        self._timeout_s = timeout_s
        self._limit = TimeLimit(timeout_s)
        self._gathering: _Batch | None = None
        self._tasks: Tasks | None = None

    def start(self, tasks: Tasks) -> None:
        """Use *tasks* for what is left behind by a reader that is cancelled."""
        self._tasks = tasks
        self._limit = TimeLimit(self._timeout_s)  # its timer is of one event loop, and so is a batch
        self._gathering = None

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        """The records of *keys* that are there."""
        self._statistics.reads += len(keys)
        batch = self._gathering
        if batch is not None and len(batch.keys) + len(keys) <= MAX_KEYS:
            return await batch.join(keys)
        batch = self._gathering = _Batch(keys)
        try:
            if _others_may_run():
                await asyncio.sleep(0)
            if self._gathering is batch:
                self._gathering = None
            found = await self._ask(batch)
        except BaseException:
            self._leave(batch)
            raise
        return _of(keys, found) if batch.waiters else found

    async def look(self, key: bytes) -> Record | None:
        """The record of *key*, asked alone and uncounted. A StoreError where that fails or takes too long."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._tier.get_many((key,))).get(key)
        except TimeoutError as error:
            raise StoreError(f"no answer within {self._timeout_s:g} s", retryable=True) from error

    async def _ask(self, batch: "_Batch") -> Mapping[bytes, Record]:
        found: Mapping[bytes, Record] = {}
        if self._breaker.is_open:
            self._statistics.unanswered += len(batch.keys)
        else:
            self._statistics.queries += 1
            try:
                with self._limit():
                    found = await self._tier.get_many(tuple(batch.keys))
            except (StoreError, TimeoutError) as error:
                self._statistics.unanswered += len(batch.keys)
                self._breaker.failed(error)
            else:
                self._breaker.succeeded()
        batch.settle(found)
        return found

    def _leave(self, batch: "_Batch") -> None:
        """Whoever asked for *batch* does not any more."""
        if self._gathering is batch:
            self._gathering = None
        if batch.is_awaited and is_being_cancelled() and self._tasks is not None:
            self._tasks.start(self._ask_for_others(batch), "read")
        else:
            batch.settle({})

    async def _ask_for_others(self, batch: "_Batch") -> None:
        try:
            await self._ask(batch)
        finally:
            batch.settle({})


class _Batch:
    __slots__ = ("keys", "waiters")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = dict.fromkeys(keys)
        self.waiters: list[asyncio.Future[Mapping[bytes, Record]]] = []

    @property
    def is_awaited(self) -> bool:
        return any(not waiter.done() for waiter in self.waiters)

    async def join(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        self.keys.update(dict.fromkeys(keys))
        waiter: asyncio.Future[Mapping[bytes, Record]] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return _of(keys, await waiter)

    def settle(self, found: Mapping[bytes, Record]) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(found)


def _others_may_run() -> bool:
    """Whether anybody may join in this pass of the loop: a pass for nobody takes as long as a third of a query."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)  # loops of other makes do not show it
    return ready is None or len(ready) > 0


def _of(keys: Sequence[bytes], found: Mapping[bytes, Record]) -> Mapping[bytes, Record]:
    return {key: found[key] for key in keys if key in found}
