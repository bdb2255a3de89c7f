"""What needs no work passes through; the rest is refused by name."""

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.errors import AudioError

RECORDINGS = {
    b"OggS\x00\x02": ("recording.ogg", "audio/ogg"),
    b"fLaC\x00\x00": ("recording.flac", "audio/flac"),
    b"RIFF\x24\x08\x00\x00WAVEfmt ": ("recording.wav", "audio/wav"),
    b"\x00\x00\x00\x1cftypM4A ": ("recording.m4a", "audio/mp4"),
    b"\x1aE\xdf\xa3\x9f\x42": ("recording.webm", "audio/webm"),
    b"ID3\x04\x00": ("recording.mp3", "audio/mpeg"),
    b"\xff\xfb\x90\x64": ("recording.mp3", "audio/mpeg"),
    b"\xff\xf3\x40\xc4": ("recording.mp3", "audio/mpeg"),
}


@pytest.mark.parametrize(("data", "wanted"), RECORDINGS.items())
async def test_the_content_decides_what_a_recording_is(data: bytes, wanted: tuple[str, str]) -> None:
    async with AudioPreprocessor().prepare(data) as clips:
        assert [(clip.file_name, clip.mime, clip.data) for clip in clips] == [(*wanted, data)]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "empty"), (b"GIF89a", "not_audio"), (b"\xff\xd8\xff\xe0", "not_audio"), (b"OggS" + bytes(97), "too_big")],
)
async def test_what_cannot_be_used_is_a_typed_error(data: bytes, kind: str) -> None:
    with pytest.raises(AudioError) as caught:
        async with AudioPreprocessor(max_upload_bytes=100).prepare(data):
            pass
    assert caught.value.kind == kind
