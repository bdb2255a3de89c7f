"""A tier in front of a tier: quick, gathered, and quiet when the store is broken."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from ...errors import LifecycleError
from ...tasks import Tasks
from ..ports import Leases, Marks, Overwrites, Record, Tier
from .breaker import Breaker
from .reading import CoalescedReads
from .sharing import GuardedLeases, GuardedMarks
from .statistics import StoreStatistics
from .writing import WriteBehind

MIB = 1024 * 1024
_PROBE = (b"",)  # a key that nobody has


class GuardedTier:
    """*tier* for a cache that must not feel it.

    Reads of one pass of the event loop are one query. Sets are gathered for *write_window_s* and written *write_batch*
    at once, of each key the last; what waits is read as if it were written. After *max_failures* calls that failed, or
    took longer than *read_timeout_s* or *write_timeout_s*, the store is left alone: reads are misses at once, sets are
    dropped. When it answers again, what was deleted or set meanwhile is deleted there; *max_kept* keys are remembered.

    ``leases`` and ``marks`` are those of the tier, or those that are given, under the same breaker; None where there
    are none, as of ``overwrites``. Use it by ``async with``, which also opens a tier that wants to be opened; *changed*
    is told True and a reason when the store is left alone, False when it is back.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        marks: Marks | None = None,
        leases: Leases | None = None,
        write_window_s: float = 0.25,
        write_batch: int = 64,
        read_timeout_s: float = 0.25,
        write_timeout_s: float = 2.0,
        max_failures: int = 3,
        max_pending_bytes: int = 8 * MIB,
        max_kept: int = 20_000,
        changed: Callable[[bool, str], object] | None = None,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.statistics = StoreStatistics()
        self._tier = tier
        self._breaker = Breaker(
            lambda: tier.get_many(_PROBE),
            self.statistics,
            max_failures=max_failures,
            probe_timeout_s=write_timeout_s,
            changed=changed,
            random=random,
            sleep=sleep,
        )
        self._reads = CoalescedReads(tier, self._breaker, self.statistics, timeout_s=read_timeout_s)
        self._writes = WriteBehind(
            tier,
            self._breaker,
            self.statistics,
            window_s=write_window_s,
            batch=write_batch,
            max_bytes=max_pending_bytes,
            max_deletes=max_kept,
            timeout_s=write_timeout_s,
            sleep=sleep,
        )
        marks = marks or (tier if isinstance(tier, Marks) else None)
        leases = leases or (tier if isinstance(tier, Leases) else None)
        self.marks = None if marks is None else GuardedMarks(marks, self._breaker, timeout_s=write_timeout_s)
        self.leases = None if leases is None else GuardedLeases(leases, self._breaker, timeout_s=write_timeout_s)
        self.overwrites = tier if isinstance(tier, Overwrites) else None
        self._resources: AsyncExitStack | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the store is left alone."""
        return self._breaker.is_open

    @property
    def pending(self) -> int:
        """How many sets and deletes the store has not seen yet."""
        return len(self._writes.pending)

    async def __aenter__(self) -> Self:
        if self._resources is not None:
            raise LifecycleError("this tier is open already; open it once and share it")
        async with AsyncExitStack() as opening:
            if isinstance(self._tier, AbstractAsyncContextManager):
                await opening.enter_async_context(self._tier)
            tasks = await opening.enter_async_context(Tasks("cache_store"))
            for part in (self._breaker, self._reads, self._writes):
                part.start(tasks)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is pending, where the store takes it, and close. May be called twice."""
        resources, self._resources = self._resources, None
        if resources is None:
            return
        async with resources:
            self._writes.stop()
            await self._writes.flush()

    def now(self) -> float:
        return self._tier.now()

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        """What the store has, or will have, of *keys*. Never raises: what is not answered is absent."""
        if self._writes:
            return await self._get_many_around_writes(keys)
        if self._breaker.is_open:
            self.statistics.unanswered += len(keys)
            return {}
        return await self._reads.get_many(keys)

    async def look(self, key: bytes) -> Record | None:
        """What ``get_many`` would find of *key*, uncounted. A StoreError where the store does not answer."""
        if not isinstance(known := self._writes.find(key), bool):
            return known
        return await self._reads.look(key) if known else None

    async def put_many(self, records: Sequence[Record]) -> None:
        """Have *records* written. Never raises and never waits."""
        self._writes.put(records)

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        """Delete *keys* now; a StoreError where that is done when the store is back."""
        if keys:
            await self._writes.delete(keys)

    async def erase(self, tag: bytes) -> int:
        """Erase *tag* from what is pending and from the store; a StoreError where it is still in the store."""
        return await self._writes.erase(tag)

    def drop(self, tags: Collection[bytes] | None) -> None:
        """Do not write what is pending with one of *tags*, None: anything. Never raises and never waits."""
        self._writes.drop(tags)

    async def flush(self) -> None:
        """Return when what was put is written, or dropped."""
        await self._writes.flush()

    async def _get_many_around_writes(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        now = self.now()
        found: dict[bytes, Record] = {}
        asked = []
        for key in keys:
            known = self._writes.find(key)
            if isinstance(known, Record):
                if known.expires_at > now:
                    found[key] = known
            elif known:
                asked.append(key)
        if self._breaker.is_open:
            self.statistics.unanswered += len(asked)
        elif asked:
            found |= await self._reads.get_many(asked)
        return found
