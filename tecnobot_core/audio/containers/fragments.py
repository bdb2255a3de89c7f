"""Fragments of MP4 files, which recorders write when they cannot go back to fill in lengths."""

from .boxes import Box, boxes
from .window import Window


def indexed_fragment(window: Window) -> Box | None:
    """The last fragment, by the index at the end of the file; None where there is no index, or it leads nowhere."""
    tail = window.read(window.size - 16, 16)
    if tail[4:8] != b"mfro":
        return None
    size = int.from_bytes(tail[12:16], "big")
    index = next(boxes(window, window.size - size, window.size), None) if 16 < size < window.size else None
    if index is None or index.kind != b"mfra":
        return None
    offsets = [_last_offset(window, box) for box in boxes(window, index.body, index.end) if box.kind == b"tfra"]
    fragment = next(boxes(window, max(offsets), window.size), None) if offsets else None
    return fragment if fragment is not None and fragment.kind == b"moof" else None


def _last_offset(window: Window, tfra: Box) -> int:
    """Of the fragment that the last entry points at; -1 when there is none."""
    head = window.read(tfra.body, 16)
    if len(head) < 16 or not int.from_bytes(head[12:16], "big"):
        return -1
    lengths, half = head[11], 8 if head[0] == 1 else 4
    entry = 2 * half + (lengths >> 4 & 3) + (lengths >> 2 & 3) + (lengths & 3) + 3
    found = window.number(tfra.end - entry + half, half)
    return -1 if found is None else found


def fragment_end(window: Window, traf: Box, track_number: int, default_duration: int, held: float) -> float:
    """When what is in *traf* ends, in the track's timescale; 0 when it is of another track or does not say.

    *held* is the share of its sound that the file has.
    """
    begin, length, each = -1, 0, default_duration
    for box in boxes(window, traf.body, traf.end):
        data = window.read(box.body, min(box.end - box.body, 64 * 1024))
        flags = int.from_bytes(data[1:4], "big")
        if box.kind == b"tfhd":
            if int.from_bytes(data[4:8], "big") != track_number:
                return 0
            at = 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)
            each = int.from_bytes(data[at : at + 4], "big") if flags & 8 else each
        elif box.kind == b"tfdt":
            begin = int.from_bytes(data[4:12] if data[:1] == b"\1" else data[4:8], "big")
        elif box.kind == b"trun":
            length += _run_length(data, flags, each)
    return begin + length * held if begin >= 0 else 0


def _run_length(trun: bytes, flags: int, each: int) -> int:
    count = int.from_bytes(trun[4:8], "big")
    if not flags & 0x100:
        return count * each
    at = 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
    step = 4 * (flags >> 8 & 15).bit_count()
    return sum(int.from_bytes(trun[n : n + 4], "big") for n in range(at, min(len(trun), at + count * step), step))
