"""A header that is made to harm costs no more looks than an honest one; a file that was cut is as long as its bytes."""

import io
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.audio import sources
from tecnobot_core.audio.containers import adts, amr, flac, mpeg, ogg
from tecnobot_core.audio.containers.window import MAX_PARSES
from tecnobot_core.audio.facts import AudioFacts, read_facts
from tests.fake_engine import FakeEngine, ogg_opus
from tests.make_audio import AudioFiles, session_files

files = pytest.fixture(scope="session")(session_files)
N_BYTES = 2_000_000
ALL_ONES = b"\xff" * N_BYTES


def counted(module: object, name: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has one element for each call of *name*."""
    original: Callable[..., Any] = getattr(module, name)
    calls: list[int] = []

    def counting(*arguments: Any) -> Any:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(module, name, counting)
    return calls


def look(data: bytes) -> AudioFacts:
    facts = read_facts(io.BytesIO(data), len(data))
    assert facts is not None
    return facts


@pytest.mark.parametrize(
    "hostile", [ALL_ONES, b"\xff\xf1\x50\x80\x01\x00\xfc\x00" * 300_000], ids=["ones", "tiny frames"]
)
def test_aac_is_looked_at_in_few_places(hostile: bytes, files: AudioFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    start = files.make("aac").read_bytes()[:30_000]
    calls = counted(adts, "_frame_bytes", monkeypatch)
    assert look(start + hostile).container == "aac"
    assert 1000 < len(calls) < MAX_PARSES + 5 * adts.N_SAMPLES


@pytest.mark.parametrize("hostile", [ALL_ONES, b"\xff\xfb\x90\xc4" * 500_000])
def test_mp3_is_looked_at_in_few_places(hostile: bytes, files: AudioFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    start = files.make("mp3-bare").read_bytes()[:6000]
    calls = counted(mpeg, "parse", monkeypatch)
    assert look(start + hostile).container == "mp3"
    assert len(calls) < MAX_PARSES + 5 * mpeg.N_SAMPLES


def test_mp3_of_the_smallest_frames_is_looked_at_in_few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(mpeg, "parse", monkeypatch)
    facts = look((b"\xff\xf3\x14\xc4" + bytes(20)) * 10_000)
    assert facts.duration_s == pytest.approx(240, abs=0.1)
    assert len(calls) < MAX_PARSES + 20


@pytest.mark.parametrize("hostile", [b"\xff\xf8" * 100_000, b"\xff\xf8\xc9\x08\x00" * 40_000])
def test_few_checksums_of_a_flac_are_reckoned(
    hostile: bytes, files: AudioFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = files.make("flac").read_bytes()[:9000]
    calls = counted(flac, "_crc8", monkeypatch)
    looks = counted(flac, "_frame_end", monkeypatch)
    look(start + hostile)
    assert len(calls) <= len(looks) <= flac.MAX_CANDIDATES


def test_few_pages_of_an_ogg_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(ogg, "_parse", monkeypatch)
    assert look(ogg_opus(15)[:60] + b"OggS" * 500_000).duration_s is None
    assert len(calls) < MAX_PARSES + 100


def test_amr_is_counted_by_its_first_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sizes(dict[int, int]):
        asked = 0

        def get(self, kind: int, default: Any = None) -> Any:
            self.asked += 1
            return super().get(kind, default)

    sizes = Sizes({15: 1})
    monkeypatch.setattr(amr, "_KINDS", ((b"#!AMR\n", "amr_nb", sizes),))
    assert look(b"#!AMR\n" + b"\x7c" * 60_000).duration_s == pytest.approx(60_000 * 0.02)
    assert sizes.asked == MAX_PARSES


@pytest.mark.parametrize("n_bytes", [30_000, 200_000])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_large_is_looked_at_in_a_worker_thread(
    n_bytes: int, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noting(source: io.BytesIO, size_bytes: int) -> AudioFacts | None:
        threads.append(threading.current_thread())
        return read_facts(source, size_bytes)

    async def stream(data: bytes) -> AsyncIterator[bytes]:
        yield data

    monkeypatch.setattr(sources, "read_facts", noting)
    data = ogg_opus(15, n_bytes)
    async with AudioPreprocessor().prepare(stream(data) if streamed else data, size_bytes=len(data)) as clips:
        assert clips.duration_s == 15
    assert [thread is threading.main_thread() for thread in threads] == [n_bytes < 64 * 1024]


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
# What is quiet takes fewer bytes, so that a share of bytes is not quite one of seconds.
@pytest.mark.parametrize(
    ("name", "tolerance_s"), [("m4a-faststart", 1), ("mp4-piped", 1), ("webm", 0.05), ("flac", 0.1)]
)
def test_a_cut_file_has_the_length_that_its_bytes_hold(
    name: str, tolerance_s: float, kept: float, files: AudioFiles, tmp_path: Path
) -> None:
    whole = files.make(name)
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    facts = look(cut.read_bytes())
    assert facts.cut
    assert facts.duration_s == pytest.approx(files.decoded_s(cut), abs=tolerance_s)


def test_a_cut_fragment_is_as_long_as_its_bytes(files: AudioFiles) -> None:
    data = files.make("m4a-fragmented").read_bytes()
    at = data.rindex(b"mdat") + 4
    size = int.from_bytes(data[at - 8 : at - 4], "big") - 8
    begin, half, whole = look(data[:at]), look(data[: at + size // 2]), look(data)
    assert (begin.cut, half.cut, whole.cut) == (True, True, False)
    assert begin.duration_s == pytest.approx(14.3, abs=0.1)
    assert half.duration_s == pytest.approx(14.65, abs=0.1)
    assert whole.duration_s == pytest.approx(15, abs=0.03)


def test_a_cut_webm_whose_last_block_is_not_found_is_as_long_as_its_share(
    files: AudioFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = files.make("webm").read_bytes()
    monkeypatch.setattr("tecnobot_core.audio.containers.matroska._TAIL_BYTES", 16)
    assert look(data[: len(data) // 2]).duration_s == pytest.approx(7.5, abs=0.5)


def test_a_caf_that_tells_its_packets_before_its_sound_is_as_long_as_its_share(files: AudioFiles) -> None:
    data = files.make("caf-alac").read_bytes()
    at = data.index(b"data")
    size = int.from_bytes(data[at + 4 : at + 12], "big")
    head, sound, rest = data[:at], data[at : at + 12 + size], data[at + 12 + size :]
    assert rest.startswith(b"pakt")
    facts = look(head + rest + sound[: 12 + size // 2])
    assert facts.cut
    assert facts.duration_s == pytest.approx(7.5, abs=0.1)


def test_headers_without_any_sound_have_no_length(files: AudioFiles) -> None:
    for name, end in (("m4a-faststart", b"mdat"), ("flac", b"Lavf")):
        data = files.make(name).read_bytes()
        assert look(data[: data.index(end) + 4]).duration_s is None


@pytest.mark.parametrize(("at", "size"), [(24, 4), (22, 2), (34, 2)], ids=["rate", "channels", "bits"])
async def test_a_wav_that_no_sound_is_like_is_left_to_the_engine(at: int, size: int, files: AudioFiles) -> None:
    data = bytearray(files.make("wav").read_bytes())
    data[at : at + size] = bytes(size)
    facts = look(bytes(data))
    assert (facts.codec, facts.duration_s) == ("", None)
    engine = FakeEngine()
    async with AudioPreprocessor(engine).prepare(bytes(data)) as clips:
        assert clips.transcoded


async def test_a_length_that_is_a_share_of_bytes_does_not_limit_what_is_decoded(files: AudioFiles) -> None:
    data = files.make("m4a-faststart").read_bytes()
    engine = FakeEngine(78)  # above a tenth and a minute more than the half that is there
    async with AudioPreprocessor(engine).prepare(data[: len(data) // 2] + b"", transcode=True) as clips:
        assert (clips.duration_s, clips.truncated) == (78, True)
