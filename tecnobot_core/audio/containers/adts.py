"""AAC as a stream of ADTS frames."""

from .window import MAX_PARSES, Contents, Window

N_SAMPLES = 96
_SAMPLE_BYTES = 8 * 1024
_MAX_FRAME_BYTES = 8191
_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def read(window: Window, start: int = 0) -> Contents | None:
    """The stream at *start*; two frames must follow the first, unless the file ends before."""
    data = window.read(start, 3 * _MAX_FRAME_BYTES)
    size = _frame_bytes(data, 0)
    if not size:
        return None
    followers = _row(data, 0, 3)[2]
    if followers < 3 and start + followers * size < window.size - _MAX_FRAME_BYTES:
        return None
    if followers < 2 and size + 7 <= window.size - start:
        return None
    return Contents("aac", "aac", _estimated_s(window, start, _RATES_HZ[data[2] >> 2 & 15]))


def _frame_bytes(data: bytes, offset: int) -> int:
    """The size of the frame at *offset*; 0 when none begins there (ISO 14496-3, 1.A.2.2)."""
    head = data[offset : offset + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_RATES_HZ):
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0


def _row(data: bytes, offset: int, most: int) -> tuple[int, int, int]:
    """Bytes, blocks of 1,024 samples and number of the frames in a row from *offset* on, at most *most*."""
    begin, blocks, count = offset, 0, 0
    while count < most and (size := _frame_bytes(data, offset)) and offset + size <= len(data):
        blocks += (data[offset + 6] & 3) + 1
        count += 1
        offset += size
    return offset - begin, blocks, count


def _estimated_s(window: Window, start: int, rate_hz: int) -> float | None:
    """From the mean size of frames, at some places of a long file."""
    n_bytes = n_blocks = 0
    places = window.places(start, window.size, N_SAMPLES, _SAMPLE_BYTES)
    for place, length in places:
        size, blocks = _first_row(window.read(place, length), MAX_PARSES // len(places))
        n_bytes, n_blocks = n_bytes + size, n_blocks + blocks
    return (window.size - start) * n_blocks / n_bytes * 1024 / rate_hz if n_bytes else None


def _first_row(data: bytes, most: int) -> tuple[int, int]:
    """Bytes and blocks of the first three or more in a row, as far as *most* looks find them."""
    offset = data.find(b"\xff")
    while offset >= 0 and most > 0:
        size, blocks, count = _row(data, offset, max(most, 3))
        if count >= 3:
            return size, blocks
        most -= count + 1
        offset = data.find(b"\xff", offset + 1)
    return 0, 0
