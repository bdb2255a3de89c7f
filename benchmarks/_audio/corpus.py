"""Recordings of any length, made in a moment: a minute is encoded, and the rest copied."""

import subprocess
from pathlib import Path

from tecnobot_core.adapters.ffmpeg import find_ffmpeg

# What a voice looks like to a coder: a buzz that moves, breath, and a pause of 0.8 s every 5 s.
_VOICE = (
    "aevalsrc='(0.25*sin(2*PI*(140+40*sin(2*PI*0.7*t))*t)+0.1*sin(2*PI*(900+300*sin(2*PI*3*t))*t)"
    "+0.05*(random(0)-0.5))*lt(mod(t,5),4.2)*(0.6+0.4*sin(2*PI*4*t))+0.002*(random(1)-0.5)':s=48000:d=60"
)


def make(folder: Path, name: str, arguments: str, minutes: int = 1) -> Path:
    """A recording of *minutes*, or of less where *arguments* say so; *name* has the extension."""
    path = folder / name
    unit = folder / f"unit-{name}"
    _ffmpeg("-f", "lavfi", "-i", _VOICE, *arguments.split(), str(unit))
    if minutes == 1:
        return unit.rename(path)
    _ffmpeg("-stream_loop", str(minutes - 1), "-i", str(unit), "-c", "copy", str(path))
    unit.unlink()
    return path


def voice_note(folder: Path) -> Path:
    """15 s as WhatsApp has them."""
    return make(folder, "note.ogg", "-t 15 -ac 1 -c:a libopus -b:a 16k -application voip")


def decoded_s(path: Path) -> float:
    """How long the sound is, by decoding all of it."""
    command = [*_command(), "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "8000", "pipe:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as decoding:
        assert decoding.stdout is not None
        n_bytes = 0
        while data := decoding.stdout.read(1 << 16):
            n_bytes += len(data)
    return n_bytes / 2 / 8000


def _command() -> list[str]:
    return [str(find_ffmpeg().path), "-hide_banner", "-nostdin", "-v", "error", "-y"]


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([*_command(), *arguments], check=True)
