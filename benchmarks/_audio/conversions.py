"""Long recordings: beside pydub and ffmpeg, and cut into parts."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks._audio.corpus import decoded_s, make, voice_note
from benchmarks._audio.sampling import alone
from benchmarks._report import Report
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.audio import AudioPreprocessor, Span
from tecnobot_core.temporary_files import TemporaryFiles

MIB = 1 << 20
NOTES = 300


def report_engines(report: Report, folder: Path, minutes: int, rounds: int) -> None:
    """An mp3 by each way, in turns, so that what else the machine does falls on all of them."""
    source = make(folder, "long.mp3", "-ac 2 -ar 44100 -c:a libmp3lame -b:a 128k", minutes)
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "ffmpeg": [], "pydub": []}
    for _ in range(rounds):
        for way, measured in runs.items():
            measured.append(alone(way, source, folder))

    def of(way: str, name: str) -> float:
        return median(run[name] for run in runs[way])

    what = f"{minutes} min mp3"
    tree_mb, growth_mb, lag_ms = of("ours", "tree_mb"), of("ours", "growth_mb"), of("ours", "lag_ms")
    report.add(f"{what}: RSS of bot and child", tree_mb, "MB", "at most 64", tree_mb <= 64)
    report.add(f"{what}: growth of the bot", growth_mb, "MB", "at most 3", growth_mb <= 3)
    report.add(f"{what}: longest lag of the loop", lag_ms, "ms", "at most 50", lag_ms <= 50)
    for peer, most in (("ffmpeg", 1.05), ("pydub", 0.6)):
        ratio = of("ours", "wall_s") / of(peer, "wall_s")
        report.add(f"{what}: wall, over {peer}", ratio, "", f"at most {most}", ratio <= most)
        report.add(f"{what}: processor time, over {peer}", of("ours", "cpu_s") / of(peer, "cpu_s"), "")
        report.add(f"{peer}, {what}: RSS of bot and child", of(peer, "tree_mb"), "MB")
        report.add(f"{peer}, {what}: growth of the bot", of(peer, "growth_mb"), "MB")
        report.add(f"{peer}, {what}: longest lag of the loop", of(peer, "lag_ms"), "ms")
    source.unlink()


def report_note(report: Report, folder: Path) -> None:
    """15 s of WhatsApp."""
    note = voice_note(folder)
    pids: list[int] = []
    took_ms, temporary_bytes = asyncio.run(_pass_through(note.read_bytes(), folder / "notes", pids))
    report.add("15 s note: prepared, median", took_ms, "ms", "at most 1", took_ms <= 1)
    report.add("15 s note: processes", len(pids), "", "0", not pids)
    report.add("15 s note: bytes of temporary files", temporary_bytes, "B", "0", not temporary_bytes)
    for peer in ("ffmpeg", "pydub"):
        report.add(f"{peer}, 15 s note", alone(peer, note, folder)["wall_s"] * 1e3, "ms")


async def _pass_through(note: bytes, folder: Path, pids: list[int]) -> tuple[float, int]:
    times, most_bytes = [], 0
    async with TemporaryFiles(folder, min_free_share=0) as files:
        audio = AudioPreprocessor(FfmpegEngine(on_started=pids.append), temporary_files=files)
        for _ in range(NOTES):
            began = time.perf_counter()
            async with audio.prepare(note) as clips:
                times.append((time.perf_counter() - began) * 1e3)
                assert clips[0].file_name == "recording.ogg"
                most_bytes = max(most_bytes, files.statistics().bytes)
    return median(times), most_bytes


class Timed(FfmpegEngine):
    """Tells how long cutting takes."""

    cut_s = 0.0

    async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
        began = time.perf_counter()
        await super().cut(source, spans, targets)
        self.cut_s += time.perf_counter() - began


def report_parts(report: Report, folder: Path, minutes: int, cap_s: float) -> None:
    """A long voice recording, and a large wav."""
    ogg = make(folder, "long.ogg", "-ac 1 -c:a libopus -b:a 24k -application voip", minutes)
    asyncio.run(_report_parts(report, folder, f"{minutes} min ogg", ogg, cap_s, 25 * MIB))
    ogg.unlink()
    seconds = 60 if minutes < 60 else 540
    wav = make(folder, "large.wav", "-ac 2 -ar 48000 -c:a pcm_s16le", seconds // 60)
    size = f"{wav.stat().st_size / 1e6:.0f} MB wav"
    asyncio.run(_report_parts(report, folder, size, wav, cap_s, min(25 * MIB, wav.stat().st_size // 2)))
    wav.unlink()


async def _report_parts(
    report: Report, folder: Path, what: str, source: Path, cap_s: float, max_upload_bytes: int
) -> None:
    whole_s = decoded_s(source)
    engine = Timed()
    async with TemporaryFiles(folder / "parts", min_free_share=0.01) as files:
        audio = AudioPreprocessor(engine, temporary_files=files, max_clip_s=cap_s, max_upload_bytes=max_upload_bytes)
        async with audio.prepare(source) as clips:
            paths = [clip.path for clip in clips if clip.path is not None]
            lengths = [decoded_s(path) for path in paths]
            sizes = [clip.size_bytes for clip in clips]
    off_s = abs(sum(lengths) - whole_s)
    report.add(f"{what}: parts", len(lengths), "")
    longest, largest = max(lengths), max(sizes)
    report.add(f"{what}: longest part", longest, "s", f"at most {cap_s:g}", longest <= cap_s)
    most = max_upload_bytes * 0.99
    report.add(f"{what}: largest part", largest / MIB, "MiB", f"at most {most / MIB:.3g}", largest <= most)
    report.add(f"{what}: parts decoded, off the whole", off_s, "s", "at most 0.1", off_s <= 0.1)
    report.add(f"{what}: cutting", engine.cut_s, "s", "at most 3", engine.cut_s <= 3)
