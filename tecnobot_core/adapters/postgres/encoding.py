"""Messages, turns and positions as JSON."""

from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from ...messages import (
    ChatId,
    ChatMessage,
    FormRecord,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    Position,
    Turn,
)
from .values import due_us, to_us

# An id or a key has a column of its own; aliases are settled before a message is journaled.
_LEFT_OUT = {"id", "key", "aliases", "chat", "media"}
_DEFAULTS = {
    kind: tuple((field.name, field.default) for field in fields(kind) if field.name not in _LEFT_OUT)
    for kind in (InboundMessage, OutboundMessage)
}


def encode(message: InboundMessage | OutboundMessage) -> dict[str, Any]:
    """*message* in JSON types, but for its id or key. What has its default is left out."""
    body: dict[str, Any] = {"chat": message.chat.reveal()}
    # Not asdict, which copies everything that it finds: a message is encoded for every write.
    for name, default in _DEFAULTS[type(message)]:
        if (value := getattr(message, name)) != default:
            body[name] = value
    if message.media is not None:
        body["media"] = {**asdict(message.media), "key": b64encode(message.media.key).decode("ascii")}
    return body


def decode_inbound(id: str, body: Mapping[str, Any]) -> InboundMessage:
    """The message that was encoded."""
    return InboundMessage(id=id, **_decoded(body))


def decode_outbound(key: str, body: Mapping[str, Any]) -> OutboundMessage:
    """The message that was encoded."""
    decoded = _decoded(body)
    return OutboundMessage(key=key, **{**decoded, "buttons": tuple(decoded.get("buttons", ()))})


def _decoded(body: Mapping[str, Any]) -> dict[str, Any]:
    decoded = {**body, "chat": ChatId(body["chat"])}
    if (media := body.get("media")) is not None:
        decoded["media"] = MediaReference(**{**media, "key": b64decode(media["key"])})
    return decoded


def encode_turn(turn: Turn, taken: Collection[str], again_at: float | None = None) -> dict[str, Any]:
    """*turn* as ``tecnobot.deliver`` takes it; see ``Inbox.commit``."""
    encoded: dict[str, Any] = {
        "address": turn.chat.reveal(),
        "inbound": list(turn.inbound),
        "recorded": turn.outcome == "answered",
        "history": [_row(row) for row in turn.history],
        "position": None if turn.position is None else encode_position(turn.position),
        "outgoing": [
            {"key": m.key, "state": "taken" if m.key in taken else "waiting", "body": encode(m)} for m in turn.outgoing
        ],
    }
    # Most turns have none of these.
    if turn.position is not None and (us := due_us(turn.position.due_at)) is not None:
        encoded["due_us"] = us
    if turn.records:
        encoded["records"] = [encode_record(record) for record in turn.records]
    if turn.welcomed_at is not None:
        encoded["welcomed_us"] = to_us(turn.welcomed_at)
    if turn.outcome == "failed" and (us := due_us(again_at)) is not None:
        encoded["again_us"] = us
    return encoded


def encode_record(record: FormRecord) -> dict[str, Any]:
    """*record* in JSON types."""
    return {
        "form": record.form,
        "answers": dict(record.values),
        "variables": list(record.values),
        "consent": record.consent,
        "submitted_us": to_us(record.submitted_at),
    }


def _row(row: ChatMessage) -> dict[str, Any]:
    return {
        "role": row.role,
        "content": row.content,
        "tool_calls": [asdict(call) for call in row.tool_calls],
        "tool_call_id": row.tool_call_id,
        "pinned": row.pinned,
    }


def encode_position(position: Position) -> dict[str, Any]:
    """*position* in JSON types."""
    return {field.name: getattr(position, field.name) for field in fields(position)} | {
        "variables": dict(position.variables)
    }


def decode_position(stored: Mapping[str, Any]) -> Position:
    """The position that was encoded."""
    return Position(**{**stored, "stack": tuple((flow, step, version) for flow, step, version in stored["stack"])})
