"""What another process wrote over leaves the memory of this one."""

import asyncio
from collections.abc import Callable, Collection, Mapping

from .envelope import MEMORY_ONLY, Entry
from .erasing import SLICE_ENTRIES, SLICE_KEYS, Keys
from .flights import Flights
from .marks import KnownMarks
from .ports import EVERYTHING, Overwrites
from .scopes import PREFIX_CHARACTERS

MAX_KNOWN = 10_000  # keys of other processes' sets, most of which are not in this memory


class Overwritten:
    """Hears of *overwrites* and has *marks* say that older copies do not count.

    Only what was set by key: what is loaded ends by itself everywhere. *digest_of* a key in memory is its key in the
    store, where it begins with none of *prefixes*, those of policies.
    """

    def __init__(
        self,
        overwrites: Overwrites,
        memory: Keys,
        marks: KnownMarks,
        flights: Flights,
        digest_of: Callable[[str], bytes],
        prefixes: Collection[str],
        *,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self.is_open = False
        self._memory = memory
        self._marks = marks
        self._flights = flights
        self._digest_of = digest_of
        self._prefixes = prefixes
        self._max_known = max_known
        self._is_forgetting = False
        overwrites.on_overwritten(self._heard)

    def open(self) -> None:
        """From now on tasks may be started. What was written over before was not heard."""
        self.is_open = True
        self._forget_missed()

    def _heard(self, overwritten: Mapping[bytes, float]) -> None:
        if EVERYTHING in overwritten:
            self._forget_missed()
            return
        self._marks.add_overwritten(overwritten)
        if self._marks.overwritten > self._max_known and self.is_open and not self._is_forgetting:
            self._is_forgetting = True
            self._flights.tasks.start(self._forget_known(), "overwritten")

    def _forget_missed(self) -> None:
        """Nobody knows what was written over: what the store has too is read from there again."""
        if self.is_open and any(True for _ in self._memory):
            self._flights.tasks.start(self._forget_all(), "overwritten")

    async def _forget_all(self) -> None:
        for number, key in enumerate(self._set_keys(), 1):
            entry = self._memory.get(key)
            if type(entry) is Entry and MEMORY_ONLY not in entry.tags:
                self._memory.delete(key)
            if number % SLICE_ENTRIES == 0:
                await asyncio.sleep(0)

    async def _forget_known(self) -> None:
        """Drop the copies that do not count, so that what was heard until now need not be known any more."""
        try:
            count = self._marks.overwritten
            for number, key in enumerate(self._set_keys(), 1):
                if self._marks.is_overwritten(digest := self._digest_of(key)):
                    entry = self._memory.get(key)
                    if type(entry) is Entry and not self._marks.counts(entry.began_at, (digest,)):
                        self._memory.delete(key)
                if number % (SLICE_KEYS // 4) == 0:
                    await asyncio.sleep(0)
            self._marks.forget_overwritten(count)
        finally:
            self._is_forgetting = False

    def _set_keys(self) -> list[str]:
        return [key for key in self._memory if key[:PREFIX_CHARACTERS] not in self._prefixes]
