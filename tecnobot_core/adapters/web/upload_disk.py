"""Uploaded files on disk: written step by step in threads, so that a slow disk stops nobody."""

import os
import re
from pathlib import Path
from typing import IO

_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
_PART = ".part"
_STALE_S = 600.0  # nothing was written to an unfinished file for so long: its process is gone


def is_name(text: str) -> bool:
    """Whether *text* can be the name of an uploaded file."""
    return _NAME.fullmatch(text) is not None


def part_of(path: Path) -> Path:
    """Where the file *path* is while it is not finished."""
    return path.with_name(path.name + _PART)


def create(path: Path) -> IO[bytes]:
    """The unfinished file of *path*, new, for this user alone."""
    return os.fdopen(os.open(part_of(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def append(file: IO[bytes], block: bytes) -> None:
    """Write all of *block*."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def finish(file: IO[bytes], path: Path, now: float) -> None:
    """Make *file* the file *path*, stored at *now*.

    On disk before its message is journaled: what the journal names must be there after a loss of power.
    """
    os.fsync(file.fileno())
    file.close()
    os.utime(part_of(path), (now, now))
    part_of(path).rename(path)
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def find(directory: Path, now: float) -> dict[str, tuple[int, float]]:
    """Bytes and time of the finished files; makes the directory where it is not, and removes what was never finished.

    Nothing else in the directory is touched.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    found: dict[str, tuple[int, float]] = {}
    for path in directory.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # another process has just finished or removed it
            continue
        if is_name(path.name):
            found[path.name] = (status.st_size, status.st_mtime)
        elif is_name(path.name.removesuffix(_PART)) and status.st_mtime < now - _STALE_S:
            path.unlink(missing_ok=True)
    return found
