"""What can happen, as frozen values."""

from dataclasses import dataclass, field
from typing import Literal

from ..messages import ChatId, Turn


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. Past tense: an event is a fact, not a request."""


@dataclass(frozen=True, slots=True)
class MessageAccepted(Event):
    """An inbound message was journaled and will be handled."""

    chat: ChatId
    message_id: str


@dataclass(frozen=True, slots=True)
class DuplicateIgnored(Event):
    """An inbound message came again with an id that was accepted before."""

    chat: ChatId
    message_id: str


@dataclass(frozen=True, slots=True)
class IntakeHeld(Event):
    """The store has taken no message for a while; *waiting* messages stay in the transport, as do those that come."""

    waiting: int


@dataclass(frozen=True, slots=True)
class IntakeResumed(Event):
    """The store takes messages again, after *outage_s*."""

    outage_s: float


@dataclass(frozen=True, slots=True)
class TurnCommitted(Event):
    """A turn and all its effects were stored; its messages are on their way."""

    turn: Turn
    took_s: float


@dataclass(frozen=True, slots=True)
class TurnFailed(Event):
    """Handling a message raised; the chat goes on with its next message."""

    chat: ChatId
    message_id: str
    error: Exception


@dataclass(frozen=True, slots=True)
class HandoffBegan(Event):
    """A person answers in this chat now, and the bot is silent."""

    chat: ChatId


@dataclass(frozen=True, slots=True)
class HandoffEnded(Event):
    """The bot answers in this chat again."""

    chat: ChatId


@dataclass(frozen=True, slots=True)
class StoodDown(Event):
    """Another process has become the owner of the chatbot; this one handles and sends nothing more."""


@dataclass(frozen=True, slots=True)
class MessageSent(Event):
    """The transport took an outgoing message."""

    chat: ChatId
    key: str


@dataclass(frozen=True, slots=True)
class SendUncertain(Event):
    """The link broke while a message was being sent; it may or may not have arrived, and is not sent again.

    A link that keeps account was asked when it was back, and did not know. Or the session was restored from an older
    copy, and the person has not written since.
    """

    chat: ChatId
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class SendRejected(Event):
    """A message can never be sent."""

    chat: ChatId
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class SendExpired(Event):
    """A message could not be sent while it was worth sending; *age_s* is how long ago it was decided."""

    chat: ChatId
    key: str
    age_s: float


@dataclass(frozen=True, slots=True)
class SendingHalted(Event):
    """The other side asked to slow down; nothing is sent to anybody for *pause_s*."""

    pause_s: float


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
    """The device was joined to the account, or nobody did so in time."""

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
    """A person sent something that was lost on its way and will not come again; only they can repeat it."""

    chat: ChatId
    message_id: str


@dataclass(frozen=True, slots=True)
class RecycleRecommended(Event):
    """The link was opened *opens* times in this process; where each leaks a little, start it anew soon."""

    opens: int


@dataclass(frozen=True, slots=True)
class MemoryPressureChanged(Event):
    """Memory use crossed a threshold; *level* is "normal", "warning" or "critical"."""

    level: str
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryWarningBegan(MemoryPressureChanged):
    """The level is "warning" now; parts give memory back."""


@dataclass(frozen=True, slots=True)
class MemoryCriticalBegan(MemoryPressureChanged):
    """The level is "critical" now; attachments are refused."""


@dataclass(frozen=True, slots=True)
class MemoryNormalBegan(MemoryPressureChanged):
    """The level is "normal" again."""


@dataclass(frozen=True, slots=True)
class MemoryReleased(Event):
    """Parts were asked for *wanted_bytes* and say they freed *estimated_bytes*; *actual_bytes* left the process."""

    wanted_bytes: int
    estimated_bytes: int
    actual_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryRefused(Event):
    """A reservation was refused; *reason* is "too_big" (more than half the limit) or "busy" (after *waited_s*)."""

    n_bytes: int
    waited_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryRecycleWanted(Event):
    """Memory stays near the limit whatever is released; drain, and let a supervisor start the process anew."""

    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class FlowsLoaded(Event):
    """The flows of a chatbot were read; broken ones were logged, and left out or served as they were."""

    chatbot_id: str
    flows: int
    broken: int


@dataclass(frozen=True, slots=True)
class DatabaseAcquireSlow(Event):
    """Somebody had to wait *waited_s* for a connection to the database, and may have gone without."""

    waited_s: float


@dataclass(frozen=True, slots=True)
class BackgroundTaskFailed(Event):
    """A background task raised."""

    name: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class CacheTierFailed(Event):
    """The store of the cache is left alone from now on: nothing is read from it or written to it."""

    reason: str


@dataclass(frozen=True, slots=True)
class CacheTierRecovered(Event):
    """The store of the cache is used again, after *outage_s*."""

    outage_s: float
