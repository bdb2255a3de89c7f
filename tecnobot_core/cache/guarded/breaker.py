"""Decides whether a store is worth asking, and asks again in time whether it is."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ...errors import StoreError
from ...tasks import Tasks
from .statistics import StoreStatistics

logger = logging.getLogger(__package__)

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0


class Breaker:
    """Opens after *max_failures* failures without a success between; then *probe* is tried until it succeeds.

    The first try comes after ``FIRST_DELAY_S``, each further one after twice the time, up to ``MAX_DELAY_S``, all with
    half of it at random. *changed* is told True and the reason when it opens, False when it closes.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        statistics: StoreStatistics,
        *,
        max_failures: int,
        probe_timeout_s: float,
        changed: Callable[[bool, str], object] | None = None,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.is_open = False
        self._probe = probe
        self._statistics = statistics
        self._max_failures = max_failures
        self._probe_timeout_s = probe_timeout_s
        self._changed = changed
        self._random = random
        self._sleep = sleep
        self._failures = 0
        self._healed: list[Callable[[], object]] = []
        self._tasks: Tasks | None = None

    def start(self, tasks: Tasks) -> None:
        """Probe in *tasks*; without them it never opens, since nobody would close it."""
        self._tasks = tasks
        if self.is_open:  # since it was last in use
            tasks.start(self._heal(), "probe")

    def on_healed(self, healed: Callable[[], object]) -> None:
        """Call *healed* whenever it closes."""
        self._healed.append(healed)

    @asynccontextmanager
    async def call(self, timeout_s: float) -> AsyncIterator[None]:
        """Around a call to the store: it has *timeout_s*, and its failure is counted and comes out as a StoreError."""
        if self.is_open:
            raise StoreError("the store is broken and is not asked", retryable=True, outcome="not_sent")
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as error:
            self.failed(error)
            raise StoreError(f"the store did not answer within {timeout_s:g} s", retryable=True) from error
        except StoreError as error:
            self.failed(error)
            raise
        self.succeeded()

    def succeeded(self) -> None:
        """The store answered."""
        self._failures = 0

    def failed(self, error: StoreError | TimeoutError) -> None:
        """The store did not answer, or not in time."""
        self._statistics.failures += 1
        self._failures += 1
        if self._failures < self._max_failures or self.is_open or self._tasks is None:
            return
        self.is_open = True
        self._statistics.openings += 1
        reason = str(error) or "it does not answer in time"
        logger.warning("the cache goes on without its store: %s", reason)
        self._tasks.start(self._heal(), "probe")
        self._tell(reason)

    async def _heal(self) -> None:
        delay_s = FIRST_DELAY_S
        while not await self._answers(delay_s):
            delay_s = min(delay_s * 2, MAX_DELAY_S)
        self.is_open = False
        self._failures = 0
        logger.warning("the cache has its store again")
        self._tell("")
        for healed in self._healed:
            healed()

    async def _answers(self, delay_s: float) -> bool:
        await self._sleep(delay_s * (0.5 + self._random() / 2))
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                await self._probe()
        except (StoreError, TimeoutError):
            return False
        return True

    def _tell(self, reason: str) -> None:
        if self._changed is not None:
            self._changed(self.is_open, reason)
