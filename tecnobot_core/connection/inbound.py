"""Messages that have come and were not handed out."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from ..errors import TransportError
from ..messages import InboundMessage

MAX_BATCH = 256  # messages that receive() hands out at once; enough for a group commit, little to hold twice


class Changes:
    """Wakes all who wait whenever something has changed; what, they look up themselves."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Something has changed."""
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    async def wait(self) -> None:
        """Return at the next change."""
        await self._next.wait()


class Inbound:
    """Hands out what the transport delivered, in order, until there will be no more."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._waiting: deque[InboundMessage] = deque()
        self._stopped = False
        self._ended = False
        self._failure: Callable[[], TransportError] | None = None

    def put(self, message: InboundMessage) -> None:
        """One more has come; the caller tells the change."""
        self._waiting.append(message)

    def clear(self) -> None:
        """Forget what waits: it was not acknowledged, so the transport delivers it again."""
        self._waiting.clear()

    def stop(self) -> None:
        """Hand out nothing more, not even what waits."""
        self._stopped = True
        self._changes.notify()

    def end(self, failure: Callable[[], TransportError] | None = None) -> None:
        """Nothing more will come; once what waits is handed out, receivers get *failure* raised, or the end."""
        self._ended = True
        self._failure = failure or self._failure
        self._changes.notify()

    async def receive(self) -> Sequence[InboundMessage]:
        """At most 256, at least one; empty at the end."""
        while not (self._waiting or self._stopped or self._ended):
            await self._changes.wait()
        if self._stopped:
            return ()
        if not self._waiting and self._failure is not None:
            raise self._failure()
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
