"""A rotated log file that survives a full disk."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

logger = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0


class LogFile(RotatingFileHandler):
    """A log file that only its owner can read, put away as *path*.1 to *path*.*keep* before it passes *max_bytes*.

    After a failure it stays closed, twice as long after each further one. The records of that time are lost: the first
    failure is told with *tell*, and when writing works again the file says how many are missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep: int,
        tell: Callable[[logging.LogRecord], object],
        clock: Callable[[], float],
    ) -> None:
        self.lost = 0
        self._reported = 0
        self._tell = tell
        self._clock = clock
        self._wait_s = 0.0
        self.retry_at = clock()
        super().__init__(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        if self._clock() < self.retry_at:
            self.lost += 1
        elif self._write(record):
            self._wait_s = 0.0
            self._report()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the standard library's name
        self.lost += 1
        if not self._wait_s:
            self._tell(warning(f"the log file misses what follows, it cannot be written: {sys.exc_info()[1]}"))
        self._wait_s = min(max(2 * self._wait_s, FIRST_RETRY_S), LONGEST_RETRY_S)
        self.retry_at = self._clock() + self._wait_s
        with contextlib.suppress(OSError):
            self.close()  # the next record opens it again

    def _write(self, record: logging.LogRecord) -> bool:
        lost = self.lost
        super().emit(record)
        return self.lost == lost

    def _report(self) -> None:
        missing = self.lost - self._reported
        if missing and self._write(warning(f"{missing} log records are missing: this file could not be written")):
            self._reported += missing

    def _open(self) -> TextIOWrapper:
        cut = _is_cut(self.baseFilename)
        stream = open(  # noqa: SIM115  the handler closes it
            self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=_open_private
        )
        if cut:
            stream.write("\n")
        return stream


def warning(text: str) -> logging.LogRecord:
    """A record of the log about itself."""
    return logger.makeRecord(logger.name, logging.WARNING, __file__, 0, text, (), None)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_cut(path: str) -> bool:
    """Whether the last line was not finished, because the disk was full or the process killed."""
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
