"""Speech: cut in its pauses, no sentence broken; and a voice note that needs no work is not touched."""

import random
import shutil
import subprocess
import wave
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tecnobot_core import AudioPreprocessor
from tecnobot_core.adapters.ffmpeg import FfmpegEngine, find_ffmpeg
from tecnobot_core.audio import Span
from tecnobot_core.temporary_files import TemporaryFiles

ESPEAK = shutil.which("espeak-ng") or ""
pytestmark = pytest.mark.skipif(not ESPEAK, reason="espeak-ng is not there (Debian: espeak-ng)")

RATE_HZ = 22_050  # of espeak-ng
MIN_PAUSE_S = 0.6  # between sentences; within one there is none as long as this
CAP_S = 50.0
# Of two voices, and without a comma or a dash: those are pauses, too.
SENTENCES = [
    ("es", "Quería preguntar si todavía tienen disponible la habitación para el próximo fin de semana."),
    ("en-us", "Please call me back before six because after that I will be on a plane to Chicago."),
    ("es+f2", "La factura número cuatro mil doscientos treinta y ocho tiene un error en el total."),
    ("en-us+f4", "The quick brown fox jumps over the lazy dog while the children watch from the window."),
    ("es+m3", "Mi hermana viaja el jueves a Medellín y no vuelve hasta el final de diciembre."),
    ("en-us+m7", "I would like to know whether the order that I placed last week has left the warehouse."),
    ("es", "El año pasado cerraban al mediodía y los sábados no abrían ni siquiera por la mañana."),
    ("en-us", "There seems to be a mistake in the second line of the invoice that you sent me yesterday."),
]


@dataclass(frozen=True)
class Speech:
    """A recording, and where each sentence of it begins and ends."""

    path: Path
    sentences: Sequence[Span]
    seconds: float


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    """Three minutes, with breath in the pauses and room in all of it."""
    folder, chance = tmp_path_factory.mktemp("speech"), random.Random(11)
    spoken = [_say(voice, text) for voice, text in SENTENCES]
    samples = array("h", bytes(RATE_HZ))
    sentences: list[Span] = []
    while len(samples) / RATE_HZ < 180:
        sentence = spoken[len(sentences) % len(spoken)]
        sentences.append(Span(len(samples) / RATE_HZ, (len(samples) + len(sentence)) / RATE_HZ))
        samples += sentence
        samples += array("h", bytes(2 * int(RATE_HZ * chance.uniform(MIN_PAUSE_S, 1.4))))
    dry, path = folder / "dry.wav", folder / "speech.wav"
    _write(dry, samples)
    room = "anoisesrc=color=pink:amplitude=0.002:seed=5:sample_rate=22050"
    mix = "[0:a][1:a]amix=inputs=2:duration=first:normalize=0"
    _ffmpeg("-i", str(dry), "-f", "lavfi", "-i", room, "-filter_complex", mix, str(path))
    return Speech(path, sentences, len(samples) / RATE_HZ)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[TemporaryFiles]:
    async with TemporaryFiles(tmp_path / "temporary", min_free_share=0) as files:
        yield files


@pytest.mark.parametrize(("name", "arguments", "transcode"), [("a.m4a", "-c:a aac", False), ("a.mp3", "-q:a 4", True)])
async def test_speech_is_cut_in_its_pauses_and_no_sentence_is_broken(
    name: str, arguments: str, transcode: bool, speech: Speech, files: TemporaryFiles
) -> None:
    source = speech.path.with_name(name)
    if not source.exists():
        _ffmpeg("-i", str(speech.path), *arguments.split(), str(source))
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files, max_clip_s=CAP_S)
    told: list[Span] = []
    async with audio.prepare(source, transcode=transcode) as clips:
        assert len(clips) >= 4
        for before, after in pairwise(clips):
            assert before.end_s == after.start_s, "a pause was found, so nothing is sent twice"
            sure_s = min(max(after.start_s - s.end_s, s.start_s - after.start_s) for s in speech.sentences)
            assert sure_s > 0.1, "between two sentences, and not at the edge of one"
        for clip in clips:
            assert clip.path is not None
            assert clip.end_s is not None
            assert clip.end_s - clip.start_s <= CAP_S
            here = [s for s in speech.sentences if clip.start_s <= s.start_s and s.end_s <= clip.end_s]
            heard = _heard(clip.path)
            assert len(heard) == len(here)
            for sentence, (begins_s, ends_s) in zip(here, heard, strict=True):
                assert begins_s + clip.start_s == pytest.approx(sentence.start_s, abs=0.2)
                assert ends_s + clip.start_s == pytest.approx(sentence.end_s, abs=0.2)
            told += here
    assert told == list(speech.sentences), "each of them is whole in one part"


async def test_a_spoken_voice_note_passes_through_untouched(speech: Speech, files: TemporaryFiles) -> None:
    note = speech.path.with_name("PTT-20261128-WA0001.opus")
    _ffmpeg(
        *("-i", str(speech.path), "-t", "15", "-ac", "1", "-ar", "16000", "-c:a", "libopus", "-b:a", "16k"),
        *("-application", "voip", "-frame_duration", "60", "-f", "ogg", str(note)),
    )
    pids: list[int] = []
    audio = AudioPreprocessor(FfmpegEngine(on_started=pids.append), temporary_files=files)
    for source in (note, note.read_bytes()):
        async with audio.prepare(source) as clips:
            (clip,) = clips
            assert await clip.read() == note.read_bytes()
            assert (clip.file_name, clip.mime) == ("recording.ogg", "audio/ogg")
            assert (clips.transcoded, clips.truncated) == (False, False)
            assert clips.duration_s == pytest.approx(15, abs=0.1)
            assert files.statistics().leases == 0
    assert pids == []


def _say(voice: str, text: str) -> "array[int]":
    """Spoken, without the silence before and after it."""
    spoken = subprocess.run(
        [ESPEAK, "-v", voice, "-s", "150", "--stdout", text], check=True, capture_output=True, timeout=60
    )
    samples = array("h", spoken.stdout[44:])  # the header of a wav
    loud = [index for index, sample in enumerate(samples) if abs(sample) > 300]
    return samples[loud[0] : loud[-1] + 1]


def _heard(path: Path) -> list[Span]:
    """Where something is said in *path*: stretches with no pause of half a second in them."""
    data = _ffmpeg("-i", str(path), "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1")
    samples = array("h", data)
    loud_s = [
        start / 8000
        for start in range(0, len(samples), 80)
        if max(map(abs, samples[start : start + 80]), default=0) > 700
    ]
    edges = [0, *(i for i, (one, next_one) in enumerate(pairwise(loud_s), 1) if next_one - one > 0.5), len(loud_s)]
    return [Span(loud_s[first], loud_s[last - 1]) for first, last in pairwise(edges)]


def _write(path: Path, samples: "array[int]") -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())


def _ffmpeg(*arguments: str) -> bytes:
    command = [str(find_ffmpeg().path), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
