"""Waiting for a store that fails for a while."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import LeaseLostError, StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0


class Patience:
    """Repeats calls to a store while it fails for a while; says so once, and once when it works again."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]], note_retry: Callable[[], object]) -> None:
        self._sleep = sleep
        self._note_retry = note_retry
        self._failing = False

    async def run(self, call: Callable[[], Awaitable[T]], *, patient: bool = False) -> T:
        """The result of *call*, repeated after failures that pass; a *patient* one is repeated after all but one.

        What is no single message's fault is waited out, as giving up would help nobody; only the loss of the lease is
        not.
        """
        delay_s = FIRST_RETRY_S
        while True:
            try:
                result = await call()
            except LeaseLostError:
                raise
            except StoreError as error:
                if not (error.retryable or patient):
                    raise
                self._note(error)
                await self._sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_S)
                continue
            if self._failing:
                self._failing = False
                logger.warning("the store works again")
            return result

    def _note(self, error: StoreError) -> None:
        self._note_retry()
        if not self._failing:
            self._failing = True
            logger.warning("the store fails, messages wait: %s", error)
