"""Who is heard."""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..delivery.addresses import canonical
from ..delivery.addresses.numbers import is_lid, wire_forms
from ..errors import ConfigurationError
from ..messages import ChatId

MAX_PATTERN_CHARS = 128  # no address is longer

_WILD = re.compile(r"[*?]")
_PHONE_LIKE = re.compile(r"\+?[0-9()./*?\- ]+")
_BETWEEN_DIGITS = re.compile(r"[()./\- ]")


@dataclass(frozen=True)
class AccessList:
    """Who is in *blocked* is not heard; where *allowed* names somebody, nobody else is.

    Entries are addresses in any form, or patterns in which ``*`` stands for any characters and ``?`` for one:
    "+52155*", "*@g.us". A pattern is compared with every form in which a phone number may be written. *blocked* goes
    first, so ``blocked=["*"]`` hears nobody. Entries never print.

    *aliases* tells whose an "@lid" is that an entry names, so that its person is known by the phone number, too; see
    ``resolved`` and ``linked``.

    Raises ConfigurationError with all entries that are wrong.
    """

    blocked: Collection[str] = field(default=(), repr=False)
    allowed: Collection[str] = field(default=(), repr=False)
    aliases: Mapping[ChatId, ChatId] = field(default_factory=dict, repr=False, compare=False)
    _lists: "tuple[_Entries, _Entries]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = [*_problems("blocked", self.blocked), *_problems("allowed", self.allowed)]
        if problems:
            raise ConfigurationError(problems)
        object.__setattr__(self, "blocked", tuple(map(ChatId.reveal, map(_address, self.blocked))))
        object.__setattr__(self, "allowed", tuple(map(ChatId.reveal, map(_address, self.allowed))))
        object.__setattr__(self, "_lists", (_Entries(self.blocked, self.aliases), _Entries(self.allowed, self.aliases)))

    def admits(self, chat: ChatId) -> bool:
        """Whether the person with the address *chat*, in any form, is to be heard."""
        blocked, allowed = self._lists
        if blocked.hold(chat):
            return False
        return not self.allowed or allowed.hold(chat)

    def with_blocked(self, *entries: str) -> "AccessList":
        """The same, and *entries* are not heard."""
        return replace(self, blocked=(*self.blocked, *entries))

    def without_blocked(self, *entries: str) -> "AccessList":
        """The same, and *entries* are heard again, as far as they were blocked by these very entries."""
        gone = {_address(entry) for entry in entries}
        return replace(self, blocked=[entry for entry in self.blocked if _address(entry) not in gone])

    async def resolved(self, person: Callable[[ChatId], Awaitable[ChatId]]) -> "AccessList":
        """The same, with *person* asked whose each "@lid" is that an entry names (``AddressBook.canonical``)."""
        lids = {address for entries in self._lists for address in entries.exact if is_lid(address)}
        return replace(self, aliases={**self.aliases, **{lid: await person(lid) for lid in lids}})

    def linked(self, alias: ChatId, chat: ChatId) -> "AccessList":
        """The same, knowing that *alias* is *chat*'s; itself where that is no news, or no entry names *alias*."""
        if self.aliases.get(alias) == chat or not any(alias in entries.exact for entries in self._lists):
            return self
        return replace(self, aliases={**self.aliases, alias: chat})


class _Entries:
    """Addresses and patterns, arranged to be found."""

    def __init__(self, entries: Iterable[str], aliases: Mapping[ChatId, ChatId]) -> None:
        addresses = [_address(entry) for entry in entries]
        written = {address for address in addresses if not _WILD.search(address)}
        self.exact = frozenset(written | {aliases[address] for address in written & aliases.keys()})
        self._patterns = [address.reveal() for address in addresses if _WILD.search(address)]

    def hold(self, chat: ChatId) -> bool:
        """Whether one of them is *chat*."""
        address = canonical(chat)
        if address in self.exact:
            return True
        return bool(self._patterns) and any(self._expression.fullmatch(form) for form in wire_forms(address))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_expression_of, self._patterns)), re.DOTALL)


def _address(entry: str) -> ChatId:
    """*entry* as it is compared: of an address its canonical form, of a pattern without what separates digits."""
    # As the text it is: a ChatId prints as a hash.
    text = str.__str__(entry).strip()
    if _PHONE_LIKE.fullmatch(text):
        text = _BETWEEN_DIGITS.sub("", text)
    if not _WILD.search(text):
        return canonical(ChatId(text))
    return ChatId("+" + text if text[0].isdigit() and _PHONE_LIKE.fullmatch(text) else text)


def _expression_of(pattern: str) -> str:
    """What *pattern* means, so that a look takes a time linear in the address, however many runs there are.

    What stands between two runs is found where it comes first, and never looked for again: that is what an atomic group
    does.
    """
    begin, *others = map(_literal, re.split(r"\*+", pattern))
    if not others:
        return begin
    *middle, last = others
    return f"{begin}{''.join(f'(?>.*?{part})' for part in middle)}.*{last}"


def _literal(part: str) -> str:
    return re.escape(part).replace(r"\?", ".")


def _problems(name: str, entries: Collection[str]) -> Iterable[str]:
    if isinstance(entries, str):
        yield f"{name} must be a list of addresses, not the text {entries!r:.80}"
        return
    for number, entry in enumerate(entries, 1):
        text = str.__str__(entry).strip() if isinstance(entry, str) else entry
        if not isinstance(text, str) or not text:
            yield f"{name}, entry {number}: wanted is an address or a pattern, not {entry!r:.80}"
        elif len(text) > MAX_PATTERN_CHARS:
            yield f"{name}, entry {number}: has {len(text)} characters; at most {MAX_PATTERN_CHARS}"
