"""What harms others: hostile files, jobs that are cancelled and killed, a dead owner's files."""

import asyncio
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import psutil

from benchmarks._audio.corpus import make, voice_note
from benchmarks._audio.hostile import Made, hostile_files
from benchmarks._report import Report
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.audio import AudioPreprocessor
from tecnobot_core.errors import AudioError
from tecnobot_core.temporary_files import TemporaryFiles

SWEPT = 1000


def report_hostile(report: Report, folder: Path) -> None:
    """What becomes of each, and how long that takes."""
    mono = "-t 15 -ac 1"
    note = voice_note(folder)
    mp3 = make(folder, "target.mp3", f"{mono} -c:a libmp3lame -b:a 64k")
    m4a = make(folder, "a.m4a", f"{mono} -c:a aac -b:a 48k")
    wav = make(folder, "a.wav", f"{mono} -c:a pcm_s16le")
    silent = make(folder, "silent.ogg", "-af volume=0 -ac 1 -c:a libopus -b:a 6k -frame_duration 120", 24 * 60)
    picture = make(folder, "picture.mp4", "-f lavfi -i testsrc=d=2:size=64x48 -map 1:v -c:v mpeg4")
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_note_visitors, args=(server, came), daemon=True).start()
        secret = folder / "secret.mp3"
        secret.write_bytes(mp3.read_bytes())
        # Before the last change: a disk that is mounted with relatime notes only the first access after one.
        os.utime(secret, ns=(0, secret.stat().st_mtime_ns))
        made = Made(note, mp3, m4a, wav, silent, picture, secret)
        for name, path, expected in hostile_files(folder, made, server.getsockname()[1]):
            outcome, took_s = asyncio.run(_outcome(path, folder))
            report.add(f"hostile, {name}: {outcome}", took_s, "s", "at most 1", outcome in expected and took_s <= 1)
        server.shutdown(socket.SHUT_RDWR)
    report.add("hostile: requests to the server", len(came), "", "0", not came)
    reads = int(secret.stat().st_atime_ns != 0)
    secret.read_bytes()
    if secret.stat().st_atime_ns == 0:
        report.add("hostile: reads of the local file", "not known, as this disk keeps no times of access", "")
    else:
        report.add("hostile: reads of the local file", reads, "", "0", not reads)


def _note_visitors(server: socket.socket, came: list[object]) -> None:
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            return
        came.append(address)
        connection.close()


async def _outcome(path: Path, folder: Path) -> tuple[str, float]:
    began = time.perf_counter()
    async with TemporaryFiles(folder / "hostile", min_free_share=0) as files:
        try:
            async with AudioPreprocessor(FfmpegEngine(), temporary_files=files).prepare(path) as clips:
                outcome = "flagged" if clips.truncated else clips[0].file_name
        except AudioError as error:
            outcome = error.kind
    return outcome, time.perf_counter() - began


def report_jobs(report: Report, folder: Path, n_jobs: int) -> None:
    """What is left of jobs that are let alone, cancelled, or whose child is killed."""
    source = make(folder, "short.wav", "-t 1 -ac 1 -c:a pcm_s16le")
    files, descriptors, processes = asyncio.run(_jobs(source, folder / "jobs", n_jobs))
    what = f"{n_jobs:,} jobs with cancels and kills"
    report.add(f"{what}: files left", files, "", "0", not files)
    report.add(f"{what}: descriptors left", descriptors, "", "0", descriptors <= 0)
    report.add(f"{what}: processes left, zombies too", processes, "", "0", not processes)


async def _jobs(source: Path, folder: Path, n_jobs: int) -> tuple[int, int, int]:
    pids: list[int] = []
    chance = random.Random(7)
    async with TemporaryFiles(folder, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=pids.append), temporary_files=files)
        await _job(audio, source)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(n_jobs):
            await _disturbed(audio, source, chance, pids)
        return _files(folder), len(os.listdir("/proc/self/fd")) - before, len(psutil.Process().children(recursive=True))


def _files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file() and path.name != ".lock" and path.stat().st_size)


async def _job(audio: AudioPreprocessor, source: Path) -> None:
    async with audio.prepare(source, transcode=True):
        pass


async def _disturbed(audio: AudioPreprocessor, source: Path, chance: random.Random, pids: list[int]) -> None:
    job = asyncio.create_task(_job(audio, source))
    fate = chance.choice(("alone", "cancelled", "killed"))
    await asyncio.wait([job], timeout=None if fate == "alone" else chance.uniform(0, 0.1))
    if fate == "cancelled":
        job.cancel()
    elif fate == "killed" and not job.done() and pids and psutil.pid_exists(pids[-1]):
        os.kill(pids[-1], signal.SIGKILL)
    await asyncio.gather(job, return_exceptions=True)


def report_sweep(report: Report, folder: Path) -> None:
    """The files that a killed bot left."""
    took_ms = asyncio.run(_sweep(folder / "swept"))
    report.add(f"sweep of {SWEPT:,} files", took_ms, "ms", "at most 20", took_ms <= 20)


async def _sweep(folder: Path) -> float:
    async with TemporaryFiles(folder, min_free_share=0) as files, files.lease("", 1) as path:
        for number in range(SWEPT):
            (path.parent / f"{number:032x}.ogg").write_bytes(b"left")
        began = time.perf_counter()
        assert await files.sweep() == SWEPT
        return (time.perf_counter() - began) * 1e3
