"""A conversation in the terminal."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TextIO, TypeVar

from ..connection import DisconnectReason, Lost, Opened, Sink
from ..errors import TransportError
from ..messages import ChatId, InboundMessage, OutboundMessage

T = TypeVar("T")


class ConsoleTransport:
    """Reads a message from each line of *lines* and writes answers to *output*; the end of the input ends it.

    The terminal is one chat. A line that was read but not acknowledged is delivered again after the next ``open``; at
    most *max_unacknowledged* lines are read ahead. Input that cannot be read and output that cannot be written end the
    link for good.
    """

    def __init__(
        self,
        *,
        lines: TextIO | None = None,
        output: TextIO | None = None,
        chat: ChatId = ChatId("console"),  # noqa: B008  # immutable
        prompt: str = "> ",
        max_unacknowledged: int = 256,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Python has None for a standard stream that was closed before it began.
        self._lines: Iterable[str] = lines or sys.stdin or ()
        self._output: TextIO | None = output or sys.stdout
        self._chat = chat
        self._prompt = prompt
        self._clock = clock
        # Ids must not repeat those of an earlier run: they would be taken for duplicates.
        self._ids = (f"console-{clock():.6f}-{number}" for number in count(1))
        self._unacknowledged: dict[str, InboundMessage] = {}
        self._room = threading.Semaphore(max_unacknowledged)
        self._sink: Sink | None = None
        self._reader: threading.Thread | None = None
        self._end: Lost | None = None

    async def open(self, sink: Sink) -> None:
        self._write("")
        self._sink = sink
        sink(Opened())
        for message in self._unacknowledged.values():
            sink(message)
        if self._reader is None:
            # A daemon: reading a terminal cannot be interrupted, and must not keep the process alive.
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), daemon=True, name="console")
            self._reader.start()
        self._tell_end()

    async def close(self) -> None:
        self._sink = None

    async def send(self, message: OutboundMessage) -> None:
        sink = self._check_open()
        choices = "".join(f"\n  {number}. {button}" for number, button in enumerate(message.buttons, 1))
        try:
            self._write(f"\r{message.text}{choices}\n")  # over the prompt that waits there
        except TransportError as error:
            sink(Lost(DisconnectReason.SERVER_CLOSED, str(error), retryable=False))
            raise

    async def ping(self) -> None:
        self._check_open()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        for id in message_ids:
            if self._unacknowledged.pop(id, None) is not None:
                self._room.release()
        self._tell_end()

    def _check_open(self) -> Sink:
        if self._sink is None:
            raise TransportError("the terminal is not open", reason=DisconnectReason.STOPPED)
        return self._sink

    def _write(self, text: str) -> None:
        if self._output is None:
            raise TransportError("there is no output to write to", retryable=False)
        # What a terminal's encoding lacks is shown as a question mark.
        encoding = getattr(self._output, "encoding", None) or "utf-8"
        try:
            self._output.write((text + self._prompt).encode(encoding, "replace").decode(encoding))
            self._output.flush()
        except (OSError, ValueError) as error:  # ValueError: a closed file
            raise TransportError(f"the output cannot be written: {error}", retryable=False) from error

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        end = Lost(DisconnectReason.ENDED, "end of input", retryable=False)
        try:
            for line in self._lines:
                self._room.acquire()
                if not _call(loop, self._take, line.rstrip("\n")):
                    return
        except (OSError, ValueError) as error:  # ValueError: not text in the encoding of the terminal, or a closed file
            end = Lost(DisconnectReason.UNKNOWN, f"the input cannot be read: {error}", retryable=False)
        _call(loop, self._take_end, end)

    def _take(self, text: str) -> None:
        message = InboundMessage(id=next(self._ids), chat=self._chat, sent_at=self._clock(), text=text)
        self._unacknowledged[message.id] = message
        if self._sink is not None:
            self._sink(message)

    def _take_end(self, end: Lost) -> None:
        self._end = end
        self._tell_end()

    def _tell_end(self) -> None:
        if self._end is not None and not self._unacknowledged and self._sink is not None:
            end, self._end = self._end, None
            self._sink(end)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[T], None], argument: T) -> bool:
    """Run *function* on *loop*; False when the loop is gone."""
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        return False
    return True
