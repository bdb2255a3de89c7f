"""What a store knows of entries, checked before it counts."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import StoreError
from .envelope import Entry, Envelope
from .marks import KnownMarks
from .policies import MAX_SET_S, CachePolicy
from .ports import Record, Tier
from .statistics import PolicyStatistics

CLOCKS_APART_S = 5.0  # what machines may differ in measuring the store's clock

# Why a record does not count
EXPIRED = "has one that has expired"
INVALIDATED = "has one that was invalidated"
UNREADABLE = "has one that cannot be read: damaged, or of another secret"
TOO_LONG = "has one that would live longer than its policy says"


@dataclass(slots=True)
class Kept:
    """An entry, until when memory may hold it, and how long it took to load; None where it was set."""

    entry: Entry
    expires_at: float
    load_s: float | None


class StoredEntries:
    """Reads and writes entries in *tier*, whose clock is its own; *clock* is that of the memory tier.

    Trouble of the store is a miss, and never the caller's.
    """

    def __init__(self, tier: Tier, envelope: Envelope, marks: KnownMarks, clock: Callable[[], float]) -> None:
        self.trusted = True  # False until the marks are known: what they invalidate would count
        self._tier = tier
        self._envelope = envelope
        self._marks = marks
        self._clock = clock

    async def read(
        self,
        digests: Sequence[bytes],
        policy: CachePolicy,
        counts: PolicyStatistics,
        tags: Sequence[bytes] = (),
    ) -> Mapping[bytes, Kept]:
        """Those of *digests* that are there, may be read, and count; with *tags* beside those that they have."""
        if not self.trusted:
            return {}
        try:
            records = await self._tier.get_many(digests)
        except StoreError:
            return {}
        found = {}
        for digest, record in records.items():
            judged = self.judge(record, policy, tags)
            if isinstance(judged, Kept):
                found[digest] = judged
            counts.invalidated += judged == INVALIDATED
            counts.unreadable += judged == UNREADABLE
        return found

    def judge(self, record: Record, policy: CachePolicy, tags: Sequence[bytes] = ()) -> Kept | str:
        """What is in *record*, or why it does not count.

        What was loaded and would live longer than *policy* lets it was written by another policy, or before the clock
        was set back. What was set has its own time.
        """
        now = self._tier.now()
        keep_s = record.expires_at - now
        if not keep_s > 0:
            return EXPIRED
        all_tags = (record.key, *dict.fromkeys((*record.tags, *tags)))
        if not self._marks.counts(record.loaded_at, all_tags):
            return INVALIDATED
        try:
            value, fresh_until, load_s = self._envelope.open(record.key, record.data)
        except (ValueError, RecursionError, zlib.error):
            return UNREADABLE
        max_fresh_s, max_keep_s = (MAX_SET_S, MAX_SET_S) if load_s is None else policy.times_of(value)
        if keep_s > max_keep_s + CLOCKS_APART_S:
            return TOO_LONG
        here = self._clock()
        entry = Entry(value, record.loaded_at, here + min(fresh_until - now, max_fresh_s), all_tags)
        return Kept(entry, here + keep_s, load_s)

    def sealed(self, digest: bytes, value: object, ttl_s: float, load_s: float | None, max_bytes: int) -> bytes:
        """*value* as bytes that are fresh for *ttl_s* from now; a NotJsonError or TooBigError when it cannot be."""
        fresh_until = self._tier.now() + ttl_s
        return self._envelope.seal(digest, value, fresh_until=fresh_until, load_s=load_s, max_bytes=max_bytes)

    async def write(self, digest: bytes, data: bytes, entry: Entry, keep_s: float, *, supersedes: bool = False) -> None:
        """Keep *data* for *keep_s* from now; *supersedes*: in place of what any process has."""
        tags = tuple(tag for tag in entry.tags if tag != digest)
        record = Record(digest, data, entry.began_at, self._tier.now() + keep_s, tags, supersedes)
        try:
            await self._tier.put_many((record,))
        except StoreError:
            return  # the tier counts it

    async def remove(self, digests: Sequence[bytes]) -> None:
        """Remove *digests*; where that fails, their marks say that they do not count."""
        try:
            await self._tier.delete_many(digests)
        except StoreError:
            return
