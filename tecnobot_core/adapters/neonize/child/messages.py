"""From the library's message to a frame: one kind, one text, one reference to what is attached."""

from base64 import b64encode
from typing import Any

from .binding import Definitions
from .frames import Frame

# Messages that only hold another one.
_WRAPPERS = (
    "deviceSentMessage",
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "editedMessage",
    "botInvokeMessage",
    "lottieStickerMessage",
    "groupMentionedMessage",
)
_ATTACHMENTS = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}
# Fields that come beside a message or instead of one, and say nothing to the bot.
_SILENT = {
    *("messageContextInfo", "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"),
    *("keepInChatMessage", "pinInChatMessage", "encReactionMessage", "pollUpdateMessage", "messageHistoryBundle"),
    *("stickerSyncRmrMessage", "secretEncryptedMessage", "placeholderMessage", "messageHistoryNotice"),
}
_MAX_WRAPPINGS = 8

# WhatsApp's own programs stop there; a frame has room for any of it.
_MAX_TEXT, _MAX_NAME = 65_536, 1_000  # characters


class Reader:
    """Reads what comes in. Groups are left out unless *take_groups*; statuses, broadcasts and channels always."""

    def __init__(self, definitions: Definitions, *, take_groups: bool = False) -> None:
        self._edit = definitions.e2e.ProtocolMessage.MESSAGE_EDIT
        self._take_groups = take_groups

    def read(self, event: Any) -> Frame | None:
        """The frame for *event*, or None when the bot has nothing to do with it."""
        source = event.Info.MessageSource
        servers = {"s.whatsapp.net", "lid", "hosted", "hosted.lid"} | ({"g.us"} if self._take_groups else set())
        if source.Chat.Server not in servers:
            return None
        content = self.read_content(event.Message)
        if content is None:
            return None
        return {
            "type": "message",
            "id": event.Info.ID,
            "chat": address(source.Chat),
            "aliases": _aliases(source),
            "sent_at": event.Info.Timestamp / 1000,  # milliseconds, whatever the field's type says
            "sender_name": event.Info.Pushname[:_MAX_NAME],
            "from_me": source.IsFromMe,
            **content,
        }

    def read_content(self, message: Any) -> Frame | None:
        """``text``, ``kind``, ``media`` and ``reply_to`` of *message*; None when it says nothing to the bot."""
        message, edited = self._unwrap(message)
        names = [field.name for field, _ in message.ListFields() if field.name not in _SILENT]
        if not names or names == ["protocolMessage"]:
            return None
        name = next((name for name in names if name in _READERS or name in _ATTACHMENTS), names[0])
        part = getattr(message, name)
        content: Frame = {"text": "", "kind": "unknown", "media": None}
        if name in _ATTACHMENTS:
            content |= _attachment(_ATTACHMENTS[name], part)
        elif name in _READERS:
            content |= _READERS[name](part)
        context = getattr(part, "contextInfo", None)
        quoted = getattr(context, "stanzaID", "") or None
        return {"reply_to": edited or quoted, **content, "text": content["text"][:_MAX_TEXT]}

    def _unwrap(self, message: Any) -> tuple[Any, str | None]:
        """What *message* holds, and the id of the message that it corrects."""
        edited = None
        for _ in range(_MAX_WRAPPINGS):
            if message.HasField("protocolMessage") and message.protocolMessage.type == self._edit:
                edited = message.protocolMessage.key.ID
                message = message.protocolMessage.editedMessage
                continue
            wrapper = next((name for name in _WRAPPERS if message.HasField(name)), None)
            if wrapper is None:
                break
            message = getattr(message, wrapper).message
        return message, edited


def address(jid: Any) -> str:
    """*jid* as text, without the device."""
    return f"{jid.User}@{jid.Server}"


def _aliases(source: Any) -> list[str]:
    """Other addresses of the person in the chat; in a group nobody's."""
    if source.IsGroup:
        return []
    other = source.RecipientAlt if source.IsFromMe else source.SenderAlt
    return [address(other)] if other.User and address(other) != address(source.Chat) else []


def _attachment(kind: str, part: Any) -> Frame:
    if kind == "audio" and part.PTT:
        kind = "voice"
    seconds = getattr(part, "seconds", 0)
    return {
        "kind": kind,
        "text": getattr(part, "caption", ""),
        "media": {
            # All that is needed to fetch it later, as the server lets nobody list what it has.
            "address": f"{part.directPath}#{b64encode(part.fileEncSHA256).decode()}",
            "mime": part.mimetype[:_MAX_NAME],
            "size_bytes": part.fileLength if part.HasField("fileLength") else None,
            "sha256": part.fileSHA256.hex(),
            "file_name": getattr(part, "fileName", "")[:_MAX_NAME],
            "duration_s": float(seconds) if seconds else None,
            "key": b64encode(part.mediaKey).decode(),
        },
    }


def _text(text: str) -> Frame:
    return {"kind": "text", "text": text}


def _location(part: Any) -> Frame:
    place = f"https://maps.google.com/?q={part.degreesLatitude:.6f},{part.degreesLongitude:.6f}"
    names = (getattr(part, name, "") for name in ("name", "address", "comment", "caption"))
    return {"kind": "location", "text": "\n".join((*filter(None, names), place))}


def _contacts(part: Any) -> Frame:
    return {"kind": "contact", "text": ", ".join(contact.displayName for contact in part.contacts)}


def _list_answer(part: Any) -> Frame:
    return _text(part.title or part.singleSelectReply.selectedRowID)


_READERS: dict[str, Any] = {
    "conversation": _text,
    "extendedTextMessage": lambda part: _text(part.text),
    "locationMessage": _location,
    "liveLocationMessage": _location,
    "contactMessage": lambda part: {"kind": "contact", "text": part.displayName},
    "contactsArrayMessage": _contacts,
    # An empty text takes a reaction away.
    "reactionMessage": lambda part: {"kind": "reaction", "text": part.text, "reply_to": part.key.ID},
    "buttonsResponseMessage": lambda part: _text(part.selectedDisplayText or part.selectedButtonID),
    "templateButtonReplyMessage": lambda part: _text(part.selectedDisplayText or part.selectedID),
    "listResponseMessage": _list_answer,
    "interactiveResponseMessage": lambda part: _text(part.body.text),
}
