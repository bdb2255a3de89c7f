"""With a real ffmpeg: every container, every limit, and what is meant to harm."""

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tecnobot_core import AudioPreprocessor, MemoryManager
from tecnobot_core.adapters.ffmpeg import FfmpegEngine, Program, find_ffmpeg
from tecnobot_core.adapters.ffmpeg.failures import failure
from tecnobot_core.adapters.ffmpeg.running import Limits, run
from tecnobot_core.audio import AudioFacts, Clips, Encoding, Span, read_facts
from tecnobot_core.errors import AudioError, ConfigurationError, MissingDependencyError, TemporarySpaceError
from tecnobot_core.temporary_files import TemporaryFiles
from tests.make_audio import RECIPES, AudioFiles

MIB = 1024 * 1024
NOISE = ("-nostdin", "-nostats", "-v", "error", "-f", "lavfi", "-i", "anoisesrc")  # without end


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AudioFiles:
    return AudioFiles(tmp_path_factory.mktemp("audio"))


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[TemporaryFiles]:
    async with TemporaryFiles(tmp_path / "temporary", min_free_share=0) as files:
        yield files


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock" and path.stat().st_size]


def facts_of(path: Path | None) -> AudioFacts:
    assert path is not None
    with path.open("rb") as file:
        facts = read_facts(file, path.stat().st_size)
    assert facts is not None
    return facts


def duration_s(path: Path | None) -> float:
    found_s = facts_of(path).duration_s
    assert found_s is not None
    return found_s


async def prepared(audio: AudioPreprocessor, source: Path | bytes) -> Clips:
    async with audio.prepare(source) as clips:
        return clips


async def refused(audio: AudioPreprocessor, source: Path | bytes) -> str:
    with pytest.raises(AudioError) as caught:
        await prepared(audio, source)
    assert len(str(caught.value)) > 20
    assert "/" not in str(caught.value).replace("and/or", ""), "no path of this machine"
    return caught.value.kind


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recording_in_any_container_becomes_clips(name: str, made: AudioFiles, files: TemporaryFiles) -> None:
    source = made.make(name, 15)
    accepted = facts_of(source).accepted
    async with AudioPreprocessor(FfmpegEngine(), temporary_files=files).prepare(source) as clips:
        (clip,) = clips
        assert clip.file_name.rpartition(".")[2] in {"flac", "mp3", "mp4", "m4a", "ogg", "wav", "webm"}
        assert clips.duration_s is None or abs(clips.duration_s - 15) < 0.3
        assert not clips.truncated
        assert clips.transcoded or accepted
        if clips.transcoded:
            assert facts_of(clip.path).codec == "opus"
            assert made.decoded_s(_path(clip.path)) == pytest.approx(15, abs=0.3)
    assert left(files_of(files)) == []


@pytest.mark.parametrize("transcode", [False, True])
async def test_what_is_converted_is_the_same_for_the_same_recording(
    transcode: bool, made: AudioFiles, files: TemporaryFiles
) -> None:
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files)
    source = made.make("amr", 15)
    hashes = set()
    for _ in range(2):
        async with audio.prepare(source, transcode=transcode) as clips:
            hashes.add(clips[0].sha256)
            assert clips[0].file_name == ("recording.mp3" if transcode else "recording.ogg")
    assert len(hashes) == 1


async def test_a_wav_over_the_limit_becomes_small(made: AudioFiles, files: TemporaryFiles, tmp_path: Path) -> None:
    source = tmp_path / "stereo.wav"
    made._run("-f lavfi -i sine=frequency=330:sample_rate=48000:duration=60 -ac 2 -ar 48000 -c:a pcm_s16le", source)
    assert source.stat().st_size > 11_000_000
    async with AudioPreprocessor(FfmpegEngine(), temporary_files=files, max_upload_bytes=MIB).prepare(source) as clips:
        (clip,) = clips
        assert clip.size_bytes < 300_000
        assert made.decoded_s(_path(clip.path)) == pytest.approx(60, abs=0.1)
        assert clips.duration_s == pytest.approx(60, abs=0.1)


