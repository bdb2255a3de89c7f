"""MP4 and its relatives (M4A, 3GP, QuickTime)."""

from dataclasses import dataclass, field

from .boxes import Box, boxes
from .fragments import fragment_end, indexed_fragment
from .window import Contents, Window

MAX_TRACKS = 16
_CODECS = {
    b"mp4a": "aac",
    b"alac": "alac",
    b"Opus": "opus",
    b"fLaC": "flac",
    b".mp3": "mp3",
    b"samr": "amr_nb",
    b"sawb": "amr_wb",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
    **dict.fromkeys((b"sowt", b"twos", b"lpcm", b"ipcm", b"fpcm", b"raw ", b"in24", b"in32", b"fl32", b"fl64"), "pcm"),
}
_MP4A_KINDS = {0x69: "mp3", 0x6B: "mp3"}  # of esds; all others of its values for sound are AAC


@dataclass(slots=True)
class _Movie:
    """What moov says. Times are in units of their own scale; 0 is not known."""

    timescale: int = 0
    duration: int = 0
    tracks: "list[_Track]" = field(default_factory=list)
    fragmented: bool = False
    fragments_duration: int = 0


@dataclass(slots=True)
class _Track:
    number: int = 0
    shown: int = 0  # in the movie's timescale, after its edit list
    timescale: int = 0
    duration: int = 0
    handler: bytes = b""
    codec: str = ""
    default_duration: int = 0


def read(window: Window) -> Contents | None:
    head = window.read(0, 12)
    if head[4:8] != b"ftyp":
        return None
    movie, fragment, held = _survey(window)
    cut, share = held is not None, 1.0 if held is None else held
    brand = head[8:12]
    if movie is None:
        return Contents(_container(brand, "", has_video=False), cut=True)
    audio = next((track for track in movie.tracks if track.handler == b"soun"), None)
    has_video = any(track.handler == b"vide" for track in movie.tracks)
    if audio is None:
        return Contents(_container(brand, "", has_video=has_video), has_audio=False, cut=cut)
    if movie.fragmented:
        duration_s = _fragmented_s(window, movie, audio, fragment, share)
    else:
        duration_s = _whole_s(movie, audio, share)
    return Contents(_container(brand, audio.codec, has_video=has_video), audio.codec, duration_s, cut=cut)


def _survey(window: Window) -> tuple[_Movie | None, Box | None, float | None]:
    """What moov says, the last fragment, and where the file ends inside a box the share of its sound that is there.

    In fragments, the share is of the last one's.
    """
    movie: _Movie | None = None
    fragment: Box | None = None
    end = sound_bytes = missing_bytes = 0
    for box in boxes(window, 0, window.size):
        end = box.end
        if box.kind == b"moov" and movie is None:
            movie = _movie(window, box)
            if movie.fragmented and (fragment := indexed_fragment(window)):
                return movie, fragment, None
        elif box.kind == b"moof":
            fragment = box
            sound_bytes = missing_bytes = 0
        elif box.kind == b"mdat":
            sound_bytes += box.end - box.body
            missing_bytes += max(0, box.end - max(window.size, box.body))
    held = 1 - missing_bytes / sound_bytes if sound_bytes else 0.0
    # Not seen to the end: the last fragment that was seen is not the last.
    return movie, fragment if end >= window.size else None, held if end > window.size else None


def _container(brand: bytes, codec: str, *, has_video: bool) -> str:
    if brand[:2] == b"3g" or codec.startswith("amr"):
        return "3gp"
    if brand == b"qt  ":
        return "mov"
    return "mp4" if has_video else "m4a"


def _movie(window: Window, moov: Box) -> _Movie:
    movie = _Movie()
    for box in boxes(window, moov.body, moov.end):
        if box.kind == b"mvhd":
            movie.timescale, movie.duration = _times(window, box)
        elif box.kind == b"trak" and len(movie.tracks) < MAX_TRACKS:
            track = _Track()
            _fill(window, box, track, depth=0)
            movie.tracks.append(track)
        elif box.kind == b"mvex":
            _extend(window, box, movie)
    return movie


