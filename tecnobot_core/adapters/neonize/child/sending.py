"""What goes out: texts, replies, attachments, and the small signs of a conversation."""

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from .client import Client, NotReadyError
from .failures import SendFailure, send_failure
from .frames import Frame
from .lanes import is_late
from .spool import Spool

MAX_QUOTABLE = 500

# whatsmeow's MediaType, and the message that holds such an attachment
_KINDS = {
    "image": (0, "imageMessage"),
    "video": (1, "videoMessage"),
    "voice": (2, "audioMessage"),
    "audio": (2, "audioMessage"),
    "document": (3, "documentMessage"),
}
_MIMES = {"image": "image/jpeg", "video": "video/mp4", "voice": "audio/ogg; codecs=opus", "audio": "audio/mpeg"}


class RefusedError(Exception):
    """The library or the spool did not do what was asked; ``failure`` tells what is known."""

    def __init__(self, message: str, failure: SendFailure) -> None:
        super().__init__(message)
        self.failure = failure


class Sending:
    """Sends through *client*, one at a time: two at once to one person reuse a step of the encryption's ratchet.

    A key that was sent before is not sent again: what became of it is answered from *spool*.
    """

    def __init__(self, client: Client, spool: Spool, *, max_upload_bytes: int) -> None:
        self._client = client
        self._spool = spool
        self._max_upload_bytes = max_upload_bytes
        self._one_at_a_time = threading.Lock()
        self._quotable: OrderedDict[str, tuple[str, str]] = OrderedDict()  # id → participant, text

    def note(self, message: Frame) -> None:
        """Remember what *message* said, to quote it when it is answered."""
        own_or_other = "" if message["from_me"] else message["chat"]
        self._quotable[message["id"]] = (own_or_other, message["text"][:500])
        if len(self._quotable) > MAX_QUOTABLE:
            self._quotable.popitem(last=False)

    def send(self, request: Frame) -> Frame:
        """Send ``chat``, ``text``, ``media``, ``reply_to`` under ``key``; the id that the message got."""
        if again := answer_again(self._spool, request["key"]):
            return again
        message, jid = self._build(request)  # an upload may take long, and sends nothing to anybody
        with self._one_at_a_time:
            return answer_again(self._spool, request["key"]) or self._send(request, message, jid)

    def set_typing(self, request: Frame) -> Frame:
        """Show in ``chat`` that an answer is written, or not any more."""
        jid = self._jid(request["chat"])
        self._require_empty(
            self._text("SendChatPresence", jid, len(jid), 0 if request["typing"] else 1, 0), "the sign of typing"
        )
        return {}

    def set_presence(self, request: Frame) -> Frame:
        """Show to everybody whether somebody is there."""
        self._require_empty(self._text("SendPresence", b"available" if request["available"] else b"unavailable"), "")
        return {}

    def mark_read(self, request: Frame) -> Frame:
        """Show ``ids`` of ``chat`` as read."""
        chat, ids = self._jid(request["chat"]), " ".join(request["ids"]).encode()
        self._require_empty(
            self._text("MarkRead", ids, int(time.time()), chat, len(chat), chat, len(chat), b"read"), "receipts"
        )
        return {}

    def _send(self, request: Frame, message: bytes, jid: bytes) -> Frame:
        self._client.require_ready()
        if is_late(request):
            raise RefusedError("nobody waits for it any more", SendFailure("no", True, "timeout"))
        try:
            self._spool.begin_sending(request["key"])
        except OSError as error:
            raise RefusedError(
                f"the spool cannot be written: {error}", SendFailure("no", True, "store_error")
            ) from error
        answer = self._bytes("SendMessage", jid, len(jid), message, len(message))
        sent = self._client.library.events.SendMessageReturnFunction.FromString(answer)
        if sent.Error:
            failure = send_failure(sent.Error)
            self._spool.end_sending(request["key"], failure.sent, sent.Error)
            raise RefusedError(sent.Error, failure)
        self._spool.end_sending(request["key"], "sent", sent.SendResponse.ID)
        return {"id": sent.SendResponse.ID}

    def _build(self, request: Frame) -> tuple[bytes, bytes]:
        """The message of *request*, with its attachment uploaded, and whom it is for."""
        try:
            return self._message(request).SerializeToString(), self._jid(request["chat"])
        except (RefusedError, NotReadyError):
            raise
        except Exception as error:
            raise _refused(f"this cannot be sent through WhatsApp: {error!r}") from error

    def _message(self, request: Frame) -> Any:
        e2e = self._client.library.e2e
        context = self._context(request.get("reply_to"), request["chat"])
        if request.get("media") is not None:
            return self._attachment(request["media"], request["text"], context)
        if context is None:
            return e2e.Message(conversation=request["text"])
        return e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text=request["text"], contextInfo=context))

    def _context(self, reply_to: str | None, chat: str) -> Any:
        """What quotes *reply_to*; its text as far as it is remembered."""
        if reply_to is None:
            return None
        e2e = self._client.library.e2e
        participant, text = self._quotable.get(reply_to, (chat, ""))
        return e2e.ContextInfo(
            stanzaID=reply_to, participant=participant or chat, quotedMessage=e2e.Message(conversation=text)
        )

    def _attachment(self, media: Frame, caption: str, context: Any) -> Any:
        kind = media["kind"] if media["kind"] in _KINDS else "document"
        number, field = _KINDS[kind]
        up = self._upload(Path(media["address"].removeprefix("file://")), number)
        e2e = self._client.library.e2e
        part = {
            "imageMessage": e2e.ImageMessage,
            "videoMessage": e2e.VideoMessage,
            "audioMessage": e2e.AudioMessage,
        }.get(field, e2e.DocumentMessage)(
            URL=up.url,
            directPath=up.DirectPath,
            mediaKey=up.MediaKey,
            fileEncSHA256=up.FileEncSHA256,
            fileSHA256=up.FileSHA256,
            fileLength=up.FileLength,
            mimetype=media.get("mime") or _MIMES.get(kind, "application/octet-stream"),
        )
        if field == "audioMessage":
            part.PTT = kind == "voice"
            part.seconds = round(media.get("duration_s") or 0)
        elif caption:
            part.caption = caption
        if field == "documentMessage":
            part.fileName = part.title = media.get("file_name") or Path(media["address"]).name
        if context is not None:
            part.contextInfo.CopyFrom(context)
        return e2e.Message(**{field: part})

    def _upload(self, path: Path, kind: int) -> Any:
        self._client.require_ready()
        try:
            size = path.stat().st_size
            if not 0 < size <= self._max_upload_bytes:
                raise _refused(f"{path.name} has {size} bytes; an attachment has 1 to {self._max_upload_bytes}")
            answer = self._bytes("Upload", path.read_bytes(), size, kind)
        except OSError as error:
            raise _refused(f"the attachment {path.name} is no file that can be read: {error.strerror}") from error
        up = self._client.library.events.UploadReturnFunction.FromString(answer)
        if up.Error:
            raise RefusedError(up.Error, SendFailure("no", True, "network"))  # nobody was told of it
        return up.UploadResponse

    def _text(self, name: str, *arguments: object) -> str:
        self._client.require_ready()
        return self._client.library.text(name, self._client.uuid, *arguments)

    def _bytes(self, name: str, *arguments: object) -> bytes:
        return self._client.library.bytes(name, self._client.uuid, *arguments)

    def _require_empty(self, error: str, what: str) -> None:
        if error:
            raise RefusedError(f"{what or 'presence'} not sent: {error}", send_failure(error))

    def _jid(self, text: str) -> bytes:
        return jid_bytes(self._client.library.events, text)


