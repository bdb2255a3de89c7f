"""A server that has ended is opened again, at once and then ever later."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from ...errors import TecnobotError

logger = logging.getLogger(__package__)

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
STEADY_S = 10.0  # whoever lived so long did not end because of how it was started


class Keeper:
    """Calls *reopen* each time that *wait_gone* returns, until it succeeds.

    The first time at once. While servers do not start, or end within ``STEADY_S``, it waits before each attempt, from
    ``FIRST_DELAY_S`` doubling to ``MAX_DELAY_S``. An outage is one line at each end, and one for what keeps it going.
    """

    def __init__(
        self,
        path: Path,
        *,
        wait_gone: Callable[[], Awaitable[object]],
        reopen: Callable[[], Awaitable[object]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._path = path
        self._wait_gone = wait_gone
        self._reopen = reopen
        self._clock = clock
        self._sleep = sleep
        self._delay_s = 0.0

    async def run(self) -> None:
        """Keep the server until cancelled."""
        while True:
            opened_at = self._clock()
            await self._wait_gone()
            if self._clock() - opened_at >= STEADY_S:
                self._delay_s = 0.0
            logger.warning("PostgreSQL in %s has ended, starting it again", self._path)
            await self._reopen_at_last()
            logger.warning("PostgreSQL in %s runs again", self._path)

    async def _reopen_at_last(self) -> None:
        told = False
        while True:
            await self._sleep(self._delay_s)
            self._delay_s = min(max(2 * self._delay_s, FIRST_DELAY_S), MAX_DELAY_S)
            try:
                await self._reopen()
            except TecnobotError as error:
                if not told:
                    logger.warning("PostgreSQL in %s does not start, trying again: %s", self._path, error)
                told = True
            else:
                return
