"""What the gateway process says, in the words of ``connection.ports``."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ...connection.ports import DisconnectReason, Liveness, Lost, TransportEvent
from ...errors import LoggedOutError, TransportError
from ...events import MessageMissed, PairingEnded, PairingOffered
from ...messages import ChatId, InboundMessage, MediaReference
from .child.frames import Frame


def event_of(frame: Frame, *, clock: Callable[[], float]) -> TransportEvent | None:
    """The event that *frame* tells; None for those that are nobody's business but the gateway's."""
    match frame["type"]:
        case "lost":
            return Lost(
                DisconnectReason(frame["reason"]),
                frame.get("detail", ""),
                retryable=frame.get("retryable", True),
                heals=frame.get("heals", False),
                retry_after_s=frame.get("retry_after_s"),
            )
        case "liveness":
            return Liveness(frame["ok"])
        case "pairing":
            return PairingOffered(frame["kind"], frame["data"], clock() + frame["lasts_s"])
        case "paired":
            return PairingEnded(frame["ok"], frame.get("detail", ""))
        case "missed":
            return MessageMissed(ChatId(frame["chat"]), frame["id"], frame.get("from_me", False))
        case "message":
            return message_of(frame)
    return None


def pairing_failure(frame: Frame) -> tuple[Lost, PairingEnded]:
    """Why a pairing ended without an account, then that it did: the end alone is taken for a person who was late."""
    reason, detail = DisconnectReason(frame.get("reason", "pairing_timeout")), frame.get("detail", "")
    return Lost(reason, detail, retryable=False), PairingEnded(False, detail)


def message_of(frame: Frame) -> InboundMessage:
    """The message in *frame*."""
    media = frame.get("media")
    return InboundMessage(
        id=frame["id"],
        chat=ChatId(frame["chat"]),
        sent_at=frame["sent_at"],
        text=frame["text"],
        kind=frame["kind"],
        media=None
        if media is None
        else MediaReference(**{**media, "kind": frame["kind"], "key": b64decode(media["key"])}),
        sender_name=frame["sender_name"],
        from_me=frame["from_me"],
        reply_to=frame.get("reply_to"),
        aliases=tuple(map(ChatId, frame["aliases"])),
    )


def media_frame(media: MediaReference) -> dict[str, Any]:
    """*media* as it is written in a frame."""
    return {**asdict(media), "key": b64encode(media.key).decode()}


def error_of(error: Frame) -> TransportError:
    """The error that an answer holds."""
    if error["reason"] == "logged_out":
        return LoggedOutError(error["message"])
    return TransportError(error["message"], reason=error["reason"], retryable=error["retryable"], sent=error["sent"])
