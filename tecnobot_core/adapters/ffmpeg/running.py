"""One child, from its start to its end: limits, a deadline, nothing left."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LAUNCHER_S = 1  # of processor time, for Python to start; it counts

CHUNK_BYTES = 64 * 1024
TAIL_BYTES = 4096  # of what a child says about an error; the last sentence is the one that counts


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take: address space, seconds of processor, bytes of each file, seconds of wall time."""

    address_bytes: int
    cpu_s: int
    file_bytes: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: ``code`` is minus the signal where one did it; ``late`` when it passed its wall time."""

    code: int
    said: str
    late: bool = False


async def run(
    command: Sequence[str],
    limits: Limits,
    take: Callable[[bytes], None],
    started: Callable[[int], object] | None = None,
) -> Ended:
    """Run *command*, give what it writes to *take* as it comes, and tell how it ended; cancelled, kill it.

    *started* is told its process id. It has a session of its own: Ctrl-C in the terminal is for the bot.
    """
    process = await asyncio.create_subprocess_exec(
        *_launched(command, limits), stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    errors = Tail()
    late = False
    try:
        if started is not None:
            started(process.pid)
        async with asyncio.timeout(limits.wall_s):
            await asyncio.gather(_read(process.stdout, take), _read(process.stderr, errors.take), process.wait())
    except TimeoutError:
        late = True
    finally:
        await _end(process)
    return Ended(process.returncode or 0, errors.text(), late)


class Tail:
    """The last of what was written."""

    def __init__(self) -> None:
        self._data = b""

    def take(self, data: bytes) -> None:
        """Add *data*."""
        self._data = (self._data + data)[-TAIL_BYTES:]

    def text(self) -> str:
        """The whole of it."""
        return self._data.decode(errors="replace").strip()


def _launched(command: Sequence[str], limits: Limits) -> list[str]:
    numbers = (os.getpid(), limits.address_bytes, limits.cpu_s + _LAUNCHER_S, limits.file_bytes)
    return [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, numbers), *command]


async def _read(stream: asyncio.StreamReader | None, take: Callable[[bytes], None]) -> None:
    assert stream is not None  # both are pipes
    while data := await stream.read(CHUNK_BYTES):
        take(data)


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # What is still in its pipes must be read, or a full one would never be closed.
    await process.communicate()
