"""FLAC (RFC 9639)."""

from .window import Contents, Window

MAX_BLOCKS = 64
MAX_CANDIDATES = 64  # by chance, 32 KiB of sound have one code that looks like the beginning of a frame
_TAIL_BYTES = 32 * 1024
_BLOCK_SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}, **{n: 256 << (n - 8) for n in range(8, 16)}}


def read(window: Window, start: int = 0) -> Contents | None:
    head = window.read(start, 42)
    if head[:4] != b"fLaC":
        return None
    info = head[8:]
    rate, n_samples = stream_info(info)
    if not rate:
        return Contents("flac", "flac", cut=len(info) < 34)
    frames_bytes = window.size - _behind_metadata(window, start + 4)
    held = _last_sample(window, int.from_bytes(info[2:4], "big"))
    if not n_samples:
        return Contents("flac", "flac", held / rate if held else None)
    # More bytes than the samples take when they are not packed at all: the count is of some other, shorter stream.
    plain_bytes = n_samples * ((info[12] >> 1 & 7) + 1) * (((info[12] & 1) << 4 | info[13] >> 4) + 1) / 8
    if frames_bytes > plain_bytes * 1.1 + 64 * 1024:
        return Contents("flac", "flac")
    if frames_bytes <= 0:
        return Contents("flac", "flac", cut=True)
    cut = 0 < held < n_samples
    return Contents("flac", "flac", (held if cut else n_samples) / rate, cut=cut)


def stream_info(block: bytes) -> tuple[int, int]:
    """Samples in a second and in all, from a STREAMINFO block; 0 for what its writer did not know (section 8.2)."""
    packed = int.from_bytes(block[10:18], "big") if len(block) >= 18 else 0
    return packed >> 44, packed & (1 << 36) - 1


def _behind_metadata(window: Window, offset: int) -> int:
    for _ in range(MAX_BLOCKS):
        head = window.read(offset, 4)
        offset += 4 + int.from_bytes(head[1:4], "big")
        if len(head) < 4 or head[0] & 0x80:
            break
    return offset


def _last_sample(window: Window, block_size: int) -> int:
    """Where the last frame that begins in the file ends, in samples; 0 when none is found."""
    tail = window.read(max(0, window.size - _TAIL_BYTES), _TAIL_BYTES)
    at = len(tail)
    for _ in range(MAX_CANDIDATES):
        at = max(tail.rfind(b"\xff\xf8", 0, at), tail.rfind(b"\xff\xf9", 0, at))
        if at < 0:
            break
        if end := _frame_end(tail[at : at + 16], block_size):
            return end
    return 0


def _frame_end(head: bytes, block_size: int) -> int:
    """Number of the sample behind the frame whose header this is (section 9.1); 0 when it is none."""
    if len(head) < 7:
        return 0
    number, at = _coded_number(head, 4)
    code = head[2] >> 4
    wide = {6: 1, 7: 2}.get(code, 0)
    samples = int.from_bytes(head[at : at + wide], "big") + 1 if wide else _BLOCK_SIZES.get(code, 0)
    at += wide + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if not samples or at >= len(head) or _crc8(head[:at]) != head[at]:
        return 0
    return (number if head[1] & 1 else number * block_size) + samples


def _coded_number(head: bytes, at: int) -> tuple[int, int]:
    """The number at *at*, written as UTF-8 writes a character, and where it ends."""
    length = 8 - (~head[at] & 0xFF).bit_length()
    if length < 2:
        return head[at], at + 1
    number = head[at] & (0x7F >> length)
    for byte in head[at + 1 : at + length]:
        number = number << 6 | byte & 0x3F
    return number, at + length


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
