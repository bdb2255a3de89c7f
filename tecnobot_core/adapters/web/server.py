"""The web server inside the bot's process: page, metrics and health on one port."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from ...errors import ConfigurationError, LifecycleError, MissingDependencyError
from ...tasks import Tasks
from .app import SendFirst, web_app
from .chat import WebChat
from .guard import Guard
from .listener import binding_problems, is_loopback, listen, url_of
from .memory_history import MemoryHistory
from .pairing import WebPairing
from .pairing_route import PairingRoutes

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError as error:
    raise MissingDependencyError("uvicorn", extra="web") from error

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_GRACE_S = 0.4


class WebServer:
    """Serves the chat page, ``/v1/metrics``, ``/healthz`` and ``/readyz`` while entered.

    *metrics* names what ``/v1/metrics`` shows; each callable gives a dataclass or JSON types. What "memory" gives is
    also asked for every few seconds, so that the page shows it and how it was lately. *ready* gives the reasons
    why the bot is not ready, none when it is. Port 0 takes any free one; ``url`` tells which. On loopback no token is
    needed and only loopback names are answered; any other *host* needs a *token* of at least 16 characters. A token
    guards everything but the empty pages, ``/healthz`` and ``/readyz``; *metrics_token* opens metrics only. With *send*
    and a token, ``POST /v1/messages`` lets an application speak first. With *pairing* and a token, ``/pairing`` shows
    what joins the account. A host, port or token that cannot be used is a ConfigurationError.
    """

    def __init__(
        self,
        *,
        chat: WebChat | None,
        metrics: Mapping[str, Callable[[], object]],
        ready: Callable[[], Sequence[str]],
        send: SendFirst | None = None,
        pairing: WebPairing | None = None,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str = "",
        metrics_token: str = "",
    ) -> None:
        if problems := tuple(binding_problems(host, port, token, metrics_token)):
            raise ConfigurationError(problems)
        hosts = (*_LOOPBACK_NAMES, host.lower()) if is_loopback(host) else None
        memory = MemoryHistory(metrics["memory"]) if chat is not None and "memory" in metrics else None
        pages = [] if pairing is None else PairingRoutes(pairing if token else None).routes()
        app = web_app(chat, metrics, ready, send if token else None, memory, pages)
        self._app = Guard(app, token=token, metrics_token=metrics_token, hosts=hosts)
        self._chat = chat
        self._memory = memory
        self._host = host
        self._port = port
        self._url = ""

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        if not self._url:
            raise LifecycleError("the web server has an address only while it is entered: async with server")
        return self._url

    async def __aenter__(self) -> Self:
        # Connections queue in the listening socket until uvicorn takes them, so nobody needs to wait for it.
        listener = await listen(self._host, self._port)
        self._url = url_of(listener)
        self._server = _Server(_configuration(self._app))
        self._tasks = Tasks("web_server")
        self._tasks.start(self._server.serve([listener]), "serve")
        self._sampling = Tasks("web_memory")
        if self._memory is not None:
            self._sampling.start(self._memory.run(), "sample")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening, end the streams, and cut the connections that are still there soon after."""
        if not self._url:
            return
        self._url = ""
        self._server.should_exit = True
        await self._sampling.aclose()
        if self._chat is not None:
            self._chat.hang_up()
        if not await self._tasks.wait(_GRACE_S):
            self._server.abort_connections()
            await self._tasks.wait(_GRACE_S)
        await self._tasks.aclose()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs the bot."""
        yield

    def abort_connections(self) -> None:
        """Cut every connection, whatever waits in it."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


class _Connection(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand requests the means to cut their connection: the only way out of a write that is stuck."""
        self.app_state = {"abort": transport.abort}
        super().connection_made(transport)


def _configuration(app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        h11_max_incomplete_event_size=16 * 1024,
    )
