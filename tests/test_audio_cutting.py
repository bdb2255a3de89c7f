"""Long recordings are cut in silences, below every limit, and nothing of them is lost."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core import AudioPreprocessor
from tecnobot_core.audio import Span, read_facts
from tecnobot_core.audio.cutting import MAX_PARTS, CutPlan
from tecnobot_core.audio.limits import UploadLimits
from tecnobot_core.errors import AudioError
from tests.fake_engine import FakeEngine, ogg_opus

MIB = 1024 * 1024
SPEECH_BYTES_FOR_A_SECOND = 3000


def plan(duration_s: float, max_s: float | None = 1400.0, max_bytes: int = 25 * MIB) -> CutPlan:
    return CutPlan.of(UploadLimits(max_bytes, max_s), int(duration_s * SPEECH_BYTES_FOR_A_SECOND), duration_s)


def silences(*middles_s: float) -> list[Span]:
    return [Span(middle - 0.5, middle + 0.5) for middle in middles_s]


def test_a_part_ends_in_the_last_silence_before_twenty_minutes() -> None:
    found = plan(2500).spans(2500, silences(1100, 1150, 1180, 1210, 2350))
    assert found == [Span(0, 1180), Span(1180, 2350), Span(2350, 2500)]


def test_without_a_silence_parts_overlap_by_three_seconds() -> None:
    assert plan(2500).spans(2500, []) == [Span(0, 1200), Span(1197, 2397), Span(2394, 2500)]


def test_nothing_short_is_left_over() -> None:
    assert plan(2440).spans(2440, silences(1200)) == [Span(0, 1200), Span(1200, 2440)]


def test_a_small_upload_makes_more_parts() -> None:
    found = plan(2000, None, MIB).spans(2000, [])
    assert len(found) > 6
    assert all((end_s - start_s) * SPEECH_BYTES_FOR_A_SECOND < MIB for start_s, end_s in found)


def test_what_would_be_too_many_parts_is_refused() -> None:
    with pytest.raises(AudioError, match=f"more than {MAX_PARTS} parts") as caught:
        plan(10_000, 4).spans(10_000, [])
    assert caught.value.kind == "too_big"


@given(
    duration_s=st.floats(2, 15_000),
    max_s=st.none() | st.floats(100, 2000),
    max_mib=st.floats(0.5, 30),
    places=st.lists(st.floats(0, 1), max_size=200),
)
def test_all_is_covered_and_no_part_is_over_a_limit(
    duration_s: float, max_s: float | None, max_mib: float, places: Sequence[float]
) -> None:
    max_bytes = int(max_mib * MIB)
    spans = plan(duration_s, max_s, max_bytes).spans(
        duration_s, silences(*sorted(place * duration_s for place in places))
    )
    assert (spans[0].start_s, spans[-1].end_s) == (0, duration_s)
    for span in spans:
        seconds = span.end_s - span.start_s
        assert 0 < seconds <= (math.inf if max_s is None else max_s) + 1e-6
        assert seconds * SPEECH_BYTES_FOR_A_SECOND <= max_bytes
    for before, after in itertools.pairwise(spans):
        assert 0 <= before.end_s - after.start_s <= 3
        assert before.start_s < after.start_s


async def test_a_long_recording_becomes_clips_that_know_their_place() -> None:
    engine = FakeEngine(2500, silences=silences(1180, 2350))
    async with AudioPreprocessor(engine).prepare(ogg_opus(2500, 100_000)) as clips:
        assert [(clip.index, clip.start_s, clip.end_s) for clip in clips] == [
            (0, 0, 1180),
            (1, 1180, 2350),
            (2, 2350, 2500),
        ]
        assert {clip.file_name for clip in clips} == {"recording.ogg"}
        assert len({clip.sha256 for clip in clips}) == 3
        assert sum(_duration_s(clip.path) for clip in clips) == pytest.approx(2500)
        paths = [clip.path for clip in clips if clip.path is not None]
    assert len(paths) == 3
    assert not any(path.exists() for path in paths)


async def test_less_is_spent_on_each_second_where_that_saves_a_part() -> None:
    audio = AudioPreprocessor(engine := FakeEngine(3 * 3600, bytes_for_a_second=2000), max_clip_s=None)
    async with audio.prepare(ogg_opus(3 * 3600, 30 * MIB)) as clips:
        assert len(clips) == 1
    assert [call.bit_rate for call in engine.calls if not isinstance(call, Sequence)] == [16_000]


async def test_a_part_that_is_denser_than_expected_is_never_sent() -> None:
    class Dense(FakeEngine):
        async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
            for target in targets:
                target.write_bytes(bytes(MIB) if target != targets[0] else ogg_opus(100, MIB + 1))
            targets[-1].write_bytes(ogg_opus(1, 1))

    with pytest.raises(AudioError) as caught:
        async with AudioPreprocessor(Dense(600), max_upload_bytes=MIB).prepare(ogg_opus(600, 2 * MIB)):
            pytest.fail("it was taken")
    assert caught.value.kind in ("too_big", "cannot_decode")


async def test_a_part_of_headers_alone_is_never_sent() -> None:
    class Hollow(FakeEngine):
        async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
            await super().cut(source, spans, targets)
            targets[-1].write_bytes(ogg_opus(100, 1000)[:47])

    with pytest.raises(AudioError, match="holds no sound") as caught:
        async with AudioPreprocessor(Hollow(2500)).prepare(ogg_opus(2500, 100_000)):
            pytest.fail("it was taken")
    assert caught.value.kind == "cannot_decode"


def _duration_s(path: Path | None) -> float:
    assert path is not None
    with path.open("rb") as file:
        facts = read_facts(file, path.stat().st_size)
    assert facts is not None
    assert facts.duration_s is not None
    return facts.duration_s
