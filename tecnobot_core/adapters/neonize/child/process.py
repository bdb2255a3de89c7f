"""The gateway process: hears the bot, asks the library, and leaves when the bot does."""

import argparse
import fcntl
import os
import resource
import runpy
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from .frames import VERSION, Frame, FrameDecoder, encode
from .lanes import Lanes
from .spool import Spool
from .talking import Talker

LEAVE_WITHIN_S = 2.0


class Link(Protocol):
    """What carries messages; the library, or a fake in tests."""

    version: str

    def open(self, settings: Frame) -> None: ...
    def do(self, request: Frame) -> Frame: ...
    def note(self, message: Frame) -> None: ...
    def leave(self) -> None: ...


class Gateway:
    """One connection to the bot, one spool, one link."""

    def __init__(
        self,
        connection: socket.socket,
        stop: socket.socket,
        make_link: "Callable[[Spool, Callable[[Frame], None]], Link]",
    ) -> None:
        self._connection = connection
        self._stop = stop
        self._make_link = make_link
        self._lanes: Lanes | None = None
        self._spool: Spool | None = None
        self._talker: Talker | None = None
        self._link: Link | None = None

    def run(self, spool_path: Path) -> None:
        """Until the bot is gone or says so, or SIGTERM comes."""
        if not lock(spool_path.with_suffix(".lock")):
            self._give_up(f"another process has {spool_path.parent} open", retryable=True)
            return
        self._spool = spool = Spool(spool_path)
        self._talker = talker = Talker(self._connection, spool, lambda message: link.note(message))
        talker.start()
        try:
            self._link = link = self._make_link(spool, talker.say)
        except Exception as error:
            if (package := getattr(error, "package", None)) is None:
                raise
            self._give_up(str(error), package=package)
            return
        self._lanes = Lanes(lambda request: _answer(link, request), talker.say)
        talker.say({"type": "hello", "version": VERSION, "library": link.version, "damaged_bytes": spool.damaged_bytes})
        decoder, leaving = FrameDecoder(), False
        # What came before the signal counts: an acknowledgement that is not read is a message that comes twice.
        while data := self._read(wait=not leaving):
            leaving = leaving or self._told_to_leave()
            for frame in decoder.feed(data):
                self._hear(frame, spool, talker, link)

    def _give_up(self, detail: str, *, package: str = "", retryable: bool = False) -> None:
        broken = {"type": "broken", "detail": detail, "package": package, "retryable": retryable}
        self._connection.sendall(encode(broken))

    def leave(self) -> NoReturn:
        """End the link in bounded time, then the process: the library's threads would never end."""
        if self._link is not None:
            leaving = threading.Thread(target=self._link.leave, daemon=True)
            leaving.start()
            leaving.join(LEAVE_WITHIN_S)
        if self._talker is not None:
            self._talker.close(timeout_s=0.5)
        os._exit(0)

    def _read(self, *, wait: bool) -> bytes:
        """The next bytes from the bot; empty when it is gone, or SIGTERM came and nothing is left to read."""
        ready, _, _ = select.select([self._connection, self._stop], [], [], None if wait else 0)
        return self._connection.recv(65536) if self._connection in ready else b""

    def _told_to_leave(self) -> bool:
        return bool(select.select([self._stop], [], [], 0)[0])

    def _hear(self, frame: Frame, spool: Spool, talker: Talker, link: Link) -> None:
        try:
            self._do(frame, spool, talker, link)
        except OSError as error:  # what it is about counts here all the same
            talker.say({"type": "trouble", "detail": f"the spool cannot be written: {error}"})

    def _do(self, frame: Frame, spool: Spool, talker: Talker, link: Link) -> None:
        assert self._lanes is not None
        match frame["type"]:
            case "alive?":
                talker.say({"type": "alive", "rss_bytes": rss_bytes(), "spooled": len(spool)})
                if detail := self._lanes.replace_stuck():
                    talker.say({"type": "lost", "reason": "pump_dead", "detail": detail, "retryable": True})
                spool.settle_arrivals(time.time())
            case "acknowledge":
                try:
                    spool.acknowledge(frame["ids"])
                finally:
                    talker.acknowledged()
            case "request" if frame["do"] == "open":
                link.open(frame)
                talker.say({"type": "answer", "n": frame["n"], "value": {}})
            case "request" if frame["do"] == "outcome":
                outcome = spool.outcome(frame["key"])
                talker.say({"type": "answer", "n": frame["n"], "value": {"outcome": outcome and outcome[0]}})
            case "request":
                self._lanes.put(frame)


def _answer(link: Link, request: Frame) -> Frame:
    try:
        return {"value": link.do(request)}
    except Exception as error:
        failure: Any = getattr(error, "failure", None)
        if failure is None:
            not_ready = type(error).__name__ == "NotReadyError"
            reason = "network" if not_ready else "unknown"
            known = {"sent": "no" if not_ready else "maybe", "retryable": not_ready, "reason": reason}
            return {"error": {"message": str(error) if not_ready else repr(error), **known}}
        return {"error": {"message": str(error), **failure._asdict()}}


def lock(path: Path) -> bool:
    """Hold *path* until this process ends; False when another one does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def rss_bytes() -> int:
    """What this process holds in memory now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str]) -> NoReturn:
    """Speak with the bot over the socket that is open as *arguments* say; never returns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int)
    parser.add_argument("spool", type=Path)
    parser.add_argument("--fake", action="store_true", help="for tests: no library, a link that does what it is told")
    parser.add_argument("--before-connecting", type=Path, help="for tests: a Python file that is run with the library")
    options = parser.parse_args(arguments)
    gateway = Gateway(socket.socket(fileno=options.descriptor), _stop_signal(), _maker(options))
    try:
        gateway.run(options.spool)
    except ConnectionError:
        pass
    except Exception as error:
        print(f"gateway: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - the bot reads it from there
        os._exit(1)
    gateway.leave()


def _stop_signal() -> socket.socket:
    """A socket that can be read once SIGTERM came. An exception in its handler could break any line, and any lock."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bot, which then ends this process in order
    return reading


def _maker(options: argparse.Namespace) -> "Callable[[Spool, Callable[[Frame], None]], Link]":
    def make(spool: Spool, say: Callable[[Frame], None]) -> Link:
        if options.fake:
            from .fake import FakeLink  # noqa: PLC0415 - never loaded outside tests

            return FakeLink(spool, say)
        from .whatsapp import WhatsAppLink  # noqa: PLC0415 - loads the library

        link = WhatsAppLink(spool, say)
        if options.before_connecting is not None:
            runpy.run_path(str(options.before_connecting))
        return link

    return make
