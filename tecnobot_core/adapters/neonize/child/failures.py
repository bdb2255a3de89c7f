"""What the library's error texts mean: whether a message may have gone out, and whether trying again can help."""

import re
from typing import Literal, NamedTuple

Sent = Literal["no", "maybe"]


class SendFailure(NamedTuple):
    """What is known after a send failed."""

    sent: Sent
    retryable: bool
    reason: str


class LinkFailure(NamedTuple):
    """Why a link could not be made; the reasons are those of ``connection.DisconnectReason``."""

    reason: str
    retryable: bool


# Parts of texts of whatsmeow's send.go, sendfb.go, request.go and upload.go, the most telling first.
_SENDS: tuple[tuple[str, SendFailure], ...] = (
    ("disconnected before message send returned response", SendFailure("maybe", False, "network")),
    ("timed out waiting for message send response", SendFailure("maybe", False, "timeout")),
    ("no LID found for", SendFailure("no", False, "unknown")),  # also: the number has no WhatsApp
    ("doesn't contain a device JID", SendFailure("no", False, "logged_out")),
    ("the store doesn't contain a device", SendFailure("no", False, "logged_out")),
    ("server returned error", SendFailure("no", False, "server_error")),
    ("can't send", SendFailure("no", False, "unknown")),
    ("unknown server", SendFailure("no", False, "unknown")),
    ("websocket not connected", SendFailure("no", True, "network")),
    ("client is nil", SendFailure("no", True, "network")),
    ("usync", SendFailure("no", True, "network")),
    ("device list", SendFailure("no", True, "network")),
    ("media connections", SendFailure("no", True, "network")),
    ("failed to upload", SendFailure("no", True, "network")),
    ("upload failed", SendFailure("no", True, "network")),
    ("failed to send message node", SendFailure("maybe", False, "network")),
)

# The session's database may be away, or locked, for a while: that is no reason to put an older copy in its place.
_LINKS: tuple[tuple[str, LinkFailure], ...] = (
    ("required field", LinkFailure("pump_dead", True)),
    ("client-outdated", LinkFailure("outdated", False)),
    ("connection refused", LinkFailure("network", True)),
    ("connection reset", LinkFailure("network", True)),
    ("no such host", LinkFailure("network", True)),
    ("the database system is", LinkFailure("network", True)),  # starting up, shutting down, in recovery mode
    ("too many clients", LinkFailure("network", True)),
    ("connection slots", LinkFailure("network", True)),
    ("database is locked", LinkFailure("unknown", True)),
    ("disk is full", LinkFailure("unknown", True)),
    ("disk I/O error", LinkFailure("unknown", True)),
    ("deadline exceeded", LinkFailure("timeout", True)),
    ("timeout", LinkFailure("timeout", True)),
    ("timed out", LinkFailure("timeout", True)),
    ("failed to upgrade database", LinkFailure("store_error", False)),
    ("failed to open database", LinkFailure("store_error", False)),
    ("failed to get device", LinkFailure("store_error", False)),
    ("expected handshake response status code 101 but got 5", LinkFailure("server_error", True)),
    ("Service Unavailable", LinkFailure("server_error", True)),
    ("Bad Gateway", LinkFailure("network", True)),  # a proxy's word, not the server's
)

_CREDENTIALS = re.compile(r'//[^\s"/]*:[^\s"]*@')


def without_credentials(text: str) -> str:
    """*text* with no name and password in the addresses that it quotes."""
    return _CREDENTIALS.sub("//…@", text)


def send_failure(text: str) -> SendFailure:
    """What *text*, from a failed send, tells. Of what is not known the message may have gone out."""
    return next((failure for part, failure in _SENDS if part in text), SendFailure("maybe", False, "unknown"))


def link_failure(text: str) -> LinkFailure:
    """What *text*, from a failed connection, tells."""
    return next((failure for part, failure in _LINKS if part in text), LinkFailure("network", True))
