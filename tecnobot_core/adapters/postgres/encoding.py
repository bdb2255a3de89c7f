"""Messages as JSON: what the inbox and the outbox hold."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...messages import ChatId, InboundMessage, MediaReference, OutboundMessage


def encode(message: InboundMessage | OutboundMessage) -> dict[str, Any]:
    """*message* in JSON types. What has its default is left out, and aliases, which are settled before."""
    fields = {name: value for name, value in asdict(message).items() if not _is_default(value)}
    fields.pop("aliases", None)
    fields["chat"] = message.chat.reveal()
    if message.media is not None:
        fields["media"] = {**fields["media"], "key": b64encode(message.media.key).decode("ascii")}
    return fields


def _is_default(value: object) -> bool:
    return value is None or value is False or value in ("", ())


def decode_inbound(fields: Mapping[str, Any]) -> InboundMessage:
    """The message that was encoded."""
    return InboundMessage(**_decoded(fields))


def decode_outbound(fields: Mapping[str, Any]) -> OutboundMessage:
    """The message that was encoded."""
    decoded = _decoded(fields)
    return OutboundMessage(**{**decoded, "buttons": tuple(decoded.get("buttons", ()))})


def _decoded(fields: Mapping[str, Any]) -> dict[str, Any]:
    decoded = {**fields, "chat": ChatId(fields["chat"])}
    if (media := fields.get("media")) is not None:
        decoded["media"] = MediaReference(**{**media, "key": b64decode(media["key"])})
    return decoded
