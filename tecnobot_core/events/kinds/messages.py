"""What happened to messages, on their way in and out."""

from dataclasses import dataclass

from ...messages import ChatId, Turn
from .event import Event


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
