"""Where each key's value is: its places in blocks, and the moves between them."""

from heapq import heappop, heappush
from itertools import islice
from math import inf
from sys import getsizeof
from typing import Any, Final

from .blocks import MAX_ENTRIES, POSITION, POSITION_BITS, LiveBlock, PackedBlock, Queue
from .copies import Copies
from .packing import Packing
from .values import KEPT, Writing

WIDE_INDEX_BYTES: Final = 50
"""An entry of a dict takes 22 to 44 bytes while the dict grows; a dict does not shrink when entries go."""
MIN_INDEX_BYTES: Final = 256 * 1024


class Entries:
    """All entries of a tier, in the two queues of S3-FIFO.

    ``live`` has every value that is an object: those of live blocks, and copies of packed ones. None of them expires
    before ``earliest``. Times are deadlines; ``inf`` is never.
    """

    __slots__ = (
        "_block_bytes", "_closed", "_next", "blocks", "copies", "earliest", "index", "live", "live_bytes", "main",
        "small", "writing",
    )  # fmt: skip

    def __init__(self, block_bytes: int, writing: Writing) -> None:
        self.writing = writing
        self._block_bytes = block_bytes
        self._next = 0
        self.live: dict[str, Any] = {}
        self.index: dict[str, int] = {}
        self.clear()

    def clear(self) -> None:
        """Drop all at once."""
        self.live.clear()
        self.index.clear()
        self.blocks: dict[int, LiveBlock | PackedBlock] = {}
        self.small = Queue()
        self.main = Queue()
        self.copies = Copies(self.live)
        self.live_bytes = 0
        self.earliest = inf
        self._closed: list[tuple[float, int]] = []

    @property
    def used_bytes(self) -> int:
        return self.small.used_bytes + self.main.used_bytes + self.copies.used_bytes

    def locate(self, key: str) -> tuple[LiveBlock | PackedBlock, int] | None:
        """The block of *key*, and its position there."""
        place = self.index.get(key)
        return None if place is None else (self.blocks[place >> POSITION_BITS], place & POSITION)

    def add_live(self, queue: Queue, key: str, value: Any, size_bytes: int, deadline: float, reads: int = 0) -> None:
        """Add a value as an object; *size_bytes* is what it takes with its key and tables."""
        block = queue.open_live
        if block is None or block.used_bytes >= self._block_bytes or len(block.keys) == MAX_ENTRIES:
            block = queue.open_live = queue.live[self._next] = LiveBlock(self._next, queue)
            self._number(block)
        keys = block.keys
        position = len(keys)
        self.index[key] = block.base + position
        self.live[key] = value
        keys.append(key)
        block.deadlines.append(deadline)
        block.sizes.append(size_bytes)
        block.count += 1
        block.used_bytes += size_bytes
        queue.used_bytes += size_bytes
        self.live_bytes += size_bytes
        if reads:
            block.reads[position] = reads
        if deadline < block.earliest:
            block.earliest = deadline
            if deadline < self.earliest:
                self.earliest = deadline

    def replace_live(
        self, block: LiveBlock, position: int, key: str, value: Any, size_bytes: int, deadline: float
    ) -> bool:
        """Give an entry of a live block another value; whether it takes more."""
        more_bytes = size_bytes - block.sizes[position]
        self.live[key] = value
        block.sizes[position] = size_bytes
        block.deadlines[position] = deadline
        if more_bytes:
            block.resized += 1
            block.used_bytes += more_bytes
            block.queue.used_bytes += more_bytes
            self.live_bytes += more_bytes
        if deadline < block.earliest:
            block.earliest = deadline
            if deadline < self.earliest:
                self.earliest = deadline
        return more_bytes > 0

    def add_packed(self, queue: Queue, key: str, kind: int, written: Any, deadline: float, reads: int) -> None:
        """Add a value that is written down."""
        size_bytes = 0 if kind == KEPT else len(written)
        block = queue.open_packed
        if block is None or not block.has_room(size_bytes):
            if block is not None:
                self._note_latest(block)
            capacity_bytes = max(self._block_bytes, size_bytes)
            block = queue.open_packed = queue.packed[self._next] = PackedBlock(self._next, queue, capacity_bytes)
            self._number(block)
        self.index[key] = block.append(key, kind, written, deadline, reads)

    def copy(self, key: str, value: Any, deadline: float, max_bytes: int) -> None:
        """Keep the object of a packed entry too."""
        if self.copies.add(key, value, deadline, max_bytes) and deadline < self.earliest:
            self.earliest = deadline

    def remove(self, key: str) -> None:
        """Forget *key*, which is here."""
        place = self.index.pop(key)
        block, position = self.blocks[place >> POSITION_BITS], place & POSITION
        if isinstance(block, LiveBlock):
            del self.live[key]
            size_bytes = block.sizes[position]
            block.keys[position] = None
            block.count -= 1
            block.used_bytes -= size_bytes
            block.queue.used_bytes -= size_bytes
            self.live_bytes -= size_bytes
            if not block.count:
                self.detach(block)
            return
        self.drop_packed(block, position, key)

    def drop_packed(self, block: PackedBlock, position: int, key: str) -> None:
        """Forget what *block* has of *key*, whose place in the index is told by the caller."""
        if key in self.copies.sizes:
            self.copies.discard(key)
        block.remove(position, key)
        if not block.count:
            self.detach(block)
        elif block.garbage_bytes * 4 > block.end * 3 and block is not block.queue.open_packed:
            self.rewrite(block)

    def detach(self, block: LiveBlock | PackedBlock) -> None:
        """Take *block* out. Of its entries only the places and objects are left."""
        number = block.base >> POSITION_BITS
        queue = block.queue
        del self.blocks[number]
        queue.used_bytes -= block.used_bytes
        if isinstance(block, LiveBlock):
            self.live_bytes -= block.used_bytes
            del queue.live[number]
            if block is queue.open_live:
                queue.open_live = None
        else:
            del queue.packed[number]
            if block is queue.open_packed:
                queue.open_packed = None

    def rewrite(self, block: PackedBlock) -> None:
        """Write what is left in *block* behind the others of its queue, and let its memory go."""
        self.detach(block)
        for position, key in block.entries():
            self.add_packed(
                block.queue, key, block.kinds[position], block.written(position), block.deadlines[position],
                block.reads[position],
            )  # fmt: skip

    def pack(self, block: LiveBlock, now: float, max_copies_bytes: int) -> None:
        """Write the entries of *block* down. What was read stays an object too."""
        self.detach(block)
        if block.used_bytes * 2 >= self._block_bytes and block.count * 4 >= len(block.keys) * 3:
            self._pack_whole(block, now, max_copies_bytes)
            return
        # Little is left in it: that goes where there is room.
        for position, key in block.entries():
            value, deadline, reads = self.live.pop(key), block.deadlines[position], block.reads[position]
            if deadline <= now:
                del self.index[key]
                continue
            kind, written = self.writing.write(value)
            self.add_packed(block.queue, key, kind, written, deadline, reads)
            if reads and kind != KEPT:
                self.copy(key, value, deadline, max_copies_bytes)

    def _pack_whole(self, block: LiveBlock, now: float, max_copies_bytes: int) -> None:
        packing = Packing(block)
        packed = packing.pack(self.live, self.index, self.writing, now)
        number, queue = block.base >> POSITION_BITS, block.queue
        if packed.count:
            self.blocks[number] = queue.packed[number] = packed
            queue.used_bytes += packed.used_bytes
            self._note_latest(packed)
        for entry in packing.spilled:
            self.add_packed(queue, *entry)
        for key, value, deadline in packing.objects:
            self.copy(key, value, deadline, max_copies_bytes)

    def split(self, block: LiveBlock | PackedBlock, min_reads: int, is_another_round: bool, now: float) -> list[str]:
        """Take *block* out. What was read *min_reads* times goes to the main queue; another round there takes a read.

        Returns the keys of what is gone and had not expired.
        """
        self.detach(block)
        staying: list[tuple[int, str]] = []
        gone = []
        index, deadlines, reads = self.index, block.deadlines, block.reads
        for position, key in enumerate(block.keys):
            if key is None:
                continue
            if deadlines[position] <= now:
                del index[key]
            elif reads[position] >= min_reads:
                staying.append((position, key))
                continue
            else:
                del index[key]
                gone.append(key)
            if isinstance(block, LiveBlock):
                del self.live[key]
            else:
                self.copies.discard(key)
        for position, key in staying:
            reads_left = reads[position] - 1 if is_another_round else 0
            if isinstance(block, LiveBlock):
                size_bytes = block.sizes[position]
                self.add_live(self.main, key, self.live[key], size_bytes, deadlines[position], reads_left)
            else:
                kind, written = block.kinds[position], block.written(position)
                self.add_packed(self.main, key, kind, written, deadlines[position], reads_left)
        return gone

    def fit_index(self) -> None:
        """Give the index a table of its size again, if that is far too big."""
        if getsizeof(self.index) > len(self.index) * WIDE_INDEX_BYTES + MIN_INDEX_BYTES:
            self.index = dict(self.index)

    def oldest_live(self) -> LiveBlock | None:
        """The block that became live first, of both queues."""
        numbers = [number for queue in (self.small, self.main) for number in islice(queue.live, 1)]
        block = self.blocks[min(numbers)] if numbers else None
        return block if isinstance(block, LiveBlock) else None

    def set_deadline(self, block: LiveBlock | PackedBlock, position: int, key: str, deadline: float) -> None:
        """Give an entry another deadline."""
        block.deadlines[position] = deadline
        if isinstance(block, PackedBlock):
            block.latest = max(block.latest, deadline)
            # Its copy would be read until the deadline that was known when it was made.
            self.copies.discard(key)
        elif deadline < block.earliest:
            block.earliest = deadline
            self.earliest = min(self.earliest, deadline)

    def pop_expired(self, now: float) -> PackedBlock | None:
        """A closed block of which every entry has expired."""
        while self._closed and self._closed[0][0] <= now:
            _, number = heappop(self._closed)
            block = self.blocks.get(number)
            if isinstance(block, PackedBlock):
                if block.latest <= now:
                    return block
                self._note_latest(block)  # an entry was given more time since
        return None

    def _note_latest(self, block: PackedBlock) -> None:
        if block.latest < inf:
            heappush(self._closed, (block.latest, block.base >> POSITION_BITS))

    def _number(self, block: LiveBlock | PackedBlock) -> None:
        self.blocks[self._next] = block
        self._next += 1
