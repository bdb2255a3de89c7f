"""A bounded look into a file, and what a reader of headers found there."""

from dataclasses import dataclass
from typing import BinaryIO

MAX_BYTES = 1024 * 1024
MAX_READS = 6000
# Places of one file at which a reader looks for a frame or a page: some milliseconds, in whichever thread it runs.
MAX_PARSES = 8000


@dataclass(frozen=True, slots=True)
class Contents:
    """``has_audio`` is False only where tracks are listed and none is audio; ``cut`` means that bytes are missing."""

    container: str
    codec: str = ""
    duration_s: float | None = None
    has_audio: bool = True
    cut: bool = False


class Window:
    """Reads at most MAX_BYTES of *source*, in MAX_READS; what lies behind its end or the allowance reads as nothing.

    So a reader cannot be led astray by lengths that the file declares: it sees what it sees at the end of a cut file.
    """

    def __init__(self, source: BinaryIO, size_bytes: int) -> None:
        self.size = size_bytes
        self._source = source
        self._bytes_left = MAX_BYTES
        self._reads_left = MAX_READS

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Up to *n_bytes* at *offset*; fewer at the end of the file or of the allowance."""
        n_bytes = min(n_bytes, self.size - offset, self._bytes_left)
        if offset < 0 or n_bytes <= 0 or self._reads_left == 0:
            return b""
        self._reads_left -= 1
        self._bytes_left -= n_bytes
        self._source.seek(offset)
        return self._source.read(n_bytes)

    def places(self, start: int, end: int, count: int, n_bytes: int) -> list[tuple[int, int]]:
        """Offsets and lengths of *count* samples of *n_bytes*, evenly spread; of all at once where that is no more."""
        span = end - start
        if span <= count * n_bytes:
            return [(start, span)]
        return [(start + span * n // count, n_bytes) for n in range(count)]

    def number(self, offset: int, n_bytes: int) -> int | None:
        """The big-endian number at *offset*; None beyond the end."""
        data = self.read(offset, n_bytes)
        return int.from_bytes(data, "big") if len(data) == n_bytes else None
