"""What needs no work passes through; the rest is refused by name."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.audio import Clips, max_clip_s_of
from tecnobot_core.errors import AudioError, MissingDependencyError
from tests.fake_engine import FakeEngine, ogg_opus

RECORDINGS = {
    b"OggS\x00\x02": ("recording.ogg", "audio/ogg"),
    b"fLaC\x00\x00": ("recording.flac", "audio/flac"),
    b"RIFF\x24\x08\x00\x00WAVEfmt ": ("recording.wav", "audio/wav"),
    b"\x00\x00\x00\x1cftypM4A ": ("recording.m4a", "audio/mp4"),
    b"\x1aE\xdf\xa3\x8bB\x82\x84webmB\x87\x81\x04": ("recording.webm", "audio/webm"),
    b"\xff\xfb\x90\x64": ("recording.mp3", "audio/mpeg"),
    b"\xff\xf3\x40\xc4": ("recording.mp3", "audio/mpeg"),
}
NOTE = ogg_opus(15, 30_000)
Reserved = list[int]


async def stream(data: bytes, chunk_bytes: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), chunk_bytes):
        yield data[start : start + chunk_bytes]


async def refused(audio: AudioPreprocessor, source: bytes | Path | AsyncIterator[bytes], **options: int) -> AudioError:
    with pytest.raises(AudioError) as caught:
        async with audio.prepare(source, size_bytes=options.get("size_bytes")):
            pytest.fail("it was taken")
    return caught.value


def names(clips: Clips) -> list[tuple[str, str]]:
    return [(clip.file_name, clip.mime) for clip in clips]


@pytest.mark.parametrize(("data", "wanted"), RECORDINGS.items())
async def test_the_content_decides_what_a_recording_is(data: bytes, wanted: tuple[str, str]) -> None:
    async with AudioPreprocessor().prepare(data) as clips:
        assert [(clip.file_name, clip.mime, clip.data) for clip in clips] == [(*wanted, data)]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "empty"), (b"GIF89a", "not_audio"), (b"\xff\xd8\xff\xe0", "not_audio"), (bytes(101), "too_big")],
)
async def test_what_cannot_be_used_is_a_typed_error(data: bytes, kind: str) -> None:
    error = await refused(AudioPreprocessor(max_upload_bytes=100, max_source_bytes=100), data)
    assert error.kind == kind


async def test_a_voice_note_passes_through_as_the_object_that_it_is() -> None:
    engine = FakeEngine()
    async with AudioPreprocessor(engine).prepare(NOTE) as clips:
        (clip,) = clips
        assert clip.content is NOTE
        assert await clip.read() is NOTE
        assert (clip.index, clip.start_s, clip.end_s, clip.size_bytes) == (0, 0.0, 15.0, len(NOTE))
        assert (clips.duration_s, clips.truncated, clips.transcoded) == (15.0, False, False)
    assert engine.calls == []


async def test_a_file_passes_through_without_being_copied(tmp_path: Path) -> None:
    path = tmp_path / "PTT-20260102-WA0007.opus"
    path.write_bytes(NOTE)
    async with AudioPreprocessor().prepare(path) as clips:
        assert names(clips) == [("recording.ogg", "audio/ogg")]
        assert clips[0].path == path
        assert await clips[0].read() == clips[0].data == NOTE
    assert path.read_bytes() == NOTE


async def test_a_small_stream_needs_no_file() -> None:
    async with AudioPreprocessor().prepare(stream(NOTE), size_bytes=len(NOTE)) as clips:
        assert clips[0].content == NOTE


async def test_a_large_stream_goes_into_a_file_that_is_gone_afterwards() -> None:
    data = ogg_opus(600, 2_000_000)
    async with AudioPreprocessor().prepare(stream(data, 100_000), size_bytes=len(data)) as clips:
        path = clips[0].path
        assert path is not None
        assert await clips[0].read() == data
    assert not path.exists()


async def test_a_stream_that_ends_early_is_flagged() -> None:
    async with AudioPreprocessor().prepare(stream(NOTE), size_bytes=len(NOTE) + 1) as clips:
        assert clips.truncated


@pytest.mark.parametrize("size_bytes", [5000, 1_500_000])
async def test_a_stream_that_gives_more_than_it_declared_is_stopped(size_bytes: int) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(1000)

    error = await refused(AudioPreprocessor(), endless(), size_bytes=size_bytes)
    assert (error.kind, asked) == ("too_big", size_bytes // 1000 + 1)


async def test_a_stream_must_tell_its_size() -> None:
    with pytest.raises(TypeError, match="size_bytes"):
        async with AudioPreprocessor().prepare(stream(NOTE)):
            pass


async def test_what_is_no_source_is_named() -> None:
    with pytest.raises(TypeError, match="not str"):
        async with AudioPreprocessor().prepare("voice.ogg"):  # type: ignore[arg-type]
            pass


async def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    assert (await refused(AudioPreprocessor(), tmp_path)).kind == "not_audio"


async def test_equal_recordings_have_equal_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(NOTE)
    async with AudioPreprocessor().prepare(NOTE) as one, AudioPreprocessor().prepare(path) as other:
        assert one[0].sha256 == other[0].sha256


@pytest.mark.parametrize(
    ("seconds", "n_bytes", "passes"),
    [(1400, 100_000, True), (1401, 100_000, False), (600, 25 * 2**20 - 400 * 1024, True), (600, 25 * 2**20, False)],
)
async def test_size_and_duration_decide_whether_it_passes(seconds: int, n_bytes: int, passes: bool) -> None:
    data = ogg_opus(seconds, n_bytes)
    engine = FakeEngine()
    async with AudioPreprocessor(engine).prepare(data) as clips:
        assert clips.transcoded != passes
    assert bool(engine.calls) != passes


async def test_a_model_without_a_cap_takes_a_long_recording() -> None:
    async with AudioPreprocessor(max_clip_s=max_clip_s_of("whisper-1")).prepare(ogg_opus(9000, 100_000)) as clips:
        assert len(clips) == 1


@pytest.mark.parametrize(
    ("model", "cap_s"),
    [(None, 1400), ("gpt-4o-mini-transcribe-2025-12-15", 1400), ("gpt-4o-transcribe", 1400), ("whisper-1", None)],
)
def test_each_model_has_its_cap(model: str | None, cap_s: float | None) -> None:
    assert max_clip_s_of(model) == cap_s


def test_nothing_is_known_of_another_server_s_model() -> None:
    assert max_clip_s_of("Systran/faster-whisper-small") is None


async def test_without_an_engine_what_must_be_converted_says_what_to_install() -> None:
    error = await refused(AudioPreprocessor(), ogg_opus(1500))
    assert error.kind == "engine_missing"
    assert "pip install 'tecnobot-core[audio]'" in str(error)
    assert isinstance(error.__cause__, MissingDependencyError)


async def test_without_an_engine_an_unknown_length_is_left_to_the_endpoint() -> None:
    async with AudioPreprocessor().prepare(b"OggS" + bytes(2_000_000)) as clips:
        assert not clips.transcoded


async def test_with_an_engine_an_unknown_length_is_found_out() -> None:
    engine = FakeEngine(20)
    async with AudioPreprocessor(engine).prepare(b"OggS" + bytes(100)) as clips:
        assert (clips.transcoded, clips.duration_s) == (True, 20)


async def test_a_recording_that_says_it_is_too_long_is_refused_before_it_is_decoded() -> None:
    engine = FakeEngine()
    error = await refused(AudioPreprocessor(engine, max_duration_s=3600), ogg_opus(24 * 3600))
    assert (error.kind, engine.calls) == ("too_long", [])
    assert "86,400 s" in str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_upload_bytes": 0},
        {"max_source_bytes": 0},
        {"concurrency": 0},
        {"max_queue": -1},
        {"max_clip_s": 0.0},
        {"max_duration_s": float("nan")},
    ],
)
def test_a_setting_that_makes_no_sense_is_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AudioPreprocessor(**wrong)  # type: ignore[arg-type]


async def test_memory_is_reserved_for_a_conversion_and_given_back_before_the_clips_are_used() -> None:
    held: Reserved = []

    @asynccontextmanager
    async def reserve(n_bytes: int) -> AsyncIterator[None]:
        held.append(n_bytes)
        yield
        held.remove(n_bytes)

    reserving: Callable[[int], AbstractAsyncContextManager[None]] = reserve
    engine = FakeEngine()
    engine.gate.clear()
    audio = AudioPreprocessor(engine, reserve=reserving)

    async with audio.prepare(NOTE):
        assert held == []
    seen: Reserved = []
    engine.gate.set()
    original = engine.encode

    async def encode(*arguments: object) -> object:
        seen.extend(held)
        return await original(*arguments)  # type: ignore[arg-type]

    engine.encode = encode  # type: ignore[assignment,method-assign]
    async with audio.prepare(NOTE, transcode=True):
        assert (seen, held) == ([1000], [])
