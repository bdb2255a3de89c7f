"""PostgreSQL as a store for cached bytes, with marks and leases."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ....cache.ports import Record
from ....errors import LifecycleError, StoreError
from ....tasks import Tasks, wait_or_sleep
from ..database import Database
from ..retries import equal_jitter
from . import records as rows
from .clock import StoreClock
from .held import HeldConnection
from .leases import CHANNEL, RELEASED, PostgresLeases
from .marks import MARKED, PostgresMarks
from .overwrites import OVERWRITTEN, PostgresOverwrites

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision AS now"
_CLOCK_SAMPLES = 3
_MARKS_EVERY = 60  # rounds of upkeep


class PostgresTier:
    """Tier, Marks, Leases and Overwrites in the tables of ``migrate``; while open it also deletes what has expired.

    Holds one connection of *database* while it is open, for quick answers and to be told of marks and leases; see
    ``HeldConnection``. Behind a pooler in transaction mode marks are seen every *poll_s*, and what is
    written over is told to others, not heard. Opening waits for no database
    that is down. Every *upkeep_s* the clock is measured and the expired is deleted, *purge_batch* rows at once.

    Records and leases are unlogged: they cost next to no WAL, and are gone after a crash of the server, and on a
    standby that takes over. Marks are kept. ``unreadable`` counts rows that cannot be records.
    """

    def __init__(
        self,
        database: Database,
        *,
        poll_s: float = 2.0,
        timeout_s: float = 5.0,
        upkeep_s: float = 60.0,
        purge_batch: int = 1000,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[float], float] = equal_jitter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.unreadable = 0
        self._upkeep_s = upkeep_s
        self._purge_batch = purge_batch
        self._jitter = jitter
        self._sleep = sleep
        self._clock = StoreClock(clock=clock, monotonic=monotonic)
        self._held = HeldConnection(
            database, CHANNEL, heard=self._heard, connected=self._missed, timeout_s=timeout_s, sleep=sleep
        )
        self._marks = PostgresMarks(self._held, now=self.now, poll_s=poll_s, sleep=sleep)
        self._overwrites = PostgresOverwrites(self._held)
        self._leases = PostgresLeases(self._held, monotonic=monotonic, sleep=sleep)
        self._resources: AsyncExitStack | None = None
        self._reconnected = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._resources is not None:
            raise LifecycleError("this tier is open already; open it once and share it")
        self._reconnected = asyncio.Event()  # of the event loop that runs now
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self._held)
            tasks = await opening.enter_async_context(Tasks("cache_tier"))
            await self._try(self.measure_clock)
            tasks.start(self._upkeep(), "upkeep")
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back. May be called twice; before the database is closed."""
        resources, self._resources = self._resources, None
        if resources is not None:
            await resources.aclose()

    def now(self) -> float:
        return self._clock.now()

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        if len(keys) == 1:
            found = await self._held.fetch(rows.GET, keys[0])
        else:
            found = await self._held.fetch(rows.GET_MANY, keys) if keys else []
        now = self._clock.now()
        records = {}
        for row in found:
            record = rows.record_of(row)
            if record is None:
                self.unreadable += 1
            elif record.expires_at > now:
                records[record.key] = record
        return records

    async def put_many(self, records: Sequence[Record]) -> None:
        """Of one key what began to load last stays, also where it was written before."""
        await self._overwrites.put_many(records)

    def on_overwritten(self, heard: Callable[[Mapping[bytes, float]], object]) -> None:
        self._overwrites.on_overwritten(heard)

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        if keys:
            await self._held.fetch(rows.DELETE, keys)

    async def erase(self, tag: bytes) -> int:
        """Looks at every row: meant for a person who wants to be forgotten, not for invalidation."""
        return await self._count(rows.ERASE, tag)

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        await self._marks.mark(tags, at)

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        await self._marks.follow(heard)

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        return await self._leases.acquire(key, ttl_s)

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        return await self._leases.renew(key, ttl_s)

    async def release(self, key: bytes) -> None:
        await self._leases.release(key)

    async def wait(self, key: bytes, timeout_s: float) -> None:
        await self._leases.wait(key, timeout_s)

    async def purge(self, batch: int) -> int:
        """Delete at most *batch* expired records, the oldest first; returns how many those were."""
        return await self._count(rows.PURGE, batch)

    async def purge_marks(self) -> None:
        """Delete marks that no record needs, and leases that ran out long ago; looks at all records."""
        await self._leases.purge()
        await self._marks.purge()

    async def measure_clock(self) -> None:
        """Learn the difference between the server's clock and this machine's."""
        samples = []
        for _ in range(_CLOCK_SAMPLES):
            asked_at = self._clock.monotonic()
            (row,) = await self._held.fetch(_CLOCK)
            samples.append((asked_at, row["now"], self._clock.monotonic()))
        self._clock.set_from(samples)

    async def _count(self, query: str, argument: object) -> int:
        (row,) = await self._held.fetch(query, argument)
        n: int = row["n"]
        return n

    async def _upkeep(self) -> None:
        rounds = 0
        while True:
            self._reconnected.clear()
            is_new = await wait_or_sleep(self._reconnected, self._jitter(self._upkeep_s), sleep=self._sleep)
            await self._try(self.measure_clock)
            if is_new:
                continue  # perhaps to another server, with another clock
            rounds += 1
            await self._try(self._purge_all)
            if rounds % _MARKS_EVERY == 0:
                await self._try(self.purge_marks)

    async def _purge_all(self) -> None:
        while await self.purge(self._purge_batch) >= self._purge_batch:
            pass

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except StoreError:
            return  # of a database that is down; the next round is soon enough

    def _heard(self, message: str) -> None:
        if message == MARKED:
            self._marks.heard()
        elif message.startswith(OVERWRITTEN):
            self._overwrites.heard(message.removeprefix(OVERWRITTEN))
        elif message.startswith(RELEASED):
            self._leases.heard(message.removeprefix(RELEASED))

    def _missed(self) -> None:
        self._reconnected.set()
        self._marks.ask_again()
        self._overwrites.missed()
        self._leases.ask_again()
