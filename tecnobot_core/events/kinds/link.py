"""What happened to the link, its account and its session."""

from dataclasses import dataclass, field
from typing import Literal

from ...messages import ChatId
from .event import Event


@dataclass(frozen=True, slots=True)
class Connecting(Event):
    """A connection attempt began; *attempt* counts failures since the last stable connection."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """The transport is up, after *downtime_s* without it."""

    downtime_s: float


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The transport went down after it was up."""

    reason: str
    will_reconnect: bool


@dataclass(frozen=True, slots=True)
class ReconnectScheduled(Event):
    """The next attempt comes in *delay_s*."""

    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class HeartbeatMissed(Event):
    """The link did not answer in time."""

    missed: int


@dataclass(frozen=True, slots=True)
class ConnectionParked(Event):
    """The connection is tried again in *resumes_in_s*, or (None) when the owner asks for it; *advice* is for them."""

    reason: str
    detail: str
    advice: str
    resumes_in_s: float | None


@dataclass(frozen=True, slots=True)
class ConnectionFailed(Event):
    """The connection will not be tried again without somebody's help; *advice* says what the owner should do."""

    reason: str
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Event):
    """The connection was closed on purpose, or its input ended."""


@dataclass(frozen=True, slots=True)
class PairingOffered(Event):
    """The account's phone must scan or enter *data* until *expires_at* (Unix seconds); the next offer replaces it.

    Whoever has *data* can join the account, so it never prints.
    """

    kind: Literal["qr", "code"]
    data: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class PairingEnded(Event):
    """The device was joined to the account; or nobody did so in time, or the confirmation was not valid."""

    paired: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SessionSaved(Event):
    """A verified copy of the session was written."""

    size_bytes: int
    took_s: float


@dataclass(frozen=True, slots=True)
class SessionSaveFailed(Event):
    """The session could not be saved; the copies that there are stay. It is tried again."""

    detail: str


@dataclass(frozen=True, slots=True)
class SessionRestored(Event):
    """The session was damaged, and a copy of *age_s* ago took its place; the first answers of a chat may be lost."""

    age_s: float


@dataclass(frozen=True, slots=True)
class MessageMissed(Event):
    """Something that was sent in *chat* was lost on its way and will not come again; only who sent it can repeat it.

    That was the person, or, where it is *from_me*, the owner of the account, from another device.
    """

    chat: ChatId
    message_id: str
    from_me: bool = False


@dataclass(frozen=True, slots=True)
class RecycleRecommended(Event):
    """The link was opened *opens* times in this process; where each leaks a little, start it anew soon."""

    opens: int