async def test_a_long_recording_is_cut_in_silences_and_nothing_is_lost(made: AudioFiles, files: TemporaryFiles) -> None:
    source = made.joined("opus", 12, 15)  # three minutes: tone for two seconds, silence for one
    whole_s = made.decoded_s(source)
    async with AudioPreprocessor(FfmpegEngine(), temporary_files=files, max_clip_s=35).prepare(source) as clips:
        assert len(clips) >= 6
        assert all(duration_s(clip.path) <= 35 for clip in clips)
        assert sum(duration_s(clip.path) for clip in clips) == pytest.approx(clips.duration_s, abs=0.005)
        assert sum(made.decoded_s(_path(clip.path)) for clip in clips) == pytest.approx(whole_s, abs=0.1)
        for clip in clips[1:]:
            assert 2.0 < clip.start_s % (whole_s / 12) % 3 < 3.0, "the cut is in a silence"
        assert [clip.index for clip in clips] == list(range(len(clips)))
    assert left(files_of(files)) == []


async def test_mp3_is_cut_as_well(made: AudioFiles, files: TemporaryFiles) -> None:
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files, max_clip_s=20)
    async with audio.prepare(made.joined("opus", 3, 15), transcode=True) as clips:
        assert {clip.file_name for clip in clips} == {"recording.mp3"}
        assert sum(made.decoded_s(_path(clip.path)) for clip in clips) == pytest.approx(45, abs=0.4)


