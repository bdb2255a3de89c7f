"""The session's database and its copies. Only other processes open them."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import TransportError

_COPYING = Path(__file__).with_name("child") / "copying.py"

# The library puts "file:" before and "?_foreign_keys=on" behind the name; the last parameter takes the second "?".
# FULL: a step of the ratchet that is lost with the power would be used twice.
_OPTIONS = "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000&_txlock=immediate&_foreign_keys=on&_z=1"

KEEP_COPIES = 3
KEEP_DAYS = 3


class Session:
    """The files in *directory*: ``session.db``, ``copies/``, ``quarantine/``. *clock* is in Unix seconds.

    Copies are numbered, 0 the newest, and one a day is kept for three days. All hold the account's keys: mode 0600.
    """

    def __init__(
        self, directory: Path, *, copy_timeout_s: float = 30.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = directory
        self.path = directory / "session.db"
        self._copies = directory / "copies"
        self._quarantine = directory / "quarantine"
        self._copy_timeout_s = copy_timeout_s
        self._clock = clock
        self._saved_state: object = None
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
        """TransportError when it is damaged, or gone although there are copies; nothing is there before pairing."""
        if self._is_empty():
            if next(self._newest_first(), None) is not None:
                raise _unusable(f"{self.path} is gone or empty, but there are copies of it")
            return
        try:
            await self._process("check", self.path)
        except CopyingError as error:
            raise _unusable(f"{self.path} cannot be read: {error}") from error

    async def save(self) -> int | None:
        """Copy it; the copy's size in bytes, or None when nothing changed since the last, or nobody paired yet."""
        async with self._one_at_a_time:
            return await self._save()

    async def restore(self) -> float | None:
        """Put the newest copy that is whole in its place; the age of that in seconds, or None when there is none."""
        for copy in self._newest_first():
            try:
                await self._process("check", copy)
                age_s = max(0.0, self._clock() - copy.stat().st_mtime)
                fresh = self._copies / "session.restored"
                await self._process("copy", copy, fresh)
            except CopyingError:
                continue
            self._put_aside(self._live_files())
            os.replace(fresh, self.path)
            self._saved_state = None
            return age_s
        return None

    def quarantine(self) -> None:
        """Put everything aside; nothing is deleted."""
        self._put_aside((*self._live_files(), *self._newest_first()))
        self._saved_state = None

    async def _save(self) -> int | None:
        state = self._state()
        if state == self._saved_state or self._is_empty():
            return None
        fresh = self._copies / "session.fresh"
        try:
            facts = await self._process("copy", self.path, fresh)
        except CopyingError as error:
            raise _unusable(f"the session cannot be saved: {error}") from error
        if not facts["devices"]:
            fresh.unlink()  # it must not push out a copy that is worth something
            return None
        self._rotate(fresh)
        self._saved_state = state
        return int(facts["size_bytes"])

    def _rotate(self, fresh: Path) -> None:
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

    def _live_files(self) -> Iterable[Path]:
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

    def _state(self) -> object:
        files = (path for path in self._live_files() if path.exists() and not path.name.endswith("-shm"))
        return [(path.name, (facts := path.stat()).st_mtime_ns, facts.st_size) for path in files]

    async def _process(self, verb: str, *paths: Path) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_COPYING), verb, *map(str, paths)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(self._copy_timeout_s):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise CopyingError(f"no answer within {self._copy_timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        facts: dict[str, Any] = json.loads(output or b'{"error": "the process that reads it ended"}')
        if "error" in facts:
            raise CopyingError(facts["error"])
        return facts


class CopyingError(Exception):
    """A database could not be checked or copied."""


def _unusable(sentence: str) -> TransportError:
    return TransportError(sentence, reason="store_error", retryable=False)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.{number}")
    return free
