"""What the page is told: one bounded log, read by every open stream at its own pace."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from .json_values import encode_json

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An event of one chat, encoded once for all its readers; ``position`` is where a reader goes on after it."""

    position: int
    chat: str
    data: bytes


class Feed:
    """The last events of all chats.

    A reader that comes back with the ``id`` of what it saw last misses nothing as long as the log reaches back that
    far; *epoch* tells the log of this process from that of the one before. A reader that the log has outrun is dropped,
    so a stuck client costs no memory of its own.
    """

    def __init__(self, epoch: str, *, max_entries: int = 1000, max_bytes: int = 4 * MIB) -> None:
        self._epoch = epoch
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[FeedEntry] = deque()
        self._bytes = 0
        self._end = 0
        self._readers: set[FeedReader] = set()

    @property
    def end(self) -> int:
        """The position after the newest event."""
        return self._end

    @property
    def start(self) -> int:
        """The oldest position from which nothing is missing."""
        return self._end - len(self._entries)

    def id_of(self, position: int) -> str:
        """The name of *position*, for clients to come back with."""
        return f"{self._epoch}-{position}"

    def position_of(self, seen_id: str) -> int | None:
        """Where to go on after *seen_id*; None when that is unknown here or too long ago."""
        epoch, _, number = seen_id.rpartition("-")
        if epoch != self._epoch or not re.fullmatch(r"[0-9]{1,18}", number):
            return None
        position = int(number)
        return position if self.start <= position <= self._end else None

    def append(self, chat: str, event: Mapping[str, object]) -> None:
        """Tell *event* to those who read *chat*, now or when they come back."""
        data = encode_json({"chat": chat, **event})
        self._end += 1
        entry = FeedEntry(self._end, chat, data)
        self._entries.append(entry)
        self._bytes += len(data)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._bytes -= len(self._entries.popleft().data)
        for reader in tuple(self._readers):
            reader.tell(entry)

    def since(self, position: int) -> list[FeedEntry]:
        """The events after *position*, which the log must still reach."""
        return list(islice(self._entries, position - self.start, None))

    def read(self, chats: frozenset[str], position: int, drop: Callable[[], object]) -> "FeedReader":
        """A reader of *chats* from *position* on, to be entered; *drop* is called when the log outruns it."""
        return FeedReader(self, self._readers, chats, position, drop)

    def end_all(self) -> None:
        """Let every open reader come to its end."""
        for reader in tuple(self._readers):
            reader.end()


class FeedReader:
    """A position in a feed, for one client; entered while the client is there."""

    def __init__(
        self, feed: Feed, readers: set["FeedReader"], chats: frozenset[str], position: int, drop: Callable[[], object]
    ) -> None:
        self.position = position
        self.ended = False
        self._feed = feed
        self._readers = readers
        self._chats = chats
        self._drop = drop
        self._news = asyncio.Event()
        if position < feed.end:
            self._news.set()

    def __enter__(self) -> Self:
        self._readers.add(self)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def tell(self, entry: FeedEntry) -> None:
        """*entry* was appended; a reader whose unread events were pushed out by it is dropped."""
        if entry.chat in self._chats:
            self._news.set()
        elif not self._news.is_set():
            self.position = entry.position
        if self.position < self._feed.start:
            self.end()
            self._drop()

    def end(self) -> None:
        """Give no more events."""
        self.ended = True
        self._readers.discard(self)
        self._news.set()

    async def batch(self, timeout_s: float) -> list[FeedEntry]:
        """The next events, in order; none at the end of the reader, or when *timeout_s* passed without any."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return []
        if self.ended:
            return []
        self._news.clear()
        entries = self._feed.since(self.position)
        self.position = self._feed.end
        return [entry for entry in entries if entry.chat in self._chats]
