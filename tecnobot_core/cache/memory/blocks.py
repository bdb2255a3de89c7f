"""Blocks: entries that came at about the same time, and leave together."""

import mmap
from array import array
from collections.abc import Iterator
from math import inf
from typing import Any, Final

from .values import KEPT, weigh

MAX_ENTRIES: Final = 512
"""Of one block, so that no step of work is long."""
POSITION_BITS: Final = 20
POSITION: Final = (1 << POSITION_BITS) - 1
MAX_READS: Final = 3

LIVE_ENTRY_BYTES: Final = 150
PACKED_ENTRY_BYTES: Final = 125
"""Measured: what the tables and lists of this package take for an entry, beside its key and value."""

MIN_MAPPED_BYTES: Final = 32 * 1024
_PRIVATE: Final[dict[str, int]] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)


class Queue:
    """One of the two queues of S3-FIFO: blocks by age, the oldest first. Packed blocks are older than live ones."""

    __slots__ = ("live", "open_live", "open_packed", "packed", "used_bytes")

    def __init__(self) -> None:
        self.live: dict[int, LiveBlock] = {}
        self.packed: dict[int, PackedBlock] = {}
        self.open_live: LiveBlock | None = None
        self.open_packed: PackedBlock | None = None
        self.used_bytes = 0

    def oldest(self) -> "LiveBlock | PackedBlock | None":
        for block in self.packed.values():
            return block
        for live_block in self.live.values():
            return live_block
        return None


class LiveBlock:
    """Entries whose values are objects, in the tier's ``live``. *base* plus a position is an entry's place."""

    __slots__ = ("base", "count", "deadlines", "earliest", "keys", "queue", "reads", "resized", "sizes", "used_bytes")

    def __init__(self, number: int, queue: Queue) -> None:
        self.base = number << POSITION_BITS
        self.queue = queue
        self.keys: list[str | None] = []
        self.deadlines = array("d")
        self.sizes = array("Q")
        self.reads = bytearray(MAX_ENTRIES)
        self.resized = 0  # how often an entry was given another size
        self.count = 0
        self.used_bytes = 0
        self.earliest = inf

    def entries(self) -> Iterator[tuple[int, str]]:
        """Positions and keys of what is still here."""
        return ((position, key) for position, key in enumerate(self.keys) if key is not None)


class PackedBlock:
    """Entries that are written down, one behind the other, in memory that goes back to the system with the block."""

    __slots__ = (
        "base", "capacity_bytes", "count", "data", "deadlines", "end", "ends", "garbage_bytes", "kept", "keys", "kinds",
        "latest", "queue", "reads", "used_bytes",
    )  # fmt: skip

    def __init__(self, number: int, queue: Queue, capacity_bytes: int) -> None:
        self.base = number << POSITION_BITS
        self.queue = queue
        self.capacity_bytes = capacity_bytes
        # The heap of a process does not shrink when objects between others go; a mapping does.
        self.data: Any = bytearray() if capacity_bytes < MIN_MAPPED_BYTES else mmap.mmap(-1, capacity_bytes, **_PRIVATE)
        self.keys: list[str | None] = []
        self.deadlines = array("d")
        self.ends = array("Q" if capacity_bytes > 0xFFFFFFFF else "I")
        self.kinds = bytearray()
        self.reads = bytearray()
        self.kept: dict[int, tuple[Any, int]] = {}
        self.end = 0
        self.count = 0
        self.garbage_bytes = 0
        self.used_bytes = 0
        self.latest = 0.0

    @classmethod
    def of(
        cls, block: LiveBlock, data: bytes, kinds: bytearray, ends: "array[int]", kept: dict[int, tuple[Any, int]]
    ) -> "PackedBlock":
        """What *block* becomes when its values are written down as *data*; full, under the same number."""
        packed = cls(block.base >> POSITION_BITS, block.queue, whole_pages(len(data)))
        packed.data[: len(data)] = data
        # Copied: what grew by appending has more room than it needs.
        packed.keys, packed.deadlines = block.keys.copy(), array("d", block.deadlines)
        packed.reads = block.reads[: len(block.keys)]
        packed.kinds, packed.ends, packed.kept = kinds, ends, kept
        packed.end = len(data)
        packed.latest = max(block.deadlines, default=0.0)
        return packed

    def has_room(self, size_bytes: int) -> bool:
        return self.end + size_bytes <= self.capacity_bytes and len(self.keys) < MAX_ENTRIES

    def append(self, key: str, kind: int, written: Any, deadline: float, reads: int) -> int:
        """Add an entry; return its place."""
        position = len(self.keys)
        size_bytes = overhead_bytes(key)
        if kind == KEPT:
            value_bytes = weigh(written)
            self.kept[position] = written, value_bytes
            size_bytes += value_bytes
        else:
            end = self.end + len(written)
            self.data[self.end : end] = written
            size_bytes += len(written)
            self.end = end
        self.keys.append(key)
        self.deadlines.append(deadline)
        self.ends.append(self.end)
        self.kinds.append(kind)
        self.reads.append(reads)
        self.count += 1
        self.used_bytes += size_bytes
        self.queue.used_bytes += size_bytes
        if deadline > self.latest:
            self.latest = deadline
        return self.base + position

    def written(self, position: int) -> Any:
        """The bytes of an entry, or its value if it is KEPT."""
        if self.kinds[position] == KEPT:
            return self.kept[position][0]
        return self.data[self.ends[position - 1] if position else 0 : self.ends[position]]

    def remove(self, position: int, key: str) -> None:
        """Forget an entry. Its bytes stay in use until the block goes."""
        freed_bytes = key.__sizeof__() + PACKED_ENTRY_BYTES
        if self.kinds[position] == KEPT:
            freed_bytes += self.kept.pop(position)[1]
        else:
            ends = self.ends
            self.garbage_bytes += ends[position] - ends[position - 1] if position else ends[0]
        self.keys[position] = None
        self.count -= 1
        self.used_bytes -= freed_bytes
        self.queue.used_bytes -= freed_bytes

    def entries(self) -> Iterator[tuple[int, str]]:
        """Positions and keys of what is still here."""
        return ((position, key) for position, key in enumerate(self.keys) if key is not None)


def overhead_bytes(key: str) -> int:
    """What a packed entry takes beside its bytes."""
    return key.__sizeof__() + PACKED_ENTRY_BYTES  # getsizeof looks this up by name, and takes five times as long


def whole_pages(size_bytes: int) -> int:
    """What a mapping of *size_bytes* takes; what is not mapped takes what it is."""
    return size_bytes if size_bytes < MIN_MAPPED_BYTES else -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
