"""What waits in the store beside what waits in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ..messages import ChatId, InboundMessage
from ..tasks import Tasks
from .lanes import Lanes

Load = Callable[[int, int], Awaitable[Sequence[tuple[int, InboundMessage]]]]


class Backlog:
    """Keeps at most *max_loaded* messages in *lanes*; when there are more, the rest is loaded in order as lanes empty.

    ``load(after, limit)`` gives the first messages that are not done, with their ``seq``. Every message comes into a
    lane in the order of its ``seq``, whichever way it takes.
    """

    def __init__(self, lanes: Lanes[ChatId, InboundMessage], load: Load, *, max_loaded: int, tasks: Tasks) -> None:
        self._lanes = lanes
        self._load = load
        self._max_loaded = max_loaded
        self._tasks = tasks
        self._loaded_seq = 0  # everything up to here has been in a lane
        self._left_behind = False  # something above it may be in the store only
        self._unseen = False  # it may have come after the load that is under way began
        self._loading = False
        self._loaded = asyncio.Event()

    def begin(self) -> None:
        """Load what an earlier process left."""
        self._left_behind = True
        self.refill()

    def add(self, seq: int, message: InboundMessage) -> None:
        """Take in a message that was accepted now."""
        if self._left_behind or len(self._lanes) >= self._max_loaded:
            self._left_behind = self._unseen = True
            self.refill()
            return
        self._loaded_seq = seq
        self._lanes.put(message.chat, message)

    def refill(self) -> None:
        """Load more when something was left behind and half of the room is free."""
        if self._left_behind and not self._loading and len(self._lanes) <= self._max_loaded // 2:
            self._loading = True
            self._loaded.clear()
            self._tasks.start(self._load_more(), "load")

    async def wait_idle(self) -> None:
        """Return when nothing waits, here or in the store."""
        while True:
            await self._lanes.wait_idle()
            if not self._left_behind:
                return
            self.refill()
            await self._loaded.wait()

    async def _load_more(self) -> None:
        self._unseen = False
        found = await self._load(self._loaded_seq, self._max_loaded)
        for seq, message in found:
            self._loaded_seq = seq
            self._lanes.put(message.chat, message)
        self._left_behind = self._unseen or len(found) == self._max_loaded
        self._loading = False
        self._loaded.set()
        self.refill()
