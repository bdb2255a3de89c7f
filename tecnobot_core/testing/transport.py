"""A transport without a network, with faults on demand."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ..connection import DisconnectReason, Lost, Opened, Recovered, Sink, TransportEvent
from ..errors import TransportError
from ..messages import ChatId, InboundMessage, OutboundMessage


class FakeTransport:
    """Delivers what it is given and records what is sent.

    Delivers at most *max_unacknowledged* messages ahead of acknowledgement, and again after each ``open`` what was not
    acknowledged. Faults: errors put into ``open_errors``, ``send_errors`` and ``ping_errors`` are raised one for each
    call (None in them lets a call pass); a method named in ``hanging`` does not return until it is cancelled; with
    ``admits`` False the link is dialed but never opens; ``lose`` breaks the link; ``tell`` tells the manager anything;
    ``on_send`` is called with every message sent. ``most_opening`` is how many calls of ``open`` ever ran at once.
    """

    def __init__(
        self, messages: Iterable[InboundMessage] = (), *, ends: bool = False, max_unacknowledged: int = 1000
    ) -> None:
        self.sent: list[OutboundMessage] = []
        self.typing: list[tuple[ChatId, bool]] = []
        self.acknowledged: list[str] = []
        self.opens = 0
        self.closes = 0
        self.pings = 0
        self.most_opening = 0
        self.admits = True
        self.hanging: set[str] = set()
        self.open_errors: deque[TransportError | None] = deque()
        self.send_errors: deque[TransportError | None] = deque()
        self.ping_errors: deque[TransportError | None] = deque()
        self.on_send: Callable[[OutboundMessage], object] | None = None
        self._waiting = deque(messages)
        self._unacknowledged: dict[str, InboundMessage] = {}
        self._ends = ends
        self._max_unacknowledged = max_unacknowledged
        self._sink: Sink | None = None
        self._opening = 0
        self._sent_changed = asyncio.Event()

    def deliver(self, *messages: InboundMessage) -> None:
        """A person sends *messages*; they arrive at once, or after the next ``open``."""
        self._waiting.extend(messages)
        self._pump()

    def end(self) -> None:
        """Nothing more will be delivered: tells ENDED when all is acknowledged."""
        self._ends = True
        self._pump()

    def lose(
        self, reason: DisconnectReason = DisconnectReason.NETWORK, *, retryable: bool = True, heals: bool = False
    ) -> None:
        """Break the link; one that *heals* is up again with ``recover``."""
        sink = self._sink
        if not heals:
            self._sink = None
        if sink is not None:
            sink(Lost(reason, "broken by the test", retryable, heals))

    def recover(self) -> None:
        """A link that heals is up again by itself."""
        self.tell(Recovered())

    def tell(self, event: TransportEvent) -> None:
        """Tell *event*, if somebody listens."""
        if self._sink is not None:
            self._sink(event)

    async def wait_sent(self, number: int) -> None:
        """Return when *number* messages were sent in all."""
        while len(self.sent) < number:
            self._sent_changed.clear()
            await self._sent_changed.wait()

    async def open(self, sink: Sink) -> None:
        self.opens += 1
        self._opening += 1
        self.most_opening = max(self.most_opening, self._opening)
        try:
            await self._hang("open")
            raise_next(self.open_errors)
        finally:
            self._opening -= 1
        self._sink = sink
        if self.admits:
            self.admit()

    def admit(self) -> None:
        """Open the link that was dialed."""
        self._waiting.extendleft(reversed(self._unacknowledged.values()))
        self._unacknowledged.clear()
        self.tell(Opened())
        self._pump()

    async def close(self) -> None:
        self.closes += 1
        self._sink = None
        await self._hang("close")

    async def send(self, message: OutboundMessage) -> None:
        self._check_open()
        await self._hang("send")
        raise_next(self.send_errors)
        self.sent.append(message)
        self._sent_changed.set()
        if self.on_send is not None:
            self.on_send(message)

    async def ping(self) -> None:
        self._check_open()
        self.pings += 1
        await self._hang("ping")
        raise_next(self.ping_errors)

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        for id in message_ids:
            self._unacknowledged.pop(id, None)
        self.acknowledged.extend(message_ids)
        self._pump()

    async def set_typing(self, chat: ChatId, typing: bool) -> None:
        self.typing.append((chat, typing))

    async def _hang(self, method: str) -> None:
        if method in self.hanging:
            await asyncio.Event().wait()

    def _check_open(self) -> None:
        if self._sink is None:
            raise TransportError("the fake link is down", reason=DisconnectReason.NETWORK)

    def _pump(self) -> None:
        while self._sink is not None and self._waiting and len(self._unacknowledged) < self._max_unacknowledged:
            message = self._waiting.popleft()
            self._unacknowledged[message.id] = message
            self._sink(message)
        if self._ends and self._sink is not None and not self._waiting and not self._unacknowledged:
            self._ends = False
            self._sink(Lost(DisconnectReason.ENDED, "the test has no more messages", retryable=False))


def raise_next(errors: deque[TransportError | None]) -> None:
    """Raise the first of *errors*, if there is one, and forget it."""
    if errors and (error := errors.popleft()) is not None:
        raise error
