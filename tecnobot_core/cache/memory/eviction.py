"""S3-FIFO by bytes: what came once leaves soon, what was read again stays (Yang et al., SOSP 2023)."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .blocks import MAX_READS, POSITION, POSITION_BITS, LiveBlock, PackedBlock, Queue
from .entries import Entries
from .ghosts import Ghosts

RECENT_READS: Final = 1024
PROMOTE_READS: Final = 2

SMALL_SHARE: Final = 0.1
MIN_SMALL_SHARE: Final = 0.05
MAX_SMALL_SHARE: Final = 0.3
GROW: Final = 0.1
GIVE: Final = 0.25
"""How far as many regrets as there are entries move the small queue's share; tuned on the traces of the tests."""

MAX_PASSES: Final = 8
"""Blocks that may stay, mostly, before one must go: no write waits for a whole round."""


class Eviction:
    """Decides which block goes, and which of its entries stay.

    Reads are recorded in ``recent``, a ring that forgets; they count when a decision is due. What comes back soon after
    it left is a regret: the small queue was too small if it left that one, too big if it left the main queue.
    ``evicted``, where it is set, is told the keys that had to go, block by block.
    """

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self.recent: deque[str] = deque(maxlen=RECENT_READS)
        self.evictions = 0
        self.evicted: Callable[[Sequence[str]], object] | None = None
        self.clear()

    def clear(self) -> None:
        """Forget what was read and what was evicted."""
        self.recent.clear()
        self.small_share = SMALL_SHARE
        self._left_small = Ghosts()
        self._left_main = Ghosts()
        self._passes = 0

    def queue_for(self, key: str) -> Queue:
        """Where a new key begins: in the main queue if it was evicted lately."""
        entries = self._entries
        if self._left_small.take(key):
            self.small_share = min(MAX_SMALL_SHARE, self.small_share + GROW / (len(entries.index) + 1))
        elif self._left_main.take(key):
            self.small_share = max(MIN_SMALL_SHARE, self.small_share - GIVE / (len(entries.index) + 1))
        else:
            return entries.small
        return entries.main

    def count_reads(self) -> None:
        """Note the recent reads at their entries."""
        index, blocks = self._entries.index, self._entries.blocks
        for key in self.recent:
            if (place := index.get(key)) is not None:
                reads, position = blocks[place >> POSITION_BITS].reads, place & POSITION
                if reads[position] < MAX_READS:
                    reads[position] += 1
        self.recent.clear()

    def evict(self, target_bytes: int, now: float) -> None:
        """Make room until *target_bytes*."""
        self.count_reads()
        while self._entries.used_bytes > target_bytes and (block := self._next(now)) is not None:
            self._let_go(block, now)

    def give_back(self, target_bytes: int, now: float, max_blocks: int) -> bool:
        """Let up to *max_blocks* go, first those that the system gets back; True when it is *target_bytes*."""
        self.count_reads()
        for _ in range(max_blocks):
            if self._entries.used_bytes <= target_bytes or (block := self._next(now, packed_first=True)) is None:
                return True
            self._let_go(block, now, may_grow=False)
        return self._entries.used_bytes <= target_bytes

    def _next(self, now: float, *, packed_first: bool = False) -> LiveBlock | PackedBlock | None:
        """The block whose turn it is."""
        entries = self._entries
        small, main = entries.small, entries.main
        first, second = main, small
        if small.used_bytes > entries.used_bytes * self.small_share:
            first, second = small, main
        if packed_first and not first.packed and second.packed:
            first = second
        return entries.pop_expired(now) or first.oldest() or second.oldest()

    def _let_go(self, block: LiveBlock | PackedBlock, now: float, *, may_grow: bool = True) -> None:
        """Evict what *block* has, but for what deserves to stay. What gives memory back takes none for ghosts."""
        entries = self._entries
        is_main = block.queue is entries.main
        min_reads, ghosts = (1, self._left_main) if is_main else (PROMOTE_READS, self._left_small)
        if self._passes >= MAX_PASSES:
            min_reads = MAX_READS + 1
        before_bytes, block_bytes = entries.used_bytes, block.used_bytes
        gone = entries.split(block, min_reads, is_main, now)
        ghosts.add(gone, len(entries.index), may_grow=may_grow)
        self.evictions += len(gone)
        if self.evicted is not None:
            self.evicted(gone)
        mostly_stayed = entries.used_bytes > before_bytes - block_bytes // 2
        self._passes = self._passes + 1 if mostly_stayed else 0
