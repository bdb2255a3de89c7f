"""MemoryTier: values by key within a byte budget, never after their time."""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any, Final

from .blocks import LIVE_ENTRY_BYTES, MAX_READS, POSITION, POSITION_BITS, LiveBlock, PackedBlock
from .entries import Entries
from .eviction import Eviction
from .expiry import Sweep
from .groups import Groups
from .values import KEPT, Writing, weigh

MISSING: Final[Any] = object()

LIVE_SHARE: Final = 0.15
MIN_LIVE_BYTES: Final = 8 * 1024 * 1024
"""So much stays objects, of a small budget a quarter: it is read at once, and weighs little beside a process."""
COPIES_SHARE: Final = 0.05
BLOCKS: Final = 64
MIN_BLOCK_BYTES: Final = 256
MAX_BLOCK_BYTES: Final = 64 * 1024
SLICE_BLOCKS: Final = 4
MAX_FITTED_AT_ONCE: Final = 20_000
"""Entries of an index that may be copied between two turns of the loop."""


def _dumps(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class MemoryTier:
    """Keeps values within *max_bytes*, counted with their keys and tables. Not for use by several threads.

    New values are kept as the objects they are. The older part is written down (text and bytes as they are, the rest
    with *dumps*) in mappings of its own, which go back to the system at once when they go; of it what is read again is
    an object as well. So a mutable value may come back as the same object or as an equal one. A value that *dumps*
    refuses stays an object. Times are those of *clock*.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        dumps: Callable[[Any], bytes] = _dumps,
        loads: Callable[[bytes], Any] = pickle.loads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        self.max_bytes = max_bytes
        self.clock = clock
        self.unreadable = 0
        self._writing = Writing(dumps, loads)
        block_bytes = min(max(max_bytes // BLOCKS, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES)
        self.entries = Entries(block_bytes, self._writing)
        self._eviction = Eviction(self.entries)
        self._sweep = Sweep(self.entries)
        self.touch = self._eviction.recent.append
        self._max_live_bytes = self._min_live_bytes = min(max_bytes // 4, MIN_LIVE_BYTES)
        self._max_copies_bytes = int(max_bytes * COPIES_SHARE)

    @property
    def used_bytes(self) -> int:
        """What all entries take, also those that have expired and were not asked for since."""
        return self.entries.used_bytes

    @property
    def evictions(self) -> int:
        """Entries that had to go before their time."""
        return self._eviction.evictions

    def group(self, prefixes: Iterable[str]) -> Groups:
        """From now on tell evictions and bytes of keys apart by these *prefixes*, in place of all earlier ones."""
        groups = Groups(self.entries, prefixes)
        self._eviction.evicted = groups.note_evicted
        return groups

    def __len__(self) -> int:
        """Entries, also those that have expired and were not asked for since."""
        return len(self.entries.index)

    def __iter__(self) -> Iterator[str]:
        """The ``keys``: meanwhile the tier may change."""
        return iter(self.keys())

    def keys(self) -> list[str]:
        """Keys as of now, also of entries that have expired."""
        return list(self.entries.index)

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """The value of *key* unless it has expired, else *default*."""
        entries = self.entries
        value = entries.live.get(key, MISSING)
        if value is not MISSING and self.clock() < entries.earliest:
            self.touch(key)
            return value
        if (found := self._find(key)) is None:
            return default
        if value is not MISSING:
            self._sweep.step(self.clock())
            self.touch(key)
            return value
        block, position = found
        assert isinstance(block, PackedBlock)
        return self._read(key, block, position, default)

    def put(self, key: str, value: Any, expires_at: float | None = None) -> bool:
        """Keep *value* until *expires_at*, None for as long as there is room.

        False, and the key is absent, if it alone would take more than half of the budget.
        """
        entries = self.entries
        size_bytes = weigh(value) + key.__sizeof__() + LIVE_ENTRY_BYTES
        deadline = inf if expires_at is None else expires_at
        place = entries.index.get(key)
        if size_bytes * 2 > self.max_bytes:
            if place is not None:
                entries.remove(key)
            return False
        if place is None:
            entries.add_live(self._eviction.queue_for(key), key, value, size_bytes, deadline)
        else:
            block = entries.blocks[place >> POSITION_BITS]
            if type(block) is LiveBlock:
                if not entries.replace_live(block, place & POSITION, key, value, size_bytes, deadline):
                    return True  # it takes no more than before
            else:
                entries.drop_packed(block, place & POSITION, key)  # type: ignore[arg-type]
                entries.add_live(block.queue, key, value, size_bytes, deadline)
        if entries.live_bytes > self._max_live_bytes:
            self._cool()
        if entries.used_bytes > self.max_bytes:
            self._eviction.evict(self.max_bytes, self.clock())
        return True

    def delete(self, key: str) -> bool:
        """Forget *key*; whether it was there and had not expired."""
        found = self._find(key) is not None
        if found:
            self.entries.remove(key)
        return found

    def expires_at(self, key: str) -> float | None:
        """When *key* expires, None for never. KeyError if it is absent."""
        if (found := self._find(key)) is None:
            raise KeyError(key)
        block, position = found
        deadline = block.deadlines[position]
        return None if deadline == inf else deadline

    def expire(self, key: str, expires_at: float | None) -> bool:
        """Give *key* another time; False if it is absent."""
        if (found := self._find(key)) is None:
            return False
        block, position = found
        self.entries.set_deadline(block, position, key, inf if expires_at is None else expires_at)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._eviction.clear()

    def shrink(self, target_bytes: int) -> int:
        """Evict until *target_bytes*, what the system gets back first; return bytes freed.

        Takes about 1 ms a MB. Where the loop must not wait use ``shrink_slowly``.
        """
        before_bytes = self.used_bytes
        while not self._give_back(target_bytes):
            pass
        self.entries.fit_index()
        return before_bytes - self.used_bytes

    async def shrink_slowly(self, target_bytes: int) -> int:
        """Like ``shrink``, in slices of about a millisecond; return bytes freed."""
        before_bytes = self.used_bytes
        while not self._give_back(target_bytes):  # noqa: ASYNC110  a turn for the others, nothing is awaited
            await asyncio.sleep(0)
        if len(self) <= MAX_FITTED_AT_ONCE:
            self.entries.fit_index()
        return before_bytes - self.used_bytes

    def _give_back(self, target_bytes: int) -> bool:
        # Copies are what is read most, and the heap keeps their memory: they go when there is little else.
        self.entries.copies.trim(max(target_bytes, 0) // 4)
        return self._eviction.give_back(target_bytes, self.clock(), SLICE_BLOCKS)

    def _find(self, key: str) -> tuple[LiveBlock | PackedBlock, int] | None:
        """Where *key* is; an expired one is removed."""
        found = self.entries.locate(key)
        if found is None or found[0].deadlines[found[1]] > self.clock():
            return found
        self.entries.remove(key)
        return None

    def _read(self, key: str, block: PackedBlock, position: int, default: Any) -> Any:
        kind, written, reads = block.kinds[position], block.written(position), block.reads[position]
        if reads < MAX_READS:
            block.reads[position] = reads + 1
        if kind == KEPT:
            return written
        try:
            value = self._writing.read(kind, written)
        except Exception:  # whatever a value's own code raises: it is as good as absent
            self.unreadable += 1
            self.entries.remove(key)
            return default
        if reads:
            self.entries.copy(key, value, block.deadlines[position], self._max_copies_bytes)
            if self.entries.used_bytes > self.max_bytes:
                self._eviction.evict(self.max_bytes, self.clock())
        return value

    def _cool(self) -> None:
        """Write the oldest objects down until the others are few enough."""
        entries = self.entries
        self._eviction.count_reads()
        self._max_live_bytes = max(self._min_live_bytes, int(entries.used_bytes * LIVE_SHARE))
        while entries.live_bytes > self._max_live_bytes and (block := entries.oldest_live()) is not None:
            entries.pack(block, self.clock(), self._max_copies_bytes)
