"""What a recording is and how long it lasts, read from its headers without decoding."""

from dataclasses import dataclass
from typing import BinaryIO

from .containers import adts, aiff, amr, caf, flac, matroska, mp4, mpeg, ogg, riff
from .containers.window import Contents, Window

MAX_DURATION_S = 366 * 24 * 3600.0  # what claims to be longer is damaged, and says nothing
MAX_TAGS = 4

# Extension and media type of each container, and whether transcription endpoints take it by that extension. They list
# flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav and webm, and judge by the file's name: `.opus` and `.oga` are refused.
_KINDS = {
    "ogg": ("ogg", "audio/ogg", True),
    "wav": ("wav", "audio/wav", True),
    "rf64": ("wav", "audio/wav", False),
    "flac": ("flac", "audio/flac", True),
    "mp3": ("mp3", "audio/mpeg", True),
    "mp2": ("mp2", "audio/mpeg", False),
    "m4a": ("m4a", "audio/mp4", True),
    "mp4": ("mp4", "video/mp4", True),
    "3gp": ("3gp", "audio/3gpp", False),
    "mov": ("mov", "video/quicktime", False),
    "webm": ("webm", "audio/webm", True),
    "matroska": ("mkv", "audio/x-matroska", False),
    "amr": ("amr", "audio/amr", False),
    "aac": ("aac", "audio/aac", False),
    "aiff": ("aiff", "audio/aiff", False),
    "caf": ("caf", "audio/x-caf", False),
}
_BY_MAGIC = (ogg.read, mp4.read, riff.read, matroska.read, flac.read, amr.read, caf.read, aiff.read)


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What headers say of a recording.

    ``extension`` is the one that endpoints judge by, without a dot. ``codec`` is empty when it is not known.
    ``duration_s`` is what the headers declare, what the bytes can hold where that is less, or None: decode to know. It
    is an estimate for streams of frames without a count (bare MP3 of a variable bitrate, AAC, AMR). ``accepted`` tells
    whether a transcription endpoint takes the container as it is. ``has_audio`` is False only where tracks are listed
    and none is audio. ``cut`` tells that the file ends before its headers say so.
    """

    container: str
    extension: str
    mime: str
    codec: str
    duration_s: float | None
    accepted: bool
    has_audio: bool
    cut: bool = False


def read_facts(source: BinaryIO, size_bytes: int) -> AudioFacts | None:
    """Facts of *source*, which can seek and has *size_bytes*; None when it is no audio.

    The content decides, never a name. Damaged input is no error: facts are then few, or None. Reads at most 1 MiB,
    usually some 10 KiB, and moves the position of *source*.
    """
    window = Window(source, size_bytes)
    contents = next((found for read in _BY_MAGIC if (found := read(window)) is not None), None) or _by_frames(window)
    if contents is None:
        return None
    extension, mime, accepted = _KINDS[contents.container]
    return AudioFacts(
        contents.container,
        extension,
        mime,
        contents.codec,
        _sensible(contents.duration_s),
        accepted,
        contents.has_audio,
        contents.cut,
    )


def _by_frames(window: Window) -> Contents | None:
    """What has no magic of its own but frames, perhaps with tags before them."""
    start = _behind_tags(window)
    for read in (flac.read, adts.read, mpeg.read):
        if found := read(window, start):
            return found
    # A tag is not audio, but what carries one was made as MP3; nothing more can be said of one whose frames are gone.
    return Contents("mp3", cut=True) if start else None


def _behind_tags(window: Window) -> int:
    """Where the ID3v2 tags at the start end; their lengths have seven bits a byte."""
    start = 0
    for _ in range(MAX_TAGS):
        head = window.read(start, 10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)
    return start


def _sensible(duration_s: float | None) -> float | None:
    return duration_s if duration_s is not None and 0 < duration_s <= MAX_DURATION_S else None  # no NaN passes either
