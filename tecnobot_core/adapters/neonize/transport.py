"""WhatsApp as a transport."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from ...connection.ports import DisconnectReason, Lost, Opened, Outcome, Recovered, Sink
from ...errors import TransportError
from ...events import SessionRestored
from ...messages import ChatId, InboundMessage, MediaReference, OutboundMessage
from .child.frames import Frame
from .classifying import event_of, media_frame, pairing_failure
from .elsewhere import SessionCopies
from .gateway import Gateway
from .requirements import require
from .session import Session
from .starting import arguments, environment_of

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
SERVER = ("web.whatsapp.com", 443)
MAX_ASKED = 1_000  # of the 2,000 keys that a spool remembers

_PROXY_PORTS = {"http": 80, "https": 443}


class WhatsAppTransport:
    """A Transport with all its companions. Every ``open`` starts a process of its own, which ``close`` ends.

    *directory* is this account's: session, copies, spool. *session_url* keeps the session in PostgreSQL instead, which
    then is its own copy. Every copy goes to *copies* as well, and comes back from there where none is on this machine,
    or an older one. *proxy* is ``http://``, ``https://`` or ``socks5://``. Groups are ignored unless *groups*. A
    process above *max_rss_bytes* is replaced, as an ordinary reconnect.

    *send_timeout_s* is how long the library may wait for the server's word on a send; after that the send is uncertain.
    *environment* is added to the process's own, which has nothing of the bot's. *on_started* is told the id of every
    process, as by ``MemoryManager.register_child``.

    For tests: *before_connecting* is a Python file that the process runs when it has loaded the library; *fake* runs
    one that loads none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        session_url: str | None = None,
        copies: SessionCopies | None = None,
        proxy: str | None = None,
        groups: bool = False,
        device_name: str = "TecnoBot",
        max_upload_bytes: int = 16 * MIB,
        max_rss_bytes: int = 250 * MIB,
        start_timeout_s: float = 20.0,
        send_timeout_s: float = 60.0,
        request_timeout_s: float = 10.0,
        fetch_timeout_s: float = 60.0,
        watch_s: float = 5.0,
        hang_s: float = 15.0,
        leave_s: float = 3.0,
        on_started: Callable[[int], object] | None = None,
        certificates: Path | None = None,
        environment: Mapping[str, str] | None = None,
        before_connecting: Path | None = None,
        fake: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not fake:
            require()
        self.session = Session(directory, copies=copies, clock=clock)
        self._spool = directory / "spool"
        self._session_url = session_url
        self._proxy = proxy
        self._settings: dict[str, Any] = {
            "proxy": proxy,
            "groups": groups,
            "device_name": device_name,
            "max_upload_bytes": max_upload_bytes,
        }
        self._max_rss_bytes = max_rss_bytes
        self._start_timeout_s = start_timeout_s
        self._send_timeout_s = send_timeout_s
        self._request_timeout_s = request_timeout_s
        self._fetch_timeout_s = fetch_timeout_s
        self._watching: dict[str, Any] = {"watch_s": watch_s, "hang_s": hang_s, "leave_s": leave_s, "sleep": sleep}
        self._watching["on_started"] = on_started
        self._arguments = arguments(fake, before_connecting)
        self._environment = {**environment_of(certificates), **(environment or {})}
        self._clock = clock
        self._gateway: Gateway | None = None
        self._sink: Sink | None = None
        self._healing = False
        self._asked: OrderedDict[str, None] = OrderedDict()  # keys that the spool on disk would know, had they begun
        self.rss_bytes = 0
        self.spooled = 0

    # Transport

    async def open(self, sink: Sink) -> None:
        """Start a process and let it connect; Opened follows."""
        await self.close()
        self.session.prepare()
        if self._session_url is None:
            await self.session.bring_back()
            if (age_s := self.session.take_restored()) is not None:
                sink(SessionRestored(age_s))
            await self.session.check()
        self._sink, self._healing = sink, False
        if not self._spool.exists():
            self._asked.clear()
        gateway = self._gateway = Gateway(self._take, self._died, **self._watching)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await gateway.start(self._spool, self._arguments, self._environment)
            if gateway.damaged_bytes:
                logger.warning("%d bytes of %s were damaged, and kept aside", gateway.damaged_bytes, self._spool)
                self._asked.clear()
            source = self._session_url or self.session.data_source
            await self._request("open", store=source, **self._settings)
        except TimeoutError as error:
            await self.close()
            raise TransportError("the gateway process did not start in time", reason="timeout") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the process, within ``leave_s`` and a moment."""
        self._sink = None
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.aclose()

    async def send(self, message: OutboundMessage) -> None:
        """Send, or learn that the key was sent before; one at a time, in the order of the calls."""
        media = None if message.media is None else media_frame(message.media)
        self._asked[message.key] = None
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        await self._request(
            "send",
            timeout_s=self._send_timeout_s,
            late="maybe",
            chat=message.chat.reveal(),
            key=message.key,
            text=_text(message),
            media=media,
            reply_to=message.reply_to,
        )

    async def ping(self) -> None:
        """A round trip to WhatsApp's server."""
        await self._request("ping")

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Let the spool forget these messages."""
        if self._gateway is None:
            return
        try:
            self._gateway.channel.say({"type": "acknowledge", "ids": list(message_ids)})
        except ConnectionError:
            logger.debug("not acknowledged, as the gateway process is gone: the messages come again")

    # Its companions, in the order of connection.ports

    async def set_typing(self, chat: ChatId, typing: bool) -> None:
        """Show or hide the sign."""
        await self._try("typing", chat=chat.reveal(), typing=typing)

    async def set_presence(self, available: bool) -> None:
        """Show whether somebody is there; right after pairing the account has no name yet, and cannot."""
        await self._request("presence", available=available)

    async def mark_read(self, messages: Sequence[InboundMessage]) -> None:
        """Show *messages* as read."""
        if messages:
            chat = messages[0].chat.reveal()
            await self._try("read", chat=chat, ids=[message.id for message in messages])

    async def fetch_media(self, media: MediaReference, target: Path, *, max_bytes: int) -> int:
        """Write the attachment into *target*."""
        value = await self._request(
            "fetch",
            timeout_s=self._fetch_timeout_s,
            media=media_frame(media),
            target=str(target),
            max_bytes=max_bytes,
        )
        return int(value["size_bytes"])

    async def pair_by_code(self, phone_number: str) -> None:
        """Offer a code for the phone with this number."""
        number = "".join(filter(str.isdigit, phone_number))
        if not 7 <= len(number) <= 15 or number.startswith("0"):
            raise TransportError("a phone number has 7 to 15 digits, country code first, no 0 before", retryable=False)
        await self._request("pair", number=number, timeout_s=self._fetch_timeout_s)

    async def log_out(self) -> None:
        """Leave the account for good."""
        await self._request("log_out")

    async def outcome(self, key: str) -> Outcome | None:
        """What became of the message *key*, also in an earlier process; None: never asked for here, or forgotten."""
        outcome: Outcome | Literal["begun"] | None = (await self._request("outcome", key=key))["outcome"]
        if outcome is None and key in self._asked:
            return "no"
        return "maybe" if outcome == "begun" else outcome

    async def save_session(self) -> int | None:
        """Copy the session, by another process."""
        return None if self._session_url is not None else await self.session.save()

    async def restore_session(self) -> float | None:
        """Put the newest good copy in the session's place."""
        if self._session_url is not None:
            return None
        age_s = await self.session.restore()
        self.session.take_restored()  # whoever asked tells it
        return age_s

    async def quarantine_session(self) -> None:
        """Put session and copies aside, wherever they are."""
        if self._session_url is None:
            await self.session.revoke()

    async def reachable(self) -> bool:
        """Whether the server, or the proxy to it, takes a connection."""
        url = urlsplit(self._proxy or "")
        host, port = (url.hostname, url.port or _PROXY_PORTS.get(url.scheme, 1080)) if url.hostname else SERVER
        try:
            async with asyncio.timeout(self._request_timeout_s / 2):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _request(self, do: str, *, timeout_s: float | None = None, late: str = "no", **what: Any) -> Frame:
        if self._gateway is None:
            raise TransportError("not connected: the gateway process does not run", reason="network")
        return await self._gateway.channel.request(
            do, timeout_s=timeout_s or self._request_timeout_s, late=late, **what
        )

    async def _try(self, do: str, **what: Any) -> None:
        try:
            await self._request(do, **what)
        except TransportError as error:
            logger.debug("%s failed: %s", do, error)

    def _take(self, frame: Frame) -> None:
        if self._sink is None:
            return
        match frame["type"]:
            case "opened":
                self._sink(Recovered() if self._healing else Opened())
                self._healing = False
            case "alive":
                self._note_size(frame)
            case "paired" if not frame["ok"]:
                loss, ended = pairing_failure(frame)
                self._sink(loss)
                self._sink(ended)
            case "trouble":
                logger.warning("the gateway process says: %s", frame["detail"])
            case _ if (event := event_of(frame, clock=self._clock)) is not None:
                self._healing = self._healing or frame.get("heals", False)
                self._sink(event)

    def _died(self, detail: str) -> None:
        if self._sink is not None:
            self._sink(Lost(DisconnectReason.PUMP_DEAD, detail))

    def _note_size(self, frame: Frame) -> None:
        self.rss_bytes, self.spooled = frame["rss_bytes"], frame["spooled"]
        if self.rss_bytes > self._max_rss_bytes and self._sink is not None:
            detail = f"the gateway process holds {self.rss_bytes // MIB} MiB, and is replaced"
            self._sink(Lost(DisconnectReason.RESTART_REQUIRED, detail))


def _text(message: OutboundMessage) -> str:
    """The text with its buttons as a numbered list: WhatsApp shows real ones to business accounts only."""
    numbered = (f"{number}. {label}" for number, label in enumerate(message.buttons, 1))
    return "\n".join(filter(None, (message.text, *numbered)))
