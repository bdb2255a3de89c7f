"""A real neonize client, unmodified, as a process of its own: ``Customer`` starts it and tells it what to do.

Commands come as lines of JSON on a socket that the process inherits, answers and events go back the same way: the
library's Go half prints to standard output and standard error.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from neonize._binder import ProxySettings
from neonize.aioze import events
from neonize.aioze.client import NewAClient
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils import build_jid, extract_text
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, MediaType, Presence, ReceiptType

from tests.whatsapp_server import trust

_PHONE = "s.whatsapp.net"
_EVENTS = (
    "ConnectedEv",
    "DisconnectedEv",
    "MessageEv",
    "ReceiptEv",
    "ChatPresenceEv",
    "PresenceEv",
    "OfflineSyncPreviewEv",
    "OfflineSyncCompletedEv",
    "KeepAliveTimeoutEv",
    "KeepAliveRestoredEv",
    "StreamReplacedEv",
    "StreamErrorEv",
    "LoggedOutEv",
    "TemporaryBanEv",
    "ConnectFailureEv",
    "ClientOutdatedEv",
)
_COMPOSING = {True: ChatPresence.CHAT_PRESENCE_COMPOSING, False: ChatPresence.CHAT_PRESENCE_PAUSED}
_MEDIA_TYPES = {
    "audio": MediaType.MediaAudio,
    "image": MediaType.MediaImage,
    "video": MediaType.MediaVideo,
    "document": MediaType.MediaDocument,
}
_MEDIA = {True: ChatPresenceMedia.CHAT_PRESENCE_MEDIA_AUDIO, False: ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT}


class ClientProcess:
    """One client, its commands (methods whose names begin with ``do_``) and its events."""

    def __init__(self, settings: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._proxy = ProxySettings(proxy_address=settings["proxy"])
        # neonize adds parameters of its own behind the name: the last one here swallows them.
        self._client = NewAClient(settings["database"] + settings["options"], uuid=settings["name"])
        self._messages: dict[str, Any] = {}
        self._echoing = False
        for name in _EVENTS:
            self._client.event(getattr(events, name))(self._listener(name))
        self._client.event.qr(self._show_code)

    async def connect(self) -> None:
        connection = await self._client.connect(self._proxy)
        connection.add_done_callback(self._report_end)

    async def run(self, command: dict[str, Any]) -> None:
        """Do one command, and answer it."""
        try:
            do = getattr(self, f"do_{command['do']}")
            self._report(answer=command["number"], value=await do(**command["arguments"]))
        except Exception as error:
            self._report(answer=command["number"], error=f"{type(error).__name__}: {error}")

    async def do_say(self, text: str, to: str) -> str:
        sent = await self._client.send_message(_jid(to), Message(conversation=text))
        return str(sent.ID)

    async def do_say_many(self, prefix: str, count: int, to: str) -> list[float]:
        """Seconds that each took."""
        took = []
        for number in range(count):
            began = time.perf_counter()
            await self.do_say(f"{prefix}{number}", to)
            took.append(time.perf_counter() - began)
        return took

    async def do_send(self, message: dict[str, Any], to: str) -> str:
        sent = await self._client.send_message(_jid(to), ParseDict(message, Message()))
        return str(sent.ID)

    async def do_send_media(self, kind: str, content: str, fields: dict[str, Any], to: str) -> str:
        uploaded = await self._client.upload(bytes.fromhex(content), _MEDIA_TYPES[kind])
        message = ParseDict({f"{kind}Message": fields}, Message())
        media = getattr(message, f"{kind}Message")
        media.URL, media.directPath, media.mediaKey = uploaded.url, uploaded.DirectPath, uploaded.MediaKey
        media.fileSHA256, media.fileEncSHA256 = uploaded.FileSHA256, uploaded.FileEncSHA256
        media.fileLength = uploaded.FileLength
        sent = await self._client.send_message(_jid(to), message)
        return str(sent.ID)

    async def do_download(self, message_id: str) -> str:
        data: bytes = await self._client.download_any(self._messages[message_id].Message)
        return data.hex()

    async def do_type(self, to: str, on: bool, recording: bool) -> None:
        await self._client.send_chat_presence(_jid(to), _COMPOSING[on], _MEDIA[recording])

    async def do_mark(self, message_id: str, played: bool) -> None:
        source = self._messages[message_id].Info.MessageSource
        receipt = ReceiptType.PLAYED if played else ReceiptType.READ
        await self._client.mark_read(message_id, chat=source.Chat, sender=source.Sender, receipt=receipt)

    async def do_show(self, available: bool) -> None:
        await self._client.send_presence(Presence.AVAILABLE if available else Presence.UNAVAILABLE)

    async def do_watch(self, number: str) -> None:
        await self._client.subscribe_presence(_jid(number))

    async def do_echo(self, on: bool) -> None:
        self._echoing = on

    async def do_ping(self) -> float:
        """Seconds of a round trip."""
        began = time.perf_counter()
        await self._client.set_passive(False)
        return time.perf_counter() - began

    async def do_pair_by_code(self, number: str) -> str:
        return str(await self._client.PairPhone(number, True))

    async def do_stop(self) -> None:
        await self._client.stop()

    def _listener(self, name: str) -> Callable[[NewAClient, Any], Awaitable[None]]:
        async def listen(_: NewAClient, event: Any) -> None:
            self._report(event=name, at=time.time(), **_describe(name, event))
            if name == "MessageEv":
                self._messages[event.Info.ID] = event
                await self._echo(event)

        return listen

    async def _echo(self, event: Any) -> None:
        source, text = event.Info.MessageSource, extract_text(event.Message)
        if self._echoing and text and not source.IsFromMe:
            await self._client.send_message(source.Chat, Message(conversation=f"echo: {text}"))

    async def _show_code(self, _: NewAClient, data: bytes) -> None:
        self._report(event="QR", at=time.time(), data=data.decode())

    def _report_end(self, connection: asyncio.Task[None]) -> None:
        error = None if connection.cancelled() else connection.exception()
        self._report(event="Ended", at=time.time(), detail=str(error or ""))

    def _report(self, **item: Any) -> None:
        self._writer.write(json.dumps(item).encode() + b"\n")


async def serve(settings: dict[str, Any]) -> None:
    """Connect, then do what the socket says until it closes."""
    inherited = socket.socket(fileno=int(settings["socket"]))
    reader, writer = await asyncio.open_connection(sock=inherited, limit=2**26)
    client = ClientProcess(settings, writer)
    await client.connect()
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(client.run(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    # While it pairs, the library's thread never ends, and would hold the interpreter.
    os._exit(0)


def main() -> None:
    settings = json.loads(sys.argv[1])
    trust.install(bytes.fromhex(settings["root"]))
    asyncio.run(serve(settings))


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    return build_jid(user, server or _PHONE)


def _text(jid: Any) -> str:
    device = f":{jid.Device}" if jid.Device else ""
    return f"{jid.User}{device}@{jid.Server}" if jid.Server else ""


def _describe(name: str, event: Any) -> dict[str, Any]:
    if name == "MessageEv":
        return _describe_message(event)
    if name == "ReceiptEv":
        kind = event.DESCRIPTOR.fields_by_name["Type"].enum_type.values_by_number[event.Type].name
        return {"ids": list(event.MessageIDs), "type": kind, **_describe_source(event.MessageSource)}
    if name == "ChatPresenceEv":
        recording = event.Media == 2
        return {"composing": event.State == 1, "recording": recording, **_describe_source(event.MessageSource)}
    return {"detail": str(event)}


def _describe_message(event: Any) -> dict[str, Any]:
    info, message = event.Info, event.Message
    return {
        "id": info.ID,
        "text": extract_text(message) or "",
        "push_name": info.Pushname,
        "sent_at": info.Timestamp / 1000,
        "message": MessageToDict(message, preserving_proto_field_name=True),
        **_describe_source(info.MessageSource),
    }


def _describe_source(source: Any) -> dict[str, Any]:
    return {
        "chat": _text(source.Chat),
        "sender": _text(source.Sender),
        "sender_alias": _text(source.SenderAlt),
        "recipient_alias": _text(source.RecipientAlt),
        "from_me": source.IsFromMe,
    }


if __name__ == "__main__":
    main()
