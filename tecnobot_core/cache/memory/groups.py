"""Which keys had to go and how much memory the others take, by what they begin with."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from .blocks import PACKED_ENTRY_BYTES, LiveBlock, PackedBlock
from .entries import Entries

SLICE_ENTRIES: Final = 2000
REST: Final = ""
"""The group of keys that are in no other."""


class Groups:
    """Keys that begin with one of *prefixes*, all of one length, are a group; all other keys are the group REST.

    Nothing is noted of an entry or when it is kept: evicted keys are counted block by block, and bytes when somebody
    asks. The first answer looks at every key, about 0.5 µs each; the next ones at blocks that changed meanwhile.
    """

    def __init__(self, entries: Entries, prefixes: Iterable[str]) -> None:
        self.evicted = Counter(dict.fromkeys(prefixes, 0))
        self._entries = entries
        lengths = {len(prefix) for prefix in self.evicted}
        if len(lengths) != 1:
            raise ValueError(f"prefixes of groups must have one length, not {sorted(lengths)}")
        (self._length,) = lengths
        self._least, self._most = min(self.evicted), max(self.evicted) + "\U0010ffff"
        self._known: dict[int, tuple[tuple[int, int, int], dict[str, int]]] = {}

    def note_evicted(self, keys: Iterable[str]) -> None:
        """Count *keys*; those of REST are all that are not counted here."""
        least, most, length, evicted = self._least, self._most, self._length, self.evicted
        for key in keys:
            # Compared first: most keys are of REST, and this is a fifth of what cutting and looking up takes.
            if isinstance(key, str) and least <= key < most and (group := key[:length]) in evicted:
                evicted[group] += 1

    def used_bytes(self) -> Counter[str]:
        """What the entries of each group take, with keys, tables and copies; together all that is used.

        What a block takes beside its entries, after others of them went, counts for the group with most in it.
        """
        total: Counter[str] = Counter()
        blocks = self._entries.blocks
        if len(self._known) > 2 * len(blocks):
            self._known.clear()  # most of them are gone
        for number, block in blocks.items():
            for group, size_bytes in self._known_bytes_in(number, block).items():
                total[group] += size_bytes
        for key, copy_bytes in self._entries.copies.sizes.items():
            total[self._group_of(key)] += copy_bytes
        return total

    async def look_slowly(self) -> None:
        """Look at what ``used_bytes`` would look at, in slices of about a millisecond."""
        looked = 0
        for number, block in list(self._entries.blocks.items()):
            if self._known.get(number, (None,))[0] != _state(block):
                self._known_bytes_in(number, block)
                looked += len(block.keys)
            if looked >= SLICE_ENTRIES:
                looked = 0
                await asyncio.sleep(0)

    def _known_bytes_in(self, number: int, block: LiveBlock | PackedBlock) -> dict[str, int]:
        state = _state(block)
        found = self._known.get(number)
        if found is None or found[0] != state:
            found = self._known[number] = state, self._bytes_in(block)
        return found[1]

    def _bytes_in(self, block: LiveBlock | PackedBlock) -> dict[str, int]:
        sizes_bytes = block.sizes if isinstance(block, LiveBlock) else _sizes_bytes(block)
        length, evicted, shares = self._length, self.evicted, dict.fromkeys(self.evicted, 0)
        rest_bytes = 0
        for key, size_bytes in zip(block.keys, sizes_bytes, strict=True):
            if key is None:
                continue
            # As in _group_of, which would take as long as all the rest.
            if isinstance(key, str) and (group := key[:length]) in evicted:
                shares[group] += size_bytes
            else:
                rest_bytes += size_bytes
        shares[REST] = rest_bytes
        most = max(shares, key=shares.__getitem__)
        shares[most] += block.used_bytes - sum(shares.values())
        return {group: share_bytes for group, share_bytes in shares.items() if share_bytes}

    def _group_of(self, key: str) -> str:
        # A builder of keys may make something else than text.
        return group if isinstance(key, str) and (group := key[: self._length]) in self.evicted else REST


def _state(block: LiveBlock | PackedBlock) -> tuple[int, int, int]:
    """Something else after every change: keys are only added and taken out, and what gets another size is counted."""
    return (len(block.keys), block.count, block.resized if isinstance(block, LiveBlock) else -1)


def _sizes_bytes(block: PackedBlock) -> list[int]:
    """What each entry takes, 0 where it is gone."""
    sizes_bytes = []
    start = 0
    for key, end in zip(block.keys, block.ends, strict=True):
        sizes_bytes.append(0 if key is None else key.__sizeof__() + PACKED_ENTRY_BYTES + end - start)
        start = end
    for position, (_, value_bytes) in block.kept.items():
        sizes_bytes[position] += value_bytes
    return sizes_bytes