async def test_cut_recordings_are_flagged(made: AudioFiles, files: TemporaryFiles, tmp_path: Path) -> None:
    for name in ("opus", "wav"):
        whole = made.make(name, 15).read_bytes()
        part = tmp_path / f"cut-{name}"
        part.write_bytes(whole[: len(whole) * 4 // 10])
        for transcode in (False, True):
            async with AudioPreprocessor(FfmpegEngine(), temporary_files=files).prepare(
                part, transcode=transcode
            ) as clips:
                assert clips.truncated, (name, transcode)


async def test_noise_in_the_middle_is_flagged(made: AudioFiles, files: TemporaryFiles) -> None:
    whole = bytearray(made.make("opus", 15).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 3000] = random.Random(1).randbytes(3000)
    async with AudioPreprocessor(FfmpegEngine(), temporary_files=files).prepare(bytes(whole), transcode=True) as clips:
        assert clips.truncated
        assert clips.duration_s is not None
        assert 10 < clips.duration_s < 14.9


async def test_names_are_never_believed(made: AudioFiles, files: TemporaryFiles, tmp_path: Path) -> None:
    wrong = tmp_path / "voice.ogg"
    wrong.write_bytes(made.make("mp3", 15).read_bytes())
    clips = await prepared(AudioPreprocessor(FfmpegEngine(), temporary_files=files), wrong)
    assert (clips[0].file_name, clips[0].mime, clips.transcoded) == ("recording.mp3", "audio/mpeg", False)


@pytest.mark.parametrize("name", ["nothing", "header", "noise", "page", "moov", "picture"])
async def test_what_is_no_recording_is_a_typed_error(
    name: str, made: AudioFiles, files: TemporaryFiles, tmp_path: Path
) -> None:
    m4a = made.make("m4a", 15).read_bytes()
    contents = {
        "nothing": (b"", {"empty"}),
        "header": (made.make("opus", 15).read_bytes()[:47], {"cannot_decode"}),
        "noise": (random.Random(2).randbytes(20_000), {"not_audio"}),
        "page": (b"<!DOCTYPE html><html><body>404</body></html>" * 50, {"not_audio"}),
        "moov": (m4a[: len(m4a) // 2], {"cannot_decode"}),
        "picture": (made.without_audio().read_bytes(), {"no_audio_track"}),
    }
    data, kinds = contents[name]
    source = tmp_path / "voice.ogg"
    source.write_bytes(data)
    assert await refused(AudioPreprocessor(FfmpegEngine(), temporary_files=files), source) in kinds
    assert left(files_of(files)) == []


async def test_a_video_without_sound_is_found_by_the_engine_too(made: AudioFiles, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        await encode(FfmpegEngine(), made.without_audio(), tmp_path / "out.ogg")
    assert caught.value.kind == "no_audio_track"


async def test_the_sound_of_a_video_is_heard(made: AudioFiles, files: TemporaryFiles) -> None:
    async with AudioPreprocessor(FfmpegEngine(), temporary_files=files).prepare(
        made.with_video("mp4"), transcode=True
    ) as clips:
        assert clips.duration_s == pytest.approx(5, abs=0.2)


async def test_a_day_of_silence_is_refused_by_its_header(made: AudioFiles) -> None:
    pids: list[int] = []
    bomb = made.joined("opus", 300, 15)  # an hour and a quarter, of a limit of an hour
    audio = AudioPreprocessor(FfmpegEngine(on_started=pids.append), max_duration_s=3600)
    assert (await refused(audio, bomb), pids) == ("too_long", [])


async def test_no_more_is_decoded_than_was_asked_for(made: AudioFiles, tmp_path: Path) -> None:
    told: list[float] = []
    target = tmp_path / "out.ogg"
    encoding = Encoding("opus", 24_000, 20, MIB)
    await FfmpegEngine().encode(made.joined("opus", 12, 15), target, encoding, told.append)
    assert duration_s(target) == pytest.approx(20, abs=0.1)
    assert max(told) < 20.1


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A server on the loopback address; notes whoever comes."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                came.append(b"somebody")
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "m3u": "#EXTM3U\n{target}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
}


@pytest.mark.parametrize("where", ["file", "http"])
@pytest.mark.parametrize("kind", PLAYLISTS)
async def test_a_playlist_reads_no_file_and_asks_no_server(
    kind: str, where: str, made: AudioFiles, files: TemporaryFiles, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(made.make("mp3", 15).read_bytes())
    # Before the last change: a disk that is mounted with relatime notes only the first access after one.
    os.utime(secret, ns=(0, secret.stat().st_mtime_ns))
    source = tmp_path / "voice.ogg"
    with listening() as (port, came):
        target = str(secret) if where == "file" else f"http://127.0.0.1:{port}/a.mp3"
        source.write_text(PLAYLISTS[kind].format(target=target, port=port))
        assert await refused(AudioPreprocessor(FfmpegEngine(), temporary_files=files), source) == "not_audio"
        # The engine is asked as well: it must not depend on who asks it.
        with pytest.raises(AudioError) as caught:
            await encode(FfmpegEngine(), source, tmp_path / "out.ogg")
        assert caught.value.kind == "cannot_decode"
        assert came == []
        assert secret.stat().st_atime_ns == 0
    assert left(files_of(files)) == []


async def test_no_room_leaves_nothing(made: AudioFiles, tmp_path: Path) -> None:
    async with TemporaryFiles(tmp_path, max_bytes=100_000, min_free_share=0) as files:
        with pytest.raises(TemporarySpaceError):
            await prepared(AudioPreprocessor(FfmpegEngine(), temporary_files=files), made.make("amr", 15))
        assert left(tmp_path) == []


async def test_a_target_grows_no_larger_than_it_may(made: AudioFiles, tmp_path: Path) -> None:
    target = tmp_path / "out.ogg"
    with pytest.raises(AudioError) as caught:
        await encode(FfmpegEngine(), made.make("wav", 15), target, max_bytes=20_000)
    assert caught.value.kind == "too_long"
    assert target.stat().st_size <= 20_000


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(400 * MIB, 0, 10**9, 60), "too_long"),
        (Limits(400 * MIB, 60, 10**9, 0.2), "too_long"),
        (Limits(64 * MIB, 60, 10**9, 60), "cannot_decode"),
    ],
)
async def test_a_child_takes_no_more_than_its_limits(limits: Limits, kind: str) -> None:
    program = str(find_ffmpeg().path)
    endless = [program, *NOISE, "-c:a", "libopus", "-f", "null", "-"]
    error = failure(await run(endless, limits, lambda data: None), program)
    assert isinstance(error, AudioError)
    assert error.kind == kind


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
async def test_the_kernel_takes_the_child_before_the_bot() -> None:
    program = str(find_ffmpeg().path)
    endless = [program, *NOISE, "-progress", "pipe:1", "-f", "null", "-"]
    pids: list[int] = []
    scores: list[str] = []

    def take(data: bytes) -> None:
        scores.append(Path(f"/proc/{pids[0]}/oom_score_adj").read_text().strip())
        os.kill(pids[0], signal.SIGKILL)

    ended = await run(endless, Limits(400 * MIB, 60, 10**9, 60), take, pids.append)
    assert (scores[0], ended.code) == ("900", -signal.SIGKILL)


async def test_a_child_that_is_killed_is_a_typed_error(made: AudioFiles, files: TemporaryFiles) -> None:
    engine = FfmpegEngine(on_started=lambda pid: os.kill(pid, signal.SIGKILL))
    assert await refused(AudioPreprocessor(engine, temporary_files=files), made.make("amr", 15)) == "cannot_decode"
    assert left(files_of(files)) == []


async def test_a_bot_that_is_killed_leaves_no_child(made: AudioFiles, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tecnobot_core.adapters.ffmpeg.running import Limits, run\n"
        "command = [sys.argv[1], *'-nostdin -v error -re -f lavfi -i anoisesrc -f null -'.split()]\n"
        "limits = Limits(2**29, 60, 2**30, 60)\n"
        "asyncio.run(run(command, limits, lambda data: None, lambda pid: print(pid, flush=True)))\n"
    )
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(find_ffmpeg().path), stdout=asyncio.subprocess.PIPE
    )
    assert bot.stdout is not None
    child = psutil.Process(int(await bot.stdout.readline()))
    async with asyncio.timeout(10):
        # While it becomes another program it has no command line.
        while not (command := child.cmdline()) or "ffmpeg" not in Path(command[0]).name:
            await asyncio.sleep(0.01)
        bot.kill()
        await bot.wait()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def disturbed(audio: AudioPreprocessor, source: Path, chance: random.Random, pids: list[int]) -> str:
    """One job that is let alone, cancelled, or whose child is killed, at any time."""
    job = asyncio.create_task(prepared(audio, source))
    fate = chance.choice(("alone", "cancelled", "killed"))
    if fate == "alone":
        await asyncio.wait([job])
    else:
        await asyncio.wait([job], timeout=chance.uniform(0, 0.08))
        if fate == "cancelled":
            job.cancel()
        elif pids and not job.done() and psutil.pid_exists(pids[-1]):
            os.kill(pids[-1], signal.SIGKILL)
        await asyncio.wait([job])
    if job.cancelled():
        return "cancelled"
    return "done" if job.exception() is None else type(job.exception()).__name__


async def many_jobs(n_jobs: int, made: AudioFiles, folder: Path) -> None:
    pids: list[int] = []
    source = made.make("amr", 1)
    chance = random.Random(7)
    async with TemporaryFiles(folder, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=pids.append), temporary_files=files)
        await prepared(audio, source)  # threads and imports that stay are there
        before = len(os.listdir("/proc/self/fd"))
        others = psutil.Process().children(recursive=True)  # a database of other tests, perhaps
        ends = [await disturbed(audio, source, chance, pids) for _ in range(n_jobs)]
        assert set(ends) == {"done", "cancelled", "AudioError"}
        assert left(folder) == []
        assert files.statistics().bytes == 0
        assert set(psutil.Process().children(recursive=True)) <= set(others)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
