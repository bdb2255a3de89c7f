"""Where it is kept which addresses are one person's."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...messages import ChatId


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """That *alias* came up, as an address of *chat*; None: of whoever is known to have it.

    *wrote* tells whether a message came from it; otherwise it was only named.
    """

    alias: ChatId
    chat: ChatId | None
    wrote: bool


class AliasStore(Protocol):
    """Keeps aliases. Failures are StoreError."""

    async def learn(self, sightings: Sequence[Sighting]) -> Mapping[ChatId, ChatId]:
        """Keep what is new in *sightings*, each of another alias, in their order; the chat of each alias that has one.

        An alias that gets another chat leaves the earlier one, whose history stays. Where chats are kept beside
        aliases, what is held under the alias itself moves to its chat.
        """
        ...

    async def last_used(self, chat: ChatId) -> ChatId | None:
        """The alias from which *chat* wrote last, of those that are kept."""
        ...

    async def forget(self, chat: ChatId) -> None:
        """Keep no alias of *chat*."""
        ...


class MemoryAliases:
    """The *max_aliases* aliases that came up last. Knows of no histories; see ``on_linked`` of AddressBook.resolve."""

    def __init__(self, *, max_aliases: int = 10_000) -> None:
        self._max_aliases = max_aliases
        # In the order in which they came up; each with its chat, and whether a message came from it.
        self._aliases: OrderedDict[ChatId, tuple[ChatId, bool]] = OrderedDict()

    async def learn(self, sightings: Sequence[Sighting]) -> Mapping[ChatId, ChatId]:
        chats = {seen.alias: chat for seen in sightings if (chat := self._learn(seen)) is not None}
        while len(self._aliases) > self._max_aliases:
            self._aliases.popitem(last=False)
        return chats

    async def last_used(self, chat: ChatId) -> ChatId | None:
        return next((a for a, (owner, wrote) in reversed(self._aliases.items()) if wrote and owner == chat), None)

    async def forget(self, chat: ChatId) -> None:
        for alias in [alias for alias, (owner, _) in self._aliases.items() if owner == chat]:
            del self._aliases[alias]

    def _learn(self, seen: Sighting) -> ChatId | None:
        known, wrote = self._aliases.get(seen.alias, (None, False))
        chat = seen.chat or known
        if chat is None:
            return None
        self._aliases[seen.alias] = (chat, wrote or seen.wrote)
        if seen.wrote:
            self._aliases.move_to_end(seen.alias)
        return chat
