"""WAV, as RIFF and its 64-bit relatives."""

import struct

from .window import Contents, Window

MAX_CHUNKS = 64
_UNKNOWN = 0xFFFFFFFF  # a length that a writer to a pipe could not go back to fill in
_CODECS = {1: "pcm", 2: "adpcm", 3: "pcm", 6: "alaw", 7: "mulaw", 0x11: "adpcm", 0x31: "gsm", 0x50: "mp2", 0x55: "mp3"}
_CODECS[0xFF] = "aac"
_EXTENSIBLE = 0xFFFE


def read(window: Window) -> Contents | None:
    head = window.read(0, 12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
        return None
    container = "wav" if head.startswith(b"RIFF") else "rf64"
    codec, bytes_per_s, samples_s, declared = "", 0.0, None, None
    offset, rate = 12, 0
    for _ in range(MAX_CHUNKS):
        chunk = window.read(offset, 8)
        if len(chunk) < 8:
            break
        name, size = struct.unpack("<4sI", chunk)
        offset += 8
        if name == b"fmt ":
            codec, bytes_per_s, rate = _format(window.read(offset, min(size, 40)))
        elif name == b"ds64":
            declared = _number(window.read(offset + 8, 8))
        elif name == b"fact" and rate and codec != "pcm":
            samples_s = (_number(window.read(offset, 4)) or 0) / rate
        elif name == b"data":
            data_bytes, cut = _held(declared if size == _UNKNOWN and declared else size, window.size - offset)
            held_s = data_bytes / bytes_per_s if bytes_per_s else None
            # The count of samples is exact for packed codecs, and believed only as far as the bytes can hold it.
            if samples_s and held_s and not cut and samples_s < 2 * held_s + 1:
                held_s = samples_s
            return Contents(container, codec, held_s, cut=cut)
        offset += size + size % 2
    return Contents(container, codec, cut=True)


def _held(declared: int, left: int) -> tuple[int, bool]:
    """Bytes of sound that the file holds, and whether some are missing."""
    left = max(left, 0)
    if declared in (0, _UNKNOWN):
        return left, False
    return min(declared, left), declared > left


def _format(data: bytes) -> tuple[str, float, int]:
    """Codec, bytes and frames in a second."""
    if len(data) < 16:
        return "", 0.0, 0
    tag, channels, rate, bytes_per_s, _, bits = struct.unpack_from("<HHIIHH", data)
    if tag == _EXTENSIBLE and len(data) >= 26:
        tag = struct.unpack_from("<H", data, 24)[0]
    codec = _CODECS.get(tag, f"0x{tag:04x}")
    # The declared bytes of a second are anybody's claim; for plain samples they follow from the rest.
    if codec == "pcm":
        bytes_per_s = rate * channels * bits // 8
    if not (rate and channels and bytes_per_s):
        return "", 0.0, 0  # no sound is like that, so nothing is known of it
    return codec, float(bytes_per_s), rate


def _number(data: bytes) -> int | None:
    return int.from_bytes(data, "little") if data else None
