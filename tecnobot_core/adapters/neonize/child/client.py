"""One WhatsApp link through the library: what it tells becomes frames, inbound messages go to the spool first."""

import ctypes
import itertools
import os
import threading
import time
from collections.abc import Callable

from . import link_events, messages, missed
from .binding import EventCallback, Library, LogCallback, ProxyStructure, StringCallback
from .failures import link_failure, without_credentials
from .frames import Frame
from .spool import Spool

Say = Callable[[Frame], None]

# Who was shown nothing for so long will not get a message either; the longest pauses that were seen are below 10 ms.
QUIET_S = 0.1

# The server has said that it sent again all that it had; what is being read then is taken in by now.
RESENT_WITHIN_S = 1.0

# The library counts a code's time from a moment before the code is told here.
CODE_MARGIN_S = 0.5

_numbers = itertools.count(1)


class NotReadyError(Exception):
    """The library has no link that could be asked."""


class Client:
    """Calls the library, and hears it. One of them is started in the life of a process.

    The library blocks in the thread that starts it, so that gets one of its own, which dies with the process; and it
    calls back in threads of Go's, where every message is on disk before the callback returns: the library acknowledges
    it to the server whatever becomes of it here.
    """

    def __init__(self, library: Library, spool: Spool, say: Say, settings: Frame) -> None:
        self.library = library
        self.uuid = f"gateway-{os.getpid()}-{next(_numbers)}".encode()
        self._spool = spool
        self._say = say
        self._settings = settings
        self._ready = threading.Event()  # it knows this client; before, a call would find nothing and may abort
        self._leaving = False
        self._offered = False
        self._heard_at = time.monotonic()
        self._code_ends_at = float("-inf")  # of the code that is shown
        self._pairing_error = ""
        self._reader = messages.Reader(library, take_groups=bool(settings.get("groups")))
        # Kept for the life of the process: goroutines may call back until its end.
        self._callbacks = (
            StringCallback(self._on_qr),
            StringCallback(self._on_login_status),
            EventCallback(self._on_event),
            LogCallback(self._on_log),
        )

    def start(self) -> None:
        """Connect, in a thread of its own; everything else is told."""
        threading.Thread(target=self._run, name="library", daemon=True).start()

    def leave(self) -> None:
        """End the link, and return when everything that the library had still to tell was told. May block."""
        self._leaving = True
        if not self._ready.is_set():
            return
        self.library.functions.Disconnect(self.uuid)
        while (quiet_s := time.monotonic() - self._heard_at) < QUIET_S:
            time.sleep(QUIET_S - quiet_s)

    def require_ready(self) -> None:
        """Raise NotReadyError while the library does not know this client."""
        if not self._ready.is_set():
            raise NotReadyError("websocket not connected: the library has not opened its session yet")

    def _run(self) -> None:
        error = self._connect()
        if self._leaving:
            return
        failure = link_failure(error) if error else link_failure("required field")
        self._say(
            {
                "type": "lost",
                "reason": failure.reason,
                "detail": without_credentials(error) or "the library stopped telling what happens",
                "retryable": failure.retryable,
            }
        )

    def _connect(self) -> str:
        settings = self._settings
        wanted = bytes(link_events.WANTED)
        device = self.library.companion.DeviceProps(
            os=settings.get("device_name", "TecnoBot"), platformType=self.library.companion.DeviceProps.DESKTOP
        ).SerializeToString()
        proxy = settings.get("proxy")
        return self.library.text(
            "Neonize",
            *(settings["store"].encode(), self.uuid, b"", 0, 0, b"DEBUG"),  # the log tells when a message arrives
            *self._callbacks,
            *(wanted, len(wanted), device, len(device), b"", 0),
            ctypes.byref(ProxyStructure(proxy.encode(), False, False, False)) if proxy else None,
        )

    def _on_qr(self, uuid: int, data: int) -> None:
        self._ready.set()
        # The first of a series is shown for longer: https://github.com/tulir/whatsmeow, qrchan.go
        lasts_s = 20.0 if self._offered else 60.0
        self._offered = True
        self._code_ends_at = time.monotonic() + lasts_s - CODE_MARGIN_S
        self._say({"type": "pairing", "kind": "qr", "data": ctypes.string_at(data).decode(), "lasts_s": lasts_s})

    def _on_login_status(self, uuid: int, status: int) -> None:
        code_lasts_s = self._code_ends_at - time.monotonic()
        text = ctypes.string_at(status).decode("utf-8", "replace")
        for frame in link_events.login_status(text, code_lasts_s=code_lasts_s, error=self._pairing_error):
            self._say(frame)

    def _on_event(self, uuid: bytes, data: int, size: int, code: int) -> None:
        self._heard_at = time.monotonic()
        self._ready.set()
        content = ctypes.string_at(data, size) if size else b""
        try:
            if code == link_events.MESSAGE:
                self._take_in(content)
            elif code == link_events.OFFLINE_SYNC_COMPLETED:
                waiting = threading.Timer(RESENT_WITHIN_S, self._tell_lost_arrivals)
                waiting.daemon = True
                waiting.start()
            else:
                for frame in link_events.read(self.library.events, code, content):
                    self._say(frame)
        except Exception as error:  # an exception in a callback would be printed and forgotten
            self._say({"type": "trouble", "detail": f"event {code}: {error!r}"})

    def _take_in(self, content: bytes) -> None:
        event = self.library.events.Message.FromString(content)
        frame = self._reader.read(event)
        if frame is None:
            self._spool.note_seen(event.Info.ID)
        else:
            keep(self._spool, self._say, frame)

    def _on_log(self, data: int, size: int) -> None:
        self._heard_at = time.monotonic()
        line = ctypes.string_at(data, size) if data and size > 0 else b""
        try:
            if (arriving := missed.arriving_message(line)) is not None:
                self._spool.note_arriving(arriving.id, arriving.chat, time.time())
            elif (dropped := missed.dropped_message(line)) is not None and not self._spool.has_seen(dropped.id):
                self._spool.note_seen(dropped.id)
                self._say({"type": "missed", **dropped._asdict()})
            else:
                self._pairing_error = link_events.pairing_error(line) or self._pairing_error
                for frame in link_events.read_log(line):
                    self._say(frame)
        except OSError as error:
            self._say({"type": "trouble", "detail": f"the spool cannot be written: {error}"})

    def _tell_lost_arrivals(self) -> None:
        """What an earlier process saw arriving, and the server did not send again."""
        for message_id, chat in self._spool.lost_arrivals():
            self._say({"type": "missed", "id": message_id, "chat": chat})


def keep(spool: Spool, say: Say, message: Frame) -> None:
    """Put *message* into *spool*, and say that there is something. If the disk takes nothing, say that it is lost."""
    try:
        new = spool.add(message)
    except OSError as error:
        say({"type": "trouble", "detail": f"the spool cannot be written: {error}"})
        say({"type": "missed", "id": message["id"], "chat": message["chat"]})
        return
    if new:
        say({"type": "spooled"})