async def test_jobs_that_are_cancelled_and_killed_leave_nothing(made: AudioFiles, tmp_path: Path) -> None:
    await many_jobs(200, made, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
async def test_a_thousand_jobs_leave_nothing(made: AudioFiles, tmp_path: Path) -> None:
    await many_jobs(1000, made, tmp_path)


async def test_spoken_clips_are_one_voice_note(made: AudioFiles, files: TemporaryFiles) -> None:
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files)
    spoken: list[Path | bytes] = [made.make("mp3", 2), made.make("wav", 3).read_bytes(), made.make("opus-stereo", 2)]
    async with audio.voice_note(spoken, pause_s=0.5) as note:
        facts = facts_of(note)
        assert (facts.container, facts.codec) == ("ogg", "opus")
        assert made.decoded_s(note) == pytest.approx(8, abs=0.2)
    assert not note.exists()


async def test_a_note_of_all_the_clips_that_are_allowed_fits_into_the_limits(
    made: AudioFiles, files: TemporaryFiles
) -> None:
    audio = AudioPreprocessor(FfmpegEngine(), temporary_files=files)
    async with audio.voice_note([made.make("mp3", 2)] * 32, pause_s=0) as note:
        assert made.decoded_s(note) == pytest.approx(64, abs=2)


async def test_progress_is_told_on_the_way(made: AudioFiles, files: TemporaryFiles) -> None:
    told: list[float] = []
    audio = AudioPreprocessor(
        FfmpegEngine(), temporary_files=files, on_progress=lambda progress: told.append(progress.done_s)
    )
    await prepared(audio, made.make("amr", 15))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(15, abs=0.3)


