"""One lane for each chat: strict order inside, many at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
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

    *take* looks at what waits in a lane and says how many items from the first are handled together, as the arguments
    of one call; 0 lets the lane rest until the next ``put`` or ``wake``. Where *handle* returns True they stay the
    first of their lane, which goes to the end of the row. So, with *take*, a lane that has to wait needs no worker.
    """

    def __init__(
        self,
        handle: Callable[..., Awaitable[bool | None]],
        *,
        max_concurrent: int,
        tasks: Tasks,
        take: Callable[[Sequence[T]], int] | None = None,
    ) -> None:
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, not {max_concurrent}")
        self.failures = 0
        self._handle = handle
        self._take = take
        self._max_concurrent = max_concurrent
        self._tasks = tasks
        self._lanes: dict[K, deque[T]] = {}
        self._ready: deque[K] = deque()
        self._held: set[K] = set()
        self._resting: set[K] = set()
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
            self.wake(key)
            return
        self._lanes[key] = deque((item,))
        if key in self._held:
            self._held.discard(key)
            self._ready.appendleft(key)
        else:
            self._ready.append(key)
        self._staff()

    def wake(self, key: K) -> None:
        """Look again at the lane of *key*, if it rests."""
        if key in self._resting:
            self._resting.discard(key)
            self._ready.append(key)
            self._staff()

    def wake_all(self) -> None:
        """Look again at every lane that rests."""
        for key in list(self._resting):
            self.wake(key)

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
            if not is_being_cancelled():  # as the tasks are being closed
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
        n = 1 if self._take is None else self._take(lane)
        if not n:
            self._resting.add(key)
            return
        try:
            if await self._handle(*islice(lane, n)):
                self._ready.append(key)
                return
        except (Exception, asyncio.CancelledError):
            if is_being_cancelled():
                raise
            self.failures += 1
            logger.exception("an item of a lane failed")
        for _ in range(n):
            lane.popleft()
        self._items -= n
        if lane:
            self._ready.append(key)
            return
        del self._lanes[key]
        if not self._items:
            self._idle.set()

    def is_last(self, key: K) -> bool:
        """Whether nothing waits behind the first item of *key*."""
        return len(self._lanes.get(key, ())) <= 1
