"""Ogg, with Opus, Vorbis, FLAC or Speex in it."""

from dataclasses import dataclass

from .window import MAX_PARSES, Contents, Window

MAX_HEADS = 16
_TAILS_BYTES = (8 * 1024, 70 * 1024, 256 * 1024)  # a page has at most 65,307 bytes
_NO_POSITION = 0xFFFFFFFFFFFFFFFF
_OPUS_HZ = 48_000
_MAX_OPUS_BYTES_PER_S = 100_000  # 510 kbit/s is the most that Opus has; more bytes than that tell of a false position
_MAX_PACKET_SAMPLES = 65_536


@dataclass(frozen=True, slots=True)
class _Page:
    """``size`` is as declared; ``position`` counts samples to the end of the last packet; None where none ends here."""

    offset: int
    size: int
    begins: bool
    serial: bytes
    position: int | None
    n_segments: int
    body: int


def read(window: Window) -> Contents | None:
    if window.read(0, 4) != b"OggS":
        return None
    page = _page(window, 0)
    seen = False
    for _ in range(MAX_HEADS):
        if page is None or not page.begins:
            break
        seen = True
        codec, rate, skipped = _codec(window.read(page.body, min(64, page.offset + page.size - page.body)))
        if codec:
            return _timed(window, page, codec, rate, skipped)
        page = _page(window, page.offset + page.size)
    return Contents("ogg", has_audio=not seen)


def _timed(window: Window, head: _Page, codec: str, rate: int, skipped: int) -> Contents:
    last, cut = _last_page(window)
    contents = Contents("ogg", codec, cut=cut)
    # Another serial number: several streams one after the other, whose lengths would have to be looked for.
    if last is None or last.position is None or last.serial != head.serial or not rate:
        return contents
    if not _rises(window, last.position, head.serial):
        return contents
    duration_s = (last.position - skipped - _first_position(window, head)) / rate
    if codec == "opus" and duration_s * _MAX_OPUS_BYTES_PER_S < window.size - 70_000:
        return contents
    return Contents("ogg", codec, duration_s, cut=cut)


def _codec(packet: bytes) -> tuple[str, int, int]:
    """Name, samples in a second, and samples to skip at the start; an empty name when it is no audio."""
    if packet.startswith(b"OpusHead"):
        return "opus", _OPUS_HZ, int.from_bytes(packet[10:12], "little")
    if packet.startswith(b"\x01vorbis"):
        return "vorbis", int.from_bytes(packet[12:16], "little"), 0
    if packet.startswith(b"Speex   "):
        return "speex", int.from_bytes(packet[36:40], "little"), 0
    if packet.startswith(b"\x7fFLAC"):
        return "flac", int.from_bytes(packet[27:30], "big") >> 4, 0
    return "", 0, 0


def _last_page(window: Window) -> tuple[_Page | None, bool]:
    """The last page that has a position, and whether the file ends inside a page."""
    looks_left = MAX_PARSES
    for n_bytes in _TAILS_BYTES:
        start = max(0, window.size - n_bytes)
        tail = window.read(start, n_bytes)
        end, cut = len(tail), False
        while looks_left and (found := tail.rfind(b"OggS", 0, end)) >= 0:
            end = found
            looks_left -= 1
            page = _parse(tail[found : found + 282], start + found)
            if page is None or page.offset + page.size > window.size:
                cut = True
            elif page.position is not None:
                return page, cut
        if start == 0:
            break
    return None, True


def _rises(window: Window, last_position: int, serial: bytes) -> bool:
    """Whether positions between start and end are in order; they begin anew where one recording follows another."""
    before = 0
    for part in (1, 2):
        position = _position_near(window, window.size * part // 3, serial)
        if position is not None:
            if not before <= position <= last_position:
                return False
            before = position
    return True


def _position_near(window: Window, start: int, serial: bytes) -> int | None:
    """Of the first page behind *start*, where one begins soon and is of that stream."""
    data = window.read(start, 12 * 1024)
    found = data.find(b"OggS")
    page = _parse(data[found : found + 282], start + found) if found >= 0 else None
    return page.position if page is not None and page.serial == serial else None


def _first_position(window: Window, head: _Page) -> int:
    """Where the stream begins: not at 0 when it was cut out of a longer one."""
    offset = head.offset
    for _ in range(MAX_HEADS):
        page = _page(window, offset)
        if page is None:
            return 0
        if page.serial == head.serial and page.position:
            return page.position if page.position > page.n_segments * _MAX_PACKET_SAMPLES else 0
        offset += page.size
    return 0


def _page(window: Window, offset: int) -> _Page | None:
    return _parse(window.read(offset, 282), offset)


def _parse(head: bytes, offset: int) -> _Page | None:
    """A page by its header (RFC 3533, section 6), of at most 282 bytes."""
    if len(head) < 27 or head[:5] != b"OggS\0" or len(head) < 27 + head[26]:
        return None
    n_segments = head[26]
    body = 27 + n_segments
    position = int.from_bytes(head[6:14], "little")
    return _Page(
        offset,
        body + sum(head[27:body]),
        bool(head[5] & 2),
        head[14:18],
        None if position == _NO_POSITION else position,
        n_segments,
        offset + body,
    )
