"""A conversation in the terminal."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import TextIO

from ..connection import DisconnectReason, Lost, Opened, Sink
from ..errors import TransportError
from ..messages import ChatId, InboundMessage, OutboundMessage


class ConsoleTransport:
    """Reads a message from each line of *lines* and writes answers to *output*; the end of the input ends it.

    The terminal is one chat. A line that was read but not acknowledged is delivered again after the next ``open``.
    """

    def __init__(
        self,
        *,
        lines: TextIO | None = None,
        output: TextIO | None = None,
        chat: ChatId = ChatId("console"),  # noqa: B008  # immutable
        prompt: str = "> ",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lines = lines or sys.stdin
        self._output = output or sys.stdout
        self._chat = chat
        self._prompt = prompt
        self._clock = clock
        # Ids must not repeat those of an earlier run: they would be taken for duplicates.
        self._ids = (f"console-{clock():.6f}-{number}" for number in count(1))
        self._unacknowledged: dict[str, InboundMessage] = {}
        self._sink: Sink | None = None
        self._reader: threading.Thread | None = None
        self._ended = False

    async def open(self, sink: Sink) -> None:
        self._sink = sink
        sink(Opened())
        for message in self._unacknowledged.values():
            sink(message)
        if self._reader is None:
            # A daemon: reading a terminal cannot be interrupted, and must not keep the process alive.
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), daemon=True, name="console")
            self._reader.start()
        self._write("")

    async def close(self) -> None:
        self._sink = None

    async def send(self, message: OutboundMessage) -> None:
        self._check_open()
        choices = "".join(f"\n  {number}. {button}" for number, button in enumerate(message.buttons, 1))
        self._write(f"\r{message.text}{choices}\n")  # over the prompt that waits there

    async def ping(self) -> None:
        self._check_open()

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        for id in message_ids:
            self._unacknowledged.pop(id, None)
        self._tell_end()

    def _check_open(self) -> None:
        if self._sink is None:
            raise TransportError("the terminal is not open", reason=DisconnectReason.STOPPED)

    def _write(self, text: str) -> None:
        self._output.write(text + self._prompt)
        self._output.flush()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in self._lines:
            if not _call(loop, self._take, line.rstrip("\n")):
                return
        _call(loop, self._end)

    def _take(self, text: str) -> None:
        message = InboundMessage(id=next(self._ids), chat=self._chat, sent_at=self._clock(), text=text)
        self._unacknowledged[message.id] = message
        if self._sink is not None:
            self._sink(message)

    def _end(self) -> None:
        self._ended = True
        self._tell_end()

    def _tell_end(self) -> None:
        if self._ended and not self._unacknowledged and self._sink is not None:
            self._ended = False
            self._sink(Lost(DisconnectReason.ENDED, "end of input", retryable=False))


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: str) -> bool:
    """Run *function* on *loop*; False when the loop is gone."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True
