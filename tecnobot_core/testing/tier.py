"""A store for cached bytes in memory, with faults on demand."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf

from ..cache.ports import EVERYTHING, Record
from ..errors import StoreError
from ..tasks import wait_or_sleep


class SharedStore:
    """What several FakeTiers share. While ``is_down`` every call of all of them is a StoreError."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.is_down = False
        self.records: dict[bytes, Record] = {}
        self.marks: dict[bytes, float] = {}
        self.leases: dict[bytes, tuple[object, float]] = {}
        self.changed: set[asyncio.Event] = set()
        self.followers: list[Callable[[Mapping[bytes, float]], None]] = []

    def tell(self) -> None:
        """Leases have changed."""
        for event in self.changed:
            event.set()


class FakeTier:
    """Tier, Marks and Leases over dictionaries. ``another_client()`` is one more process at the same store.

    Of one key what began to load last stays, and nothing is stored that a mark outdates. Marks are heard at once, or
    *hears_after_s* later by this client.

    Faults: errors put into ``errors`` are raised one for each call (None in them lets a call pass); while ``is_down``
    every call is a StoreError; while ``hangs`` calls wait; a get and a put take ``takes_s`` of *sleep*. ``calls`` are
    the names of all calls, with the number of keys: ("get_many", 2).
    """

    def __init__(
        self,
        store: SharedStore | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        hears_after_s: float = 0.0,
    ) -> None:
        self.hears_after_s = hears_after_s
        self.calls: list[tuple[str, int]] = []
        self.errors: deque[StoreError | None] = deque()
        self.is_down = False
        self.takes_s = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._sleep = sleep
        self._shared = store or SharedStore(clock)
        self._clock = self._shared.clock

    @property
    def records(self) -> Mapping[bytes, Record]:
        """What is kept, expired or not."""
        return self._shared.records

    @property
    def marks(self) -> Mapping[bytes, float]:
        """What was marked."""
        return self._shared.marks

    @property
    def hangs(self) -> bool:
        """Whether calls wait until this is False again."""
        return not self._flowing.is_set()

    @hangs.setter
    def hangs(self, hangs: bool) -> None:
        if hangs:
            self._flowing.clear()
        else:
            self._flowing.set()

    def another_client(self) -> "FakeTier":
        """One more client of the same store, with faults of its own."""
        return FakeTier(self._shared, sleep=self._sleep)

    def now(self) -> float:
        return self._clock()

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        await self._called("get_many", len(keys))
        now = self._clock()
        found = ((key, self._shared.records.get(key)) for key in keys)
        return {key: record for key, record in found if record is not None and record.expires_at > now}

    async def put_many(self, records: Sequence[Record]) -> None:
        await self._called("put_many", len(records))
        for record in records:
            if self._counts(record):
                self._shared.records[record.key] = record

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        await self._called("delete_many", len(keys))
        for key in keys:
            self._shared.records.pop(key, None)

    async def erase(self, tag: bytes) -> int:
        await self._called("erase", 1)
        tagged = [record.key for record in self._shared.records.values() if tag in record.tags]
        for key in tagged:
            del self._shared.records[key]
        return len(tagged)

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        await self._called("mark", len(tags))
        marks = self._shared.marks
        marks.update((tag, max(at, marks.get(tag, at))) for tag in tags)
        for heard in tuple(self._shared.followers):
            heard({tag: marks[tag] for tag in tags})

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        loop = asyncio.get_running_loop()
        late: set[asyncio.TimerHandle] = set()

        def hear(marks: Mapping[bytes, float]) -> None:
            if self.hears_after_s:
                late.add(loop.call_later(self.hears_after_s, heard, marks))
            else:
                heard(marks)

        heard(dict(self._shared.marks))
        self._shared.followers.append(hear)
        try:
            await loop.create_future()
        finally:
            self._shared.followers.remove(hear)
            for handle in late:
                handle.cancel()

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        await self._called("acquire", 1)
        holder, until = self._shared.leases.get(key, (self, 0.0))
        if holder is not self and until > self._clock():
            return False
        self._shared.leases[key] = (self, self._clock() + ttl_s)
        return True

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        await self._called("renew", 1)
        if not self._holds(key):
            return False
        self._shared.leases[key] = (self, self._clock() + ttl_s)
        return True

    async def release(self, key: bytes) -> None:
        await self._called("release", 1)
        if self._holds(key):
            del self._shared.leases[key]
            self._shared.tell()

    async def wait(self, key: bytes, timeout_s: float) -> None:
        await self._called("wait", 1)
        end = self._clock() + timeout_s
        changed = asyncio.Event()
        self._shared.changed.add(changed)
        try:
            before = self._shared.leases.get(key, (None, 0.0))[0]
            while True:
                changed.clear()
                holder, until = self._shared.leases.get(key, (None, 0.0))
                left_s = min(until, end) - self._clock()
                if holder is not before or left_s <= 0:
                    return
                await wait_or_sleep(changed, left_s, sleep=self._sleep)
        finally:
            self._shared.changed.discard(changed)

    def _counts(self, record: Record) -> bool:
        kept, marks = self._shared.records.get(record.key), self._shared.marks
        is_newest = kept is None or kept.loaded_at <= record.loaded_at
        return is_newest and all(record.loaded_at > marks.get(tag, -inf) for tag in (record.key, *record.tags))

    def _holds(self, key: bytes) -> bool:
        return self._shared.leases.get(key, (None, 0.0))[0] is self

    async def _called(self, name: str, n: int) -> None:
        self.calls.append((name, n))
        await self._flowing.wait()
        if self.takes_s and name in ("get_many", "put_many"):
            await self._sleep(self.takes_s)
        if self.is_down or self._shared.is_down:
            raise StoreError("the fake store is down", retryable=True, outcome="not_sent")
        if self.errors and (error := self.errors.popleft()) is not None:
            raise error


class TellingStore(SharedStore):
    """A SharedStore that also has who wants to be told what was written over; while ``is_cut_off`` nobody is."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self.listeners: list[Callable[[Mapping[bytes, float]], object]] = []
        self.is_cut_off = False

    def say(self, overwritten: Mapping[bytes, float]) -> None:
        """Tell everybody what was written over."""
        for listener in () if self.is_cut_off else self.listeners:
            listener(overwritten)

    def hear_again(self) -> None:
        """End being cut off: nobody knows what was missed."""
        self.is_cut_off = False
        self.say({EVERYTHING: inf})


class TellingTier(FakeTier):
    """A FakeTier that is Overwrites too."""

    def __init__(self, store: TellingStore, *, hears_after_s: float = 0.0) -> None:
        super().__init__(store, hears_after_s=hears_after_s)
        self.store = store

    def another_client(self) -> "TellingTier":
        return TellingTier(self.store)

    def on_overwritten(self, heard: Callable[[Mapping[bytes, float]], object]) -> None:
        self.store.listeners.append(heard)

    async def put_many(self, records: Sequence[Record]) -> None:
        before = self.records.keys() & {record.key for record in records}
        await super().put_many(records)
        over = {record.key for record in records if record.supersedes} & before & self.records.keys()
        if over:
            self.store.say({key: self.records[key].loaded_at for key in over})
