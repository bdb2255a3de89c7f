"""The end of a bot, at any moment: what waits for a database that is away must not keep it from stopping."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

STOP_WAITING_S = 0.5  # with the drain, which then is not waited for, and closing, within 3 s


class Stopping:
    """Runs what takes messages in, until it ends or ``stop`` was called and it did not end by itself soon after."""

    def __init__(self) -> None:
        self._limit: asyncio.Timeout | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let ``run`` return soon; what is not journaled then is not acknowledged either, and comes again."""
        self._stopped = True
        if self._limit is not None:
            # Opening and accepting wait for a database that is away.
            self._limit.reschedule(asyncio.get_running_loop().time() + STOP_WAITING_S)

    async def run(self, take_in: Callable[[], Awaitable[object]]) -> bool:
        """Await *take_in*; False when stopping could not wait for it, or came before it began."""
        if self._stopped:
            return False
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limit = limit
                await take_in()
        except TimeoutError:
            if not limit.expired():
                raise
            logger.warning("stopped while the store does not answer; what was not accepted comes again")
            return False
        finally:
            self._limit = None
        return True
