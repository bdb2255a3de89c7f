"""Fingerprints of keys that were evicted, in a few bytes each."""

from array import array
from collections.abc import Iterable
from typing import Final

SLOTS_PER_ENTRY = 2
MIN_SLOTS = 256
_LOW: Final = 0xFFFFFFFF


class Ghosts:
    """Remembers the last keys that were added, about as many as there are entries; now and then forgets one or errs.

    A slot holds 32 bits of the hash and 32 bits of a running number. Which slot is said by other bits of the hash.
    """

    __slots__ = ("_mask", "_number", "_slots")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._number = 0
        self._mask = -1
        self._slots = array("Q")

    @property
    def used_bytes(self) -> int:
        return len(self._slots) * self._slots.itemsize

    def add(self, keys: Iterable[str], entries: int, *, may_grow: bool = True) -> None:
        """Remember *keys*; the memory is sized for *entries*, unless it may not grow."""
        if may_grow and (entries * SLOTS_PER_ENTRY > len(self._slots) * 2 or not self._slots):
            self._grow(entries)
        if not self._slots:
            return
        slots, mask, number = self._slots, self._mask, self._number
        for key in keys:
            mixed = hash(key)
            number += 1
            slots[mixed & mask] = (mixed >> 32 & _LOW) << 32 | number & _LOW
        self._number = number

    def take(self, key: str) -> bool:
        """Whether *key* is remembered; it is forgotten."""
        if not self._number:
            return False
        mixed = hash(key)
        slot = self._slots[mixed & self._mask]
        if not slot or slot >> 32 != mixed >> 32 & _LOW:
            return False
        self._slots[mixed & self._mask] = 0
        return (self._number - slot) & _LOW < len(self._slots) // SLOTS_PER_ENTRY

    def _grow(self, entries: int) -> None:
        # What was remembered is forgotten: the slots of the old table do not hold the bits that a bigger one needs.
        slots = 1 << max(MIN_SLOTS, entries * SLOTS_PER_ENTRY - 1).bit_length()
        self._slots = array("Q", bytes(slots * 8))
        self._mask = slots - 1
