"""A server that waits for a recovery which nobody does any more is ended, so that the next one can recover."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

logger = logging.getLogger(__package__)

LOOK_EVERY_S = 1.0
PATIENCE_S = 3.0

# There while a server recovers; while it works; while it writes its last checkpoint.
_GETS_ON = re.compile(r"postgres: (.*: )?(startup|wal ?writer|checkpointer performing)\b")
_NAMED = "postgres: "


class RecoveryWatch:
    """Calls *end* for a server that lets nobody in and for ``PATIENCE_S`` has had no process that could change that.

    After a crash PostgreSQL recovers in a process of its own, the startup process. Where that fails before it replays,
    as when a file of an unlogged table cannot be removed, the main process overlooks it (seen with 18.6): it refuses
    everybody as "in recovery mode" for ever, and asked to stop, as "shutting down". A server that replays for an hour
    has its startup process all the time, whether that gets on or not.

    Ended too early, as between a crash and the startup process, nothing is lost: the next server does what this one
    would have done. *titles* are those of the server's processes, as ``ps`` shows them; none when it has ended.
    """

    def __init__(
        self,
        path: Path,
        *,
        titles: Callable[[], Collection[str]],
        lets_nobody_in: Callable[[], Awaitable[bool]],
        end: Callable[[], Awaitable[object]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._path = path
        self._titles = titles
        self._lets_nobody_in = lets_nobody_in
        self._end = end
        self._clock = clock
        self._sleep = sleep
        self._stuck_since: float | None = None

    async def run(self) -> None:
        """Look every ``LOOK_EVERY_S`` until cancelled."""
        while True:
            await self._sleep(LOOK_EVERY_S)
            await self.check()

    async def check(self) -> None:
        """Look once; asks the server only when its processes give a reason to."""
        titles = self._titles()
        if any(not title.startswith(_NAMED) for title in titles):
            return  # just made, or not to be read: it may be the one that recovers
        if not titles or any(map(_GETS_ON.match, titles)) or not await self._lets_nobody_in():
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = self._clock()
        elif self._clock() - self._stuck_since >= PATIENCE_S:
            self._stuck_since = None
            logger.warning("PostgreSQL in %s does not recover, ending it", self._path)
            await self._end()
