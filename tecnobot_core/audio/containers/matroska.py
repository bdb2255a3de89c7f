"""WebM and Matroska."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .window import Contents, Window

MAX_ELEMENTS = 2000
MAX_TRACKS = 16
_TAIL_BYTES = 512 * 1024
_EBML, _DOC_TYPE, _SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
_INFO, _SCALE, _DURATION = 0x1549A966, 0x2AD7B1, 0x4489
_TRACKS, _TRACK, _KIND, _CODEC = 0x1654AE6B, 0xAE, 0x83, 0x86
_CLUSTER, _TIME, _BLOCK, _GROUP, _GROUP_BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
_AUDIO = 2
_CODECS = {"A_OPUS": "opus", "A_VORBIS": "vorbis", "A_FLAC": "flac", "A_MPEG/L3": "mp3", "A_PCM/INT/LIT": "pcm"}


@dataclass(frozen=True, slots=True)
class Element:
    """One element; ``end`` is as declared, or the end of its parent where the length is not known."""

    kind: int
    body: int
    end: int


@dataclass(slots=True)
class _Segment:
    scale_ns: int = 1_000_000
    duration: float = 0.0
    has_tracks: bool = False
    audio: int | None = None
    codec: str = ""
    held: float = 1.0  # the share of it that is there
    cut: bool = False


def read(window: Window) -> Contents | None:
    head = next(elements(window, 0, window.size), None)
    if head is None or head.kind != _EBML:
        return None
    kinds = {e.kind: window.read(e.body, min(e.end - e.body, 16)) for e in elements(window, head.body, head.end)}
    doc_type = kinds.get(_DOC_TYPE, b"").rstrip(b"\0")
    if doc_type not in (b"webm", b"matroska"):
        return None
    container = doc_type.decode()
    segment = _segment(window, head.end)
    has_audio = segment.audio is not None or not segment.has_tracks
    duration = _duration(window, segment) if has_audio else segment.duration
    duration_s = duration * segment.scale_ns / 1e9 if duration else None
    return Contents(container, segment.codec, duration_s, has_audio=has_audio, cut=segment.cut)


def elements(window: Window, offset: int, end: int) -> Iterator[Element]:
    """The elements from *offset* to *end*, as far as their lengths make sense (RFC 8794)."""
    for _ in range(MAX_ELEMENTS):
        head = window.read(offset, min(12, end - offset))
        if (kind := _vint(head, 0, 4, marked=True)) is None or (size := _vint(head, kind[1], 8)) is None:
            return
        body = offset + kind[1] + size[1]
        unknown = size[0] == (1 << 7 * size[1]) - 1
        element = Element(kind[0], body, end if unknown else body + size[0])
        yield element
        offset = element.end


def _vint(data: bytes, at: int, longest: int, *, marked: bool = False) -> tuple[int, int] | None:
    """A number and its length in bytes; *marked* numbers keep the bit that tells the length."""
    if at >= len(data) or not data[at]:
        return None
    length = 9 - data[at].bit_length()
    if length > longest or at + length > len(data):
        return None
    number = int.from_bytes(data[at : at + length], "big")
    return (number if marked else number & ((1 << 7 * length) - 1)), length


def _segment(window: Window, offset: int) -> _Segment:
    """What comes before the first cluster, which is where all that is asked stands."""
    segment = _Segment()
    top = next((e for e in elements(window, offset, window.size) if e.kind == _SEGMENT), None)
    if top is None:
        segment.cut = True
        return segment
    segment.cut = top.end > window.size
    if segment.cut:
        segment.held = max(window.size - top.body, 0) / (top.end - top.body)
    for element in elements(window, top.body, min(top.end, window.size)):
        if element.kind == _INFO:
            _read_info(window, element, segment)
        elif element.kind == _TRACKS:
            _read_tracks(window, element, segment)
        elif element.kind == _CLUSTER:
            break
    return segment


def _read_info(window: Window, info: Element, segment: _Segment) -> None:
    for element in elements(window, info.body, info.end):
        data = window.read(element.body, min(element.end - element.body, 8))
        if element.kind == _SCALE:
            segment.scale_ns = int.from_bytes(data, "big") or 1_000_000
        elif element.kind == _DURATION and len(data) in (4, 8):
            segment.duration = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]


def _read_tracks(window: Window, tracks: Element, segment: _Segment) -> None:
    segment.has_tracks = True
    for number, track in enumerate(elements(window, tracks.body, tracks.end)):
        if track.kind != _TRACK or number >= MAX_TRACKS:
            continue
        fields = {e.kind: window.read(e.body, min(e.end - e.body, 32)) for e in elements(window, track.body, track.end)}
        if int.from_bytes(fields.get(_KIND, b""), "big") == _AUDIO and segment.audio is None:
            name = fields.get(_CODEC, b"").rstrip(b"\0").decode("latin-1")
            segment.audio = number
            segment.codec = "aac" if name.startswith("A_AAC") else _CODECS.get(name, name.removeprefix("A_").lower())


def _duration(window: Window, segment: _Segment) -> float:
    """What is declared; in a file that was cut, what the last block that is there tells."""
    if segment.duration and not segment.cut:
        return segment.duration
    last = _last_time(window)
    if not segment.duration:
        return last
    return min(last or segment.duration * segment.held, segment.duration)


def _last_time(window: Window) -> int:
    """When the last block begins, in the segment's scale: recorders in browsers do not write how long it took."""
    start = max(0, window.size - _TAIL_BYTES)
    tail = window.read(start, _TAIL_BYTES)
    at = tail.rfind(_CLUSTER.to_bytes(4, "big"))
    if at < 0:
        return 0
    cluster = next(elements(window, start + at, window.size), None)
    begin = latest = 0
    for element in elements(window, cluster.body, min(cluster.end, window.size)) if cluster else ():
        if element.kind == _TIME:
            begin = int.from_bytes(window.read(element.body, min(8, element.end - element.body)), "big")
        elif element.kind in (_BLOCK, _GROUP):
            latest = max(latest, _block_time(window, element))
    return begin + latest


def _block_time(window: Window, block: Element) -> int:
    """Relative to its cluster; behind the number of the track."""
    if block.kind == _GROUP:
        inner = next((e for e in elements(window, block.body, block.end) if e.kind == _GROUP_BLOCK), None)
        if inner is None:
            return 0
        block = inner
    head = window.read(block.body, 6)
    track = _vint(head, 0, 4)
    return int.from_bytes(head[track[1] : track[1] + 2], "big", signed=True) if track else 0
