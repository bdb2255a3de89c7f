"""One lane for each chat: strict order inside, many at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from ..tasks import Tasks, is_being_cancelled

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Lanes(Generic[K, T]):
    """Calls *handle* with the items of each key one after the other, at most *max_concurrent* keys at once.

    Lanes take turns: after an item its lane goes to the end of the row, so a busy chat delays the others by one item.
    A lane exists only while it holds something. *handle* settles its own errors; one that escapes is logged and counted
    in ``failures``, and the lane goes on with its next item.
    """

    def __init__(self, handle: Callable[[T], Awaitable[None]], *, max_concurrent: int, tasks: Tasks) -> None:
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, not {max_concurrent}")
        self.failures = 0
        self._handle = handle
        self._max_concurrent = max_concurrent
        self._tasks = tasks
        self._lanes: dict[K, deque[T]] = {}
        self._ready: deque[K] = deque()
        self._held: set[K] = set()
        self._workers = 0
        self._items = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """Items that wait or are being handled."""
        return self._items

    def __contains__(self, key: K) -> bool:
        """Whether something of *key* waits or is being handled."""
        return key in self._lanes

    def put(self, key: K, item: T) -> None:
        """Queue *item* behind the earlier items of *key*."""
        self._items += 1
        self._idle.clear()
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(item)
            return
        self._lanes[key] = deque((item,))
        if key in self._held:
            self._held.discard(key)
            self._ready.appendleft(key)
        else:
            self._ready.append(key)
        self._staff()

    def hold(self, key: K) -> bool:
        """Keep a place free, so that the next item of *key* is handled at once; False where there is none.

        ``put`` takes the place, ``release`` gives it back.
        """
        if key in self._lanes or key in self._held or self._workers + len(self._held) >= self._max_concurrent:
            return False
        self._held.add(key)
        return True

    def release(self, key: K) -> None:
        """Keep no place for *key* any longer."""
        if key in self._held:
            self._held.discard(key)
            self._staff()

    async def wait_idle(self) -> None:
        """Return when nothing waits and nothing is being handled."""
        while self._items:  # more may have come before the waiter is woken
            await self._idle.wait()

    def _staff(self) -> None:
        if self._ready and self._workers + len(self._held) < self._max_concurrent:
            self._workers += 1
            self._tasks.start(self._work(), f"lane_{self._workers}")

    async def _work(self) -> None:
        try:
            while self._ready:
                await self._next()
                # Handlers that never wait would otherwise keep the loop from everything else.
                await asyncio.sleep(0)
        finally:
            self._workers -= 1

    async def _next(self) -> None:
        key = self._ready.popleft()
        lane = self._lanes[key]
        try:
            await self._handle(lane[0])
        except (Exception, asyncio.CancelledError):
            if is_being_cancelled():
                raise
            self.failures += 1
            logger.exception("an item of a lane failed")
        lane.popleft()
        self._items -= 1
        if lane:
            self._ready.append(key)
            return
        del self._lanes[key]
        if not self._items:
            self._idle.set()
