"""Writes a whole block down: each entry keeps its place, so that no table has to be told."""

import mmap
from array import array
from typing import Any, Final, NamedTuple

from .blocks import MIN_MAPPED_BYTES, LiveBlock, PackedBlock, overhead_bytes
from .values import KEPT, MIN_COMPRESSED_BYTES, Writing, weigh

MAX_SHORT_BYTES: Final = 1 << 28
"""Objects of so much are less than 4 GB when they are written down."""
MAX_WASTE_BYTES: Final = 512
"""What a block may leave free of its last page."""


class Spilled(NamedTuple):
    """An entry that would have begun a page of its own."""

    key: str
    kind: int
    written: Any
    deadline: float
    reads: int


class Packing:
    """Writes *block* down. Its values leave *live*, those that have expired leave *index* too.

    ``objects`` has key, value and deadline of those that were read; ``spilled`` what had no room.
    """

    def __init__(self, block: LiveBlock) -> None:
        self.objects: list[tuple[str, Any, float]] = []
        self.spilled: list[Spilled] = []
        self._block = block
        self._kinds = bytearray(len(block.keys))
        self._ends = array("Q" if block.used_bytes > MAX_SHORT_BYTES else "I")
        self._kept: dict[int, tuple[Any, int]] = {}
        self._parts: list[bytes] = []
        self._count = 0

    def pack(self, live: dict[str, Any], index: dict[str, int], writing: Writing, now: float) -> PackedBlock:
        """The packed block, with the number of the live one."""
        overheads_bytes = self._write(live, index, writing, now)
        end = self._ends[-1]
        if end >= MIN_MAPPED_BYTES and -end % mmap.PAGESIZE > MAX_WASTE_BYTES:
            overheads_bytes -= self._spill(end // mmap.PAGESIZE * mmap.PAGESIZE)
        packed = PackedBlock.of(self._block, b"".join(self._parts), self._kinds, self._ends, self._kept)
        packed.count = self._count
        packed.used_bytes = overheads_bytes + packed.capacity_bytes
        return packed

    def _write(self, live: dict[str, Any], index: dict[str, int], writing: Writing, now: float) -> int:
        # On the long run this is what a put costs, hence one loop, and one copy of all bytes.
        block, kinds, add_part, add_end = self._block, self._kinds, self._parts.append, self._ends.append
        keys, deadlines, reads = block.keys, block.deadlines, block.reads
        end = overheads_bytes = gone = 0
        for position, key in enumerate(keys):
            if key is not None:
                value = live.pop(key)
                if deadlines[position] <= now:
                    del index[key]
                    keys[position] = None
                    gone += 1
                    add_end(end)
                    continue
                overheads_bytes += overhead_bytes(key)
                if type(value) is str and len(value) < MIN_COMPRESSED_BYTES and value.isascii():
                    written: Any = value.encode()  # as writing would, of kind TEXT, which is 0
                else:
                    kinds[position], written = writing.write(value)
                if kinds[position] == KEPT:
                    self._kept[position] = written, weigh(written)
                    overheads_bytes += self._kept[position][1]
                else:
                    add_part(written)
                    end += len(written)
                    if reads[position]:
                        self.objects.append((key, value, deadlines[position]))
            add_end(end)
        self._count = block.count - gone
        return overheads_bytes

    def _spill(self, limit_bytes: int) -> int:
        """Take the last entries out until *limit_bytes*; return the overheads that go with them."""
        block, ends = self._block, self._ends
        position = len(block.keys)
        spilled_bytes = 0
        while ends[-1] > limit_bytes and len(self._parts[-1]) <= mmap.PAGESIZE:
            position -= 1
            key = block.keys[position]
            if key is None or self._kinds[position] == KEPT:
                continue
            written = self._parts.pop()
            self.spilled.append(
                Spilled(key, self._kinds[position], written, block.deadlines[position], block.reads[position])
            )
            block.keys[position] = None
            self._count -= 1
            spilled_bytes += overhead_bytes(key)
            for later in range(position, len(ends)):
                ends[later] -= len(written)
        return spilled_bytes
