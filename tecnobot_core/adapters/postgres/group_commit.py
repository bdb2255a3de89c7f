"""Many small writes as few commits: whatever gathers while one commit runs is the next one."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ...errors import StoreError
from ...tasks import Tasks

logger = logging.getLogger(__package__)

R = TypeVar("R")
A = TypeVar("A")

FIRST_RETRY_S = 0.05
MAX_RETRY_S = 5.0


class GroupCommit(Generic[R, A]):
    """Hands requests to *write* in batches of at most *max_batch*, one batch at a time.

    *write* stores a batch as a whole and answers each request; repeating it must change nothing, because a batch whose
    outcome is unknown is repeated until it is known. A batch that can never be stored is halved until the request that
    spoils it is alone, and only that one fails. A write waits *window_s* for company.
    """

    def __init__(
        self,
        write: Callable[[Sequence[R]], Awaitable[Sequence[A]]],
        *,
        tasks: Tasks,
        max_batch: int = 256,
        window_s: float = 0.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.commits = 0
        self._write = write
        self._tasks = tasks
        self._max_batch = max_batch
        self._window_s = window_s
        self._sleep = sleep
        self._waiting: deque[tuple[R, asyncio.Future[A]]] = deque()
        self._running = False

    async def submit(self, request: R) -> A:
        """The answer to *request*, once it is committed. Raises StoreError when it can never be."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if not self._running:
            self._running = True
            self._tasks.start(self._run(), "commit")
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                # Even without a window: what was submitted in the same pass of the loop goes together.
                await self._sleep(self._window_s)
                await self._store([self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))])
        finally:
            self._running = False

    async def _store(self, batch: Sequence[tuple[R, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._write_until_known([request for request, _ in batch])
        except StoreError as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            middle = len(batch) // 2
            await self._store(batch[:middle])
            await self._store(batch[middle:])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _settle(future, answer)

    async def _write_until_known(self, requests: Sequence[R]) -> Sequence[A]:
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


def _settle(future: "asyncio.Future[A]", answer: "A | StoreError") -> None:
    # Whoever asked may have been cancelled meanwhile; what was committed stays committed.
    if future.done():
        return
    if isinstance(answer, StoreError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
