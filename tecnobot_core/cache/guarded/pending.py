"""What is to be written, the newest of each key."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..ports import Record
from .statistics import StoreStatistics


class Pending:
    """Sets and deletes that the store has not seen; a key is in one of them or in neither.

    Sets above *max_bytes* are dropped. A set that is dropped becomes a delete, because what the store has of its key is
    older than what it should have had. Of deletes that cannot be done *max_deletes* are kept.
    """

    def __init__(self, statistics: StoreStatistics, *, max_bytes: int, max_deletes: int) -> None:
        self.sets: dict[bytes, Record] = {}
        self.deletes: dict[bytes, None] = {}
        self.used_bytes = 0
        self._statistics = statistics
        self._max_bytes = max_bytes
        self._max_deletes = max_deletes

    def __len__(self) -> int:
        return len(self.sets) + len(self.deletes)

    def put(self, records: Iterable[Record]) -> None:
        """Have *records* written."""
        for record in records:
            self._statistics.replaced += self._take(record.key)
            if self.used_bytes + _size(record) > self._max_bytes:
                self.drop((record,))
                continue
            self.deletes.pop(record.key, None)
            self.sets[record.key] = record
            self.used_bytes += _size(record)

    def delete(self, keys: Iterable[bytes]) -> None:
        """Have *keys* deleted."""
        for key in keys:
            self._statistics.replaced += self._take(key)
            self.deletes.pop(key, None)  # the newest last
            self.deletes[key] = None

    def drop(self, records: Iterable[Record]) -> None:
        """*records* will not be written, so what is there is to be deleted, unless something newer is to be done."""
        records = list(records)
        self._statistics.dropped += len(records)
        self.delete_again(record.key for record in records)

    def delete_again(self, keys: Iterable[bytes]) -> None:
        """Have *keys* deleted, unless something newer is to be done."""
        self.deletes.update((key, None) for key in keys if key not in self.sets)
        while len(self.deletes) > self._max_deletes:
            del self.deletes[next(iter(self.deletes))]
            self._statistics.forgotten_deletes += 1

    def write_again(self, records: Mapping[bytes, Record]) -> None:
        """Have *records* written, unless something newer is to be done."""
        for key, record in records.items():
            if key not in self.sets and key not in self.deletes:
                self.sets[key] = record
                self.used_bytes += _size(record)

    def erase(self, tags: Collection[bytes]) -> int:
        """Drop what has one of *tags*; return how many those were."""
        erased = frozenset(tags)
        tagged = [key for key, record in self.sets.items() if not erased.isdisjoint(record.tags)]
        self.delete(tagged)
        return len(tagged)

    def drop_all(self) -> None:
        """Drop all sets."""
        records, self.sets, self.used_bytes = self.sets, {}, 0
        self.drop(records.values())

    def next_sets(self, n: int, max_bytes: int) -> dict[bytes, Record]:
        """Take up to *n* sets, of about *max_bytes*, the oldest first."""
        batch: dict[bytes, Record] = {}
        size_bytes = 0
        while self.sets and len(batch) < n and size_bytes < max_bytes:
            key = next(iter(self.sets))
            batch[key] = self.sets[key]
            size_bytes += _size(batch[key])
            self._take(key)
        return batch

    def next_deletes(self, n: int) -> Sequence[bytes]:
        """Take up to *n* deletes."""
        keys = list(self.deletes)[:n]
        for key in keys:
            del self.deletes[key]
        return keys

    def _take(self, key: bytes) -> bool:
        record = self.sets.pop(key, None)
        if record is not None:
            self.used_bytes -= _size(record)
        return record is not None


def _size(record: Record) -> int:
    return len(record.data) + 200 + 50 * len(record.tags)  # with the objects around it
