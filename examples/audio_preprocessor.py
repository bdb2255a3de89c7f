"""AudioPreprocessor alone: what a transcription endpoint takes of a recording, and a spoken reply as one voice note."""

import asyncio
import io
import math
import wave
from array import array

from tecnobot_core import AudioPreprocessor
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.errors import AudioError


def tone(seconds: int, hz: float = 330.0) -> bytes:
    """A WAV of two seconds of tone and one of silence, over and over; 96 kB a second."""
    rate_hz = 48_000
    period = [int(12_000 * math.sin(2 * math.pi * hz * n / rate_hz)) for n in range(2 * rate_hz)] + [0] * rate_hz
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, rate_hz, 0, "NONE", ""))
        wav.writeframes(array("h", period * (seconds // 3)).tobytes())
    return file.getvalue()


async def main() -> None:
    """A short recording, a large one, a long one, and what is none."""
    audio = AudioPreprocessor(FfmpegEngine(), max_upload_bytes=1_000_000, max_clip_s=40)
    for title, source in {
        "6 s": tone(6),
        "30 s, too large": tone(30),
        "90 s, too long": tone(90),
        "none": b"<html>404</html>",
    }.items():
        try:
            async with audio.prepare(source) as clips:
                print(f"{title}: {'converted' if clips.transcoded else 'as it is'}")
                for clip in clips:
                    print(
                        f"    {clip.start_s:5.1f} to {clip.end_s:5.1f} s  {clip.file_name}  {clip.size_bytes:,} bytes"
                    )
        except AudioError as error:
            print(f"{title}: {error.kind}: {error}")
    async with audio.voice_note([tone(3, 440.0), tone(3, 550.0)], pause_s=0.5) as path:
        print(f"a voice note: {path.stat().st_size:,} bytes")
    print("and it is gone" if not path.exists() else "it was left behind")


if __name__ == "__main__":
    asyncio.run(main())
