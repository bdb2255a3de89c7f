"""The session's database and its copies. Only other processes open them."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from ...errors import TecnobotError, TransportError
from .copying import Condition, Copying, CopyingError
from .elsewhere import Elsewhere, SessionCopies
from .locking import alone

logger = logging.getLogger(__name__)

# The library puts "file:" before and "?_foreign_keys=on" behind the name; the last parameter takes the second "?".
# FULL: a step of the ratchet that is lost with the power would be used twice.
_OPTIONS = "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000&_txlock=immediate&_foreign_keys=on&_z=1"

KEEP_COPIES = 3
KEEP_DAYS = 3


class Session:
    """The files in *directory*: ``session.db``, ``copies/``, ``quarantine/``. *clock* is in Unix seconds.

    Copies are numbered, 0 the newest, and one a day is kept for three days. All hold the account's keys: mode 0600.
    Each also goes to *copies*, from where it comes back when there is nothing here, or what is here is older.
    """

    def __init__(
        self,
        directory: Path,
        *,
        copies: SessionCopies | None = None,
        copy_timeout_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.path = directory / "session.db"
        self._copies = directory / "copies"
        self._quarantine = directory / "quarantine"
        self._restored = directory / "restored"  # of the time of the copy that was put in place
        self._copying = Copying(copy_timeout_s)
        self._clock = clock
        self._elsewhere = None if copies is None else Elsewhere(copies, self._copies, self._quarantine)
        self._saved_state: object = None
        self._unsent: Path | None = None
        self._compared = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def data_source(self) -> str:
        """What the library opens."""
        return quote(str(self.path.absolute())) + _OPTIONS

    def prepare(self) -> None:
        """Make the directories."""
        for folder in (self.directory, self._copies):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def check(self) -> None:
        """TransportError when it is damaged, or gone although there are copies; nothing is there before pairing.

        One that is only locked, or cannot be read for now, is to be tried again: an older copy would cost messages.
        """
        if self._is_empty():
            if next(self._newest_first(), None) is not None:
                raise _unusable(f"{self.path} is gone or empty, but there are copies of it")
            return
        try:
            await self._copying.check(self.path)
        except CopyingError as error:
            if error.damaged:
                raise _unusable(f"{self.path} cannot be read: {error}") from error
            raise TransportError(f"{self.path} cannot be read for now: {error}") from error

    async def save(self) -> int | None:
        """Copy it; the copy's size in bytes, or None when nothing changed since the last, or nobody paired yet.

        TransportError also when the copy could not be sent to where others are kept; the next call sends it again.
        """
        async with self._one_at_a_time:
            size_bytes = await self._save()
            if self._unsent is not None and self._elsewhere is not None:
                await self._elsewhere.put(self._unsent)
                self._unsent = None
            return size_bytes

    async def bring_back(self) -> float | None:
        """Fetch the newest copy from elsewhere where nothing is here, or what is here is older; its age in seconds.

        Once, before it is first opened: after that nobody else has a newer one. TransportError, to be tried again, when
        nothing is here and it cannot be known whether there is one: pairing anew would lose what it holds.
        """
        if self._compared or self._elsewhere is None:
            return None
        nothing_here = self._is_empty() and next(self._newest_first(), None) is None
        try:
            taken_at = await self._elsewhere.fetch()
        except TecnobotError as error:
            if nothing_here:
                raise TransportError(f"copies of the session cannot be had: {error}", reason="network") from error
            logger.warning("whether the database has a newer session is not known: %s", error)
            return None
        age_s = None
        if taken_at is not None and (nothing_here or taken_at > self._changed_at()):
            age_s = await self._restore()
        self._compared = True
        return age_s

    async def restore(self) -> float | None:
        """Put the newest copy that is whole in its place; the age of that in seconds, or None when there is none.

        TransportError while a process runs with it.
        """
        if self._elsewhere is not None:
            try:
                await self._elsewhere.fetch()
            except TecnobotError as error:
                logger.warning("copies in the database cannot be had, those of this machine are used: %s", error)
        return await self._restore()

    def take_restored(self) -> float | None:
        """The age in seconds of the copy that was put in its place, by whatever process, and not told here before."""
        try:
            taken_at = self._restored.stat().st_mtime
        except FileNotFoundError:
            return None
        self._restored.unlink(missing_ok=True)
        return max(0.0, self._clock() - taken_at)

    async def replace(self, source: Path) -> Condition:
        """Put a copy of *source* in its place; TransportError when that is no whole session of an account."""
        condition = await self.condition(source)
        if condition.problem or not condition.accounts:
            raise _unusable(f"{source} is no session to restore: {condition.problem or 'it holds no account'}")
        with alone(self.directory):
            await self._put_in_place(source)
        return condition

    async def export(self, target: Path) -> Condition:
        """Write a verified copy to *target*, replacing that; TransportError when there is no account to copy."""
        condition = await self.condition(self.path)
        if condition.problem or not condition.accounts:
            raise _unusable(f"{self.path} cannot be copied: {condition.problem or 'it holds no account'}")
        try:
            await self._copying.copy(self.path, target)
        except CopyingError as error:
            raise _unusable(f"{target} cannot be written: {error}") from error
        return await self.condition(target)

    async def condition(self, path: Path) -> Condition:
        """What the file *path* holds, and whether it is whole."""
        return await self._copying.condition(path, now=self._clock())

    def copies(self) -> Sequence[Path]:
        """The copies on this machine, newest first; one may be there under two names."""
        return [*self._newest_first()]

    def quarantine(self) -> None:
        """Put everything aside; nothing is deleted."""
        self._put_aside((*self._live_files(), *self._newest_first()))
        self._saved_state = self._unsent = None

    async def revoke(self) -> None:
        """Put everything aside, also elsewhere: the account does not take it any more."""
        self.quarantine()
        if self._elsewhere is not None:
            await self._elsewhere.revoke()

    async def _restore(self) -> float | None:
        with alone(self.directory):
            for copy in self._newest_first():
                age_s = max(0.0, self._clock() - copy.stat().st_mtime)
                try:
                    await self._copying.check(copy)
                    await self._put_in_place(copy)
                except CopyingError:
                    continue
                return age_s
            return None

    async def _put_in_place(self, copy: Path) -> None:
        fresh = self._copies / "session.restored"
        await self._copying.copy(copy, fresh)
        self._note_restored(copy)
        self._put_aside(self._live_files())
        os.replace(fresh, self.path)
        self._saved_state = None

    def _note_restored(self, copy: Path) -> None:
        taken_at = copy.stat().st_mtime
        self._restored.touch(mode=0o600)
        os.utime(self._restored, (taken_at, taken_at))

    async def _save(self) -> int | None:
        state = self._state()
        if state == self._saved_state or self._is_empty():
            return None
        fresh = self._copies / "session.fresh"
        try:
            facts = await self._copying.copy(self.path, fresh)
        except CopyingError as error:
            raise _unusable(f"the session cannot be saved: {error}") from error
        if not facts["accounts"]:
            fresh.unlink()  # it must not push out a copy that is worth something
            return None
        self._rotate(fresh)
        self._saved_state, self._unsent = state, self._numbered(0)
        return int(facts["size_bytes"])

    def _rotate(self, fresh: Path) -> None:
        taken_at = self._clock()
        os.utime(fresh, (taken_at, taken_at))  # by which a copy that comes back is known
        today = self._copies / time.strftime("day-%Y-%m-%d", time.gmtime(self._clock()))
        if not today.exists():
            os.link(fresh, today)
        for older in sorted(self._copies.glob("day-*"), reverse=True)[KEEP_DAYS:]:
            older.unlink()
        for number in reversed(range(KEEP_COPIES - 1)):
            if (copy := self._numbered(number)).exists():
                os.replace(copy, self._numbered(number + 1))
        os.replace(fresh, self._numbered(0))

    def _numbered(self, number: int) -> Path:
        return self._copies / f"copy-{number}"

    def _newest_first(self) -> Iterator[Path]:
        copies = [*self._copies.glob("copy-*"), *self._copies.glob("day-*")]
        return iter(sorted(copies, key=lambda path: path.stat().st_mtime, reverse=True))

    def _live_files(self) -> Sequence[Path]:
        # The log belongs to the file that is replaced: beside another one it would damage that.
        return [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _put_aside(self, files: Iterable[Path]) -> None:
        self._quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._clock()))
        for file in files:
            if file.exists():
                os.replace(file, _free_name(self._quarantine / f"{stamp}-{file.name}"))

    def _is_empty(self) -> bool:
        # Only asked for its size: opening and closing it here could let go of a lock of the library's.
        return not self.path.exists() or self.path.stat().st_size == 0

    def _changed_at(self) -> float:
        return max((path.stat().st_mtime for path in self._live_files()[:2] if path.exists()), default=0.0)

    def _state(self) -> object:
        files = (path for path in self._live_files() if path.exists() and not path.name.endswith("-shm"))
        return [(path.name, (facts := path.stat()).st_mtime_ns, facts.st_size) for path in files]


def _unusable(sentence: str) -> TransportError:
    return TransportError(sentence, reason="store_error", retryable=False)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.{number}")
    return free
