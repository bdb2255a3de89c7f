"""What is tried again after trouble with the database, and for how long."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from ...errors import StoreError

logger = logging.getLogger(__package__)

T = TypeVar("T")

MAX_ATTEMPTS = 5  # while others can connect
FIRST_DELAY_S = 0.05
MAX_DELAY_S = 5.0


def equal_jitter(delay_s: float) -> float:
    """Half of *delay_s* for sure, the other half at random, so that what failed together does not return together."""
    return delay_s / 2 + random.uniform(0, delay_s / 2)


class Outage:
    """The time in which nobody can connect to the database at *address*; told in one line at each end."""

    def __init__(self, address: str, clock: Callable[[], float]) -> None:
        self._address = address
        self._clock = clock
        self._began_at: float | None = None

    @property
    def age_s(self) -> float | None:
        """How long it lasts; None while there is none."""
        return None if self._began_at is None else self._clock() - self._began_at

    def note(self, error: StoreError) -> None:
        """Connecting failed with *error*."""
        if error.retryable and self._began_at is None:
            logger.warning("the database at %s does not answer, trying again: %s", self._address, error)
            self._began_at = self._clock()

    def end(self) -> None:
        """Connecting succeeded."""
        if self._began_at is not None:
            logger.warning("the database at %s answers again", self._address)
        self._began_at = None


class Retries:
    """Makes an attempt again where its failure is retryable.

    While nobody can connect, until the *outage* is *for_s* old: later calls fail at once instead of waiting too. After
    other failures, ``MAX_ATTEMPTS`` in all. A deadline that was missed is told and not begun again.
    """

    def __init__(
        self,
        outage: Outage,
        *,
        for_s: float,
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[float], float],
    ) -> None:
        self._outage = outage
        self._for_s = for_s
        self._sleep = sleep
        self._jitter = jitter

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of the first *attempt* that succeeds; raises the failure of the last one."""
        try:
            return await attempt()
        except StoreError as error:
            if not _is_worth_repeating(error):
                raise
            failed = [error]

        async def again() -> T:
            if failed:
                raise failed.pop()
            return await attempt()

        # Only after a failure, because tenacity adds a tenth to a statement.
        return await self._retrying()(again)

    def _retrying(self) -> AsyncRetrying:
        exponential = wait_exponential(multiplier=FIRST_DELAY_S, max=MAX_DELAY_S)
        return AsyncRetrying(
            sleep=self._sleep,
            wait=lambda state: self._jitter(exponential(state)),
            stop=self._is_over,
            retry=retry_if_exception(_is_worth_repeating),
            reraise=True,
        )

    def _is_over(self, state: RetryCallState) -> bool:
        age_s = self._outage.age_s
        if age_s is None:
            return state.attempt_number >= MAX_ATTEMPTS
        return age_s + state.upcoming_sleep > self._for_s


def _is_worth_repeating(error: Any) -> bool:
    late = (TimeoutError, asyncpg.QueryCanceledError)
    return isinstance(error, StoreError) and error.retryable and not isinstance(error.__cause__, late)
