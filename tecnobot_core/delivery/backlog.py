"""What waits in the store beside what waits in memory."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..messages import ChatId
from ..tasks import Tasks
from .grouping import Arrived
from .lanes import Lanes
from .ports import Pending

Load = Callable[[int, int], Awaitable[Sequence[Pending]]]


class Backlog:
    """Keeps at most *max_loaded* messages in *lanes*; when there are more, the rest is loaded in order as lanes empty.

    ``load(after, limit)`` gives the first messages that are not done, with their ``seq``; fewer than *limit* only where
    there are no more. Every message comes into a lane once, in the order of its ``seq``, whichever way it takes: one
    that does not follow the last waits until those before it, which another process may have accepted, are loaded.
    """

    def __init__(
        self,
        lanes: Lanes[ChatId, Arrived],
        load: Load,
        *,
        max_loaded: int,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        if max_loaded < 1:
            raise ValueError(f"max_loaded must be at least 1, not {max_loaded}")
        self._lanes = lanes
        self._load = load
        self._max_loaded = max_loaded
        self._tasks = tasks
        self._clock = clock
        self._loaded_seq = 0  # everything up to here has been in a lane
        self._left_behind = False  # something above it may be in the store only
        # What was accepted while a load was under way, and need not be read back when that reaches the end.
        self._ahead: deque[Pending] = deque()
        self._unseen = False  # something else was, and may have come after the load began
        self._loading = False
        self._loaded = asyncio.Event()
        self._stopped = False

    def look(self) -> None:
        """Load what came into the store in another way: from an earlier process, or from one that still accepts."""
        self._left_behind = True
        self.refill()

    def stop(self) -> None:
        """Load nothing more."""
        self._stopped = True

    @property
    def has_more(self) -> bool:
        """Whether messages may wait in the store only."""
        return self._left_behind

    @property
    def is_complete(self) -> bool:
        """Whether all that waits is in lanes, or as much as there is room for."""
        return not self._left_behind or len(self._lanes) >= self._max_loaded // 2

    @property
    def room(self) -> int:
        """How many more may come before half of it is taken; the other half is for what waits in the store."""
        return max(max(self._max_loaded // 2, 1) - len(self._lanes), 0)

    async def wait_room(self) -> int:
        """The ``room`` that there is once what is being loaded is here."""
        while self._loading:
            await self._loaded.wait()
        return self.room

    def add(self, pending: Pending) -> None:
        """Take in a message that was accepted now."""
        if pending.seq <= self._loaded_seq:
            return  # loaded from the store before its acceptance was told
        if not self._left_behind and pending.seq == self._loaded_seq + 1 and len(self._lanes) < self._max_loaded:
            self._put(pending)
            return
        self._left_behind = True
        if not self._loading:
            self.refill()
        elif len(self._ahead) < self._max_loaded // 4:
            self._ahead.append(pending)
        else:
            self._unseen = True

    def refill(self) -> None:
        """Load more when something was left behind and half of the room is free."""
        if self._left_behind and not self._loading and not self._stopped and len(self._lanes) <= self._max_loaded // 2:
            self._loading = True
            self._unseen = False
            self._loaded.clear()
            self._tasks.start(self._load_more(), "load")

    async def wait_idle(self) -> None:
        """Return when nothing waits, here or in the store."""
        while True:
            await self._lanes.wait_idle()
            if not self._left_behind or self._stopped:
                return
            self.refill()
            await self._loaded.wait()

    async def _load_more(self) -> None:
        limit = max(self._max_loaded - len(self._lanes), 1)
        try:
            found = await self._load(self._loaded_seq, limit)
            for pending in found:
                self._put(pending)
            self._left_behind = len(found) == limit or not self._catch_up() or self._unseen
        finally:
            self._ahead.clear()
            self._loading = False
            self._loaded.set()
        self._lanes.wake_all()  # a group that was not whole may be now
        self.refill()

    def _catch_up(self) -> bool:
        """Put what was accepted during a load behind it; False when something between is missing."""
        for pending in self._ahead:
            if pending.seq > self._loaded_seq + 1:
                return False
            if pending.seq > self._loaded_seq:
                self._put(pending)
        return True

    def _put(self, pending: Pending) -> None:
        self._loaded_seq = pending.seq
        self._lanes.put(pending.message.chat, Arrived(pending.message, pending.group, self._clock()))
