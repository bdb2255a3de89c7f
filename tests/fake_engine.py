"""An audio engine that decodes nothing: what it writes lasts as long as it is told."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tecnobot_core.audio import Encoding, Span

_NONE = 2**64 - 1  # the position of a page in which no packet ends
_SAMPLES = 48_000  # the unit of an Opus page's position, whatever the sound's own rate


def ogg_opus(seconds: float, n_bytes: int = 0) -> bytes:
    """The headers of a voice note of *seconds*, with *n_bytes* of noise for its sound."""
    head = b"OpusHead\x01\x01" + bytes(2) + (16_000).to_bytes(4, "little") + bytes(3)
    packets = [255] * (n_bytes // 255 % 200) + [n_bytes % 255]
    filler = b"".join(_page(2 + number, _NONE, [255] * 200, bytes(51_000)) for number in range(n_bytes // 51_000))
    sound = _page(9999, round(seconds * _SAMPLES), packets, bytes(sum(packets)), flags=4)
    first = _page(1, 960, [1], b"\0")  # without it the stream would be one that was cut out of another
    return _page(0, 0, [len(head)], head, flags=2) + first + filler + sound


def _page(number: int, position: int, segments: Sequence[int], body: bytes, flags: int = 0) -> bytes:
    serial = b"tecn"
    checksum = bytes(4)  # readers of headers do not look at it
    fixed = b"OggS\x00" + bytes([flags]) + position.to_bytes(8, "little") + serial + number.to_bytes(4, "little")
    return fixed + checksum + bytes([len(segments), *segments]) + body


class FakeEngine:
    """Writes *decoded_s* for every recording, *bytes_for_a_second* large; runs while ``gate`` is set.

    ``calls`` holds what it was asked for, ``most_at_once`` how many ran together. With ``error`` it writes half a file
    and raises that.
    """

    memory_bytes = 1000

    def __init__(self, decoded_s: float = 15, *, silences: Sequence[Span] = (), bytes_for_a_second: int = 3000) -> None:
        self.decoded_s = decoded_s
        self.silences = silences
        self.calls: list[Encoding | Sequence[Span] | tuple[int, float]] = []
        self.sources: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.most_at_once = self.running = 0
        self.error: Exception | None = None
        self._bytes_for_a_second = bytes_for_a_second

    async def encode(
        self, source: Path, target: Path, encoding: Encoding, heard: Callable[[float], None]
    ) -> Sequence[Span]:
        self.calls.append(encoding)
        self.sources.append(_head(source))
        self._write(target, self.decoded_s)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        heard(self.decoded_s)
        return self.silences

    async def cut(self, source: Path, spans: Sequence[Span], targets: Sequence[Path]) -> None:
        self.calls.append(spans)
        for span, target in zip(spans, targets, strict=True):
            self._write(target, span.end_s - span.start_s)

    async def join(self, sources: Sequence[Path], target: Path, encoding: Encoding, pause_s: float) -> None:
        self.calls.append((len(sources), pause_s))
        self._write(target, self.decoded_s)

    def _write(self, target: Path, seconds: float) -> None:
        target.write_bytes(ogg_opus(seconds, int(seconds * self._bytes_for_a_second)))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)
