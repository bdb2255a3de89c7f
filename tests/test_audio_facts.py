"""Headers tell what a recording is, and nothing in them can do harm."""

import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tecnobot_core.audio.containers.window import MAX_BYTES, MAX_READS, Window
from tecnobot_core.audio.facts import AudioFacts, read_facts
from tests.make_audio import RECIPES, AudioFiles, session_files

# Container, extension, codec, and whether it is accepted as it is.
KINDS = {
    "opus": ("ogg", "ogg", "opus", True),
    "opus-stereo": ("ogg", "ogg", "opus", True),
    "vorbis": ("ogg", "ogg", "vorbis", True),
    "ogg-flac": ("ogg", "ogg", "flac", True),
    "wav": ("wav", "wav", "pcm", True),
    "wav-mulaw": ("wav", "wav", "mulaw", True),
    "wav-adpcm": ("wav", "wav", "adpcm", True),
    "wav-piped": ("wav", "wav", "pcm", True),
    "m4a": ("m4a", "m4a", "aac", True),
    "m4a-faststart": ("m4a", "m4a", "aac", True),
    "m4a-alac": ("m4a", "m4a", "alac", True),
    "m4a-fragmented": ("m4a", "m4a", "aac", True),
    "mp4-piped": ("m4a", "m4a", "opus", True),
    "mp4-opus": ("m4a", "m4a", "opus", True),
    "3gp": ("3gp", "3gp", "amr_nb", False),
    "mov": ("mov", "mov", "pcm", False),
    "mp3": ("mp3", "mp3", "mp3", True),
    "mp3-variable": ("mp3", "mp3", "mp3", True),
    "mp3-bare": ("mp3", "mp3", "mp3", True),
    "mp3-bare-variable": ("mp3", "mp3", "mp3", True),
    "mp2": ("mp2", "mp2", "mp2", False),
    "flac": ("flac", "flac", "flac", True),
    "webm": ("webm", "webm", "opus", True),
    "webm-vorbis": ("webm", "webm", "vorbis", True),
    "webm-piped": ("webm", "webm", "opus", True),
    "matroska": ("matroska", "mkv", "aac", False),
    "amr": ("amr", "amr", "amr_nb", False),
    "aac": ("aac", "aac", "aac", False),
    "caf": ("caf", "caf", "pcm", False),
    "caf-alac": ("caf", "caf", "alac", False),
    "aiff": ("aiff", "aiff", "pcm", False),
}
# FLAC in parts keeps the length of its first part in its header; parts of this MP4 have gaps between their times.
NOT_JOINED = {"flac", "mp4-piped"}
USUAL = {"opus", "wav", "m4a", "mp3", "mp3-bare-variable", "webm-piped", "amr", "aac"}
# These declare the time with or without what encoders add, or round it; ffmpeg loses 0.1 s of its own ALAC in CAF.
LESS_EXACT_S = dict.fromkeys(["wav-adpcm", "mp4-opus", "mp4-piped", "3gp", "webm", "webm-vorbis", "matroska"], 0.03)
LESS_EXACT_S |= {"caf-alac": 0.11}
NOT_AUDIO = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html><body>Not found</body></html>" * 50,
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
    "ffconcat": b"ffconcat version 1.0\nfile /etc/hostname\n",
    "noise": random.Random(7).randbytes(200_000),
    "zeros": bytes(100_000),
    "all bits": b"\xff" * 100_000,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(1000),
    "gif": b"GIF89a" + bytes(1000),
    "pdf": b"%PDF-1.7\n" + bytes(1000),
    "zip": b"PK\x03\x04" + bytes(1000),
    "avi": b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(1000),
    "utf-16": "hola, ¿qué tal?".encode("utf-16") * 100,
}
DAMAGED = ["opus", "vorbis", "wav", "wav-adpcm", "m4a", "m4a-faststart", "m4a-fragmented", "mp4-piped", "3gp", "mp3"]
DAMAGED += ["mp3-bare", "flac", "webm", "webm-piped", "amr", "aac", "caf-alac", "aiff"]
MAGICS = [b"OggS\0\2", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC\0\0\0\x22", b"\x1aE\xdf\xa3", b"#!AMR\n"]
MAGICS += [b"FORM\0\0\0\0AIFFCOMM", b"\0\0\0\x0cftypM4A ", b"ID3\4\0\0\0\0\0\0", b"caff\0\1\0\0desc"]
MAGICS += [b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x40"]


class Counting(io.BytesIO):
    """Counts what is read."""

    n_bytes = n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.n_bytes += len(data)
        self.n_reads += 1
        return data


def of(data: bytes) -> AudioFacts | None:
    """Facts of *data*, with what must hold whatever it is."""
    source = Counting(data)
    facts = read_facts(source, len(data))
    assert source.n_bytes <= MAX_BYTES
    assert source.n_reads <= MAX_READS
    assert facts is None or facts.duration_s is None or 0 < facts.duration_s <= 366 * 24 * 3600
    return facts


def known(data: bytes) -> AudioFacts:
    facts = of(data)
    assert facts is not None
    return facts


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> AudioFiles:
    return session_files(tmp_path_factory)


def assert_decodes_to_its_declared_length(path: Path, files: AudioFiles, tolerance_s: float) -> None:
    assert known(path.read_bytes()).duration_s == pytest.approx(files.decoded_s(path), abs=tolerance_s)


def test_every_recipe_has_its_kind() -> None:
    assert KINDS.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_recording_is_known_by_its_content(name: str, files: AudioFiles) -> None:
    path = files.make(name)
    facts = known(path.read_bytes())
    assert (facts.container, facts.extension, facts.codec, facts.accepted) == KINDS[name]
    assert facts.has_audio
    assert not facts.cut
    assert_decodes_to_its_declared_length(path, files, LESS_EXACT_S.get(name, 0.003))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in sorted(KINDS.keys() - NOT_JOINED)],
)
def test_a_longer_recording_has_its_length(name: str, files: AudioFiles) -> None:
    path = files.joined(name, 5)
    assert_decodes_to_its_declared_length(path, files, 0.005 * 75)


