"""Temporary files: a locked directory, a byte budget, leases that leave nothing behind."""

import asyncio
import logging
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import ConfigurationError, LifecycleError, TemporarySpaceError
from ..tasks import Tasks, in_thread
from .owner import FULL, Owner, sweep_dead
from .places import default_directory, is_in_memory
from .removal import empty, remove, size_bytes

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
SWEEP_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class TemporaryFilesStatistics:
    """``bytes`` are reserved by ``leases`` now; ``swept`` files and ``refused`` leases count from the opening on."""

    leases: int
    bytes: int
    max_bytes: int
    swept: int
    refused: int


class TemporaryFiles:
    """A private directory of this owner, locked while it lives; what dead owners left beside it is swept away.

    Use as ``async with``. *directory* is shared by owners (any number, of any process) and should be on a disk: a tmpfs
    is memory. By default the system's directory for temporary files is taken, or /var/tmp where that one is a tmpfs.
    Where ours was removed under us, the next lease or sweep makes a new one.
    *spare* is asked, in a worker thread, before a dead owner's file is swept: True keeps it. *disk_usage* answers as
    ``shutil.disk_usage``.
    """

    def __init__(
        self,
        directory: Path | None = None,
        max_bytes: int = 256 * MIB,
        *,
        min_free_share: float = 0.1,
        spare: Callable[[Path], bool] = lambda path: False,
        on_failure: Callable[[str, BaseException], None] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        disk_usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if not 0 <= min_free_share < 1:
            raise ValueError(f"min_free_share must be at least 0 and less than 1, not {min_free_share}")
        self._base = directory
        self._max_bytes = max_bytes
        self._min_free_share = min_free_share
        self._spare = spare
        self._on_failure = on_failure
        self._clock = clock
        self._sleep = sleep
        self._disk_usage = disk_usage
        self._leases: dict[str, int] = {}  # by paths as the system tells them
        self._swept = self._refused = 0
        self._own: Owner | None = None

    async def __aenter__(self) -> Self:
        if self._own is not None:
            raise LifecycleError("these temporary files are open already; open them once, and share them")
        base = self._place = default_directory() if self._base is None else self._base
        self._own = self._new_owner()
        self._tasks = Tasks("temporary_files", on_failure=self._on_failure)
        self._in_memory = is_in_memory(base)
        if self._in_memory:
            logger.warning("temporary files in %s take memory, as it is a tmpfs; give a directory on a disk", base)
        try:
            await self.sweep()
            self._tasks.start(self._sweep_for_ever(), "sweep")
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._own is None:
            return
        try:
            await self._tasks.__aexit__(exc_type, exc, traceback)
        finally:
            own, self._own = self._own, None
            own.close()

    async def aclose(self) -> None:
        """Remove this owner's directory with all that is in it; leases that still run lose their files."""
        await self.__aexit__(None, None, None)

    @asynccontextmanager
    async def lease(self, suffix: str, n_bytes: int) -> AsyncIterator[Path]:
        """A path of a random name for at most *n_bytes*; nothing is there yet, a file or a directory may be made.

        *suffix* is an extension of ours (".ogg"), never a part of a user's file name. What is there is deleted on the
        way out, whatever happens; stop whoever writes there first. Raises TemporarySpaceError when there is no room,
        and in place of an OSError of the body that tells of a full disk, or of a directory that somebody has removed.
        """
        path = self._present().path / (secrets.token_hex(16) + _checked(suffix))
        await self._reserve(path, n_bytes)
        try:
            yield path
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
                raise _removed(path) from error
            if error.errno not in FULL:
                raise
            raise TemporarySpaceError(f"the disk is full ({error}); free some space, then try again") from error
        finally:
            # No await here: a second cancellation could come between, and leave the file.
            try:
                remove(path)
            finally:
                self._leases.pop(str(path), None)

    async def grow(self, path: Path, n_bytes: int) -> None:
        """Reserve *n_bytes* more for the lease of *path*; raises TemporarySpaceError, and the lease stays as it was."""
        if str(path) not in self._leases:
            raise LifecycleError(f"{path.name} is not leased; grow a lease inside its `async with`")
        if not path.parent.is_dir():
            raise _removed(path)
        await self._reserve(path, n_bytes)

    async def sweep(self) -> int:
        """Remove what dead owners left, and what lies in our own directory without a lease; the number of files."""
        return (await in_thread(partial(self._sweep, self._present())))[0]

    async def release(self, wanted_bytes: int) -> int:
        """Sweep at once, for a memory manager; bytes of memory given back: none, unless the directory is a tmpfs."""
        if self._own is None or wanted_bytes <= 0:
            return 0
        freed_bytes = (await in_thread(partial(self._sweep, self._present())))[1]
        return freed_bytes if self._in_memory else 0

    def statistics(self) -> TemporaryFilesStatistics:
        return TemporaryFilesStatistics(
            len(self._leases), sum(self._leases.values()), self._max_bytes, self._swept, self._refused
        )

    def _opened(self) -> "Owner":
        if self._own is None:
            raise LifecycleError("temporary files are not open; use them inside `async with files:`")
        return self._own

    def _present(self) -> "Owner":
        """Our directory; a new one when it was removed, which takes a few calls of the system and happens once."""
        own = self._opened()
        if not own.is_there():
            self._own = self._new_owner()
            own.leave()
            logger.warning("the directory %s of temporary files was removed; a new one was made", own.path)
            own = self._own
        return own

    def _new_owner(self) -> "Owner":
        return Owner.create(self._place, private=self._base is None)

    async def _reserve(self, path: Path, n_bytes: int) -> None:
        if n_bytes < 0:
            raise ValueError(f"n_bytes must be at least 0, not {n_bytes}")
        if self._is_under_floor(n_bytes):
            await self.sweep()
        if problem := self._over_budget(n_bytes) or self._is_under_floor(n_bytes):
            self._refused += 1
            raise TemporarySpaceError(problem, wanted_bytes=n_bytes)
        self._leases[str(path)] = self._leases.get(str(path), 0) + n_bytes

    def _over_budget(self, n_bytes: int) -> str:
        used = sum(self._leases.values())
        if used + n_bytes <= self._max_bytes:
            return ""
        return (
            f"no room for {n_bytes:,} bytes of temporary files: {used:,} of at most {self._max_bytes:,} are in use;"
            " wait for others to end, or raise max_bytes"
        )

    def _is_under_floor(self, n_bytes: int) -> str:
        own = self._present().path
        total, _, free = self._disk_usage(own)
        # What was promised to others but is not yet written is not free any more.
        promised = sum(max(0, reserved - size_bytes(path)) for path, reserved in self._leases.items())
        if free - promised - n_bytes >= self._min_free_share * total:
            return ""
        return (
            f"no room for {n_bytes:,} bytes of temporary files in {own.parent}: {max(0, free - promised):,} of"
            f" {total:,} bytes are free, and {self._min_free_share:.0%} must stay free; free some space"
        )

    async def _sweep_for_ever(self) -> None:
        while True:
            await self._sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except (ConfigurationError, TemporarySpaceError) as error:
                logger.warning("temporary files cannot be swept: %s", error)  # perhaps the next time

    def _sweep(self, own: "Owner") -> tuple[int, int]:
        own.touch(self._clock())
        n_files, n_bytes = empty(own.path, self._leases.__contains__)
        for directory in own.others():
            files, size = sweep_dead(directory, lambda path: self._spare(Path(path)), self._clock())
            n_files, n_bytes = n_files + files, n_bytes + size
        self._swept += n_files
        return n_files, n_bytes


def _removed(path: Path) -> TemporarySpaceError:
    return TemporarySpaceError(f"the temporary directory {path.parent} was removed while it was in use; try again")


def _checked(suffix: str) -> str:
    if not re.fullmatch(r"(\.[a-z0-9]{1,8})?", suffix):
        raise ValueError(f"the suffix must be empty or as '.ogg', not {suffix!r}")
    return suffix
