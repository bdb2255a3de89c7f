"""Drops objects that have expired, a few at a time."""

from math import inf
from typing import Final

from .blocks import MAX_ENTRIES, LiveBlock
from .copies import CopyBlock
from .entries import Entries

SWEEP_INTERVAL_S: Final = 0.01


class Sweep:
    """Keeps ``Entries.earliest`` ahead of the time, so that reads need to look no further.

    Nothing runs by itself: a read that finds the time past it sweeps some blocks, once in SWEEP_INTERVAL_S.
    """

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._next_at = -inf

    def step(self, now: float) -> None:
        """Look at about MAX_ENTRIES objects that may have expired, unless some were looked at just before."""
        if now < self._next_at:
            return
        self._next_at = now + SWEEP_INTERVAL_S
        entries = self._entries
        work = MAX_ENTRIES
        earliest = inf
        blocks: list[LiveBlock | CopyBlock] = [*entries.small.live.values(), *entries.main.live.values()]
        for block in blocks + list(entries.copies.blocks):
            if block.earliest <= now and work > 0:
                work -= len(block.keys)
                if isinstance(block, LiveBlock):
                    self._sweep_live(block, now)
                else:
                    self._sweep_copies(block, now)
            earliest = min(earliest, block.earliest)
        entries.earliest = earliest

    def _sweep_live(self, block: LiveBlock, now: float) -> None:
        earliest = inf
        for position, key in list(block.entries()):
            if (deadline := block.deadlines[position]) <= now:
                self._entries.remove(key)
            else:
                earliest = min(earliest, deadline)
        block.earliest = earliest

    def _sweep_copies(self, block: CopyBlock, now: float) -> None:
        earliest = inf
        for key in block.keys:
            if key not in self._entries.copies or (found := self._entries.locate(key)) is None:
                continue
            entry_block, position = found
            if (deadline := entry_block.deadlines[position]) <= now:
                self._entries.remove(key)
            else:
                earliest = min(earliest, deadline)
        block.earliest = earliest
