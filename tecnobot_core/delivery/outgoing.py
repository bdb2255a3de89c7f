"""Which outgoing messages are in memory, and which wait in the store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import TransportError
from ..messages import ChatId
from ..tasks import Tasks, is_being_cancelled
from .lanes import Lanes
from .ports import OutboxEntry, Outcome, SendState

Load = Callable[[int, int], Awaitable[Sequence[OutboxEntry]]]


class Move(Protocol):
    """Records states by the ids of entries; what is not urgent may wait a moment for another write."""

    def __call__(self, states: Mapping[int, SendState], *, urgent: bool) -> Awaitable[object]: ...


@dataclass(slots=True, eq=False)
class Queued:
    """An entry in its lane, and what is known of it beside the store. Times are on this process's clock.

    ``due_at`` is when it would be sent if nothing but delays, its own and those before it, held anything back. Before
    ``ready_at`` its own delay is not over.
    """

    entry: OutboxEntry
    decided_at: float
    due_at: float
    ready_at: float
    follower: "Queued | None" = None  # the next one of its chat
    taken: bool = field(init=False)  # whether the store has it as being sent
    backoff_s: float = 0.0  # before the next try
    cleared: bool = False  # pace and backoff are over
    waits: bool = False  # a task waits for that, or for an answer
    doubt: TransportError | None = None  # why it is not known whether it was sent
    asked: bool = False  # what became of it; the answer is ``outcome``
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        self.taken = self.entry.state == "taken"


class Outgoing:
    """Keeps at most *max_loaded* entries in *lanes*; when there are more, the rest is loaded in order as lanes empty.

    ``load(after, limit)`` gives the first waiting entries of the store, of those with an id above *after*; fewer than
    *limit* only where there are no more. Whoever sees an entry sees all that have a lower id. Ids are above 0 and may
    have gaps, and entries may come to ``put`` in another order; while nothing was left behind, the order of a chat is
    that of ``put``.
    What was marked as taken comes into a lane at once: ``hold`` sees to it that nothing of its chat is left behind, and
    while a chat is held no load begins, which could find what is said after it.
    """

    def __init__(
        self,
        lanes: Lanes[ChatId, Queued],
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
        self._ids: set[int] = set()  # in lanes
        self._last: dict[ChatId, Queued] = {}  # in each lane
        self._held: set[ChatId] = set()
        self._seen_id = 0  # loads have seen all that waited up to here
        self._left_behind = False  # something above it may be in the store only
        # What was put while a load was under way, and need not be read back when that reaches the end.
        self._ahead: list[OutboxEntry] = []
        self._unseen = False  # something else was, and may have come after the load began
        self._ended: set[int] = set()  # since the load began, which may still find it waiting
        self._loading = False
        self._loaded = asyncio.Event()
        self._stopped = False

    def look(self) -> None:
        """Load what came into the store in another way."""
        self._left_behind = self._unseen = True
        self._refill()

    def stop(self) -> None:
        """Load nothing more."""
        self._stopped = True
        self._loaded.set()

    def put(self, entries: Sequence[OutboxEntry], *, doubt: TransportError | None = None) -> None:
        """Take in what was stored now, or leave it to be loaded in its turn; what is taken may be in *doubt*."""
        now = self._clock()
        for entry in entries:
            if entry.state == "taken":
                self._queue(entry, now, doubt)
            elif entry.id <= self._seen_id:
                continue  # loaded before its storing was told
            elif entry.message.chat in self._held or not (self._left_behind or len(self._ids) >= self._max_loaded):
                self._queue(entry, now)
            else:
                self._leave(entry)

    def hold(self, chat: ChatId) -> bool:
        """Keep a place in the lanes, as ``Lanes.hold``; not while an earlier entry of *chat* may be in the store only.

        Until ``release`` everything of *chat* comes into its lane.
        """
        if self._left_behind or not self._lanes.hold(chat):
            return False
        self._held.add(chat)
        return True

    def release(self, chat: ChatId) -> None:
        """Keep no place for *chat* any longer."""
        self._held.discard(chat)
        self._lanes.release(chat)
        if not is_being_cancelled():  # as the tasks are being closed
            self._refill()

    def end(self, queued: Queued) -> None:
        """Note that *queued* leaves its lane."""
        self._ids.discard(queued.entry.id)
        if queued.follower is not None:
            queued.follower.ready_at = self._clock() + queued.follower.entry.message.delay_s
        else:
            self._last.pop(queued.entry.message.chat, None)
        if self._loading:
            self._ended.add(queued.entry.id)
        self._refill()

    async def wait_idle(self) -> None:
        """Return when nothing waits, in lanes or, unless stopped, in the store."""
        while True:
            await self._lanes.wait_idle()
            if not self._left_behind or self._stopped:
                return
            self._refill()
            self._loaded.clear()
            await self._loaded.wait()

    def _leave(self, entry: OutboxEntry) -> None:
        self._left_behind = True
        if not self._loading:
            self._refill()
        elif len(self._ahead) < self._max_loaded // 4:
            self._ahead.append(entry)
        else:
            self._unseen = True

    def _refill(self) -> None:
        """Load more when something was left behind and half of the room is free."""
        if not self._left_behind or self._loading or self._held or self._stopped:
            return
        if len(self._ids) <= self._max_loaded // 2:
            self._loading = True
            self._unseen = False
            self._tasks.start(self._load_more(), "load_unsent")

    async def _load_more(self) -> None:
        limit = self._max_loaded - len(self._ids)
        try:
            found = await self._load(self._seen_id, limit)
            self._take_in(found)
            self._left_behind = self._unseen or len(found) == limit
        finally:
            ahead, self._ahead = self._ahead, []
            self._ended.clear()
            self._loading = False
            self._loaded.set()
        self.put(ahead)
        self._refill()

    def _take_in(self, found: Sequence[OutboxEntry]) -> None:
        now = self._clock()
        for entry in found:
            self._seen_id = entry.id
            if entry.id not in self._ids and entry.id not in self._ended:
                self._queue(entry, now)

    def _queue(self, entry: OutboxEntry, now: float, doubt: TransportError | None = None) -> None:
        self._ids.add(entry.id)
        message, decided_at = entry.message, now - entry.age_s
        before = self._last.get(message.chat)
        due_at = message.delay_s + (decided_at if before is None else max(decided_at, before.due_at))
        queued = self._last[message.chat] = Queued(entry, decided_at, due_at, ready_at=due_at, doubt=doubt)
        if before is not None:
            before.follower = queued
        self._lanes.put(message.chat, queued)
