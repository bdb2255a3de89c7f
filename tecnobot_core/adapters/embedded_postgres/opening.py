"""One server for all who open a directory: the first starts it, the others attach."""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import ConfigurationError
from .connecting import dsn, ensure_database, lets_in
from .directory import Identity, PrivateDirectory
from .process import stop
from .programs import find_programs, installed_programs, programs_for_all
from .starting import POLL_S, Start

_WATCH_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Server:
    """A server that takes connections; ``process`` is None where another program started it."""

    dsn: str
    pid: int
    process: Process | None = None

    async def stop(self) -> None:
        """End it within 3 s, if it is ours."""
        if self.process is not None:
            await stop(self.process)


class Opener:
    """Opens the server of *directory*, as often as it takes. Its socket stays in *sockets*, so its address stays."""

    def __init__(
        self,
        directory: PrivateDirectory,
        identity: Identity,
        sockets: Path,
        *,
        bin_dir: Path | None,
        options: Mapping[str, str],
    ) -> None:
        self._dsn = dsn(sockets)
        self._directory = directory
        self._identity = identity
        self._sockets = sockets
        self._bin_dir = bin_dir
        self._options = options

    async def open(self) -> Server:
        """Start a server, or attach to the one that lives; wait while another program's starts or stops."""
        while (lock := self._directory.try_lock(self._identity)) is None:
            if await lets_in(self._dsn) and (pid := self._directory.server_pid()):
                return Server(self._dsn, pid)
            await asyncio.sleep(POLL_S)
        with lock:
            return await self._start(lock)

    async def reopen(self) -> Server:
        """As ``open``, but ConfigurationError instead of a new, empty database where there was one."""
        if self._directory.data_version() is None:
            raise ConfigurationError(
                f"the database in {self._directory.path} is gone; bring back the folder, or the disk that holds it"
            )
        return await self.open()

    async def wait_gone(self, server: Server) -> None:
        """Return when *server*, which was opened here, has ended."""
        if server.process is not None:
            await server.process.wait()
            return
        while self._directory.is_served(self._identity):  # noqa: ASYNC110  # no event comes from another program
            await asyncio.sleep(_WATCH_EVERY_S)

    async def _start(self, lock: BinaryIO) -> Server:
        with self._directory.open_log(self._identity) as log:
            start = Start(self._directory, self._identity, lock, log, await self._find_programs())
            process = await start.server(self._options)
            try:
                await start.until_ready(process)
                await ensure_database(self._sockets)
            except BaseException:
                await stop(process)
                raise
        return Server(self._dsn, process.pid, process)

    async def _find_programs(self) -> Path:
        bin_dir = find_programs(self._bin_dir, installed_programs())
        if self._identity.uid == os.geteuid():
            return bin_dir
        return await asyncio.to_thread(programs_for_all, bin_dir)
