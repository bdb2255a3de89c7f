"""Messages that come and are lost: the library says so in its log, and nowhere else."""

import re
from typing import NamedTuple

# At level DEBUG every node is logged when it arrives, before anything is done with it: whatsmeow's client.go, recvLog.
# Peers' messages are between devices of one account; those with a recipient were written by the account itself.
_ARRIVING = re.compile(rb"<message (?=[^>]*\bid=\"(?P<id>[^\"]+)\")[^>]*?\bfrom=\"(?P<chat>[^\"]+)\"[^>]*>")
_NOT_FOR_US = (b'category="peer"', b"recipient=", b"participant=", b"@broadcast", b"@newsletter")

# A message whose ratchet step was used before: whatsmeow's message.go. It was decrypted and then lost by a kill, or the
# sender used the step twice. Ignoring message <id> from <sender> in <chat>: … old counter …
_DROPPED = re.compile(rb"Ignoring message (?P<id>\S+) from \S+ in (?P<chat>\S+?):? .*old counter", re.DOTALL)


class Named(NamedTuple):
    """A message that the log names."""

    id: str
    chat: str


def arriving_message(line: bytes) -> Named | None:
    """The direct message whose arrival *line* tells."""
    if b"<message " not in line:
        return None
    match = _ARRIVING.search(line)
    if match is None or any(part in match[0] for part in _NOT_FOR_US):
        return None
    return _named(match)


def dropped_message(line: bytes) -> Named | None:
    """The message that *line* is about, if the library dropped it unread."""
    match = _DROPPED.search(line) if b"Ignoring message" in line else None
    return None if match is None else _named(match)


def _named(match: re.Match[bytes]) -> Named:
    user, _, server = match["chat"].decode("utf-8", "replace").partition("@")
    return Named(match["id"].decode("utf-8", "replace"), f"{user.partition(':')[0]}@{server}")
