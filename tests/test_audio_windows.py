"""pydub sees short stretches of samples, never a file."""

import io
import math
import sys
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.pydub_windows import MAX_JOINED_S, SAMPLE_RATE_HZ, PydubWindows, join_segments
from tecnobot_core.audio import Span
from tecnobot_core.errors import AudioError, MissingDependencyError

pydub = pytest.importorskip("pydub")

RECORDING = Path("recording.ogg")


def tone(seconds: float, amplitude: float = 0.5) -> bytes:
    waves = (amplitude * 32767 * math.sin(2 * math.pi * 330 * n / SAMPLE_RATE_HZ) for n in range(int(seconds * 16_000)))
    return array("h", map(int, waves)).tobytes()


class Decoded:
    """An hour in which the first second of every three is loud."""

    def __init__(self) -> None:
        self.asked: list[tuple[Path, float, float]] = []

    async def samples(self, source: Path, start_s: float, seconds: float) -> bytes:
        self.asked.append((source, start_s, seconds))
        period = tone(1) + bytes(2 * SAMPLE_RATE_HZ * 2)
        start = int(start_s * SAMPLE_RATE_HZ) * 2 % len(period)
        return (period * 41)[start : start + int(seconds * SAMPLE_RATE_HZ) * 2]


async def test_only_the_window_is_decoded() -> None:
    decoded = Decoded()
    segment = await PydubWindows(decoded).window(RECORDING, 1800, 3)
    assert decoded.asked == [(RECORDING, 1800, 3)]
    assert (segment.duration_seconds, segment.frame_rate, segment.channels) == (3.0, SAMPLE_RATE_HZ, 1)


async def test_silences_are_told_in_the_time_of_the_recording() -> None:
    found = await PydubWindows(Decoded()).silences(RECORDING, 1800, 6)
    assert found == [
        Span(pytest.approx(1801, abs=0.02), pytest.approx(1803, abs=0.02)),  # type: ignore[arg-type]
        Span(pytest.approx(1804, abs=0.02), pytest.approx(1806, abs=0.02)),  # type: ignore[arg-type]
    ]


async def test_loudness_is_below_full_scale() -> None:
    windows = PydubWindows(Decoded())
    assert await windows.loudness_dbfs(RECORDING, 0, 1) == pytest.approx(-9, abs=0.2)
    assert await windows.loudness_dbfs(RECORDING, 1, 1) == -math.inf


def segment(data: bytes, rate_hz: int = SAMPLE_RATE_HZ) -> Any:
    return pydub.AudioSegment(data=data, sample_width=2, frame_rate=rate_hz, channels=1)


def test_joined_segments_are_equally_loud_with_a_pause_between() -> None:
    joined = join_segments([segment(tone(1, 0.05)), segment(tone(1, 0.8))], pause_s=0.5)
    with wave.open(io.BytesIO(joined)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (SAMPLE_RATE_HZ, 1, 2)
        assert wav.getnframes() == int(2.5 * SAMPLE_RATE_HZ)
        data = wav.readframes(wav.getnframes())
    second = SAMPLE_RATE_HZ * 2
    quiet, pause, loud = data[:second], data[second : second * 3 // 2], data[second * 3 // 2 :]
    assert not any(pause)
    assert segment(quiet).dBFS == pytest.approx(segment(loud).dBFS, abs=0.1) == pytest.approx(-18, abs=0.1)


def test_silence_is_joined_as_it_is() -> None:
    assert len(join_segments([segment(bytes(3200))])) > 3200


def test_what_cannot_be_joined_is_named() -> None:
    with pytest.raises(ValueError, match="at least one"):
        join_segments([])
    long = segment(bytes(int(MAX_JOINED_S / 2 + 1) * 2), rate_hz=1)
    with pytest.raises(AudioError) as caught:
        join_segments([long, long])
    assert caught.value.kind == "too_long"


async def test_without_pydub_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydub", None)
    with pytest.raises(MissingDependencyError, match=r"tecnobot-core\[audio\]"):
        await PydubWindows(Decoded()).window(RECORDING, 0, 1)
