"""Removing files, whatever they are, and counting what was removed."""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOCK = ".lock"


def empty(directory: Path, keep: Callable[[str], bool]) -> tuple[int, int]:
    """Remove all but the lock and the paths that *keep* wants; files and bytes removed."""
    n_files = n_bytes = 0
    with suppress(OSError), os.scandir(directory) as entries:
        # All names first: what is removed meanwhile must not disturb the reading.
        for entry in list(entries):
            if entry.name == LOCK or keep(entry.path):
                continue
            size = size_bytes(entry.path)
            if remove(entry.path):
                n_files, n_bytes = n_files + 1, n_bytes + size
    return n_files, n_bytes


def remove_empty(directory: Path) -> None:
    """Remove *directory* with its lock, unless something else is in it."""
    with suppress(OSError):
        if os.listdir(directory) == [LOCK]:
            (directory / LOCK).unlink()
            directory.rmdir()


def remove(path: Path | str) -> bool:
    """Whether something was there and is not any more."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError:  # a directory: EISDIR or EPERM, as the system likes
        shutil.rmtree(path, ignore_errors=True)
        return not os.path.lexists(path)
    return True


def size_bytes(path: Path | str) -> int:
    """Of a file, or of all that is in a directory; 0 when nothing is there."""
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        with os.scandir(path) as entries:
            return sum(size_bytes(entry.path) for entry in entries)
    except OSError:
        return 0