def _extend(window: Window, mvex: Box, movie: _Movie) -> None:
    movie.fragmented = True
    for box in boxes(window, mvex.body, mvex.end):
        if box.kind == b"mehd":
            wide = window.number(box.body, 1) == 1
            movie.fragments_duration = window.number(box.body + 4, 8 if wide else 4) or 0
        elif box.kind == b"trex":
            number = window.number(box.body + 4, 4)
            for track in movie.tracks:
                if track.number == number:
                    track.default_duration = window.number(box.body + 12, 4) or 0


def _fill(window: Window, parent: Box, track: _Track, depth: int) -> None:
    """Take what is asked of a trak, from the boxes on the way down to its stsd."""
    for box in boxes(window, parent.body, parent.end):
        if box.kind == b"tkhd":
            track.number, track.shown = _track_header(window, box)
        elif box.kind == b"mdhd":
            track.timescale, track.duration = _times(window, box)
        elif box.kind == b"hdlr" and depth == 1:
            track.handler = window.read(box.body + 8, 4)
        elif box.kind == b"stsd" and track.handler == b"soun":
            track.codec = _codec(window.read(box.body, min(box.end - box.body, 160)))
        elif box.kind in (b"mdia", b"minf", b"stbl") and depth < 3:
            _fill(window, box, track, depth + 1)


def _times(window: Window, box: Box) -> tuple[int, int]:
    """Timescale and duration of an mvhd or mdhd; 0 for what is not known."""
    data = window.read(box.body, 32)
    if data[:1] == b"\1":
        return int.from_bytes(data[20:24], "big"), _known(data[24:32])
    return int.from_bytes(data[12:16], "big"), _known(data[16:20])


def _track_header(window: Window, box: Box) -> tuple[int, int]:
    """Number and duration of a tkhd."""
    data = window.read(box.body, 36)
    if data[:1] == b"\1":
        return int.from_bytes(data[20:24], "big"), _known(data[28:36])
    return int.from_bytes(data[12:16], "big"), _known(data[20:24])


def _known(data: bytes) -> int:
    """A duration; all bits set means that it is not known."""
    return 0 if data.strip(b"\xff") == b"" else int.from_bytes(data, "big")


def _codec(stsd: bytes) -> str:
    kind = stsd[12:16]
    if kind == b"mp4a" and (at := stsd.find(b"esds")) > 0:
        return _MP4A_KINDS.get(_object_type(stsd[at + 8 :]), "aac")
    return _CODECS.get(kind, kind.decode("latin-1").strip().lower())


def _object_type(esds: bytes) -> int:
    """Behind the tags 3 (with its id and flags) and 4, whose lengths have one to four bytes."""
    at = esds.find(b"\x04", 3)
    while 0 <= at < len(esds) - 1 and esds[at + 1] & 0x80:
        at += 1
    return esds[at + 2] if 0 <= at < len(esds) - 2 else 0


def _whole_s(movie: _Movie, track: _Track, held: float) -> float | None:
    for duration, timescale in (
        (track.shown, movie.timescale),
        (track.duration, track.timescale),
        (movie.duration, movie.timescale),
    ):
        if duration and timescale:
            return duration / timescale * held
    return None


def _fragmented_s(window: Window, movie: _Movie, track: _Track, last: Box | None, held: float) -> float | None:
    """From the last fragment, as the headers of files in fragments were written before their length was known."""
    if last is not None and track.timescale:
        for traf in boxes(window, last.body, last.end):
            if traf.kind == b"traf" and (end := fragment_end(window, traf, track.number, track.default_duration, held)):
                return end / track.timescale
    if movie.fragments_duration and movie.timescale and held == 1:
        return movie.fragments_duration / movie.timescale
    return None
