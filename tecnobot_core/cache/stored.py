"""What a store knows of entries, checked before it counts."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import StoreError
from .envelope import Entry, Envelope
from .marks import KnownMarks
from .ports import Record, Tier
from .statistics import PolicyStatistics

CLOCKS_APART_S = 5.0  # what machines may differ in measuring the store's clock


@dataclass(slots=True)
class Kept:
    """An entry, until when memory may hold it, and how long it took to load."""

    entry: Entry
    expires_at: float
    load_s: float


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
        counts: PolicyStatistics,
        tags: Sequence[bytes] = (),
        *,
        max_ttl_s: float,
        max_keep_s: float,
    ) -> Mapping[bytes, Kept]:
        """Those of *digests* that are there, may be read, and count; with *tags* beside those that they have.

        What would live longer than *max_keep_s* was written by another policy, or before the clock was set back, and
        does not count.
        """
        if not self.trusted:
            return {}
        try:
            records = await self._tier.get_many(digests)
        except StoreError:
            return {}
        found = {}
        for digest, record in records.items():
            kept = self._opened(record, counts, tags, max_ttl_s, max_keep_s)
            if kept is not None:
                found[digest] = kept
        return found

    def sealed(self, digest: bytes, value: object, ttl_s: float, load_s: float) -> bytes:
        """*value* as bytes that are fresh for *ttl_s* from now; a NotJsonError when it cannot be."""
        return self._envelope.seal(digest, value, fresh_until=self._tier.now() + ttl_s, load_s=load_s)

    async def write(self, digest: bytes, data: bytes, entry: Entry, keep_s: float) -> None:
        """Keep *data* for *keep_s* from now."""
        tags = tuple(tag for tag in entry.tags if tag != digest)
        record = Record(digest, data, entry.began_at, self._tier.now() + keep_s, tags)
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

    def _opened(
        self, record: Record, counts: PolicyStatistics, tags: Sequence[bytes], max_ttl_s: float, max_keep_s: float
    ) -> Kept | None:
        now = self._tier.now()
        keep_s = record.expires_at - now
        if not 0 < keep_s <= max_keep_s + CLOCKS_APART_S:
            return None
        all_tags = (record.key, *dict.fromkeys((*record.tags, *tags)))
        if not self._marks.counts(record.loaded_at, all_tags):
            counts.invalidated += 1
            return None
        try:
            value, fresh_until, load_s = self._envelope.open(record.key, record.data)
        except (ValueError, RecursionError, zlib.error):
            counts.unreadable += 1
            return None
        here = self._clock()
        entry = Entry(value, record.loaded_at, here + min(fresh_until - now, max_ttl_s), all_tags)
        return Kept(entry, here + keep_s, load_s)