def test_a_recording_of_an_hour_is_read_in_a_few_places(files: AudioFiles) -> None:
    data = files.joined("opus", 240).read_bytes()
    source = Counting(data)
    facts = read_facts(source, len(data))
    assert facts is not None
    assert facts.duration_s == pytest.approx(3600, abs=4)
    assert source.n_bytes < 100_000


@pytest.mark.parametrize("name", NOT_AUDIO)
def test_what_is_no_audio_has_no_facts(name: str) -> None:
    assert of(NOT_AUDIO[name]) is None


@pytest.mark.parametrize(("extension", "container"), [("mp4", "mp4"), ("webm", "webm"), ("mkv", "matroska")])
def test_a_picture_without_sound_has_no_audio(extension: str, container: str, files: AudioFiles) -> None:
    silent, loud = known(files.without_audio(extension).read_bytes()), known(files.with_video(extension).read_bytes())
    assert (silent.container, silent.has_audio, silent.codec) == (container, False, "")
    assert (loud.container, loud.has_audio) == (container, True)
    assert loud.duration_s == pytest.approx(5, abs=0.03)


def test_a_video_has_the_type_of_a_video(files: AudioFiles) -> None:
    facts = known(files.with_video().read_bytes())
    assert (facts.extension, facts.mime) == ("mp4", "video/mp4")


