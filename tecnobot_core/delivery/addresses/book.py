"""Gives every person one address on the way in, and the address that the transport knows on the way out."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ...messages import ChatId, InboundMessage
from . import numbers
from .store import AliasStore, MemoryAliases, Sighting

V = TypeVar("V")

RENEW_S = 3600.0


@dataclass(slots=True)
class _Person:
    """``dial`` is where the person wrote from last; ``stored`` what the store answers, since ``stored_at``."""

    dial: ChatId
    stored: ChatId
    stored_at: float = -math.inf


class AddressBook:
    """Knows which addresses are one person's: by rule for phone numbers, and from the transport for "@lid".

    A person's address is the phone number in E.164 ("+" and digits) where it is known, else the "@lid". Every other
    address (a group, a web visitor) is its own. *max_known* people, and as many "@lid", are remembered in memory; the
    rest is asked of *store*, whose failures go up.

    Where a person wrote from is written down when it is new, and when it changed and the last note is ``RENEW_S`` old:
    all addresses from which a person wrote reach the person, so after a restart an earlier one does as well.
    """

    def __init__(self, store: AliasStore | None = None, *, max_known: int = 10_000) -> None:
        self._store = store or MemoryAliases(max_aliases=max_known)
        self._max_known = max_known
        # Whose an "@lid" is; its own when nobody's phone is known for it.
        self._chats: OrderedDict[ChatId, ChatId] = OrderedDict()
        self._people: OrderedDict[ChatId, _Person] = OrderedDict()

    async def resolve(
        self,
        messages: Sequence[InboundMessage],
        is_busy: Callable[[ChatId], bool],
        on_linked: Callable[[ChatId, ChatId], object] | None = None,
    ) -> Sequence[InboundMessage]:
        """*messages* with the person's address as ``chat`` and without ``aliases``; at most one call of the store.

        ``is_busy(chat)`` tells whether messages of *chat* wait or are being handled. While they do, a link that is
        learned is left for a later message and the person's messages stay where they are, so that none is overtaken.
        ``on_linked(lid, chat)`` is called when what is known of *lid* belongs to *chat* from now on; perhaps again
        after a restart.
        """
        chats = {lid: self._chats[lid] for message in messages for lid in _lids(message) if lid in self._chats}
        links = {
            lid: phone
            for message in messages
            for lid, phone in _links(message)
            if chats.get(lid) != phone and not is_busy(chats.get(lid, lid))
        }
        sightings = self._sightings(messages, chats, links, is_busy)
        if sightings:
            found = await self._store.learn(list(sightings.values()))
            for left in links.keys() & chats.keys():
                self._people.pop(chats[left], None)  # it is no longer reached under an address that it lost
            chats |= {alias: found.get(alias, alias) for alias in sightings if numbers.is_lid(alias)}
            if on_linked is not None:
                for lid, phone in links.items():
                    on_linked(lid, phone)
        resolved = [_addressed(message, _chat(message, chats, is_busy)) for message in messages]
        for lid, chat in chats.items():
            self._keep(self._chats, lid, chat)
        for written, message in zip(messages, resolved, strict=True):
            self._note(written, message.chat, sightings)
        return resolved

    async def dial(self, chat: ChatId) -> ChatId:
        """Where to send what is for *chat*: the address that the person last wrote from.

        A phone that nobody has written from is *chat* itself; so may be, after a restart, one that is written in
        another way but has the same digits. A transport takes both.
        """
        if not numbers.is_phone(chat):
            return chat
        if chat not in self._people:
            stored = await self._store.last_used(chat) or chat
            # A message may have come meanwhile, and knows better.
            self._keep(self._people, chat, self._people.get(chat) or _Person(stored, stored))
        self._people.move_to_end(chat)
        return self._people[chat].dial

    async def canonical(self, chat: ChatId) -> ChatId:
        """The one address of the person whom the application calls *chat*."""
        chat = numbers.canonical(chat)
        if not numbers.is_lid(chat):
            return chat
        if (known := self._chats.get(chat)) is None:
            found = await self._store.learn([Sighting(alias=chat, chat=None, wrote=False)])
            known = found.get(chat, chat)
            self._keep(self._chats, chat, known)
        return known

    async def forget(self, chat: ChatId) -> None:
        """Know nothing more about the person who has the canonical address *chat*."""
        self._people.pop(chat, None)
        for lid in [lid for lid, owner in self._chats.items() if owner == chat]:
            del self._chats[lid]
        await self._store.forget(chat)

    def _sightings(
        self,
        messages: Sequence[InboundMessage],
        chats: Mapping[ChatId, ChatId],
        links: Mapping[ChatId, ChatId],
        is_busy: Callable[[ChatId], bool],
    ) -> dict[ChatId, Sighting]:
        """What the store does not know, or must tell; those that wrote in the order in which they last did."""
        sightings = {lid: Sighting(alias=lid, chat=phone, wrote=False) for lid, phone in links.items()}
        for message in messages:
            own = numbers.without_device(message.chat)
            chat = links.get(own) or chats.get(own) if numbers.is_lid(own) else numbers.canonical(own)
            if chat is None and is_busy(own):
                continue
            if chat is None or own in sightings or self._is_due(own, chat, message.sent_at):
                sightings.pop(own, None)
                sightings[own] = Sighting(alias=own, chat=chat, wrote=True)
        return sightings

    def _is_due(self, own: ChatId, chat: ChatId, at: float) -> bool:
        """Whether the store must hear that *chat* wrote from *own* at *at*."""
        person = self._people.get(chat) or _Person(chat, chat)
        if own == person.stored or at - person.stored_at < RENEW_S:
            return False
        return numbers.spelling(own) != numbers.spelling(person.stored)

    def _note(self, message: InboundMessage, chat: ChatId, sightings: Mapping[ChatId, Sighting]) -> None:
        """Remember that *message*, as the transport gave it, came from *chat*."""
        if not numbers.is_phone(chat):
            return
        own = numbers.without_device(message.chat)
        person = self._people.get(chat) or _Person(own, chat)
        person.dial = own
        if own in sightings:
            person.stored, person.stored_at = own, message.sent_at
        self._keep(self._people, chat, person)

    def _keep(self, known: OrderedDict[ChatId, V], key: ChatId, value: V) -> None:
        known[key] = value
        known.move_to_end(key)
        if len(known) > self._max_known:
            known.popitem(last=False)


def _lids(message: InboundMessage) -> Iterator[ChatId]:
    """Every "@lid" that *message* names, where it is a person's."""
    if numbers.is_lid(message.chat):
        yield numbers.without_device(message.chat)
    elif message.aliases and numbers.is_phone(message.chat):
        yield from (numbers.without_device(alias) for alias in message.aliases if numbers.is_lid(alias))


def _links(message: InboundMessage) -> Iterator[tuple[ChatId, ChatId]]:
    """Each "@lid" of which *message* tells the phone, and that phone."""
    if not message.aliases:
        return
    phones = (address for address in (message.chat, *message.aliases) if numbers.is_phone(address))
    if (phone := next(phones, None)) is not None:
        yield from ((lid, numbers.canonical(phone)) for lid in _lids(message))


def _chat(message: InboundMessage, chats: Mapping[ChatId, ChatId], is_busy: Callable[[ChatId], bool]) -> ChatId:
    own = numbers.without_device(message.chat)
    if numbers.is_lid(own):
        return chats.get(own, own)
    chat = numbers.canonical(own)
    # A link that was left for later: what came under the other address is not to be overtaken.
    apart = (other for lid in _lids(message) if (other := chats.get(lid, lid)) != chat and is_busy(other))
    return chat if is_busy(chat) else next(apart, chat)


def _addressed(message: InboundMessage, chat: ChatId) -> InboundMessage:
    return message if message.chat == chat and not message.aliases else replace(message, chat=chat, aliases=())
