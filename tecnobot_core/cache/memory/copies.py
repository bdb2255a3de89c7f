"""Objects of entries that are written down and were read again."""

from collections import deque
from math import inf
from typing import Any, Final

from .values import weigh

COPY_ENTRY_BYTES: Final = 130
"""Measured: what the tables of this module take for a copy, beside its value."""
BLOCK_ENTRIES: Final = 128


class CopyBlock:
    """Keys that were copied at about the same time."""

    __slots__ = ("earliest", "keys")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.earliest = inf


class Copies:
    """Values in *live* that can go without loss, the oldest first."""

    __slots__ = ("_live", "blocks", "sizes", "used_bytes")

    def __init__(self, live: dict[str, Any]) -> None:
        self._live = live
        self.sizes: dict[str, int] = {}
        self.blocks: deque[CopyBlock] = deque()
        self.used_bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self.sizes

    def add(self, key: str, value: Any, deadline: float, max_bytes: int) -> bool:
        """Keep *value* and at most *max_bytes* in all; False if it is too big for that."""
        size_bytes = weigh(value) + COPY_ENTRY_BYTES
        if size_bytes * 4 > max_bytes:
            return False
        if not self.blocks or len(self.blocks[-1].keys) >= BLOCK_ENTRIES:
            self.blocks.append(CopyBlock())
        block = self.blocks[-1]
        block.keys.append(key)
        block.earliest = min(block.earliest, deadline)
        self._live[key] = value
        self.sizes[key] = size_bytes
        self.used_bytes += size_bytes
        if self.used_bytes > max_bytes:
            self.trim(max_bytes)
        return key in self.sizes

    def discard(self, key: str) -> None:
        """Drop the copy of *key* if there is one."""
        size_bytes = self.sizes.pop(key, 0)
        if size_bytes:
            del self._live[key]
            self.used_bytes -= size_bytes

    def trim(self, max_bytes: int) -> None:
        """Drop the oldest until *max_bytes*."""
        while self.used_bytes > max_bytes:
            for key in self.blocks.popleft().keys:
                self.discard(key)
