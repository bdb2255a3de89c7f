"""A directory that belongs to one owner while its lock is held, and how those of the dead are found."""

import errno
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..errors import ConfigurationError, TemporarySpaceError
from .places import is_ours_alone
from .removal import LOCK, empty, remove_empty

if sys.platform != "win32":
    import fcntl

FULL = {errno.ENOSPC, errno.EDQUOT}  # of an OSError: the disk, or this user's part of it, is full
UNLOCKED_MAX_AGE_S = 24 * 3600.0  # where locks do not work, an owner that has not swept for a day is dead


class Owner:
    """A directory that belongs to one TemporaryFiles as long as its lock is held."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, base: Path, *, private: bool) -> Self:
        """In *base*, which is made where missing; a *private* one must be ours alone, as anybody could have made it."""
        try:
            base.mkdir(0o700, parents=True, exist_ok=True)
            if private and not is_ours_alone(base):
                raise ConfigurationError(f"{base} is not a directory of this user alone; remove it or set TMPDIR")
            while (made := cls._try_create(base)) is None:
                pass
            return made
        except OSError as error:
            if error.errno in FULL:
                raise TemporarySpaceError(f"no temporary directory can be made in {base}: {error}") from error
            raise ConfigurationError(f"temporary files need a directory that can be written: {error}") from error

    @classmethod
    def _try_create(cls, base: Path) -> Self | None:
        """None when a sweep came between making the directory and locking it."""
        path = base / f"own-{os.getpid()}-{secrets.token_hex(8)}"
        path.mkdir(0o700)
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            return None
        except OSError:
            path.rmdir()
            raise
        if _try_lock(lock) is not False and os.fstat(lock).st_nlink:
            return cls(path, lock)
        os.close(lock)
        return None

    def others(self) -> list[Path]:
        """The directories of other owners, dead or alive."""
        base = self.path.parent
        try:
            with os.scandir(base) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return [base / name for name in names if name.startswith("own-") and name != self.path.name]

    def touch(self, now: float) -> None:
        """Show life to those who cannot see the lock."""
        with suppress(OSError):
            os.utime(self.path / LOCK, (now, now))

    def is_there(self) -> bool:
        """Whether the directory still has our lock; somebody may have removed either."""
        try:
            return os.path.samestat(os.stat(self.path / LOCK), os.fstat(self._lock))
        except OSError:
            return False

    def leave(self) -> None:
        """Give up a directory that was removed, and what may be left of it to those who lease there."""
        os.close(self._lock)

    def close(self) -> None:
        empty(self.path, lambda path: False)
        os.close(self._lock)
        remove_empty(self.path)


def sweep_dead(directory: Path, spare: Callable[[str], bool], now: float) -> tuple[int, int]:
    """Files and bytes removed; none when the owner lives or is somebody whose directory cannot be opened."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR)
    except OSError:
        # Without a lock it is half made or half removed: gone now if empty, whoever makes it will try again.
        with suppress(OSError):
            directory.rmdir()
        return 0, 0
    try:
        locked = _try_lock(lock)
        if locked is False or (locked is None and os.fstat(lock).st_mtime > now - UNLOCKED_MAX_AGE_S):
            return 0, 0
        swept = empty(directory, spare)
        remove_empty(directory)
        return swept
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool | None:
    """True when it is ours now, False while another holds it, None where locks do not work."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
