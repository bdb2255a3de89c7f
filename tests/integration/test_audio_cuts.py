"""What is cut out of a recording sounds as the recording does there."""

import subprocess
from array import array
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from math import sqrt
from operator import mul
from pathlib import Path

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.adapters.ffmpeg import FfmpegEngine, find_ffmpeg
from tecnobot_core.adapters.ffmpeg.command import cut_command
from tecnobot_core.audio import Encoding, Span
from tecnobot_core.audio.ports import Codec
from tecnobot_core.temporary_files import TemporaryFiles

RATE_HZ = 2000  # in which it is compared; no sound of it is as high as 1 kHz
LENGTH_S = 60.0
SETTLED_S = 0.3  # a decoder that begins in the middle needs some packets to be itself
HEARD_S = 0.2  # what is compared, at each end
MOVED_S = 0.11  # a packet of 60 ms of Opus, or two of 36 ms of MP3 (one has lost what is before it), and a delay
# The pitches say at which time one is: no part of a second is like another.
PITCHES = ("150+6*t", "370+5*t", "620-4*t", "960-6*t", "800-3*t", "290+2*t")
RISING = f"aevalsrc='{'+'.join(f'0.12*sin(2*PI*({pitch})*t)' for pitch in PITCHES)}':s=16000:d={LENGTH_S}"
PAUSED = f"{RISING},volume='if(lt(mod(t,7),6.2),1,0)':eval=frame"
SPANS = {
    "from the beginning": [Span(0, 7.3)],
    "begun within the lead": [Span(0.02, 1.1), Span(0.5, 3), Span(9.97, 12), Span(10, 12), Span(10.01, 12)],
    "side by side": [Span(0, 13.37), Span(13.37, 31), Span(31, 45.123), Span(45.123, LENGTH_S)],
    "with gaps, and backwards": [Span(50, 55.5), Span(30, 33), Span(2, 4), Span(12, 13)],
    "over each other": [Span(0, 20), Span(17, 37), Span(34, LENGTH_S)],
    "tiny": [Span(0, 0.7), Span(5, 5.7), Span(20.01, 20.7), Span(59.3, LENGTH_S)],
    "more than one child takes": [Span(second, second + 1) for second in range(5, 5 + 18)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuts")


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[TemporaryFiles]:
    async with TemporaryFiles(tmp_path / "temporary", min_free_share=0) as files:
        yield files


async def encoded(folder: Path, codec: Codec) -> Path:
    path = folder / f"whole.{codec}"
    if not path.exists():
        source = made(folder, "source.wav", RISING, "-c:a pcm_s16le")
        bit_rate = 24_000 if codec == "opus" else 32_000
        await FfmpegEngine().encode(source, path, Encoding(codec, bit_rate, 100, 10**7), lambda done_s: None)
    return path


@pytest.mark.parametrize(
    ("spans", "codec"),
    [*((spans, "opus") for spans in SPANS), ("side by side", "mp3"), ("begun within the lead", "mp3")],
)
async def test_what_was_cut_sounds_as_the_whole_does_there(
    spans: str, codec: Codec, folder: Path, tmp_path: Path
) -> None:
    source = await encoded(folder, codec)
    wanted = SPANS[spans]
    targets = [tmp_path / f"{index}.{codec}" for index in range(len(wanted))]
    await FfmpegEngine().cut(source, wanted, targets)
    whole = decoded(source)
    for span, target in zip(wanted, targets, strict=True):
        part = decoded(target)
        # Whole packets are copied: one more or less at each end.
        assert len(part) / RATE_HZ == pytest.approx(span.end_s - span.start_s, abs=0.1), span
        assert_is_at(part, whole, span)


async def test_a_codec_without_loss_gives_the_very_samples(folder: Path, tmp_path: Path) -> None:
    source = made(folder, "whole.ogg", RISING, "-c:a flac -frame_size 576")
    whole = decoded(source, 16_000)
    for name, spans in SPANS.items():
        targets = [tmp_path / f"{name}-{index}.ogg" for index in range(len(spans))]
        ffmpeg(*cut_command(source, spans, targets, "opus"))
        starts: list[tuple[int, int]] = []
        for span, target in zip(spans, targets, strict=True):
            part = decoded(target, 16_000)
            start = -(-round(span.start_s * 16_000) // 576) * 576  # the first packet that begins in the span
            assert part == whole[start : start + len(part)], (name, span)
            assert 0 <= start + len(part) - min(span.end_s * 16_000, len(whole)) < 576, (name, span)
            starts.append((start, start + len(part)))
        if name == "side by side":
            assert all(before[1] == after[0] for before, after in pairwise(starts)), "no sample is lost, none twice"
            assert (starts[0][0], starts[-1][1]) == (0, len(whole))


@pytest.mark.parametrize(
    ("name", "arguments", "transcode"),
    [
        ("a.m4a", "-ar 44100 -c:a aac -b:a 64k", False),
        ("a.mp3", "-ar 44100 -c:a libmp3lame -b:a 64k", True),
        ("a.wav", "-ar 44100 -ac 2 -c:a pcm_s16le", True),
        ("a.flac", "-ar 48000 -c:a flac", False),
    ],
)
async def test_a_part_holds_what_its_times_say(
    name: str, arguments: str, transcode: bool, folder: Path, files: TemporaryFiles
) -> None:
    source = made(folder, name, PAUSED, arguments)
    whole = decoded(source)
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files, max_clip_s=18)
    async with audio.prepare(source, transcode=transcode) as clips:
        assert len(clips) >= 4
        assert clips[0].file_name == ("recording.mp3" if transcode else "recording.ogg")
        for before, after in pairwise(clips):
            assert 6.2 < after.start_s % 7 < 7, "the cut is in a pause"
            assert before.end_s == after.start_s
        for clip in clips:
            assert clip.path is not None
            assert clip.end_s is not None
            part = decoded(clip.path)
            assert len(part) / RATE_HZ == pytest.approx(clip.end_s - clip.start_s, abs=0.15)
            assert_is_at(part, whole, Span(clip.start_s, clip.end_s), pause_s=0.5)


def assert_is_at(part: Sequence[int], whole: Sequence[int], span: Span, pause_s: float = 0) -> None:
    """*part* is what *whole* has at *span*, moved by a packet at most, and as much at its end as at its beginning.

    It may begin and end with *pause_s* of silence.
    """
    moved_s = []
    for start_s in (SETTLED_S + pause_s, len(part) / RATE_HZ - HEARD_S - 0.1 - pause_s):
        heard = part[int(start_s * RATE_HZ) :][: int(HEARD_S * RATE_HZ)]
        found_s, likeness = best_place(heard, whole, span.start_s + start_s)
        assert likeness > 0.9, (span, start_s, found_s)
        moved_s.append(found_s)
    assert max(moved_s) - min(moved_s) < 3 / RATE_HZ, (span, moved_s)


def best_place(heard: Sequence[int], whole: Sequence[int], at_s: float) -> tuple[float, float]:
    """How far from *at_s* the sound is most like *whole*, and how like: 1 is the same."""
    at, reach = round(at_s * RATE_HZ), round(MOVED_S * RATE_HZ)
    likeness, moved = max(
        (correlation(heard, whole[at + moved : at + moved + len(heard)]), moved)
        for moved in range(max(-reach, -at), reach + 1)
    )
    return moved / RATE_HZ, likeness


def correlation(one: Sequence[int], other: Sequence[int]) -> float:
    power = sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / power if power and len(one) == len(other) else 0.0


def made(folder: Path, name: str, sound: str, arguments: str) -> Path:
    path = folder / name
    if not path.exists():
        ffmpeg("-f", "lavfi", "-i", sound, *arguments.split(), str(path))
    return path


def decoded(path: Path, rate_hz: int = RATE_HZ) -> "array[int]":
    samples = array("h")
    samples.frombytes(ffmpeg("-i", str(path), "-ac", "1", "-ar", str(rate_hz), "-f", "s16le", "pipe:1"))
    return samples


def ffmpeg(*arguments: str) -> bytes:
    command = [str(find_ffmpeg().path), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
