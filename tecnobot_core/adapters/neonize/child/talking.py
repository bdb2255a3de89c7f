"""What is said to the bot, from any thread, by one thread; messages from the spool, never too many ahead."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable

from .frames import Frame, encode
from .spool import Spool

MAX_AHEAD = 256  # messages that are said and not acknowledged; as many as the bot journals at once


class Talker:
    """Writes to *connection*. Frames go out in the order of ``say``; messages when there is nothing else to say.

    Nothing here waits for the bot except its own thread, so the library's threads never do. Messages begin with the
    first ``opened``, and are read from *spool* when their turn comes: however many wait, few are in memory.
    """

    def __init__(self, connection: socket.socket, spool: Spool, on_message: Callable[[Frame], object]) -> None:
        self._connection = connection
        self._spool = spool
        self._on_message = on_message
        self._waiting: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._delivering = False
        self._last_number = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="talker", daemon=True)

    def start(self) -> None:
        """Begin to talk."""
        self._thread.start()

    def say(self, frame: Frame) -> None:
        """Say *frame* soon."""
        with self._changed:
            if frame["type"] == "opened":
                self._delivering = True
            if frame["type"] != "spooled":  # only a sign that there is more to deliver
                self._waiting.append(frame)
            self._changed.notify()

    def acknowledged(self) -> None:
        """The spool holds fewer messages now, so that others can be said."""
        with self._changed:
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Say what still waits, no messages, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._connection.sendall(b"".join(map(self._encode, batch)))
        except OSError:
            return  # the bot is gone; whoever reads from it notices too

    def _encode(self, frame: Frame) -> bytes:
        """*frame*, or word of what cannot be told: it must not hide what comes after it."""
        try:
            return encode(frame)
        except ValueError as error:
            if frame["type"] != "message":
                return encode({"type": "trouble", "detail": f"{frame['type']}: {error}"})
            with contextlib.suppress(OSError):
                self._spool.acknowledge([frame["id"]])
            return encode({"type": "missed", "id": frame["id"], "chat": frame["chat"], "from_me": frame["from_me"]})

    def _next(self) -> list[Frame]:
        """What is to be said next, waiting for it; empty at the end."""
        with self._changed:
            while True:
                if self._waiting:
                    batch = list(self._waiting)
                    self._waiting.clear()
                    return batch
                if self._closing:
                    return []
                if messages := self._messages():
                    return messages
                self._changed.wait()

    def _messages(self) -> list[Frame]:
        if not self._delivering:
            return []
        room = MAX_AHEAD - self._spool.count_up_to(self._last_number)
        found = self._spool.after(self._last_number, min(room, 64)) if room > 0 else ()
        for number, message in found:
            self._last_number = number
            self._on_message(message)
        return [message for _, message in found]
