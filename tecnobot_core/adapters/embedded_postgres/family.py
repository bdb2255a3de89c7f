"""The processes of a server, by their parent."""

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_POLL_S = 0.01
# On SIGQUIT the server ends its processes itself, and kills after 5 s those that do not obey.
_ENDING = ((signal.SIGQUIT, 6.0), (signal.SIGKILL, 6.0))


class Family:
    """The processes of the server that works in *data*, whose process id is what *pid* tells.

    A pid that belongs to something else by now, or in another container, is not taken for it.
    """

    def __init__(
        self,
        data: Path,
        pid: Callable[[], int | None],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._data = data
        self._pid = pid
        self._clock = clock
        self._sleep = sleep
        self._writer: tuple[psutil.Process, str] | None = None

    def titles(self) -> Sequence[str]:
        """What its processes call themselves, without itself; none when it has ended.

        Of a server that works only that of one process which ends with it: to look at one costs 0.03 ms, to find all of
        them, among all of the machine, some milliseconds.
        """
        if self._writer is not None and _lives(self._writer[0]):
            return [self._writer[1]]
        self._writer = None
        server = self._server()
        titles = []
        with suppress(psutil.Error):
            for process in [] if server is None else server.children():
                title = _title(process)
                titles.append(title)
                if title.endswith(": walwriter"):
                    self._writer = process, title
        return titles

    async def end(self) -> None:
        """End the server, the hard way: it replays its log when it is started again, and what was committed stays."""
        server = self._server()
        if server is None:
            return
        for number, patience_s in _ENDING:
            with suppress(psutil.NoSuchProcess):
                server.send_signal(number)
            ends_at = self._clock() + patience_s
            while _lives(server) and self._clock() < ends_at:
                await self._sleep(_POLL_S)
            if not _lives(server):
                return

    def _server(self) -> psutil.Process | None:
        pid = self._pid()
        try:
            server = psutil.Process(pid) if pid else None
            return server if server and os.path.samefile(server.cwd(), self._data) else None
        except (OSError, psutil.Error):
            return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _title(process: psutil.Process) -> str:
    """Empty where it may not be read, and of one that was just made that of the server."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""
