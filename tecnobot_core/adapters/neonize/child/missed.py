"""Messages that come and are lost: the library says so in its log, and nowhere else."""

import re
from typing import NamedTuple

# At level DEBUG every node is logged when it arrives, before anything is done with it: whatsmeow's client.go, recvLog.
# Peers' messages are between devices of one account; those with a recipient were written by the account itself.
_ARRIVING = re.compile(rb"<message (?=[^>]*\bid=\"(?P<id>[^\"]+)\")[^>]*?\bfrom=\"(?P<chat>[^\"]+)\"[^>]*>")
_NOT_FOR_US = (b'category="peer"', b"recipient=", b"participant=", b"@broadcast", b"@newsletter")

# A message whose ratchet step was used before: whatsmeow's message.go. It was decrypted and then lost by a kill, or the
# sender used the step twice. Ignoring message <id> from <chat>: … old counter …; where a linked device wrote it, or the
# account itself, from <sender> in <chat>.
_DROPPED = re.compile(
    rb"Ignoring message (?P<id>\S+) from (?:(?P<sender>\S+) in )?(?P<chat>\S+): .*old counter", re.DOTALL
)


class Named(NamedTuple):
    """A message that the log names."""

    id: str
    chat: str
    from_me: bool = False


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
    if match is None:
        return None
    dropped, sender = _named(match), match["sender"]
    return dropped._replace(from_me=sender is not None and _address(sender) != dropped.chat)


def _named(match: re.Match[bytes]) -> Named:
    return Named(match["id"].decode("utf-8", "replace"), _address(match["chat"]))


def _address(jid: bytes) -> str:
    """*jid* without its device."""
    user, _, server = jid.decode("utf-8", "replace").partition("@")
    return f"{user.partition(':')[0]}@{server}"
