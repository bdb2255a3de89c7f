"""Files that are meant to harm, or are no recordings at all."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a correct answer is: the kinds of AudioError, "flagged", or the name under which it is accepted.
Expected = frozenset[str]


@dataclass(frozen=True)
class Made:
    """Good recordings to spoil; ``secret`` is one that nobody may read."""

    note: Path
    mp3: Path
    m4a: Path
    wav: Path
    silent: Path
    picture: Path
    secret: Path


def hostile_files(folder: Path, made: Made, port: int) -> Iterator[tuple[str, Path, Expected]]:
    """A name, the file, and what may become of it."""
    ogg, m4a, wav, chance = made.note.read_bytes(), made.m4a.read_bytes(), made.wav.read_bytes(), random.Random(1)
    noisy = bytearray(ogg)
    noisy[len(noisy) // 2 : len(noisy) // 2 + 3000] = chance.randbytes(3000)
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    contents: dict[str, tuple[bytes, set[str]]] = {
        "empty": (b"", {"empty"}),
        "header only": (ogg[:47], {"cannot_decode"}),
        "noise": (chance.randbytes(50_000), {"not_audio"}),
        "HTML": (b"<!DOCTYPE html><html>404</html>", {"not_audio"}),
        "m4a cut before moov": (m4a[: len(m4a) // 2], {"cannot_decode"}),
        "ogg cut at 40 %": (ogg[: len(ogg) * 4 // 10], {"flagged"}),
        "wav cut at 40 %": (wav[: len(wav) * 4 // 10], {"flagged"}),
        "ogg with noise in it": (bytes(noisy), {"flagged", "recording.ogg"}),
        "mp4 without audio": (made.picture.read_bytes(), {"no_audio_track"}),
        "mp3 named .ogg": (made.mp3.read_bytes(), {"recording.mp3"}),
        "HLS to a local file": (hls.format(made.secret).encode(), {"not_audio"}),
        "HLS to a server": (hls.format(f"http://127.0.0.1:{port}/a.mp3").encode(), {"not_audio"}),
        "ffconcat to a local file": (f"ffconcat version 1.0\nfile '{made.secret}'\n".encode(), {"not_audio"}),
        "ffconcat to a server": (
            f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.mp3'\n".encode(),
            {"not_audio"},
        ),
    }
    for number, (name, (data, expected)) in enumerate(contents.items()):
        path = folder / f"hostile-{number}.ogg"
        path.write_bytes(data)
        yield name, path, frozenset(expected)
    yield "a day of silence", made.silent, frozenset({"too_long"})
