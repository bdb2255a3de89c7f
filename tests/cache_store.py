"""A store for caches, in memory: what several processes would share, and can be broken."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from tecnobot_core.cache.ports import Record
from tecnobot_core.errors import StoreError


class SharedStore:
    """What is stored, and who is connected. ``broken`` makes every call a StoreError."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.broken = False
        self.records: dict[bytes, Record] = {}
        self.marks: dict[bytes, float] = {}
        self.leases: dict[bytes, tuple[object, float]] = {}
        self.released: defaultdict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
        self.followers: list[Callable[[Mapping[bytes, float]], None]] = []
        self.calls: list[str] = []

    def called(self, name: str) -> None:
        self.calls.append(name)
        if self.broken:
            raise StoreError("the store is down", retryable=True)


class FakeTier:
    """One process's connection to a SharedStore: Tier, Marks and Leases."""

    def __init__(self, store: SharedStore) -> None:
        self.store = store
        self.takes_s = 0.0

    def now(self) -> float:
        return self.store.clock()

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        self.store.called("get")
        await asyncio.sleep(self.takes_s)
        records = self.store.records
        return {key: records[key] for key in keys if key in records and records[key].expires_at > self.now()}

    async def put_many(self, records: Sequence[Record]) -> None:
        self.store.called("put")
        await asyncio.sleep(self.takes_s)
        self.store.records.update({record.key: record for record in records})

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        self.store.called("delete")
        for key in keys:
            self.store.records.pop(key, None)

    async def erase(self, tag: bytes) -> int:
        self.store.called("erase")
        keys = [key for key, record in self.store.records.items() if tag in record.tags]
        await self.delete_many(keys)
        return len(keys)

    async def mark(self, tags: Sequence[bytes], at: float) -> None:
        self.store.called("mark")
        self.store.marks.update({tag: max(at, self.store.marks.get(tag, at)) for tag in tags})
        for heard in self.store.followers:
            heard(dict.fromkeys(tags, at))

    async def follow(self, heard: Callable[[Mapping[bytes, float]], None]) -> None:
        self.store.called("follow")
        heard(dict(self.store.marks))
        self.store.followers.append(heard)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.store.followers.remove(heard)

    async def acquire(self, key: bytes, ttl_s: float) -> bool:
        self.store.called("acquire")
        holder, until = self.store.leases.get(key, (self, 0.0))
        if holder is not self and until > self.now():
            return False
        self.store.leases[key] = self, self.now() + ttl_s
        return True

    async def renew(self, key: bytes, ttl_s: float) -> bool:
        return self.store.leases.get(key, (None, 0))[0] is self and await self.acquire(key, ttl_s)

    async def release(self, key: bytes) -> None:
        self.store.called("release")
        if self.store.leases.get(key, (None, 0))[0] is not self:
            return
        del self.store.leases[key]
        self.store.released.pop(key, asyncio.Event()).set()

    async def wait(self, key: bytes, timeout_s: float) -> None:
        self.store.called("wait")
        ends_at = self.now() + timeout_s
        while (left_s := min(self.store.leases.get(key, (None, 0.0))[1], ends_at) - self.now()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self.store.released[key].wait()
                    return
            except TimeoutError:
                continue
