"""Writes, gathered and written behind."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from ...errors import StoreError
from ...tasks import Tasks
from ..ports import Record, Tier
from .breaker import Breaker
from .pending import Pending
from .statistics import StoreStatistics

MAX_BATCH_BYTES = 1024 * 1024
MAX_DELETES = 1000  # of one statement


class WriteBehind:
    """Gathers sets for *window_s* from the first one, and writes them *batch* by batch; deletes are done at once.

    One call at a time, so that what is newer comes later. A set that cannot be written is dropped, and its key deleted
    when the store is back.
    """

    def __init__(
        self,
        tier: Tier,
        breaker: Breaker,
        statistics: StoreStatistics,
        *,
        window_s: float,
        batch: int,
        max_bytes: int,
        max_deletes: int,
        timeout_s: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.pending = Pending(statistics, max_bytes=max_bytes, max_deletes=max_deletes)
        self._tier = tier
        self._breaker = breaker
        self._statistics = statistics
        self._window_s = window_s
        self._batch = batch
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._writing: dict[bytes, Record] = {}
        self._deleting: frozenset[bytes] = frozenset()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: Tasks | None = None
        self._is_waiting = False
        breaker.on_healed(self._write_soon)

    def start(self, tasks: Tasks) -> None:
        """Write behind in *tasks*; without them only ``flush`` writes."""
        self._tasks = tasks
        self._one_at_a_time = asyncio.Lock()  # of the event loop that runs now; so is what waits
        self._is_waiting = False
        if len(self.pending):
            self._write_soon()

    def stop(self) -> None:
        """Write no more by itself."""
        self._tasks = None

    def __bool__(self) -> bool:
        """Whether the store does not have everything yet."""
        return bool(self.pending.sets or self.pending.deletes or self._writing or self._deleting)

    def find(self, key: bytes) -> Record | bool:
        """What the store will have of *key*: a record, False for nothing, True where that is not known here."""
        if (record := self.pending.sets.get(key)) is not None:
            return record
        if key in self.pending.deletes:
            return False
        if (record := self._writing.get(key)) is not None:
            return record
        return key not in self._deleting

    def put(self, records: Sequence[Record]) -> None:
        """Have *records* written within the window."""
        if self._breaker.is_open:
            self.pending.delete(record.key for record in records)
            self.pending.drop(records)
            return
        self.pending.put(records)
        self._write_soon()

    async def delete(self, keys: Sequence[bytes]) -> None:
        """Delete *keys*; a StoreError where that must wait for a store that is broken."""
        self.pending.delete(keys)
        await self._drain(sets=False)
        if any(key in self.pending.deletes for key in keys):
            raise StoreError("what was deleted is in the store until that is back", retryable=True, outcome="not_sent")

    async def erase(self, tag: bytes) -> int:
        """Erase *tag* from what is not written and from the store; return how many records that were."""
        unwritten = self.pending.erase((tag,))
        async with self._one_at_a_time:  # what was being written with the tag is written now
            unwritten += self.pending.erase((tag,))
            async with self._breaker.call(self._timeout_s):
                erased = await self._tier.erase(tag)
        await self._drain(sets=False)
        return unwritten + erased

    def drop(self, tags: Collection[bytes] | None) -> None:
        """Do not write what has one of *tags*, None: anything; and delete what the store has under those keys."""
        if tags is None:
            self.pending.drop_all()
        else:
            self.pending.erase(tags)

    async def flush(self) -> None:
        """Return when what was pending is written, or was dropped."""
        await self._drain()

    def _write_soon(self) -> None:
        if self._tasks is not None and not self._is_waiting:
            self._is_waiting = True
            self._tasks.start(self._write_after_window(), "write")

    async def _write_after_window(self) -> None:
        try:
            await self._sleep(self._window_s)
        finally:
            self._is_waiting = False
        await self._drain()

    async def _drain(self, *, sets: bool = True) -> None:
        async with self._one_at_a_time:
            with suppress(StoreError):
                while self.pending.deletes:
                    await self._delete(self.pending.next_deletes(MAX_DELETES))
                while sets and self.pending.sets:
                    await self._put(self.pending.next_sets(self._batch, MAX_BATCH_BYTES))
        if self._breaker.is_open:
            self.pending.drop_all()
        elif len(self.pending):
            self._write_soon()

    async def _delete(self, keys: Sequence[bytes]) -> None:
        self._deleting = frozenset(keys)
        try:
            async with self._breaker.call(self._timeout_s):
                await self._tier.delete_many(keys)
        except BaseException:
            self.pending.delete_again(keys)
            raise
        finally:
            self._deleting = frozenset()
        self._statistics.deleted += len(keys)

    async def _put(self, batch: dict[bytes, Record]) -> None:
        self._writing = batch
        try:
            async with self._breaker.call(self._timeout_s):
                await self._tier.put_many(tuple(batch.values()))
        except StoreError:
            self.pending.drop(batch.values())
            raise
        except BaseException:
            self.pending.write_again(batch)
            raise
        finally:
            self._writing = {}
        self._statistics.written += len(batch)
        self._statistics.batches += 1
