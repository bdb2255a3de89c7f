"""Inbox, outbox and conversations in memory: for tests, tools and bots that may forget."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from types import TracebackType
from typing import Self

from ..messages import ChatId, ChatMessage, Conversation, InboundMessage, OutboundMessage, Position, Turn
from .ports import MAX_PINNED, OPEN_STATES, Conversations, Group, OutboxEntry, Pending, SendState


class MemoryConversations:
    """Conversations of the *max_chats* chats that wrote last, at most *max_rows* rows of each."""

    def __init__(self, *, max_chats: int = 10_000, max_rows: int = 50) -> None:
        self._max_chats = max_chats
        self._max_rows = max_rows
        # Not a dict: dropping the first key of one again and again walks over all that were dropped before.
        self._chats: OrderedDict[ChatId, tuple[deque[ChatMessage], Position | None]] = OrderedDict()

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        rows, position = self._chats.get(chat, ((), None))
        older, newest = list(rows)[: max(len(rows) - limit, 0)], list(rows)[max(len(rows) - limit, 0) :]
        pinned = [row for row in older if row.pinned][-MAX_PINNED:]
        return Conversation((*pinned, *newest), position)

    async def record(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            rows = self._chats.pop(turn.chat)[0] if turn.chat in self._chats else deque(maxlen=self._max_rows)
            rows.extend(turn.history)
            self._chats[turn.chat] = (rows, turn.position)  # at the end: the most recent
        while len(self._chats) > self._max_chats:
            self._chats.popitem(last=False)

    def merge(self, alias: ChatId, chat: ChatId) -> None:
        """Make what is held of *alias* a part of *chat*, before its own rows; a position of its own stays."""
        if alias not in self._chats:
            return
        rows, position = self._chats.pop(alias)
        own, at = self._chats.pop(chat, ((), None))
        self._chats[chat] = (deque((*rows, *own), maxlen=self._max_rows), at or position)

    async def delete(self, chat: ChatId) -> int:
        rows, _ = self._chats.pop(chat, ((), None))
        return len(rows)

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        rows, position = self._chats.get(chat, ((), None))
        return {
            "chat": chat.reveal(),
            "history": [asdict(row) for row in rows],
            "position": None if position is None else asdict(position),
        }


class MemoryDelivery:
    """A DeliveryStore that lives as long as the process, which therefore owns it.

    ``accept`` waits while *max_pending* messages, or *max_pending_bytes* of their text, are not done.
    Remembers at least the last *max_remembered* message ids and outgoing keys. What turns leave behind goes to
    *conversations*.
    """

    def __init__(
        self,
        conversations: Conversations,
        *,
        max_pending: int = 10_000,
        max_pending_bytes: int = 8 * 1024 * 1024,
        max_remembered: int = 4_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conversations = conversations
        self._clock = clock
        self._outbox: dict[int, _Kept] = {}
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        self._inbound_ids = _Recent(max_remembered)
        self._outgoing_keys = _Recent(max_remembered)
        self._pending: dict[str, Pending] = {}
        self._pending_bytes = 0
        self._room = asyncio.Event()
        self._seqs = count(1)
        self._entry_ids = count(1)

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        # Once for all of them: those that were let in could not be handled before this returns.
        while self._full():
            self._room.clear()
            await self._room.wait()
        seqs: list[int | None] = []
        for message in messages:
            if message.id in self._pending or not self._inbound_ids.add(message.id):
                seqs.append(None)
                continue
            seqs.append(seq := next(self._seqs))
            self._pending[message.id] = Pending(seq, message)
            self._pending_bytes += len(message.text)
        return seqs

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        return list(islice((pending for pending in self._pending.values() if pending.seq > after), limit))

    async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        for group_id, ids in groups.items():
            for id in ids:
                if (pending := self._pending.get(id)) is not None and pending.group is None:
                    self._pending[id] = replace(pending, group=Group(group_id, len(ids)))

    async def commit(self, turns: Sequence[Turn], *, taken: Collection[str] = ()) -> Sequence[OutboxEntry]:
        open_turns = [turn for turn in turns if any(id in self._pending for id in turn.inbound)]
        await self._conversations.record([turn for turn in open_turns if turn.outcome == "answered"])
        for turn in open_turns:
            for id in turn.inbound:
                if (pending := self._pending.pop(id, None)) is not None:
                    self._pending_bytes -= len(pending.message.text)
        self._room.set()
        return self._entries([message for turn in open_turns for message in turn.outgoing], taken)

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        return self._entries(messages, ())

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        for id, state in states.items():
            if state in OPEN_STATES:
                self._outbox[id].state = state
            else:
                del self._outbox[id]

    async def interrupted(self) -> Sequence[OutboxEntry]:
        return ()

    async def unsent(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        now = self._clock()
        waiting = ((id, kept) for id, kept in self._outbox.items() if kept.state == "waiting" and id > after)
        return [OutboxEntry(id, k.message, k.state, now - k.decided_at) for id, k in islice(waiting, limit)]

    async def confirm(self) -> None:
        """Nobody else can own this process's memory."""

    async def purge(self, older_than_s: float, batch: int = 5000) -> int:
        """Nothing to do: what is remembered is bounded by number."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to give back."""

    def _entries(self, messages: Sequence[OutboundMessage], taken: Collection[str]) -> list[OutboxEntry]:
        entries = [
            OutboxEntry(next(self._entry_ids), message, "taken" if message.key in taken else "waiting")
            for message in messages
            if self._outgoing_keys.add(message.key)
        ]
        now = self._clock()
        self._outbox.update((entry.id, _Kept(entry.message, entry.state, now)) for entry in entries)
        return entries

    def _full(self) -> bool:
        return len(self._pending) >= self._max_pending or self._pending_bytes >= self._max_pending_bytes


@dataclass(slots=True)
class _Kept:
    """An entry of the outbox that has not ended."""

    message: OutboundMessage
    state: SendState
    decided_at: float


class _Recent:
    """A set of at least the last *limit* texts that were added, at most twice as many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: set[str] = set()
        self._old: set[str] = set()

    def add(self, text: str) -> bool:
        """Add *text*; False when it was known."""
        if text in self._young or text in self._old:
            return False
        self._young.add(text)
        if len(self._young) >= self._limit:
            # Dropped as a whole: a set from which texts leave one by one grows by the gaps that they leave.
            self._old, self._young = self._young, set()
        return True
