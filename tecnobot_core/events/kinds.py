"""What can happen, as frozen values."""

from dataclasses import dataclass

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
    """The link broke while a message was being sent; it may or may not have arrived, and is not sent again."""

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
class ConnectionFailed(Event):
    """The connection will not be tried again without somebody's help."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Event):
    """The connection was closed on purpose, or its input ended."""


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
