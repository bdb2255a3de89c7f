"""What a ConnectionManager needs from the outside world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ..events import MessageMissed, PairingEnded, PairingOffered, SessionRestored
from ..messages import ChatId, InboundMessage, MediaReference, OutboundMessage
from .reasons import DisconnectReason as DisconnectReason


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is up and messages flow; what was not acknowledged is delivered again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The link is down; nothing follows until ``open`` is called again, except where it heals.

    With reason ENDED there is only no more input: what is still to be sent can be sent until ``close``. *heals*: the
    transport is connecting again by itself, and tells Recovered, or another Lost when it gives up. *retry_after_s* is
    how long the other side wants to be left alone, where it said so. *sound*: a STORE_ERROR for which the session is
    not to blame, as a full disk, so that no older copy of it would help.
    """

    reason: DisconnectReason = DisconnectReason.UNKNOWN
    detail: str = ""
    retryable: bool = True
    heals: bool = False
    retry_after_s: float | None = None
    sound: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """A link that was lost is up again by itself; what it delivered before is not delivered again."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """What the transport's own keep-alive found; not *ok* makes the manager ask at once."""

    ok: bool


# PairingOffered: a person must do something before the link opens; each replaces the one before. PairingEnded with
# paired=False ends the attempt. MessageMissed: one came that cannot be read and will not come again. SessionRestored:
# before this link was opened the session was replaced by an older copy.
TransportEvent = (
    Opened
    | Recovered
    | Lost
    | Liveness
    | PairingOffered
    | PairingEnded
    | MessageMissed
    | SessionRestored
    | InboundMessage
)
Sink = Callable[[TransportEvent], None]
# What is known of a message: it was sent, surely not, or nobody can say.
Outcome = Literal["sent", "no", "maybe"]


class Transport(Protocol):
    """A link that carries messages.

    The sink given to ``open`` is called on the event loop, never waits and never raises. A transport keeps what it
    delivered until ``acknowledge`` and delivers it again after the next ``open``; it bounds how much it delivers ahead
    of acknowledgement. What the owner writes elsewhere is delivered with ``from_me``; what was sent here is not.
    Every error is a TransportError. A manager never calls ``open`` while an earlier ``open`` runs.
    """

    async def open(self, sink: Sink) -> None:
        """Begin; may return before Opened is told. Raises TransportError when the attempt failed."""
        ...

    async def close(self) -> None:
        """End the link. May be called at any time, also twice and during ``open``; never raises."""
        ...

    async def send(self, message: OutboundMessage) -> None:
        """Send; returns when the link took it. TransportError tells in ``sent`` what is known."""
        ...

    async def ping(self) -> None:
        """A round trip to the other side; raises TransportError when there is no answer."""
        ...

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        """These messages are journaled and need not be delivered again."""
        ...


@runtime_checkable
class ShowsTyping(Protocol):
    """A transport that can show that an answer is being written."""

    async def set_typing(self, chat: ChatId, typing: bool) -> None:
        """Show or hide the sign; best effort, never raises."""
        ...


@runtime_checkable
class ShowsPresence(Protocol):
    """A transport that can show whether somebody is there."""

    async def set_presence(self, available: bool) -> None:
        """Say so to everybody; TransportError when it could not be said, which harms nothing."""
        ...


@runtime_checkable
class SendsReceipts(Protocol):
    """A transport that can tell people that their messages were read."""

    async def mark_read(self, messages: Sequence[InboundMessage]) -> None:
        """Show *messages*, all of one chat, as read; best effort, never raises."""
        ...


@runtime_checkable
class FetchesMedia(Protocol):
    """A transport whose messages have attachments, fetched when they are wanted."""

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        """Write the attachment into *target*, which the caller owns and removes; return its size in bytes.

        The size is checked before anything is fetched where it is known, and while fetching. TransportError, not
        retryable when the attachment is gone, damaged or above *max_bytes*.
        """
        ...


@runtime_checkable
class Pairs(Protocol):
    """A transport that a person must join to an account. ``open`` offers by itself, by QR, where it is not joined."""

    async def pair_by_code(self, phone_number: str) -> None:
        """Offer a code too, for the phone with this number (digits with country code); told as PairingOffered.

        To be called once something was offered. TransportError where it cannot be had.
        """
        ...

    async def log_out(self) -> None:
        """Leave the account for good, while the link is up."""
        ...


@runtime_checkable
class KnowsOutcomes(Protocol):
    """A transport that remembers what became of what it was given to send, also before a restart."""

    async def outcome(self, key: str) -> Outcome | None:
        """What became of the message *key*, None when nothing is known of it; only asked while the link is up.

        Changes nothing. TransportError when it could not be asked.
        """
        ...


@runtime_checkable
class SavesSession(Protocol):
    """A transport whose session can be saved, and be used again from a saved copy."""

    async def save_session(self) -> int | None:
        """Save a consistent, verified copy; its size in bytes, or None when nothing changed since the last.

        Called while the link is up, and once after it was closed. TransportError when there is no good copy of it.
        """
        ...

    async def restore_session(self) -> float | None:
        """Put the newest good copy in the place of a session that cannot be read, which is kept aside.

        The age of the copy in seconds; None when there is none. Only called while the link is closed.
        """
        ...

    async def quarantine_session(self) -> None:
        """Put session and copies aside, as the account revoked them; nothing is deleted. Only while closed."""
        ...


@runtime_checkable
class Reachable(Protocol):
    """A transport whose attempts cost something, so that it is asked first whether one makes sense."""

    async def reachable(self) -> bool:
        """Whether the other side can be reached at all; cheap, leaks nothing."""
        ...
