"""The library as the process's link: which request becomes which call."""

import time
from collections.abc import Callable

from . import media
from .binding import Library
from .client import Client, Say
from .failures import SendFailure
from .frames import Frame
from .sending import RefusedError, Sending
from .spool import Spool

MIB = 1024 * 1024


class WhatsAppLink:
    """Loads the library at once, and connects when told to."""

    def __init__(self, spool: Spool, say: Say) -> None:
        self._library = Library()
        self.version = self._library.version
        self._spool = spool
        self._say = say
        self._client: Client | None = None
        self._sending: Sending | None = None
        self._answers: dict[str, Callable[[Frame], Frame]] = {
            "ping": self._ping,
            "pair": self._pair,
            "log_out": self._log_out,
            "fetch": lambda request: media.fetch(self._require_client(), request),
        }

    def open(self, settings: Frame) -> None:
        """Connect, once in the life of a process: the library would keep what a second time leaves behind."""
        if self._client is not None:
            raise RefusedError("this process was opened before", SendFailure("no", False, "unknown"))
        self._client = Client(self._library, self._spool, self._say, settings)
        upload_bytes = settings.get("max_upload_bytes", 16 * MIB)
        self._sending = sending = Sending(self._client, self._spool, max_upload_bytes=upload_bytes)
        self._answers |= {
            "send": sending.send,
            "typing": sending.set_typing,
            "presence": sending.set_presence,
            "read": sending.mark_read,
        }
        self._client.start()

    def do(self, request: Frame) -> Frame:
        """Answer *request*; raises what is said in its answer."""
        if (answer := self._answers.get(request["do"])) is None:
            raise RefusedError(f"nothing is known of {request['do']}", SendFailure("no", False, "unknown"))
        return answer(request)

    def note(self, message: Frame) -> None:
        """*message* goes to the bot, which may answer it with a quote."""
        if self._sending is not None:
            self._sending.note(message)

    def leave(self) -> None:
        """End the link."""
        if self._client is not None:
            self._client.leave()

    def _ping(self, request: Frame) -> Frame:
        """A round trip to the server: the cheapest question that it answers."""
        began = time.monotonic()
        self._fail_with(self._call("SetPassive", False))
        return {"took_s": time.monotonic() - began}

    def _pair(self, request: Frame) -> Frame:
        """A code for the phone with ``number``, to be entered there."""
        client = self._require_client()
        definitions = self._library.events
        # 7: a desktop program, as the device is announced; the name is shown in the phone's notification.
        wanted = definitions.PairPhoneParams(
            phone=request["number"], clientDisplayName="Chrome (Linux)", clientType=1, showPushNotification=True
        ).SerializeToString()
        answer = definitions.PairPhoneReturnFunction.FromString(
            self._library.bytes("PairPhone", client.uuid, wanted, len(wanted))
        )
        self._fail_with(answer.Error)
        self._say({"type": "pairing", "kind": "code", "data": answer.Code, "lasts_s": 160.0})
        return {}

    def _log_out(self, request: Frame) -> Frame:
        self._fail_with(self._call("Logout"))
        return {}

    def _call(self, name: str, *arguments: object) -> str:
        return self._library.text(name, self._require_client().uuid, *arguments)

    def _require_client(self) -> Client:
        if self._client is None:
            raise RefusedError("websocket not connected: nothing was opened", SendFailure("no", True, "network"))
        self._client.require_ready()
        return self._client

    def _fail_with(self, error: str) -> None:
        if error:
            raise RefusedError(error, SendFailure("no", True, "network"))
