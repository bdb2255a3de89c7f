"""From an empty folder, or one that a server left in whatever state, to a server that runs."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from ...errors import ConfigurationError, StoreError
from .directory import Identity, PrivateDirectory
from .options import DATA_DIRECTORY, IS_LINUX, initdb_arguments, server_arguments
from .process import launch, run
from .programs import closed_to_others, major_version

POLL_S = 0.01

_STAYS_IN_DIRECTORY_SINCE = 16  # older ones leave their working directory, and come back by its full path

_WAL_SEGMENT_BYTES = 16 * 1024 * 1024  # the most that the server asks of the disk at once
_LAST_LINES, _LAST_BYTES = 5, 8192


class Start:
    """One attempt to start a server, by the holder of *lock*; *log* stands where this attempt begins."""

    def __init__(
        self, directory: PrivateDirectory, identity: Identity, lock: BinaryIO, log: BinaryIO, bin_dir: Path
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._lock = lock
        self._log = log
        self._log_begin = log.tell()  # now: the offset moves when the server writes, as it shares the open file
        self._bin_dir = bin_dir

    async def server(self, options: Mapping[str, str]) -> Process:
        """The server, launched and perhaps not yet ready; its database is made where there is none."""
        version = self._directory.data_version()
        if version is None:
            version = await self._make_database()
        self._directory.adopt_data(self._identity)
        stale_pid = self._directory.server_pid() or 0
        self._directory.remove_remnants()
        arguments = server_arguments(version, options)
        return await self._launch("postgres", arguments, self._directory.data, signal.SIGINT, stale_pid)

    async def until_ready(self, server: Process) -> None:
        """Wait until *server* takes connections; StoreError or ConfigurationError when it ends instead."""
        while not self._directory.is_ready(server.pid):
            if server.returncode is not None:
                raise await self._failure("postgres", server.returncode)
            await asyncio.sleep(POLL_S)

    async def _make_database(self) -> int:
        self._identity.check_name()
        version = await major_version(self._bin_dir)
        with self._directory.new_data(self._identity) as data:
            initdb = await self._launch("initdb", initdb_arguments(version), data, signal.SIGKILL)
            if exit_code := await run(initdb):
                raise await self._failure("initdb", exit_code)
        return version

    async def _launch(
        self, name: str, arguments: Iterable[str], data: Path, death_signal: signal.Signals, stale_pid: int = 0
    ) -> Process:
        return await launch(
            *(self._bin_dir / name, "-D", DATA_DIRECTORY or data, *arguments),
            identity=self._identity,
            directory=data,
            lock=self._lock,
            log=self._log,
            death_signal=death_signal,
            stale_pid=stale_pid,
        )

    async def _failure(self, program: str, exit_code: int) -> ConfigurationError | StoreError:
        """Why *program*, which has ended, did."""
        version = await major_version(self._bin_dir)
        if problem := self._version_problem(version) or self._way_problem(version):
            return ConfigurationError(problem)
        path = self._directory.path
        full = ", with the disk full," if shutil.disk_usage(path).free < _WAL_SEGMENT_BYTES else ""
        said = self._last_lines() or f"exit code {exit_code} and not a word"
        return StoreError(f"{program} failed in {path}{full} saying: {said}", retryable=False)

    def _version_problem(self, version: int) -> str | None:
        made_by = self._directory.data_version()
        if made_by in (None, version):
            return None
        return (
            f"{self._directory.path} holds a database of PostgreSQL {made_by}, and {self._bin_dir} is PostgreSQL "
            f"{version}: set POSTGRES_BIN_DIR to the programs of version {made_by}; or, to change over, dump it with "
            "those (pg_dump), name a new folder, and restore it there"
        )

    def _way_problem(self, version: int) -> str | None:
        path = self._directory.path
        stays = IS_LINUX and version >= _STAYS_IN_DIRECTORY_SINCE
        if stays or self._identity.uid == os.geteuid() or not (closed := closed_to_others(path.parent)):
            return None
        return (
            f"the server, which runs as uid {self._identity.uid}, cannot pass {closed} to {path}: name a folder "
            f"elsewhere, as under /srv, or use PostgreSQL {_STAYS_IN_DIRECTORY_SINCE} or newer on Linux"
        )

    def _last_lines(self) -> str:
        """The end of what the log got since this attempt began."""
        end = os.fstat(self._log.fileno()).st_size
        begin = max(self._log_begin, end - _LAST_BYTES)
        lines = os.pread(self._log.fileno(), end - begin, begin).decode(errors="replace").split("\n")
        return "\n".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:])
