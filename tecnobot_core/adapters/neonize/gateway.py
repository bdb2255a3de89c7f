"""The gateway process: started, watched, and ended in bounded time."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from ...errors import MissingDependencyError, TransportError
from ...tasks import Tasks
from .channel import Channel
from .child.frames import VERSION, Frame

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("child") / "__main__.py"

# What ends a Go program or a Python one; the lines after it tell where.
_LAST_WORDS = ("panic:", "fatal error:", "SIGSEGV", "Error", "gateway:")


class Gateway:
    """One process, for one link. *hear* gets what it says; *lost* is called once, with why, when it ends by itself.

    It is asked whether it lives every *watch_s*. One that says nothing for *hang_s* after that is stopped dead, as is
    one that does not leave within *leave_s* of being asked to; both lose nothing that its spool holds. *on_started* is
    told its process id, as by ``MemoryManager.register_child``.
    """

    def __init__(
        self,
        hear: Callable[[Frame], object],
        lost: Callable[[str], object],
        *,
        watch_s: float,
        hang_s: float,
        leave_s: float,
        on_started: Callable[[int], object] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._hear = hear
        self._lost = lost
        self._watch_s = watch_s
        self._hang_s = hang_s
        self._leave_s = leave_s
        self._on_started = on_started
        self._sleep = sleep
        self._process: Process | None = None
        self._tasks = Tasks("gateway")
        self._last_words: deque[str] = deque(maxlen=40)
        self._greeting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._watcher: asyncio.Task[None] | None = None
        self._words: asyncio.Task[None] | None = None
        self._leaving = False
        self.damaged_bytes = 0  # of the spool, when the process opened it
        self.channel = Channel(self._take)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, spool: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, and return when it is ready to be asked. TransportError when it cannot run."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await self._spawn(theirs.fileno(), spool, arguments, environment)
            if self._on_started is not None:
                self._on_started(self._process.pid)
            await self.channel.open(ours)
        except BaseException:
            ours.close()
            raise
        self._tasks.start(self._run(), "run")
        self._words = self._tasks.start(self._keep_last_words(), "last_words")
        greeting = await self._greeting
        if greeting["type"] == "broken":
            raise _broken(greeting)
        if greeting.get("version") != VERSION:
            raise TransportError(
                f"the gateway speaks version {greeting.get('version')}, not {VERSION}", retryable=False
            )
        self.damaged_bytes = int(greeting.get("damaged_bytes", 0))
        self._watcher = self._tasks.start(self._watch(), "watch")

    async def _spawn(
        self, descriptor: int, spool: Path, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(_CHILD), str(descriptor), str(spool), *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=environment,
            pass_fds=(descriptor,),
            start_new_session=True,
        )

    async def aclose(self) -> None:
        """End it: asked first, killed when it does not listen. Whatever waits for an answer gets none."""
        self._leaving = True
        try:
            await self._end()
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
            await self._tasks.wait(self._leave_s)  # what it said last, and why it ended
            await self.channel.aclose()
            await self._tasks.aclose()

    async def _end(self) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._leave_s):
                await self._process.wait()
        except BaseException as error:
            self._signal(signal.SIGKILL)
            if not isinstance(error, TimeoutError):
                raise
        await self._process.wait()

    def kill(self) -> None:
        """Stop it dead; what follows is as if it had ended by itself."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not Process.send_signal: of one that just ended, it takes the exit status from whoever waits for that.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _take(self, frame: Frame) -> None:
        if frame["type"] in ("hello", "broken") and not self._greeting.done():
            self._greeting.set_result(frame)
        else:
            self._hear(frame)

    async def _run(self) -> None:
        """Hear it until it ends, and say why it did."""
        assert self._process is not None
        try:
            await self.channel.run()
            detail = "it broke off"
        except Exception as error:
            logger.debug("what the gateway process said cannot be used", exc_info=True)
            detail = f"it said what cannot be used: {error!r}"
        code = await self._exit_code()
        if self._words is not None:
            await asyncio.wait({self._words}, timeout=self._leave_s)
        detail = f"the gateway process ended ({_exit_reason(code)}): {self._reason() or detail}"
        if not self._greeting.done():
            self._greeting.set_exception(TransportError(detail, reason="pump_dead"))
            self._greeting.exception()  # nobody may be waiting for it
        elif not self._leaving:
            self._lost(detail)

    async def _exit_code(self) -> int:
        assert self._process is not None
        try:
            async with asyncio.timeout(self._leave_s):
                return await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)  # it lives on without its socket, and would hold the session
            return await self._process.wait()

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._watch_s)
            await self.check()

    async def check(self) -> None:
        """Ask whether it lives, and stop it dead when it says nothing within ``hang_s``; ``_watch`` repeats this."""
        heard = self.channel.frames_heard
        try:
            self.channel.say({"type": "alive?"})
        except ConnectionError:
            return  # it ended, which is told elsewhere
        await self._sleep(self._hang_s)
        # This process may have been the one that slept: then what was said meanwhile has yet to be read.
        for _ in range(3):
            await asyncio.sleep(0)
        if self.channel.frames_heard == heard:
            self._last_words.append(f"gateway: silent for {self._hang_s:g} s, so it was stopped")
            self.kill()

    async def _keep_last_words(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await _line(self._process.stdout):
            self._last_words.append(line.decode("utf-8", "replace").strip())

    def _reason(self) -> str:
        """The line of its output that tells most; the rest may hold what people wrote."""
        lines = list(self._last_words)
        return next((line for line in lines if line.startswith(_LAST_WORDS) or "Error: " in line), "")


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the reader's limit; the rest of it comes next
        return b"...\n"


def _exit_reason(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
    except ValueError:
        return f"signal {-code}"


def _broken(frame: Frame) -> TransportError:
    """Not MissingDependencyError: that was looked for before, and whoever opens a transport awaits TransportErrors."""
    if frame["package"]:
        return TransportError(str(MissingDependencyError(frame["package"], extra="whatsapp")), retryable=False)
    return TransportError(frame["detail"], retryable=frame["retryable"])
