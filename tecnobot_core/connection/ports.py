"""What a ConnectionManager needs from the outside world."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from ..messages import ChatId, InboundMessage, OutboundMessage


class DisconnectReason(StrEnum):
    """Why a link is down. The values travel in events, errors and ``status()``."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    HALF_OPEN = "half_open"
    SERVER_CLOSED = "server_closed"
    SERVER_ERROR = "server_error"
    LOGGED_OUT = "logged_out"
    REPLACED = "replaced"
    ENDED = "ended"  # a replayed file, a closed terminal
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    STOPPED = "stopped"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "DisconnectReason":
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is up and messages flow."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The link is down; nothing follows until ``open`` is called again.

    With reason ENDED there is only no more input: what is still to be sent can be sent until ``close``.
    """

    reason: DisconnectReason = DisconnectReason.UNKNOWN
    detail: str = ""
    retryable: bool = True


TransportEvent = Opened | Lost | InboundMessage
Sink = Callable[[TransportEvent], None]


class Transport(Protocol):
    """A link that carries messages.

    The sink given to ``open`` is called on the event loop, never waits and never raises. A transport keeps what it
    delivered until ``acknowledge`` and delivers it again after the next ``open``; it bounds how much it delivers ahead
    of acknowledgement. What the owner writes elsewhere is delivered with ``from_me``; what was sent here is not.
    Every error is a TransportError.
    """

    async def open(self, sink: Sink) -> None:
        """Begin; may return before Opened is told. Raises TransportError when the attempt failed."""
        ...

    async def close(self) -> None:
        """End the link. May be called at any time, also twice; never raises."""
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
