"""Starting and ending the programs of PostgreSQL."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import BinaryIO

from .directory import Identity

_LAUNCHER = Path(__file__).with_name("launcher.py")

# A fast shutdown writes a checkpoint, which a slow disk may not end in time. The next two leave that to the WAL, and
# lose nothing either. Together under 3 s.
_STOPPING = ((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.4), (signal.SIGKILL, None))


async def launch(
    *command: str | Path,
    identity: Identity,
    directory: Path,
    lock: BinaryIO,
    log: BinaryIO,
    death_signal: signal.Signals,
    stale_pid: int = 0,
) -> Process:
    """Start *command* in *directory*, writing to *log*, as *identity*; all of its processes hold *lock*.

    It has a session of its own: Ctrl-C in the terminal is for the bot, which then stops it in order.
    """
    numbers = (os.getpid(), identity.uid, identity.gid, death_signal.value, stale_pid)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", _LAUNCHER, *map(str, numbers), *command),
        stdin=DEVNULL,
        stdout=log,
        stderr=log,
        cwd=directory,
        pass_fds=(lock.fileno(),),
        start_new_session=True,
    )


async def stop(server: Process) -> None:
    """End *server* within 3 s; what was committed stays."""
    for number, patience_s in _STOPPING:
        if server.returncode is not None:
            return
        server.send_signal(number)
        try:
            await asyncio.wait_for(server.wait(), patience_s)
        except TimeoutError:
            continue


async def run(program: Process) -> int:
    """Wait for *program* to end, and return its exit code; cancelled, kill all of it."""
    try:
        return await program.wait()
    finally:
        if program.returncode is None:
            os.killpg(program.pid, signal.SIGKILL)
            await program.wait()
