"""Conversions: a few at a time, told how far they are, truthful about what was lost, nothing left behind."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tecnobot_core import AudioPreprocessor, MemoryManager
from tecnobot_core.audio import AudioEngine, Clips, Encoding, Progress, Span
from tecnobot_core.audio.transcoding import is_short
from tecnobot_core.errors import AudioError, MemoryBusyError, TemporarySpaceError
from tecnobot_core.temporary_files import TemporaryFiles
from tests.fake_engine import FakeEngine, ogg_opus

NOTE = ogg_opus(15, 30_000)
FLOOR = 0.0  # of free space; the machine's disk is none of a test's business


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[TemporaryFiles]:
    async with TemporaryFiles(tmp_path, min_free_share=FLOOR) as files:
        yield files


def left(folder: Path, *, empty: bool = False) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return [path for path in found if empty or path.stat().st_size]


async def convert(audio: AudioPreprocessor, source: bytes = NOTE) -> Clips:
    async with audio.prepare(source, transcode=True) as clips:
        return clips


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_conversions_run_one_at_a_time_and_wait_in_line(files: TemporaryFiles) -> None:
    engine = FakeEngine()
    audio = AudioPreprocessor(engine, temporary_files=files)
    await asyncio.gather(*(convert(audio) for _ in range(5)))
    assert (len(engine.calls), engine.most_at_once) == (5, 1)


async def test_as_many_run_at_once_as_are_allowed(files: TemporaryFiles) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    audio = AudioPreprocessor(engine, temporary_files=files, concurrency=2)
    jobs = [asyncio.create_task(convert(audio)) for _ in range(3)]
    await until(lambda: engine.running == 2)
    engine.gate.set()
    await asyncio.gather(*jobs)
    assert engine.most_at_once == 2


async def test_who_finds_the_line_full_is_told_at_once(files: TemporaryFiles) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    audio = AudioPreprocessor(engine, temporary_files=files, max_queue=2)
    jobs = [asyncio.create_task(convert(audio)) for _ in range(3)]
    await until(lambda: audio.waiting == 2)
    with pytest.raises(AudioError, match="2 recordings wait") as caught:
        await convert(audio)
    assert caught.value.kind == "busy"
    async with audio.prepare(NOTE) as clips:
        assert not clips.transcoded, "what passes through does not wait"
    engine.gate.set()
    await asyncio.gather(*jobs)
    assert len(engine.calls) == 3


async def test_with_no_line_at_all_one_still_runs(files: TemporaryFiles) -> None:
    assert len(await convert(AudioPreprocessor(FakeEngine(), temporary_files=files, max_queue=0))) == 1


async def test_one_who_stops_waiting_leaves_the_line(files: TemporaryFiles) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    audio = AudioPreprocessor(engine, temporary_files=files, max_queue=1)
    running = asyncio.create_task(convert(audio))
    await until(lambda: engine.running == 1)
    waiting = asyncio.create_task(convert(audio))
    await until(lambda: audio.waiting == 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert audio.waiting == 0
    engine.gate.set()
    await running
    assert len(await convert(audio)) == 1


async def test_a_job_that_is_cancelled_leaves_no_file(files: TemporaryFiles, tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    job = asyncio.create_task(convert(AudioPreprocessor(engine, temporary_files=files)))
    await until(lambda: engine.running == 1)
    assert left(tmp_path)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert left(tmp_path) == []
    assert files.statistics().bytes == 0


async def test_a_job_that_fails_leaves_no_file(files: TemporaryFiles, tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.error = AudioError("broken", kind="cannot_decode")
    with pytest.raises(AudioError, match="broken"):
        await convert(AudioPreprocessor(engine, temporary_files=files))
    assert left(tmp_path) == []


async def test_an_error_of_whoever_uses_the_clips_leaves_no_file(files: TemporaryFiles, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with AudioPreprocessor(FakeEngine(), temporary_files=files).prepare(NOTE, transcode=True):
            raise ZeroDivisionError
    assert left(tmp_path) == []


async def test_no_room_is_a_typed_error_and_leaves_nothing(tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path, max_bytes=50_000, min_free_share=FLOOR) as files:
        audio = AudioPreprocessor(FakeEngine(), temporary_files=files)
        with pytest.raises(TemporarySpaceError):
            await convert(audio)
        assert left(tmp_path) == []
        async with audio.prepare(NOTE) as clips:
            assert len(clips) == 1, "what passes through needs no room"


async def test_a_refused_endpoint_is_given_mp3(files: TemporaryFiles) -> None:
    engine = FakeEngine()
    await convert(AudioPreprocessor(engine, temporary_files=files))
    (call,) = engine.calls
    assert isinstance(call, Encoding)
    assert (call.codec, call.bit_rate) == ("mp3", 32_000)
    assert engine.sources == [NOTE[:64]]


async def test_an_engine_is_given_limits_that_follow_the_header(files: TemporaryFiles) -> None:
    engine = FakeEngine(1500)
    async with AudioPreprocessor(engine, temporary_files=files).prepare(ogg_opus(1500, 100_000)):
        (call, _) = engine.calls
    assert isinstance(call, Encoding)
    assert call.max_s == pytest.approx(1500 * 1.1 + 60)
    assert 1500 * 3000 < call.max_bytes < 2 * 1710 * 4200


async def test_a_recording_that_goes_on_after_its_header_is_refused(files: TemporaryFiles) -> None:
    with pytest.raises(AudioError, match="longer than it says") as caught:
        await convert(AudioPreprocessor(FakeEngine(15 * 1.1 + 60), temporary_files=files))
    assert caught.value.kind == "too_long"


async def test_what_gives_no_sound_is_not_sent(files: TemporaryFiles) -> None:
    with pytest.raises(AudioError, match="nothing can be heard") as caught:
        await convert(AudioPreprocessor(FakeEngine(0), temporary_files=files))
    assert caught.value.kind == "cannot_decode"


@pytest.mark.parametrize(("decoded_s", "truncated"), [(15.0, False), (14.75, False), (14.6, True), (5.0, True)])
async def test_a_recording_that_is_shorter_than_it_says_is_flagged(
    decoded_s: float, truncated: bool, files: TemporaryFiles
) -> None:
    clips = await convert(AudioPreprocessor(FakeEngine(decoded_s), temporary_files=files))
    assert (clips.truncated, clips.duration_s) == (truncated, decoded_s)


@pytest.mark.parametrize(
    ("decoded_s", "declared_s", "short"),
    [(3598.9, 3600, True), (3599.5, 3600, False), (1.9, 2.0, False), (5.0, None, False), (16.0, 15.0, False)],
)
def test_two_percent_or_a_second_is_missing(decoded_s: float, declared_s: float | None, short: bool) -> None:
    assert is_short(decoded_s, declared_s) == short


async def test_progress_is_told_in_seconds_of_the_whole(files: TemporaryFiles) -> None:
    told: list[Progress] = []
    await convert(AudioPreprocessor(FakeEngine(), temporary_files=files, on_progress=told.append))
    assert told == [Progress(15.0, 15.0)]


async def test_a_progress_callback_that_fails_does_not_end_the_job(
    files: TemporaryFiles, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(progress: Progress) -> None:
        raise ZeroDivisionError

    assert len(await convert(AudioPreprocessor(FakeEngine(), temporary_files=files, on_progress=fail))) == 1
    assert "on_progress failed" in caplog.text


async def test_without_a_directory_given_one_is_made_and_removed(tmp_path: Path) -> None:
    async with AudioPreprocessor(FakeEngine()).prepare(NOTE, transcode=True) as clips:
        path = clips[0].path
        assert path is not None
        assert path.exists()
    assert not path.parent.exists()


async def test_spoken_clips_become_one_note_that_is_gone_afterwards(files: TemporaryFiles, tmp_path: Path) -> None:
    engine = FakeEngine()
    audio = AudioPreprocessor(engine, temporary_files=files)
    async with audio.prepare(NOTE) as clips, audio.voice_note([clips[0], NOTE], pause_s=0.5) as path:
        assert path.suffix == ".ogg"
        assert path.read_bytes().startswith(b"OggS")
    assert engine.calls == [(2, 0.5)]
    assert left(tmp_path) == []


async def test_a_note_being_sent_keeps_no_one_waiting(files: TemporaryFiles) -> None:
    audio = AudioPreprocessor(FakeEngine(), temporary_files=files, max_queue=0)
    async with audio.voice_note([NOTE]), audio.voice_note([NOTE]) as path:
        assert path.exists()


@pytest.mark.parametrize(("clips", "pause_s"), [([], 0.3), ([NOTE] * 33, 0.3), ([NOTE], -1), ([NOTE], float("nan"))])
async def test_a_note_that_cannot_be_is_named(clips: list[bytes], pause_s: float) -> None:
    with pytest.raises(ValueError, match=r"voice note|pause_s"):
        async with AudioPreprocessor(FakeEngine()).voice_note(clips, pause_s=pause_s):
            pass


class HasChildren(FakeEngine):
    """Tells of a child for every call."""

    def __init__(self, started: Callable[[int], object], pid: int = 41) -> None:
        super().__init__()
        self._started, self._pid = started, pid

    def telling(self, started: Callable[[int], object]) -> AudioEngine:
        return HasChildren(started, self._pid + 1)

    async def encode(
        self, source: Path, target: Path, encoding: Encoding, heard: Callable[[float], None]
    ) -> Sequence[Span]:
        self._started(self._pid)
        return await super().encode(source, target, encoding, heard)

    async def join(self, sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> None:
        self._started(self._pid)
        await super().join(sources, target, encoding, pause_s)


class Lease:
    def __init__(self) -> None:
        self.pids: list[int] = []

    def covers(self, pid: int) -> None:
        self.pids.append(pid)


async def test_a_reservation_is_told_of_the_child_that_it_is_for(files: TemporaryFiles) -> None:
    lease, others = Lease(), list[int]()

    @asynccontextmanager
    async def reserve(n_bytes: int) -> AsyncIterator[Lease]:
        yield lease

    audio = AudioPreprocessor(HasChildren(others.append), temporary_files=files, reserve=reserve)
    await convert(audio)
    async with audio.voice_note([NOTE]):
        pass
    assert (lease.pids, others) == ([42, 42], [])


async def test_a_reservation_that_wants_to_know_nothing_is_told_nothing(files: TemporaryFiles) -> None:
    pids: list[int] = []

    @asynccontextmanager
    async def reserve(n_bytes: int) -> AsyncIterator[None]:
        yield

    await convert(AudioPreprocessor(HasChildren(pids.append), temporary_files=files, reserve=reserve))
    await convert(AudioPreprocessor(HasChildren(pids.append), temporary_files=files))
    assert pids == [41, 41]


@pytest.mark.parametrize(("used_bytes", "limit_bytes", "later"), [(0, 1900, False), (9_000, 10_000, True)])
async def test_memory_that_is_never_enough_is_told_from_memory_that_is_not_there_now(
    used_bytes: int, limit_bytes: int, later: bool, files: TemporaryFiles
) -> None:
    memory = MemoryManager(limit_bytes, probe=lambda: used_bytes, find_trim=lambda: None, max_wait_s=0.01)
    audio = AudioPreprocessor(FakeEngine(), temporary_files=files, reserve=memory.reserve)
    with pytest.raises(MemoryBusyError) as caught:
        await convert(audio)
    assert (caught.value.retry_after_s is not None) == later
    assert ("try again" in str(caught.value)) == later
    assert files.statistics().leases == 0


class WritesNothing(FakeEngine):
    """Says that it is done: at once, or when it has encoded."""

    def __init__(self, decoded_s: float = 15, *, encodes: bool = False) -> None:
        super().__init__(decoded_s)
        self._encodes = encodes

    async def encode(
        self, source: Path, target: Path, encoding: Encoding, heard: Callable[[float], None]
    ) -> Sequence[Span]:
        return await super().encode(source, target, encoding, heard) if self._encodes else []

    async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
        pass

    async def join(self, sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> None:
        pass


@pytest.mark.parametrize("work", ["encode", "cut", "join"])
async def test_an_engine_that_writes_nothing_is_at_fault_and_not_the_recording(
    work: str, files: TemporaryFiles
) -> None:
    audio = AudioPreprocessor(WritesNothing(3000, encodes=work == "cut"), temporary_files=files)

    async def note() -> None:
        async with audio.voice_note([NOTE]):
            pass

    with pytest.raises(AudioError, match="wrote nothing") as caught:
        await (note() if work == "join" else convert(audio, ogg_opus(3000, 30_000)))
    assert caught.value.kind == "engine_missing"


async def pieces(data: bytes, size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(0, size_bytes, len(data)):
        yield data


@pytest.mark.parametrize("what", ["write_bytes", "open"])
async def test_a_job_that_is_cancelled_while_a_slow_disk_takes_it_leaves_no_file(
    what: str, files: TemporaryFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Path, what)
    begun, go_on = threading.Event(), threading.Event()

    def slow(self: Path, *arguments: object) -> object:
        if threading.current_thread() is not threading.main_thread() and self.is_relative_to(tmp_path):
            begun.set()
            assert go_on.wait(10)
        return original(self, *arguments)

    monkeypatch.setattr(Path, what, slow)
    audio = AudioPreprocessor(FakeEngine(), temporary_files=files)
    source = NOTE if what == "write_bytes" else pieces(NOTE, 2_000_000)

    async def work() -> None:
        async with audio.prepare(source, size_bytes=3_000_000, transcode=True):
            pytest.fail("it was cancelled")

    job = asyncio.create_task(work())
    await until(begun.is_set)
    for _ in range(2):  # who is impatient does not get there sooner
        job.cancel()
        await asyncio.sleep(0)
    assert files.statistics().bytes, "as long as the file may still be written, its room is taken"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert (left(tmp_path), files.statistics().bytes) == ([], 0)


@pytest.mark.parametrize("streamed", [False, True])
async def test_jobs_that_are_cancelled_at_any_time_leave_no_file(
    streamed: bool, files: TemporaryFiles, tmp_path: Path
) -> None:
    audio = AudioPreprocessor(FakeEngine(), temporary_files=files)

    async def work() -> None:
        source = pieces(NOTE, 1_500_000) if streamed else NOTE * 20
        async with audio.prepare(source, size_bytes=2_000_000, transcode=True):
            pass

    for turns in range(60):
        job = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.wait([job])
        assert left(tmp_path, empty=True) == []
    assert files.statistics().bytes == 0
