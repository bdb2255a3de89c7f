"""Whom the bot talks with: one address each, and what was said, the last of it in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..delivery import AddressBook, Conversations, HistoryTail, MemoryConversations
from ..errors import StoreError, TransportError
from ..messages import ChatId, InboundMessage, OutboundMessage, Turn
from .access_list import AccessList


class People:
    """Joins the addresses of a person with the conversation that was had under any of them.

    *history_bytes* of what was said last are kept in memory, unless all of it is.
    """

    def __init__(
        self,
        conversations: Conversations | None,
        addresses: AddressBook | None,
        *,
        history_bytes: int,
        access_list: AccessList,
    ) -> None:
        self._addresses = addresses or AddressBook()
        self.access_list = access_list
        self.stored = conversations or MemoryConversations()
        self.tail: HistoryTail | None = None
        if history_bytes and not isinstance(self.stored, MemoryConversations):
            self.tail = HistoryTail(self.stored, max_bytes=history_bytes)

    @property
    def conversations(self) -> Conversations:
        """What to read conversations from."""
        return self.stored if self.tail is None else self.tail

    def admits(self, chat: ChatId) -> bool:
        """Whether the person with the address *chat*, in any form, is to be heard."""
        return self.access_list.admits(chat)

    def note(self, turn: Turn) -> None:
        """*turn* was committed."""
        if self.tail is not None:
            self.tail.note(turn)

    def doubt(self, chat: ChatId) -> None:
        """It is not known what was committed of *chat*."""
        if self.tail is not None:
            self.tail.forget(chat)

    def clear(self) -> None:
        """Another process writes the conversations now."""
        if self.tail is not None:
            self.tail.clear()

    async def resolve(
        self, messages: Sequence[InboundMessage], is_busy: Callable[[ChatId], bool]
    ) -> Sequence[InboundMessage]:
        """*messages* with one address for each person; see AddressBook."""
        return await self._addresses.resolve(messages, is_busy, self._link)

    async def canonical(self, chat: ChatId) -> ChatId:
        """The one address of whom the application calls *chat*."""
        return await self._addresses.canonical(chat)

    async def addressed(self, message: OutboundMessage) -> OutboundMessage:
        """*message* to where the person can be reached. Raises TransportError, "not sent", when that cannot be read."""
        try:
            address = await self._addresses.dial(message.chat)
        except StoreError as error:
            raise TransportError(f"it is not known where {message.chat} can be reached: {error}") from error
        return message if address == message.chat else replace(message, chat=address)

    async def as_written(self, messages: Sequence[InboundMessage]) -> Sequence[InboundMessage]:
        """*messages*, all of one chat, under the address that the person last wrote from. Raises StoreError."""
        address = await self._addresses.dial(messages[0].chat)
        return [replace(message, chat=address) for message in messages]

    async def delete(self, chat: ChatId) -> int:
        """Forget the person with the canonical address *chat*; return how many rows of history that were."""
        deleted = await self.conversations.delete(chat)
        await self._addresses.forget(chat)
        return deleted

    async def export(self, chat: ChatId) -> Mapping[str, object]:
        """What is held of the person with the canonical address *chat*."""
        return await self.conversations.export(chat)

    async def hear(self, access_list: AccessList) -> None:
        """Hear those whom *access_list* admits, whichever of a person's addresses it names. Raises StoreError."""
        self.access_list = await access_list.resolved(self.canonical)

    def _link(self, alias: ChatId, chat: ChatId) -> None:
        """What is held of *alias* in memory is *chat*'s from now on; the store has joined its own."""
        self.access_list = self.access_list.linked(alias, chat)
        if self.tail is not None:
            self.tail.forget(alias)
            self.tail.forget(chat)
        elif isinstance(self.stored, MemoryConversations):
            self.stored.merge(alias, chat)
