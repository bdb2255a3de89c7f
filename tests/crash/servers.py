"""What befalls a private server, and the folders in which it does."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import psutil

from tecnobot_core.adapters.embedded_postgres.connecting import dsn
from tecnobot_core.adapters.embedded_postgres.directory import PrivateDirectory

MIB = 1024 * 1024


def rights(folders: Sequence[Path]) -> list[tuple[int, int, int]]:
    return [(status.st_mode, status.st_uid, status.st_gid) for status in map(os.stat, folders)]


@contextmanager
def rights_are_kept(*folders: Path) -> Iterator[None]:
    before = rights(folders)
    yield
    assert rights(folders) == before


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder, in memory where that has room: 40 MB for each database are slow to write and to remove."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 256 * MIB
    with tempfile.TemporaryDirectory(dir=memory if has_room else None) as name:
        folder = Path(name)
        with rights_are_kept(folder, *folder.parents):
            yield folder


def kill_cluster(pid: int) -> None:
    """End the server *pid* and all of its processes as a power cut would."""
    server = psutil.Process(pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def no_checkpoints(server: psutil.Process) -> Iterator[None]:
    """Let *server* free no file of its journal while inside."""
    checkpointers = [process for process in server.children() if ": checkpointer" in " ".join(process.cmdline())]
    for process in checkpointers:
        process.suspend()
    try:
        yield
    finally:
        for process in checkpointers:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def use_up_wal(directory: Path, connection: "asyncpg.Connection[asyncpg.Record] | None" = None) -> None:
    """Have the server need a new file for its journal; without one it panics.

    It may have some in stock, after a checkpoint as many as it had used. A full disk may let nobody in any more, as a
    new session may need a file: there give a *connection* that was made before.
    """
    with suppress(OSError, asyncpg.PostgresError, psutil.NoSuchProcess):  # it may end before it is asked to
        if connection is None:
            connection = await asyncpg.connect(dsn(directory))
        with no_checkpoints(psutil.Process(PrivateDirectory(directory).server_pid() or 0)):
            for _ in range(64):
                await connection.execute("SELECT pg_switch_wal()")
                await connection.execute("SELECT pg_logical_emit_message(true, '', '')")
        raise AssertionError("the server has still files for its journal")


@contextmanager
def read_only(data: Path, *, files_too: bool = False) -> Iterator[None]:
    """Let nobody but root create or remove anything in *data* while inside, or even write; the server is not root."""
    modes = {path: path.stat().st_mode for path in (data, *data.rglob("*")) if files_too or path.is_dir()}
    for path, mode in modes.items():
        with suppress(FileNotFoundError):  # the server removes some of its files
            path.chmod(mode & ~0o222)
    yield
    for path, mode in modes.items():
        with suppress(FileNotFoundError):
            path.chmod(mode)
