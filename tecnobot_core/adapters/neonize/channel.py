"""Requests and answers over a socket pair; the format is in ``child/frames.py``."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from ...errors import TransportError
from .child.frames import Frame, FrameDecoder, encode
from .classifying import error_of


class Channel:
    """The bot's end. ``run`` reads until the other end closes; *hear* gets every frame that is no answer."""

    def __init__(self, hear: Callable[[Frame], object]) -> None:
        self._hear = hear
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._count = 0
        self.frames_heard = 0

    async def open(self, end: socket.socket) -> None:
        """Speak over *end*, which is closed with this."""
        self._reader, self._writer = await asyncio.open_connection(sock=end)

    async def run(self) -> None:
        """Hear what comes until the other end is closed, or sends what is no frame."""
        assert self._reader is not None
        decoder = FrameDecoder()
        try:
            while data := await self._reader.read(65536):
                for frame in decoder.feed(data):
                    self.frames_heard += 1
                    self._dispatch(frame)
        except OSError:
            pass  # the other end is gone
        finally:
            self.close()

    async def request(self, do: str, *, timeout_s: float, late: str = "no", **what: Any) -> Frame:
        """Ask, and return the value of the answer.

        TransportError when it is an error, when the process ends or does not answer within *timeout_s*; its ``sent``
        is then *late*.
        """
        self._count += 1
        number = self._count
        self._ask({"type": "request", "n": number, "do": do, "within_s": timeout_s, **what})
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                frame = await answer
        except TimeoutError as error:
            raise _unanswered(f"no answer to {do} within {timeout_s:g} s", late, "timeout") from error
        except ConnectionError as error:
            raise _unanswered(f"the gateway process ended during {do}", late, "pump_dead") from error
        finally:
            del self._answers[number]
        if "error" in frame:
            raise error_of(frame["error"])
        value: Frame = frame["value"]
        return value

    def say(self, frame: Frame) -> None:
        """Say *frame*; ConnectionError when the other end is gone."""
        if self._writer is None or self._writer.is_closing():
            raise ConnectionResetError("the gateway process is gone")
        self._writer.write(encode(frame))

    def close(self) -> None:
        """Hear and say nothing more; whoever waits for an answer gets none."""
        if self._writer is not None:
            self._writer.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the gateway process is gone"))

    async def aclose(self) -> None:
        """Close, and return when that is done."""
        self.close()
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def _ask(self, frame: Frame) -> None:
        """Say *frame*, of which nothing has happened if that fails."""
        try:
            self.say(frame)
        except ConnectionError as error:
            raise _unanswered(str(error), "no", "pump_dead") from error
        except ValueError as error:
            raise TransportError(f"this is too long for WhatsApp: {error}", retryable=False) from error

    def _dispatch(self, frame: Frame) -> None:
        if frame["type"] != "answer":
            self._hear(frame)
        elif (answer := self._answers.get(frame["n"])) is not None and not answer.done():
            answer.set_result(frame)


def _unanswered(sentence: str, sent: str, reason: str) -> TransportError:
    return TransportError(sentence, reason=reason, retryable=sent == "no", sent="maybe" if sent == "maybe" else "no")