@pytest.mark.parametrize("name", ["opus", "wav", "m4a-faststart", "mp3", "flac", "webm", "caf", "aiff", "amr"])
def test_a_file_that_ends_too_early_is_cut(name: str, files: AudioFiles) -> None:
    whole = files.make(name).read_bytes()
    facts = known(whole[: len(whole) * 2 // 5 + 3])
    assert facts.cut
    assert facts.duration_s is not None
    assert facts.duration_s <= 15.1


def test_fragments_that_cannot_all_be_seen_are_found_by_their_index(
    files: AudioFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = files.make("m4a-fragmented").read_bytes()
    monkeypatch.setattr("tecnobot_core.audio.containers.boxes.MAX_BOXES", 12)
    assert known(data).duration_s == pytest.approx(15, abs=0.03)
    assert known(data[: data.rindex(b"mfra") - 4]).duration_s is None


def test_aac_in_3gp_is_not_accepted(files: AudioFiles) -> None:
    data = files.make("m4a").read_bytes()
    facts = known(data[:8] + b"3gp4" + data[12:])
    assert (facts.container, facts.codec, facts.accepted) == ("3gp", "aac", False)


@pytest.mark.parametrize("name", ["opus", "wav", "mp3", "aiff", "amr"])
def test_a_cut_file_is_as_long_as_its_bytes(name: str, files: AudioFiles, tmp_path: Path) -> None:
    whole = files.make(name)
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 5])
    assert_decodes_to_its_declared_length(cut, files, 0.5)


def test_mp4_without_its_index_is_cut(files: AudioFiles) -> None:
    data = files.make("m4a").read_bytes()
    facts = known(data[: data.rindex(b"moov") - 4])
    assert (facts.container, facts.cut, facts.duration_s, facts.has_audio) == ("m4a", True, None, True)


def test_recordings_one_after_the_other_in_one_ogg_have_no_known_length(files: AudioFiles) -> None:
    first, second = files.make("opus").read_bytes(), files.make("vorbis").read_bytes()
    assert known(first + second).duration_s is None
    assert known(first + first).duration_s is None


def test_ogg_that_begins_late_is_no_longer_than_it_lasts(files: AudioFiles) -> None:
    data = bytearray(files.make("vorbis").read_bytes())
    day = 24 * 3600 * 44_100
    offset = 0
    while (offset := data.find(b"OggS", offset)) >= 0:
        position = int.from_bytes(data[offset + 6 : offset + 14], "little")
        if 0 < position < 1 << 62:
            data[offset + 6 : offset + 14] = (position + day).to_bytes(8, "little")
        offset += 4
    assert known(bytes(data)).duration_s == pytest.approx(15, abs=6)


def test_a_flac_that_holds_more_than_it_declares_has_no_known_length(files: AudioFiles) -> None:
    assert known(files.joined("flac", 5).read_bytes()).duration_s is None


def test_a_flac_that_does_not_declare_its_length_tells_it_by_its_last_frame(files: AudioFiles) -> None:
    data = bytearray(files.make("flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert known(bytes(data)).duration_s == pytest.approx(15, abs=0.01)


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_is_as_long_as_its_bytes_whatever_it_declares(declared: int, files: AudioFiles) -> None:
    data = bytearray(files.make("wav").read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", declared)
    facts = known(bytes(data))
    assert facts.duration_s == pytest.approx(15, abs=0.01)
    assert facts.cut == (declared == 0x7FFFFFFF)


def test_a_false_rate_of_bytes_does_not_shorten_a_wav(files: AudioFiles) -> None:
    data = bytearray(files.make("wav").read_bytes())
    at = data.index(b"fmt ")
    data[at + 16 : at + 20] = struct.pack("<I", 0x7FFFFFFF)
    assert known(bytes(data)).duration_s == pytest.approx(15, abs=0.01)


def test_more_frames_than_an_mp3_can_hold_are_not_believed(files: AudioFiles) -> None:
    data = bytearray(files.make("mp3").read_bytes())
    at = data.index(b"Info")
    data[at + 8 : at + 12] = b"\x7f\xff\xff\xff"
    assert known(bytes(data)).duration_s == pytest.approx(15, abs=0.2)


def test_an_mp3_with_the_other_header_has_its_length(files: AudioFiles) -> None:
    data = files.make("mp3-bare").read_bytes()
    header = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(data), 400)
    size = 144  # of a frame of 32 kbit/s at 16 kHz
    first = data[:36] + header + bytes(size - 36 - len(header))
    assert known(first + data[size:]).duration_s == pytest.approx(400 * 576 / 16_000)


@pytest.mark.parametrize("name", ["mp3-bare", "flac", "aac"])
def test_tags_before_the_sound_are_skipped(name: str, files: AudioFiles) -> None:
    data = files.make(name).read_bytes()
    tagged = known(b"ID3\x04\x00\x00\x00\x00\x4e\x10" + bytes(10_000) + data)
    assert tagged.container == KINDS[name][0]
    assert tagged.duration_s == pytest.approx(15, abs=0.1)


def test_an_mp3_that_begins_inside_a_frame_is_one(files: AudioFiles) -> None:
    assert known(files.make("mp3-bare").read_bytes()[50:]).container == "mp3"


def test_a_tag_alone_is_a_cut_mp3() -> None:
    facts = known(b"ID3\x04\x00\x00\x00\x00\x4e\x10" + bytes(500))
    assert (facts.container, facts.duration_s, facts.cut) == ("mp3", None, True)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(struct.pack(">I4s", 8, b"free") * 200_000, id="countless boxes"),
        pytest.param(struct.pack(">I4s", 0, b"moov") * 1000, id="boxes without an end"),
        pytest.param(struct.pack(">I4sQ", 1, b"moov", 2**64 - 1) + bytes(1000), id="a box of all the bytes there are"),
        pytest.param(struct.pack(">I4sQ", 1, b"moov", 0) + bytes(1000), id="a box that ends before it begins"),
        pytest.param(struct.pack(">I4s", 2**31, b"moov") + struct.pack(">I4s", 2**31, b"trak") * 9999, id="deep boxes"),
    ],
)
def test_boxes_that_lead_nowhere_are_left(box: bytes) -> None:
    assert known(b"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00" + box).duration_s is None


def test_a_window_shows_no_more_than_its_allowance() -> None:
    window = Window(io.BytesIO(bytes(3 * MAX_BYTES)), 3 * MAX_BYTES)
    assert len(window.read(0, 2 * MAX_BYTES)) == MAX_BYTES
    assert window.read(0, 1) == b""
    window = Window(io.BytesIO(bytes(MAX_READS * 2)), MAX_READS * 2)
    assert len([n for n in range(MAX_READS * 2) if window.read(n, 1)]) == MAX_READS


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_no_bytes_are_an_error(data: bytes) -> None:
    of(data)


@given(st.sampled_from(MAGICS), st.binary(max_size=600))
@settings(max_examples=400, deadline=None)
def test_no_bytes_behind_a_magic_number_are_an_error(magic: bytes, rest: bytes) -> None:
    of(magic + rest)


@given(st.sampled_from(DAMAGED), st.randoms(use_true_random=False), st.integers(1, 30), st.floats(0, 1))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_recording_is_no_error(
    files: AudioFiles, name: str, chance: random.Random, n_changes: int, kept: float
) -> None:
    data = bytearray(files.make(name, 3).read_bytes())
    for _ in range(n_changes):
        # Half of the damage is where headers are.
        at = chance.randrange(min(len(data), chance.choice((1000, len(data)))))
        data[at : at + chance.choice((1, 1, 4))] = chance.choice((b"\0", b"\xff" * 4, chance.randbytes(4), b""))
    of(bytes(data[: int(len(data) * kept)] if chance.random() < 0.5 else data))
