"""AudioPreprocessor: turns a recording into something small that can be transcribed."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ..errors import AudioError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio that a transcription endpoint takes as it is; ``file_name`` has the extension that it judges by."""

    file_name: str
    mime: str
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


class AudioPreprocessor:
    """Passes through what needs no work, and says by name what it cannot do without an engine."""

    def __init__(self, *, max_upload_bytes: int = 25 * MIB) -> None:
        if max_upload_bytes < 1:
            raise ValueError(f"max_upload_bytes must be at least 1, not {max_upload_bytes}")
        self._max_upload_bytes = max_upload_bytes

    @asynccontextmanager
    async def prepare(self, source: bytes) -> AsyncIterator[Sequence[Clip]]:
        """Clips of at most the limit, in order. The declared type is never believed: the content decides."""
        if not source:
            raise AudioError("the recording is empty; record it again", kind="empty")
        container = _container(source)
        if container is None:
            raise AudioError("this is not a recording in a known format; send a voice note", kind="not_audio")
        if len(source) > self._max_upload_bytes:
            raise AudioError(
                f"the recording has {len(source):,} bytes; at most {self._max_upload_bytes:,} can be used",
                kind="too_big",
            )
        extension, mime = container
        yield (Clip(f"recording.{extension}", mime, source),)


def _container(data: bytes) -> tuple[str, str] | None:
    """Extension and media type by magic bytes; formats as the transcription endpoints list them."""
    head = data[:16]
    if head.startswith(b"OggS"):
        return "ogg", "audio/ogg"
    if head.startswith(b"fLaC"):
        return "flac", "audio/flac"
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "wav", "audio/wav"
    if head[4:8] == b"ftyp":
        return "m4a", "audio/mp4"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "webm", "audio/webm"
    # An MPEG frame begins with eleven set bits; layer III has 01 in the two bits that follow the version.
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "mp3", "audio/mpeg"
    return None
