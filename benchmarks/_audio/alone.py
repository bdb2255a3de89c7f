"""One way to convert one recording, in a process of its own; prints what it took as JSON."""

import asyncio
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path

from tecnobot_core.adapters.ffmpeg import FfmpegEngine, find_ffmpeg
from tecnobot_core.audio import AudioPreprocessor
from tecnobot_core.temporary_files import TemporaryFiles

TICK_S = 0.005
MIB = 1 << 20
# What all three are asked for, so that no one is compared with less work: mono, 16 kHz, 24 kb/s, and this.
OPUS = ("-application", "voip", "-frame_duration", "60")


class Lag:
    """The longest time for which the event loop did not come back."""

    def __init__(self) -> None:
        self.most_s = 0.0

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.most_s = max(self.most_s, time.perf_counter() - began - TICK_S)


async def ours(source: Path, target: Path) -> None:
    """AudioPreprocessor, with a limit that the source is over and the result is not."""
    limit = int(os.stat(source).st_size / 1.5)
    async with TemporaryFiles(target.parent / "temporary", min_free_share=0.01) as files:
        audio = AudioPreprocessor(
            FfmpegEngine(), temporary_files=files, max_upload_bytes=limit, max_clip_s=None, max_duration_s=5 * 3600
        )
        async with audio.prepare(source) as clips:
            assert clips.transcoded
            assert len(clips) == 1


async def ffmpeg(source: Path, target: Path) -> None:
    """A child, as it is usually started."""
    command = f"-hide_banner -nostdin -v error -y -i {source} -vn -ac 1 -ar 16000 -c:a libopus -b:a 24k"
    child = await asyncio.create_subprocess_exec(str(find_ffmpeg().path), *command.split(), *OPUS, str(target))
    assert await child.wait() == 0


async def pydub(source: Path, target: Path) -> None:
    """The same by pydub, in a thread, as its users do it."""
    await asyncio.to_thread(_by_pydub, source, target)


def _by_pydub(source: Path, target: Path) -> None:
    warnings.simplefilter("ignore")
    segment = import_module("pydub").AudioSegment
    segment.converter = str(find_ffmpeg().path)
    # With a codec it needs no ffprobe, which the wheel does not have.
    sound = segment.from_file(source, codec="mp3" if source.suffix == ".mp3" else "libopus")
    sound = sound.set_channels(1).set_frame_rate(16_000)
    sound.export(target, "ogg", codec="libopus", bitrate="24k", parameters=list(OPUS))


WAYS: dict[str, Callable[[Path, Path], Awaitable[None]]] = {"ours": ours, "ffmpeg": ffmpeg, "pydub": pydub}


async def measure(way: str, source: Path, target: Path) -> dict[str, float]:
    """What *way* takes: seconds, processor seconds, MiB that this process grew at most, lag of its loop."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.1)
    await asyncio.to_thread(int)  # the thread that stays is no growth
    lag.most_s = 0.0
    _forget_peak()
    before_mb, cpu_s, began = _status_mb("VmRSS"), _cpu_s(), time.perf_counter()
    await WAYS[way](source, target)
    wall_s = time.perf_counter() - began
    watching.cancel()
    return {
        "wall_s": wall_s,
        "cpu_s": _cpu_s() - cpu_s,
        "growth_mb": _status_mb("VmHWM") - before_mb,
        "lag_ms": lag.most_s * 1e3,
    }


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _status_mb(name: str) -> float:
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))))
