"""Copies of the session that outlive this machine."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol

from ...errors import TecnobotError, TransportError

logger = logging.getLogger(__name__)

FETCHED = "copy-fetched"


class SessionCopies(Protocol):
    """Where copies of one account's session are kept besides its own machine. They hold its keys: encrypt them.

    Every error is a TecnobotError.
    """

    async def put(self, content: bytes, taken_at: float) -> None:
        """Keep a copy that was taken at a Unix time; the same time again is the same copy."""
        ...

    async def latest(self) -> tuple[bytes, float] | None:
        """The last that was put, can still be read and was not revoked, and when it was taken."""
        ...

    async def revoke(self) -> None:
        """Never give any of these again; they may be kept."""
        ...


class Elsewhere:
    """Carries copies from *folder* to *copies* and back. Those in *quarantine* do not come back."""

    def __init__(self, copies: SessionCopies, folder: Path, quarantine: Path) -> None:
        self._copies = copies
        self._folder = folder
        self._quarantine = quarantine

    async def put(self, copy: Path) -> None:
        """Send *copy* there. TransportError when it did not arrive."""
        try:
            await self._copies.put(*(await asyncio.to_thread(_read, copy)))
        except TecnobotError as error:
            raise TransportError(
                f"the session was saved on this machine, but not in the database: {error}", reason="store_error"
            ) from error

    async def fetch(self) -> float | None:
        """Put the newest among the copies here, and say when it was taken; None when there is none, or it is known.

        It is known when it went from here, or was fetched or put aside before. TecnobotError when it cannot be had.
        """
        newest = await self._copies.latest()
        if newest is None:
            return None
        content, taken_at = newest
        if _holds(self._folder, taken_at) or _holds(self._quarantine, taken_at):
            return None
        await asyncio.to_thread(self._write, content, taken_at)
        return taken_at

    async def revoke(self) -> None:
        """Let none be used again; while that cannot be said, the quarantine tells."""
        try:
            await self._copies.revoke()
        except TecnobotError as error:
            logger.warning("the copies of a session that was logged out are still in the database: %s", error)

    def _write(self, content: bytes, taken_at: float) -> None:
        unfinished = self._folder / "fetched.unfinished"
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.utime(unfinished, (taken_at, taken_at))
        os.replace(unfinished, self._folder / FETCHED)


def _read(copy: Path) -> tuple[bytes, float]:
    return copy.read_bytes(), copy.stat().st_mtime


def _holds(folder: Path, taken_at: float) -> bool:
    """Whether a copy of that time is in *folder*. File systems round, and nobody takes two in a millisecond."""
    copies = (path for pattern in ("*copy-*", "*day-*") for path in folder.glob(pattern))
    return any(abs(path.stat().st_mtime - taken_at) < 0.001 for path in copies)
