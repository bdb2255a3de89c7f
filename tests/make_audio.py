"""Recordings for tests, made by ffmpeg when they are first asked for: ``python -m tests.make_audio FOLDER`` makes all.

Half of each is a tone and half is silence, in turns of two seconds and one; the sound is the same in all containers.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg
import pytest

MONO = "-ac 1 -ar 16000"
# Of each name: extension, and arguments of ffmpeg. What ends in "-piped" is written to a pipe, so that the writer could
# not go back to fill in lengths.
RECIPES: dict[str, tuple[str, str]] = {
    "opus": ("ogg", f"{MONO} -c:a libopus -b:a 16k -application voip -frame_duration 60"),  # as WhatsApp's voice notes
    "opus-stereo": ("ogg", "-ac 2 -ar 48000 -c:a libopus -b:a 64k"),
    "vorbis": ("ogg", "-ac 1 -ar 44100 -c:a libvorbis -q:a 2"),
    "ogg-flac": ("ogg", f"{MONO} -c:a flac"),
    "wav": ("wav", f"{MONO} -c:a pcm_s16le"),
    "wav-mulaw": ("wav", "-ac 1 -ar 8000 -c:a pcm_mulaw"),
    "wav-adpcm": ("wav", f"{MONO} -c:a adpcm_ms"),
    "wav-piped": ("wav", f"{MONO} -c:a pcm_s16le"),
    "m4a": ("m4a", "-ac 1 -ar 44100 -c:a aac -b:a 48k"),
    "m4a-faststart": ("m4a", "-ac 1 -ar 44100 -c:a aac -b:a 48k -movflags +faststart"),
    "m4a-alac": ("m4a", f"{MONO} -c:a alac"),
    "m4a-fragmented": (
        "mp4",
        "-ac 1 -ar 44100 -c:a aac -b:a 48k -movflags +frag_keyframe -frag_duration 1000000",
    ),
    "mp4-piped": ("mp4", "-ac 1 -ar 48000 -c:a libopus -b:a 32k -movflags +frag_keyframe+empty_moov+default_base_moof"),
    "mp4-opus": ("mp4", "-ac 1 -ar 48000 -c:a libopus -b:a 24k"),
    "3gp": ("3gp", "-ac 1 -ar 8000 -c:a libopencore_amrnb -b:a 12.2k"),
    "mov": ("mov", f"{MONO} -c:a pcm_s16le"),
    "mp3": ("mp3", "-ac 1 -ar 44100 -c:a libmp3lame -b:a 64k"),
    "mp3-variable": ("mp3", "-ac 2 -ar 44100 -c:a libmp3lame -q:a 5 -id3v2_version 3 -metadata title=Voz"),
    "mp3-bare": ("mp3", f"{MONO} -c:a libmp3lame -b:a 32k -write_xing 0 -id3v2_version 0"),
    "mp3-bare-variable": ("mp3", "-ac 1 -ar 44100 -c:a libmp3lame -q:a 5 -write_xing 0 -id3v2_version 0"),
    "mp2": ("mp2", "-ac 1 -ar 44100 -c:a mp2 -b:a 64k"),
    "flac": ("flac", f"{MONO} -c:a flac"),
    "webm": ("webm", "-ac 1 -ar 48000 -c:a libopus -b:a 24k"),
    "webm-vorbis": ("webm", "-ac 1 -ar 44100 -c:a libvorbis -q:a 2"),
    "webm-piped": ("webm", "-ac 1 -ar 48000 -c:a libopus -b:a 24k -live 1"),
    "matroska": ("mkv", "-ac 1 -ar 44100 -c:a aac -b:a 48k"),
    "amr": ("amr", "-ac 1 -ar 8000 -c:a libopencore_amrnb -b:a 12.2k"),
    "aac": ("aac", "-ac 1 -ar 44100 -c:a aac -b:a 48k"),
    "caf": ("caf", f"{MONO} -c:a pcm_s16be"),
    "caf-alac": ("caf", f"{MONO} -c:a alac"),
    "aiff": ("aiff", f"{MONO} -c:a pcm_s16be"),
}
VIDEO = "testsrc=size=64x48:rate=5"


def session_files(tmp_path_factory: pytest.TempPathFactory) -> "AudioFiles":
    """For a fixture: files are kept for the whole run, and shared by all modules that ask."""
    directory = tmp_path_factory.getbasetemp() / "audio"
    directory.mkdir(exist_ok=True)
    return AudioFiles(directory)


class AudioFiles:
    """Makes what is asked for in *directory*, once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()

    def make(self, name: str, seconds: float = 15) -> Path:
        """The recording of that name in RECIPES."""
        extension, arguments = RECIPES[name]
        path = self._directory / f"{name}-{seconds:g}.{extension}"
        if not path.exists():
            sound = f"-f lavfi -i sine=frequency=330:sample_rate=48000:duration={seconds:g},{_PAUSES}"
            self._run(f"{sound} {arguments}", path, piped=name.endswith("-piped"))
        return path

    def joined(self, name: str, times: int, seconds: float = 15) -> Path:
        """That recording *times* over in one file, without encoding again."""
        part = self.make(name, seconds)
        path = part.with_name(f"{part.stem}-{times}-times{part.suffix}")
        if not path.exists():
            container = " ".join(re.findall(_OF_CONTAINER, RECIPES[name][1]))
            self._run(f"-stream_loop {times - 1} -i {part} -c copy {container}", path, piped=name.endswith("-piped"))
        return path

    def with_video(self, extension: str = "mp4") -> Path:
        """5 s of picture and sound."""
        path = self._directory / f"with-video.{extension}"
        if not path.exists():
            self._run(f"-f lavfi -i {VIDEO} -f lavfi -i sine=frequency=330 -t 5 {_video_codec(extension)}", path)
        return path

    def without_audio(self, extension: str = "mp4") -> Path:
        """5 s of picture alone."""
        path = self._directory / f"without-audio.{extension}"
        if not path.exists():
            self._run(f"-f lavfi -i {VIDEO} -t 5 {_video_codec(extension)}", path)
        return path

    def silence(self, seconds: float) -> Path:
        """Hours in few bytes: Opus that says nothing."""
        path = self._directory / f"silence-{seconds:g}.ogg"
        if not path.exists():
            source = f"-f lavfi -i anullsrc=channel_layout=mono:sample_rate=8000 -t {seconds:g}"
            self._run(f"{source} -c:a libopus -b:a 6k -frame_duration 120 -dtx 1 -application lowdelay", path)
        return path

    def speech(self, text: str, voice: str = "es") -> Path | None:
        """Spoken by espeak-ng, as wav; None where it is not installed."""
        program = shutil.which("espeak-ng") or shutil.which("espeak")
        if program is None:
            return None
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".wav", delete=False) as file:
            subprocess.run([program, "-v", voice, "-w", file.name, text], check=True, capture_output=True, timeout=60)
        return Path(file.name)

    def decoded_s(self, path: Path) -> float:
        """How long the sound in *path* is once it is decoded."""
        sound = f"-i {path} -map 0:a:0 -ac 1 -ar 16000 -f s16le"
        return len(self._output(sound)) / 2 / 16_000

    def _run(self, arguments: str, path: Path, *, piped: bool = False) -> None:
        # Written elsewhere first: a run that was interrupted leaves nothing that looks finished.
        part = path.with_name(f"part-{path.name}")
        if piped:
            part.write_bytes(self._output(f"{arguments} -f {path.suffix[1:]}"))
        else:
            self._call([*arguments.split(), "-y", str(part)])
        part.rename(path)

    def _output(self, arguments: str) -> bytes:
        return self._call([*arguments.split(), "pipe:1"])

    def _call(self, arguments: list[str]) -> bytes:
        command = [self._ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1", *arguments]
        run = subprocess.run(command, capture_output=True, timeout=300)
        if run.returncode:
            raise RuntimeError(f"ffmpeg {' '.join(arguments)}: {run.stderr.decode(errors='replace')}")
        return run.stdout


_OF_CONTAINER = r"-(?:movflags|frag_duration|live|write_xing|id3v2_version) \S+"
_PAUSES = "volume='if(lt(mod(t,3),2),0.5,0)':eval=frame"


def _video_codec(extension: str) -> str:
    return "-c:v libvpx" if extension == "webm" else "-c:v mpeg4"


def _make_all(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    files = AudioFiles(directory)
    for path in [*map(files.make, RECIPES), files.with_video(), files.without_audio()]:
        sys.stdout.write(f"{path.stat().st_size:>10,}  {path}\n")


if __name__ == "__main__":
    _make_all(Path(sys.argv[1]))
