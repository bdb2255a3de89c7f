"""Files of a folder: seen cheaply, read whole, written so that nobody ever reads a half."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TypeAlias

from ...errors import StoreError
from .document import MAX_FILE_BYTES, SUFFIXES

Stamp: TypeAlias = tuple[int, ...]
"""What changes with a file: its size, its times and its inode."""

_LASTING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR)


def scan(folder: Path) -> dict[str, Stamp] | None:
    """The files of flows in *folder* by name, each with its stamp; None: there is no such folder."""
    stamps: dict[str, Stamp] = {}
    try:
        with translated(folder, "read"), os.scandir(folder) as entries:
            for entry in entries:
                if is_flow_file(entry.name):
                    stat = entry.stat()
                    if S_ISREG(stat.st_mode):
                        stamps[entry.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not folder.exists():
            return None
        raise
    return dict(sorted(stamps.items()))


def is_flow_file(name: str) -> bool:
    """Whether a file of this name is read: editors and this module keep hidden ones beside it for a while."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def read_bytes(path: Path) -> bytes:
    """What stands in the file, and one byte more than may at most. Raises StoreError, and PermissionError as it is."""
    with translated(path, "read", but=PermissionError), path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def write_text(path: Path, text: str) -> None:
    """Put *text* in the place of what *path* holds: whoever reads finds the old or the new, also after a power cut."""
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with translated(path, "written"):
            with beside.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                beside.chmod(path.stat().st_mode & 0o777)
            beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove the file."""
    with translated(path, "removed"):
        path.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def translated(path: Path, done: str, *, but: tuple[type[OSError], ...] | type[OSError] = ()) -> Iterator[None]:
    """What the file system refuses is a StoreError, after which nothing has changed."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        lasts = error.errno in _LASTING
        raise StoreError(
            f"{path} cannot be {done}: {error.strerror or error}",
            retryable=not lasts,
            outcome="permanent" if lasts else "rolled_back",
        ) from error


def _sync(folder: Path) -> None:
    """Make the names in *folder* last; some file systems cannot, and then nothing more can be done."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
