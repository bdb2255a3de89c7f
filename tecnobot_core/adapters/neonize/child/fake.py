"""A link without a library, for tests of everything around it: it does what the requests say."""

import ctypes
import os
import threading
import time
from collections.abc import Callable

from .client import keep
from .failures import send_failure
from .frames import Frame
from .sending import RefusedError, answer_again, begin_sending
from .spool import Spool


class FakeLink:
    """Opens at once. ``do="fake"`` makes it deliver (``messages``), lose (``lose``), hang (``hang_s``) or die.

    A chat whose name is an error text of the library's fails with that error. The text ``wait:<seconds>`` takes that
    long to be sent.
    """

    version = "fake"

    def __init__(self, spool: Spool, say: Callable[[Frame], None]) -> None:
        self._spool = spool
        self._say = say
        self.sent: list[Frame] = []

    def open(self, settings: Frame) -> None:
        """Be open, or fail as the session's name says: ``fail:<reason>``, ``silent``."""
        store = str(settings["store"])
        if "fail:" in store:
            lost = {"type": "lost", "reason": store.partition("fail:")[2].partition("?")[0], "detail": "as told"}
            self._say({**lost, "retryable": True})
        elif "silent" not in store:
            self._say({"type": "opened"})

    def do(self, request: Frame) -> Frame:
        """Answer *request*."""
        if request["do"] == "send":
            return self._send(request)
        if request["do"] == "fake":
            self._act(request)
        return {"sent": self.sent} if request["do"] == "sent" else {}

    def note(self, message: Frame) -> None:
        """Nothing is quoted here."""

    def leave(self) -> None:
        """There is nothing to end."""

    def _send(self, request: Frame) -> Frame:
        if again := answer_again(self._spool, request["key"]):
            return again
        if request["text"].startswith("wait:"):
            time.sleep(float(request["text"].removeprefix("wait:")))
        begin_sending(self._spool, request["key"])
        if request["text"] == "die":
            os._exit(1)
        if " " in request["chat"]:
            failure = send_failure(request["chat"])
            self._spool.end_sending(request["key"], failure.sent, request["chat"])
            raise RefusedError(request["chat"], failure)
        self.sent.append(request)
        self._spool.end_sending(request["key"], "sent", f"id-{request['key']}")
        return {"id": f"id-{request['key']}"}

    def _act(self, request: Frame) -> None:
        for message in request.get("messages", ()):
            # In a thread that is not the process's own, as the library's callbacks are.
            delivering = threading.Thread(target=keep, args=(self._spool, self._say, message))
            delivering.start()
            delivering.join()
        for frame in request.get("say", ()):
            self._say(frame)
        if "hang_s" in request:
            time.sleep(request["hang_s"])
        if "hold_s" in request:
            ctypes.PyDLL(None).usleep(int(request["hold_s"] * 1e6))  # without letting go of the interpreter
        if request.get("die"):
            os._exit(request["die"])
