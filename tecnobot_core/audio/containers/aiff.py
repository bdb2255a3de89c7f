"""AIFF and AIFF-C."""

import struct

from .window import Contents, Window

MAX_CHUNKS = 64


def read(window: Window) -> Contents | None:
    head = window.read(0, 12)
    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return None
    codec, duration_s, sound_bytes, cut = "pcm", None, 0.0, False
    offset = 12
    for _ in range(MAX_CHUNKS):
        chunk = window.read(offset, 8)
        if len(chunk) < 8:
            break
        name, size = struct.unpack(">4sI", chunk)
        offset += 8
        if name == b"COMM":
            codec, duration_s = _common(window.read(offset, min(size, 22)))
        elif name == b"SSND":
            sound_bytes, cut = float(size), offset + size > window.size
            held = (window.size - offset) / sound_bytes if cut else 1.0
        offset += size + size % 2
    if cut and duration_s is not None:
        duration_s *= held
    return Contents("aiff", codec, duration_s, cut=cut)


def _common(data: bytes) -> tuple[str, float | None]:
    if len(data) < 18:
        return "pcm", None
    _, n_frames, _, exponent, mantissa = struct.unpack_from(">HIHHQ", data)
    # The rate is an 80-bit float; rates that somebody could have meant lie between 1 Hz and 16 MHz.
    shift = 16383 + 63 - (exponent & 0x7FFF)
    rate = mantissa / 2**shift if 39 <= shift <= 63 else 0.0
    kind = data[18:22].decode("latin-1").strip("\0 ")
    codec = "pcm" if kind in ("", "NONE", "sowt", "twos", "fl32", "FL32", "fl64", "in24", "in32") else kind.lower()
    return codec, n_frames / rate if rate else None
