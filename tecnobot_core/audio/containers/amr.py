"""AMR, narrow band and wide band, as files of frames (RFC 4867, section 5)."""

from .window import MAX_PARSES, Contents, Window

_SAMPLED_BYTES = 64 * 1024
_FRAME_S = 0.02
# Bytes of a frame, with its first one, by the frame type in that one.
_NARROW = {0: 13, 1: 14, 2: 16, 3: 18, 4: 20, 5: 21, 6: 27, 7: 32, 8: 6, 15: 1}
_WIDE = {0: 18, 1: 24, 2: 33, 3: 37, 4: 41, 5: 47, 6: 51, 7: 59, 8: 61, 9: 6, 14: 1, 15: 1}
_KINDS = ((b"#!AMR-WB\n", "amr_wb", _WIDE), (b"#!AMR\n", "amr_nb", _NARROW))


def read(window: Window) -> Contents | None:
    head = window.read(0, 9)
    for magic, codec, sizes in _KINDS:
        if head.startswith(magic):
            return _walk(window, len(magic), codec, sizes)
    return None


def _walk(window: Window, start: int, codec: str, sizes: dict[int, int]) -> Contents:
    """Count frames; what lies behind those that were seen is taken to be as dense as they are."""
    data = window.read(start, _SAMPLED_BYTES)
    offset = n_frames = 0
    while offset < len(data) and n_frames < MAX_PARSES:
        size = sizes.get(data[offset] >> 3 & 15)
        if size is None:
            return Contents("amr", codec)
        offset += size
        n_frames += 1
    total = window.size - start
    if offset < len(data) or len(data) < total:
        return Contents("amr", codec, n_frames * _FRAME_S * total / offset)
    cut = offset > len(data)
    return Contents("amr", codec, (n_frames - cut) * _FRAME_S, cut=cut)
