"""Apple's Core Audio Format."""

import struct

from .window import Contents, Window

MAX_CHUNKS = 64
_CODECS = {"lpcm": "pcm", "ima4": "adpcm", "ulaw": "mulaw"}  # others are called as their four letters say


def read(window: Window) -> Contents | None:
    if window.read(0, 4) != b"caff":
        return None
    codec, rate, per_packet, packet_bytes = "", 0.0, 0, 0
    packets_s = data_s = None
    cut, offset, held = False, 8, 1.0
    for _ in range(MAX_CHUNKS):
        chunk = window.read(offset, 12)
        if len(chunk) < 12:
            break
        name, size = struct.unpack(">4sq", chunk)
        offset += 12
        if size < 0:  # the last chunk may run to the end
            size = window.size - offset
        cut = cut or offset + size > window.size
        if name == b"desc":
            codec, rate, per_packet, packet_bytes = _description(window.read(offset, 32))
        elif name == b"pakt" and rate:
            packets_s = _valid_frames(window.read(offset, 24)) / rate
        elif name == b"data":
            if offset + size > window.size:
                held = (window.size - offset) / size
            if rate and packet_bytes:
                data_s = (min(size, window.size - offset) - 4) / packet_bytes * per_packet / rate
        offset += size
    return Contents("caf", codec, data_s if packets_s is None else packets_s * held, cut=cut)


def _description(data: bytes) -> tuple[str, float, int, int]:
    """Codec, frames in a second, frames and bytes in a packet."""
    if len(data) < 32:
        return "", 0.0, 0, 0
    rate, kind, _, packet_bytes, per_packet, _, _ = struct.unpack(">d4sIIIII", data)
    name = kind.decode("latin-1").strip().lower()
    return _CODECS.get(name, name), rate if 1 <= rate <= 1e7 else 0.0, per_packet, packet_bytes


def _valid_frames(data: bytes) -> int:
    return max(0, int.from_bytes(data[8:16], "big", signed=True))
