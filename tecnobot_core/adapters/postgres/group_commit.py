"""Many small writes as few commits: whatever gathers while one commit runs is the next one."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from ...errors import StoreError
from ...tasks import Tasks, wait_or_sleep

logger = logging.getLogger(__package__)

R = TypeVar("R")
A = TypeVar("A")
_Waiting: TypeAlias = tuple[R, asyncio.Future[A]]

FIRST_RETRY_S = 0.05
MAX_RETRY_S = 5.0
BUSY_LOOKS = 5  # how often a busy window looks whether more comes
RATE_OVER_S = 0.5  # the rate is that of the last so many seconds: soon enough for a burst, calm enough for a pause


class GroupCommit(Generic[R, A]):
    """Hands requests to *write* in batches of at most *max_batch*, one batch at a time, in order.

    *write* stores a batch as a whole and answers each request, or gives the error that this one alone gets; repeating
    it must change nothing, because a batch whose outcome is unknown is repeated until it is known. A batch that can
    never be stored is halved until the request that spoils it is alone, and only that one fails.

    Without a window a commit begins at once. It waits *window_s* for company; where that is 0, it waits up to
    *busy_window_s* while more than *busy_rate_per_s* requests come, and no longer than they do. What is not urgent
    waits for what is, up to *patient_s*.
    """

    def __init__(
        self,
        write: Callable[[Sequence[R]], Awaitable[Sequence[A | StoreError]]],
        *,
        tasks: Tasks,
        max_batch: int = 256,
        window_s: float = 0.0,
        busy_rate_per_s: float = 900.0,
        busy_window_s: float = 0.010,
        patient_s: float = 0.050,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.commits = 0
        self._write = write
        self._tasks = tasks
        self._max_batch = max_batch
        self._window_s = window_s
        self._busy_rate_per_s = busy_rate_per_s
        self._busy_window_s = busy_window_s
        self._patient_s = patient_s
        self._clock = clock
        self._sleep = sleep
        self._urgent = asyncio.Event()
        self._waiting: deque[_Waiting[R, A]] = deque()
        self._batch: Sequence[_Waiting[R, A]] = ()
        self._running = False
        self._is_busy = False
        self._counted = 0
        self._counting_since = clock()

    async def submit(self, request: R, *, urgent: bool = True) -> A:
        """The answer to *request*, once it is committed. Raises StoreError when it can never be.

        Whoever is cancelled while waiting takes nothing back. When the tasks are closed first, what still waits gets a
        StoreError of unknown outcome.
        """
        if not self._running:
            self._tasks.start(self._run(), "commit")
            self._running = True
        if urgent:
            self._urgent.set()
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._counted += 1
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                if not self._urgent.is_set():
                    await wait_or_sleep(self._urgent, self._patient_s, sleep=self._sleep)
                await self._gather()
                n = min(len(self._waiting), self._max_batch)
                self._batch = [self._waiting.popleft() for _ in range(n)]
                if not self._waiting:
                    self._urgent.clear()
                await self._store(self._batch)
        finally:
            self._running = False
            # Left only when the tasks were closed.
            for _, answer in (*self._batch, *self._waiting):
                _settle(answer, StoreError("closed before the answer came", retryable=False, outcome="unknown"))
            self._batch = ()
            self._waiting.clear()

    async def _gather(self) -> None:
        """Wait for company, as long as that is worth it."""
        is_busy = self._measure_rate()
        if self._is_full() or self._window_s or not is_busy:
            # Even without a window: what was submitted in the same pass of the loop goes together.
            await self._sleep(0.0 if self._is_full() else self._window_s)
            return
        for _ in range(BUSY_LOOKS):
            n = len(self._waiting)
            await self._sleep(self._busy_window_s / BUSY_LOOKS)
            # In a burst all that can come has come at once, and the rest waits for this commit.
            if self._is_full() or len(self._waiting) == n:
                return

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._max_batch

    def _measure_rate(self) -> bool:
        """Whether more requests come than the busy rate."""
        now = self._clock()
        if (passed_s := now - self._counting_since) >= RATE_OVER_S:
            self._is_busy = self._counted > self._busy_rate_per_s * passed_s
            self._counted, self._counting_since = 0, now
        return self._is_busy

    async def _store(self, batch: Sequence[_Waiting[R, A]]) -> None:
        try:
            answers = await self._write_until_known([request for request, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            middle = len(batch) // 2
            await self._store(batch[:middle])
            await self._store(batch[middle:])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _settle(future, answer)

    async def _write_until_known(self, requests: Sequence[R]) -> Sequence[A | StoreError]:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                answers = await self._write(requests)
            except StoreError as error:
                if not error.retryable:
                    raise
                if delay_s == FIRST_RETRY_S:
                    logger.warning("nothing can be committed, writes wait: %s", error)
                await self._sleep(delay_s)
                delay_s = min(delay_s * 2, MAX_RETRY_S)
                continue
            if delay_s > FIRST_RETRY_S:
                logger.warning("commits work again")
            self.commits += 1
            return answers


def _settle(future: "asyncio.Future[A]", answer: A | Exception) -> None:
    # Whoever asked may have been cancelled meanwhile; what was committed stays committed.
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
