"""The boxes that MP4 files are made of (ISO 14496-12, section 4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from .window import Window

MAX_BOXES = 2000  # of one level: a file in fragments has two for each


@dataclass(frozen=True, slots=True)
class Box:
    """One box; ``end`` is as declared, so it may lie behind the end of the file."""

    kind: bytes
    body: int
    end: int


def boxes(window: Window, offset: int, end: int) -> Iterator[Box]:
    """The boxes from *offset* to *end*, as far as their sizes make sense."""
    for _ in range(MAX_BOXES):
        head = window.read(offset, min(16, end - offset))
        if len(head) < 8:
            return
        size, body = int.from_bytes(head[:4], "big"), offset + 8
        if size == 1:
            size, body = int.from_bytes(head[8:16], "big"), offset + 16
        elif size == 0:
            size = end - offset
        if offset + size < body:
            return
        yield Box(head[4:8], body, offset + size)
        offset += size
