"""The last rows of the chats that are active, in memory, so that their messages cost no read."""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from sys import getsizeof, intern

from ..messages import ChatId, ChatMessage, Conversation, Position, Turn
from .ports import MAX_PINNED, Conversations
from .times import latest

MIB = 1024 * 1024
SLOT_BYTES = 200  # measured with tracemalloc on CPython 3.11: what a chat takes beside its texts and rows, 150 to 250


class HistoryTail:
    """The Conversations *conversations*, of which the chats that were used last are remembered, in *max_bytes*.

    What ``load`` gives is what *conversations* would give. That holds while one process owns the chatbot, tells of
    every committed turn (``note``) or doubtful one (``forget``) at once, and lets nobody but a chat's own lane load
    while a turn of the chat is being committed; ``clear`` when the ownership was taken, or lost.

    The default of 4 MiB holds the five last rows of some 2,600 chats of ordinary messages (60 characters), or of
    200 whose rows all have 4,000; a chat that is not remembered costs one read.
    """

    def __init__(self, conversations: Conversations, *, max_bytes: int = 4 * MIB) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        self._conversations = conversations
        self._max_bytes = max_bytes
        self._used_bytes = 0
        # Least recently used first. Not a dict, for the reason that MemoryConversations gives.
        self._tails: OrderedDict[ChatId, _Tail] = OrderedDict()
        # The newest read of each chat that is under way, while nothing has happened that it may not have seen.
        self._reads: dict[ChatId, object] = {}

    def __len__(self) -> int:
        """Chats that are remembered."""
        return len(self._tails)

    @property
    def used_bytes(self) -> int:
        """What the remembered chats take, an estimate within a seventh; at most *max_bytes*."""
        return self._used_bytes

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        """As Conversations says; from memory when *chat* is known for at least *limit* rows, else one read."""
        known = self._tails.get(chat)
        if known is not None and limit <= known.limit:
            self._tails.move_to_end(chat)
            return Conversation(_newest(known.rows, limit), _thawed(known.position), known.welcomed_at)
        return await self._read(chat, limit)

    async def record(self, turns: Sequence[Turn]) -> None:
        """Append *turns* in the store. Their chats are read again: who commits in another way calls ``note``."""
        try:
            await self._conversations.record(turns)
        finally:
            for turn in turns:
                self.forget(turn.chat)

    async def delete(self, chat: ChatId) -> int:
        """Forget everything about *chat*, here and in the store; return how many history rows that were."""
        try:
            return await self._conversations.delete(chat)
        finally:
            self.forget(chat)

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        """What the store holds about *chat*."""
        return await self._conversations.export(chat)

    def note(self, turn: Turn) -> None:
        """Append *turn*, which was committed now. A chat that is not known stays so."""
        if turn.outcome != "answered":
            return
        known = self._tails.get(turn.chat)
        self.forget(turn.chat)
        # Where a store may keep something else than was said, only reading tells.
        if known is not None and all(_is_plain(text) for row in turn.history for text in _texts(row)):
            rows, welcomed_at = (*known.rows, *turn.history), latest(known.welcomed_at, turn.welcomed_at)
            self._keep(turn.chat, known.limit, Conversation(rows, turn.position, welcomed_at))

    def forget(self, chat: ChatId) -> None:
        """Read *chat* again when it is next loaded: what became of it is in doubt."""
        self._reads.pop(chat, None)
        known = self._tails.pop(chat, None)
        if known is not None:
            self._used_bytes -= known.n_bytes

    def clear(self) -> None:
        """Read every chat again: somebody else may have written."""
        self._reads.clear()
        self._tails.clear()
        self._used_bytes = 0

    def release(self, wanted_bytes: int) -> int:
        """Forget the least recently used chats until *wanted_bytes* are free; return how many that were."""
        freed_bytes = 0
        while self._tails and freed_bytes < wanted_bytes:
            freed_bytes += self._tails.popitem(last=False)[1].n_bytes
        self._used_bytes -= freed_bytes
        return freed_bytes

    async def _read(self, chat: ChatId, limit: int) -> Conversation:
        read = self._reads[chat] = object()
        try:
            found = await self._conversations.load(chat, limit)
            if self._reads.get(chat) is read:
                self._keep(chat, limit, found)
            return found
        finally:
            if self._reads.get(chat) is read:
                del self._reads[chat]

    def _keep(self, chat: ChatId, limit: int, conversation: Conversation) -> None:
        """Remember *chat* as the one that was used last, if it can be and fits."""
        self.forget(chat)
        try:
            frozen = _frozen(conversation.position)
        except (TypeError, ValueError, RecursionError):
            return
        newest, welcomed_at = _newest(conversation.history, limit), conversation.welcomed_at
        n_bytes = SLOT_BYTES + sum(map(getsizeof, (chat, frozen, welcomed_at))) + _n_bytes(newest)
        if n_bytes <= self._max_bytes:
            self._tails[chat] = _Tail(limit, newest, frozen, welcomed_at, n_bytes)
            self._used_bytes += n_bytes
            self.release(self._used_bytes - self._max_bytes)


@dataclass(frozen=True, slots=True)
class _Tail:
    """What ``load`` gives for ``limit`` rows.

    ``position`` is JSON text: a handler that changes the variables it was given changes nothing here.
    """

    limit: int
    rows: tuple[ChatMessage, ...]
    position: str | None
    welcomed_at: float | None
    n_bytes: int


def _newest(rows: Sequence[ChatMessage], limit: int) -> tuple[ChatMessage, ...]:
    """The last *limit* of *rows*, and before them the newest pinned ones of the others."""
    cut = max(len(rows) - limit, 0)
    pinned = [row for row in rows[:cut] if row.pinned]
    return (*pinned[-MAX_PINNED:], *rows[cut:])


def _frozen(position: Position | None) -> str | None:
    """*position* as JSON text. Raises TypeError, ValueError or RecursionError when it would not come back as it is."""
    if position is None:
        return None
    parts = {field.name: getattr(position, field.name) for field in fields(position)}
    text = json.dumps({**parts, "variables": dict(position.variables)}, ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text or not _is_plain(text) or _thawed(text) != position:
        raise ValueError("a store may keep something else")
    return text


def _thawed(text: str | None) -> Position | None:
    if text is None:
        return None
    parts = json.loads(text)
    return Position(**{**parts, "stack": tuple(map(tuple, parts["stack"]))})


def _is_plain(text: str) -> bool:
    """Whether every store can keep *text*: some databases refuse NUL, and lone surrogates have no UTF-8."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _n_bytes(rows: tuple[ChatMessage, ...]) -> int:
    return getsizeof(rows) + sum(map(_row_bytes, rows))


def _row_bytes(row: ChatMessage) -> int:
    parts = [row, *_texts(row), *row.tool_calls]
    if row.tool_calls:
        parts.append(row.tool_calls)
    if row.role is not intern(row.role):
        parts.append(row.role)  # from a driver, not from a program's text, which holds it once
    return sum(map(getsizeof, parts))


def _texts(row: ChatMessage) -> Iterator[str]:
    yield row.content
    if row.tool_call_id is not None:
        yield row.tool_call_id
    for call in row.tool_calls:
        yield from (call.id, call.name, call.arguments)
