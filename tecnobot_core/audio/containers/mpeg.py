"""MPEG audio: MP3 and its older layers, with or without a header that counts frames."""

from dataclasses import dataclass
from functools import lru_cache

from .window import MAX_PARSES, Contents, Window

SCANNED_BYTES = 4096
N_SAMPLES = 32
_SAMPLE_BYTES = 8 * 1024  # room for the longest frame of MP3 (1,441 bytes) five times
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS_1_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_KBITS_1_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame's header; ``size`` in bytes, ``samples`` of each channel."""

    layer: int
    version: int
    rate_hz: int
    size: int
    samples: int
    side_bytes: int

    def goes_with(self, other: "Frame") -> bool:
        """Whether both may be of one stream; only the bitrate changes inside one."""
        return (self.layer, self.version, self.rate_hz) == (other.layer, other.version, other.rate_hz)


@lru_cache(maxsize=256)  # a stream has a few different headers, thousands of times
def parse(head: bytes) -> Frame | None:
    """The frame that begins with these four bytes; None when none does (ISO 11172-3 and 13818-3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    # Layer I is not offered by anything that records, and its pattern is that of a UTF-16 text's first bytes.
    if version == 1 or layer not in (2, 3) or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    kbits = (_KBITS_1_2 if layer == 2 else _KBITS_1_3) if version == 3 else _KBITS_2
    samples = 576 if layer == 3 and version != 3 else 1152
    rate_hz = _RATES_HZ[version][rate]
    mono = head[3] >> 6 == 3
    side_bytes = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    size = samples // 8 * kbits[bitrate] * 1000 // rate_hz + padding
    return Frame(layer, version, rate_hz, size, samples, side_bytes)


def read(window: Window, start: int = 0, *, scan: bool = True) -> Contents | None:
    """The stream at *start*, or a little behind it where something else comes first."""
    data = window.read(start, SCANNED_BYTES + _SAMPLE_BYTES)
    offset = _find(data, SCANNED_BYTES if scan else 1, ends=start + len(data) == window.size)
    if offset is None:
        return None
    frame = parse(data[offset : offset + 4])
    if frame is None:
        return None
    container = "mp3" if frame.layer == 3 else "mp2"
    first = data[offset : offset + frame.size]
    counted = _counted(first, frame, window.size - start - offset)
    if counted is not None:
        return Contents(container, container, counted[0], cut=counted[1])
    return Contents(container, container, _estimated_s(window, start + offset, frame))


def _find(data: bytes, n_bytes: int, *, ends: bool) -> int | None:
    """Where the first of at least three frames begins; at 0 fewer are enough when the file *ends* with them."""
    if (frame := parse(data[:4])) and _followers(data, 0, frame) >= (0 if ends and frame.size * 2 > len(data) else 2):
        return 0
    offset = data.find(b"\xff", 1, n_bytes)
    while offset >= 0:
        if (frame := parse(data[offset : offset + 4])) and _followers(data, offset, frame) >= 2:
            return offset
        offset = data.find(b"\xff", offset + 1, n_bytes)
    return None


def _followers(data: bytes, offset: int, frame: Frame) -> int:
    """How many frames follow the one at *offset*, at most 3."""
    for n in range(3):
        offset += frame.size
        follower = parse(data[offset : offset + 4])
        if follower is None or not follower.goes_with(frame):
            return n
        frame = follower
    return 3


def _counted(first: bytes, frame: Frame, stream_bytes: int) -> tuple[float, bool] | None:
    """Seconds, and whether bytes are missing, from the headers "Xing", "Info" or "VBRI" in the first frame."""
    at = 4 + frame.side_bytes
    if first[at : at + 4] in (b"Xing", b"Info") and len(first) >= at + 16:
        flags = int.from_bytes(first[at + 4 : at + 8], "big")
        if not flags & 1:
            return None
        n_frames, n_bytes = _number(first, at + 8), _number(first, at + 12) if flags & 2 else 0
        extension = at + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
        skipped = _padding(first[extension : extension + 24])
    elif first[36:40] == b"VBRI" and len(first) >= 54:
        n_bytes, n_frames, skipped = _number(first, 46), _number(first, 50), 0
    else:
        return None
    # A frame has at least 24 bytes (8 kbit/s at 24 kHz); a count that the file cannot hold is no count.
    cut = n_bytes > stream_bytes
    held = n_frames * stream_bytes / n_bytes if cut else n_frames
    if held * 24 > stream_bytes or held * frame.samples <= skipped:
        return None
    return (held * frame.samples - skipped) / frame.rate_hz, cut


def _padding(extension: bytes) -> int:
    """Samples that the encoder added at both ends, where it says so."""
    if len(extension) < 24 or extension[:4] not in (b"LAME", b"Lavf", b"Lavc"):
        return 0
    both = int.from_bytes(extension[21:24], "big")
    return (both >> 12) + (both & 0xFFF)


def _estimated_s(window: Window, start: int, frame: Frame) -> float:
    """From the mean size of frames, at some places of a long file: exact for a constant bitrate."""
    end = window.size - (128 if window.read(window.size - 128, 3) == b"TAG" else 0)
    n_bytes = n_frames = 0
    places = window.places(start, end, N_SAMPLES, _SAMPLE_BYTES)
    for place, length in places:
        size, count = _measured(window.read(place, length), frame, MAX_PARSES // len(places))
        n_bytes, n_frames = n_bytes + size, n_frames + count
    mean = n_bytes / n_frames if n_frames else float(frame.size)
    return (end - start) / mean * frame.samples / frame.rate_hz


def _measured(data: bytes, frame: Frame, most: int) -> tuple[int, int]:
    """Bytes and number of the frames in a row that are found first, as far as *most* looks find them."""
    offset = data.find(b"\xff")
    while offset >= 0 and most > 0:
        found = parse(data[offset : offset + 4])
        if found and found.goes_with(frame) and _followers(data, offset, found) >= 1:
            return _row(data, offset, found, most)
        most -= 2  # itself, and one follower
        offset = data.find(b"\xff", offset + 1)
    return 0, 0


def _row(data: bytes, offset: int, frame: Frame | None, most: int) -> tuple[int, int]:
    begin, count = offset, 0
    while count < most and frame is not None and offset + frame.size <= len(data):
        offset, count = offset + frame.size, count + 1
        frame = parse(data[offset : offset + 4])
    return offset - begin, count


def _number(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "big")