async def test_a_window_of_samples_has_the_length_that_was_asked_for(made: AudioFiles) -> None:
    samples = await FfmpegEngine().samples(made.make("mp3", 15), 5, 4)
    assert len(samples) == 4 * 16_000 * 2
    with pytest.raises(ValueError, match="at most 120 s"):
        await FfmpegEngine().samples(made.make("mp3", 15), 0, 121)


async def test_an_ffmpeg_without_opus_makes_mp3(made: AudioFiles, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    real = find_ffmpeg().path
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *libopus*) echo "Unknown encoder \'libopus\'" >&2; exit 8;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    target = tmp_path / "out"
    await encode(FfmpegEngine(program), made.make("wav", 15), target)
    assert facts_of(target).container == "mp3"


async def test_a_program_that_does_not_run_is_named(made: AudioFiles, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(b"\x7fELF this is none")
    program.chmod(0o755)
    with pytest.raises(AudioError, match="does not run") as caught:
        await encode(FfmpegEngine(program), made.make("wav", 15), tmp_path / "out")
    assert caught.value.kind == "engine_missing"


def script(path: Path, lines: str) -> Path:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "lines", ["exit 0", "exit 1", "echo avconv 1", "echo ffmpeg version 9; exit 3", "echo; echo ffmpeg version 9"]
)
async def test_a_program_that_is_not_ffmpeg_is_named_and_no_recording_is_blamed(
    lines: str, made: AudioFiles, files: TemporaryFiles, tmp_path: Path
) -> None:
    program = script(tmp_path / "wrong", lines)
    audio = AudioPreprocessor(FfmpegEngine(program), temporary_files=files)
    for _ in range(2):
        with pytest.raises(AudioError, match=f"{program} is not ffmpeg: .*FFMPEG_PATH") as caught:
            await prepared(audio, made.make("amr", 15))
        assert caught.value.kind == "engine_missing"
    with pytest.raises(AudioError, match="is not ffmpeg"):
        async with audio.voice_note([made.make("wav", 3)]):
            pass
    assert left(files_of(files)) == []