def answer_again(spool: Spool, key: str) -> Frame | None:
    """What became of *key* before, if it was sent or may have been; None when it can be sent."""
    outcome, detail = spool.outcome(key) or ("no", "")
    if outcome == "sent":
        return {"id": detail, "again": True}
    if outcome in ("begun", "maybe"):
        raise RefusedError(
            f"an earlier attempt may have sent it: {detail or 'the process ended meanwhile'}",
            SendFailure("maybe", False, "unknown"),
        )
    return None


def begin_sending(spool: Spool, key: str) -> None:
    """Note that *key* is about to be sent; where that cannot be noted, it is not."""
    try:
        spool.begin_sending(key)
    except OSError as error:
        raise RefusedError(f"the spool cannot be written: {error}", SendFailure("no", True, "store_error")) from error


def jid_bytes(events: Any, text: str) -> bytes:
    """The address *text*: a number, with or without "+", or ``user[:device]@server``."""
    user, _, server = text.removeprefix("+").partition("@")
    user, _, device = user.partition(":")
    jid = events.JID(
        User=user, Device=int(device or 0), Server=server or "s.whatsapp.net", RawAgent=0, Integrator=0, IsEmpty=False
    )
    return bytes(jid.SerializeToString())


def _refused(sentence: str) -> RefusedError:
    return RefusedError(sentence, SendFailure("no", False, "unknown"))
