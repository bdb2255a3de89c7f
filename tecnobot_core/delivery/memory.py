"""Inbox, outbox and conversations in memory: for tests, tools and bots that may forget."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from types import TracebackType
from typing import Self

from ..messages import ChatId, ChatMessage, Conversation, FormRecord, InboundMessage, OutboundMessage, Position, Turn
from .ports import MAX_PINNED, OPEN_STATES, Conversations, Due, Group, OutboxEntry, Pending, SendState
from .times import DueTimes, is_due_signal, latest


class MemoryConversations:
    """Conversations of the *max_chats* chats that wrote last, at most *max_rows* rows, and forms, of each."""

    def __init__(self, *, max_chats: int = 10_000, max_rows: int = 50) -> None:
        self.due = DueTimes()
        self._max_chats = max_chats
        self._max_rows = max_rows
        # Not a dict: dropping the first key of one again and again walks over all that were dropped before.
        self._chats: OrderedDict[ChatId, _Chat] = OrderedDict()

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        if (held := self._chats.get(chat)) is None:
            return Conversation()
        rows = list(held.rows)
        older, newest = rows[: max(len(rows) - limit, 0)], rows[max(len(rows) - limit, 0) :]
        pinned = [row for row in older if row.pinned][-MAX_PINNED:]
        return Conversation((*pinned, *newest), held.position, held.welcomed_at)

    async def record(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            held = self._chats.pop(turn.chat, None) or _Chat(self._max_rows)
            held.rows.extend(turn.history)
            held.records.extend(turn.records)
            held.position = turn.position
            held.welcomed_at = latest(held.welcomed_at, turn.welcomed_at)
            self._chats[turn.chat] = held  # at the end: the most recent
            self.due.note(turn.chat, turn.position)
        while len(self._chats) > self._max_chats:
            self.due.forget(self._chats.popitem(last=False)[0])

    def records(self, form: str) -> Sequence[FormRecord]:
        """What was entered into *form*, as far as it is remembered; each chat's in order."""
        return [record for held in self._chats.values() for record in held.records if record.form == form]

    def merge(self, alias: ChatId, chat: ChatId) -> None:
        """Make what is held of *alias* a part of *chat*, before its own rows; a position of its own stays."""
        if (held := self._chats.pop(alias, None)) is None:
            return
        own = self._chats.pop(chat, None) or _Chat(self._max_rows)
        if own.position is None:
            self.due.move(alias, chat)
        self.due.forget(alias)
        held.rows.extend(own.rows)
        held.records.extend(own.records)
        held.position = own.position or held.position
        held.welcomed_at = latest(held.welcomed_at, own.welcomed_at)
        self._chats[chat] = held

    async def delete(self, chat: ChatId) -> int:
        self.due.forget(chat)
        held = self._chats.pop(chat, None)
        return 0 if held is None else len(held.rows)

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        held = self._chats.get(chat) or _Chat(0)
        return {
            "chat": chat.reveal(),
            "history": [asdict(row) for row in held.rows],
            "position": None if held.position is None else asdict(held.position),
            "welcomed_at": held.welcomed_at,
            "records": [asdict(record) for record in held.records],
        }


class _Chat:
    """What is held of one."""

    def __init__(self, max_rows: int) -> None:
        self.rows: deque[ChatMessage] = deque(maxlen=max_rows)
        self.records: deque[FormRecord] = deque(maxlen=max_rows)
        self.position: Position | None = None
        self.welcomed_at: float | None = None


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
        self._claims = count(1)
        # Of conversations elsewhere only what is committed here is known.
        self._due = conversations.due if isinstance(conversations, MemoryConversations) else DueTimes()

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        # Once for all of them: those that were let in could not be handled before this returns.
        while self._full():
            self._room.clear()
            await self._room.wait()
        seqs: list[int | None] = []
        for message in messages:
            known = message.id in self._pending or not self._inbound_ids.add(message.id)
            seqs.append(None if known else self._journal(message).seq)
        return seqs

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        return list(islice((pending for pending in self._pending.values() if pending.seq > after), limit))

    async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        for group_id, ids in groups.items():
            for id in ids:
                if (pending := self._pending.get(id)) is not None and pending.group is None:
                    self._pending[id] = replace(pending, group=Group(group_id, len(ids)))

    async def claim_due(self, until: float, limit: int) -> Due:
        waiting = {pending.message.chat for pending in self._pending.values() if is_due_signal(pending.message)}
        taken = self._due.take(until, limit, without=waiting)
        signals = [
            InboundMessage(id=f"due/{next(self._claims)}", chat=chat, sent_at=at, text="due", kind="signal")
            for at, chat in taken
        ]
        next_at = taken[-1][0] if taken and len(taken) == limit else self._due.after(until)
        return Due(tuple(self._journal(signal) for signal in signals), next_at)

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        open_turns = [turn for turn in turns if any(id in self._pending for id in turn.inbound)]
        answered = [turn for turn in open_turns if turn.outcome == "answered"]
        await self._conversations.record(answered)
        if not isinstance(self._conversations, MemoryConversations):
            for turn in answered:
                self._due.note(turn.chat, turn.position)
        for turn in open_turns:
            if turn.outcome == "failed" and again_at is not None:
                self._due.postpone(turn.chat, again_at)
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

    def _journal(self, message: InboundMessage) -> Pending:
        pending = self._pending[message.id] = Pending(next(self._seqs), message)
        self._pending_bytes += len(message.text)
        return pending

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