async def test_a_program_that_does_not_answer_is_named(
    made: AudioFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tecnobot_core.adapters.ffmpeg.verifying._LIMITS", (10, MIB, 0.3))
    program = script(tmp_path / "sleeps", "sleep 30")
    with pytest.raises(AudioError, match="did not answer -version within") as caught:
        await encode(FfmpegEngine(program), made.make("amr", 1), tmp_path / "out")
    assert caught.value.kind == "engine_missing"


async def test_a_program_that_says_it_is_ffmpeg_and_writes_nothing_is_named(
    made: AudioFiles, files: TemporaryFiles, tmp_path: Path
) -> None:
    program = script(tmp_path / "liar", "echo ffmpeg version 9")
    with pytest.raises(AudioError, match="wrote nothing") as caught:
        await prepared(AudioPreprocessor(FfmpegEngine(program), temporary_files=files), made.make("amr", 15))
    assert caught.value.kind == "engine_missing"


async def test_a_program_is_asked_once_what_it_is_and_only_jobs_are_told_of(made: AudioFiles, tmp_path: Path) -> None:
    asked, told, also = tmp_path / "asked", list[int](), list[int]()
    program = script(tmp_path / "ffmpeg", f'[ "$1" = -version ] && echo x >> {asked}\nexec {find_ffmpeg().path} "$@"')
    engine = FfmpegEngine(program, on_started=told.append)
    await encode(engine, made.make("amr", 1), tmp_path / "out")
    await encode(engine.telling(also.append), made.make("amr", 1), tmp_path / "out")
    await encode(engine, made.make("amr", 1), tmp_path / "out")
    assert asked.read_text() == "x\n"
    assert (len(told), also) == (3, told[1:2])


async def test_the_memory_of_a_child_is_not_counted_twice(
    made: AudioFiles, files: TemporaryFiles, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    wait = f'[ "$1" = -version ] || while [ ! -e {go_on} ]; do sleep 0.02; done'
    program = script(tmp_path / "ffmpeg", f'{wait}\nexec {find_ffmpeg().path} "$@"')
    memory = MemoryManager(10_000 * MIB)
    engine = FfmpegEngine(program, on_started=memory.register_child)
    audio = AudioPreprocessor(engine, temporary_files=files, reserve=memory.reserve)
    async with memory, asyncio.timeout(20):
        job = asyncio.create_task(prepared(audio, made.make("amr", 15)))
        while not 0 < (now := memory.statistics().reservations).expected_bytes < now.reserved_bytes:
            await memory.check()
            await asyncio.sleep(0.01)
        assert now.reserved_bytes == engine.memory_bytes
        go_on.touch()
        assert (await job).transcoded
        assert memory.statistics().reservations.expected_bytes == 0


async def test_a_directory_that_is_removed_under_a_job_is_no_fault_of_the_recording(
    made: AudioFiles, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"

    def remove(pid: int) -> None:
        shutil.rmtree(folder)

    async with TemporaryFiles(folder, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=remove), temporary_files=files)
        with pytest.raises(TemporarySpaceError, match="removed"):
            await prepared(audio, made.make("amr", 15))
        later = AudioPreprocessor(FfmpegEngine(), temporary_files=files)
        assert (await prepared(later, made.make("amr", 15))).transcoded


def test_ffmpeg_is_looked_for_in_order(tmp_path: Path) -> None:
    setting, on_path, wheel = (tmp_path / name / "ffmpeg" for name in ("setting", "path", "wheel"))
    wheel = tmp_path / "packages" / "imageio_ffmpeg" / "binaries" / "ffmpeg-linux-x86_64-v9.0.2"
    for program in (setting, on_path, wheel):
        program.parent.mkdir(parents=True)
        program.write_bytes(b"")
        program.chmod(0o755)
    search_path, packages = str(on_path.parent), [str(tmp_path / "packages")]
    assert find_ffmpeg(setting, search_path=search_path, packages=packages).path == setting
    assert find_ffmpeg(search_path=search_path, packages=packages).path == on_path
    assert find_ffmpeg(search_path="", packages=packages) == Program(wheel, 384 * MIB, 40 * MIB)
    assert FfmpegEngine(setting).memory_bytes == 56 * MIB
    with pytest.raises(MissingDependencyError, match="pip install 'tecnobot-core\\[audio\\]'"):
        find_ffmpeg(search_path="", packages=[])


def test_a_setting_that_is_no_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="FFMPEG_PATH"):
        FfmpegEngine(tmp_path / "ffmpeg")


async def encode(engine: FfmpegEngine, source: Path, target: Path, max_bytes: int = MIB) -> list[Span]:
    return list(await engine.encode(source, target, Encoding("opus", 24_000, 60, max_bytes), lambda done_s: None))


def files_of(files: TemporaryFiles) -> Path:
    assert files._own is not None
    return files._own.path


def _path(path: Path | None) -> Path:
    assert path is not None
    return path
