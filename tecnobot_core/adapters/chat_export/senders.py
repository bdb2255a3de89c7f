"""Who speaks: names are written in front of a text without quotes, so a colon inside a name must be told from the one
behind it."""

from dataclasses import dataclass, field
from functools import lru_cache

from .header import MARKS

MAX_NAME_CHARS = 128  # WhatsApp's own names have at most 25, group titles 100; address books allow a little more
MAX_SENDERS = 100_000  # keeps memory bounded; a group has at most 1,024 members, but many chats may be in one file
_MIN_REPEATS = 3
_MAX_ENDINGS = 8
_MAX_COLONS = 3
_NOT_NAMES = frozenset({"location", "ubicación", "localização", "http", "https"})
_DROP_MARKS = {ord(mark): None for mark in MARKS} | {0xA0: " ", 0x202F: " "}


def clean_name(written: str) -> str:
    """A name without direction marks and with ordinary spaces; empty when it is too long for one."""
    name = _without_marks(written) if len(written) <= 2 * MAX_NAME_CHARS else ""
    return name if len(name) <= MAX_NAME_CHARS else ""


@lru_cache(maxsize=1024)
def _without_marks(name: str) -> str:
    return name.translate(_DROP_MARKS).strip()


def _split(rest: str) -> list[str]:
    # The end of a line is trimmed, so an empty text leaves the colon without its space.
    return (rest + " ").split(": ", _MAX_COLONS + 1)


@dataclass(slots=True)
class _Beginning:
    """How often texts began like this, and how those went on up to the next colon."""

    seen: int = 0
    endings: "dict[str, _Beginning]" = field(default_factory=dict)
    is_whole: bool = False  # what follows is so varied that it is text

    def follow(self, part: str) -> "_Beginning | None":
        if self.is_whole:
            return None
        if part not in self.endings and len(self.endings) == _MAX_ENDINGS:
            self.is_whole = True
            self.endings.clear()
            return None
        return self.endings.setdefault(part, _Beginning())

    def is_cut_short(self) -> bool:
        """Whether everything that begins like this goes on to one of few next colons, each several times."""
        if not self.endings:
            return False
        counts = [ending.seen for ending in self.endings.values()]
        return sum(counts) == self.seen and min(counts) >= _MIN_REPEATS


class Senders:
    """Learns the names of a file and then splits its lines.

    A name ends at its first ": ", unless every line that begins with it goes on to a further ": " in the same way, at
    least three times: three messages that begin alike are a name, not a coincidence. *me* needs no such evidence.
    """

    def __init__(self) -> None:
        self._names: dict[str, _Beginning] = {}

    def learn(self, rest: str) -> None:
        """Weigh what stands behind the header of one line."""
        name, *parts = _split(rest)
        name = clean_name(name)
        if not parts or not name:
            return
        beginning = self._names.get(name)
        if beginning is None:
            if len(self._names) == MAX_SENDERS:
                return
            beginning = self._names[name] = _Beginning()
        beginning.seen += 1
        for part in parts[:-1]:
            if len(part) > MAX_NAME_CHARS or clean_name(part).casefold() in _NOT_NAMES:
                return
            following = beginning.follow(part)
            if following is None:
                return
            beginning = following
            beginning.seen += 1

    def split(self, rest: str, me: str | None) -> tuple[str, str] | None:
        """The sender and the text of a line; None when nobody is named."""
        if me is not None and (of_me := _split_behind(rest, me)) is not None:
            return me, of_me
        name, *parts = _split(rest)
        cleaned = clean_name(name)
        if not parts or not cleaned:
            return None
        n_raw = len(name)
        beginning = self._names.get(cleaned)
        for part in parts[:-1]:
            if beginning is None or not beginning.is_cut_short():
                break
            beginning = beginning.endings.get(part)
            cleaned = f"{cleaned}: {clean_name(part)}"
            n_raw += len(": ") + len(part)
        return cleaned, rest[n_raw + len(": ") :]


def _split_behind(rest: str, name: str) -> str | None:
    if ":" not in name:
        return None
    head, colon, text = rest.partition(name + ":")
    return text.removeprefix(" ") if colon and not head.strip(MARKS) and text[:1] in ("", " ") else None
