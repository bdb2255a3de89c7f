"""The server itself: its listeners, and the commands that steer it."""

import http
import json
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.whatsapp_server.certificates import NoiseIdentity, raw_public, write_tls
from tests.whatsapp_server.faults import Fault, Modes
from tests.whatsapp_server.link import WebsocketLink
from tests.whatsapp_server.media import HOST, MediaServer
from tests.whatsapp_server.pairing import Pairing
from tests.whatsapp_server.proxy import Proxy
from tests.whatsapp_server.queries import Queries
from tests.whatsapp_server.relay import Relay

_CHAT_HOST = "web.whatsapp.com"
EVERYONE = "*"
"""In a command, instead of a client's name."""

_log = logging.getLogger(__name__)


class Service:
    """Everything listens on loopback, on ports of the system's choice."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._identity = NoiseIdentity()
        self._modes = Modes()
        self._statistics: Counter[str] = Counter()
        self._ports: dict[str, int] = {}
        self._proxy = Proxy(self._modes, self._statistics, self._ports)
        self._relay = Relay(self._modes, self._statistics)
        self._queries = Queries(self._relay)
        self._pairing = Pairing(self._relay.accounts, self._modes, self._statistics)
        self._links: list[WebsocketLink] = []
        self._commands: dict[str, Callable[[str], Any]] = {
            "mode": self._set_mode,
            "clear": lambda _: self._modes.clear(),
            "fault": self._fault,
            "cut": self._cut,
            "statistics": self._count,
            "devices": self._describe_devices,
            "pairings": lambda _: self._pairing.describe(),
            "scan": lambda rest: self._pairing.scan(*rest.split()),
            "enter": lambda rest: self._pairing.enter(*rest.split()),
            "unlink": self._unlink,
            "trace": lambda since: self._relay.trace(float(since or 0)),
        }

    async def start(self) -> dict[str, Any]:
        """Listen; return the proxy's port, the root key as hex, and the file of the authority to trust."""
        authority, certificate = write_tls(self._directory)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        self._server = await self._serve_chat(tls)
        self._ports[_CHAT_HOST] = self._server.sockets[0].getsockname()[1]
        self._media = MediaServer(self._modes, self._statistics, self._proxy.names)
        self._ports[HOST] = await self._media.start(tls)
        port = await self._proxy.start()
        return {"proxy": port, "root": raw_public(self._identity.root).hex(), "authority": str(authority)}

    def command(self, line: str) -> str:
        """Run one line; return one line of JSON, with "value" or "error"."""
        name, _, rest = line.strip().partition(" ")
        try:
            if name not in self._commands:
                raise ValueError(f"{name!r} is no command; the commands are {', '.join(self._commands)}")
            return json.dumps({"value": self._commands[name](rest)})
        except (TypeError, ValueError) as error:  # the first: a word too few or too many
            return json.dumps({"error": str(error)})

    async def _serve_chat(self, tls: ssl.SSLContext) -> Server:
        return await serve(
            self._serve_link,
            "127.0.0.1",
            0,
            ssl=tls,
            process_request=self._before_upgrade,
            compression=None,
            max_size=None,
            # Neither hurry nor probe: what hangs must hang as long as the test wants.
            open_timeout=None,
            ping_interval=None,
        )

    async def _before_upgrade(self, connection: ServerConnection, _: Request) -> Response | None:
        self._statistics["upgrades"] += 1
        fault = self._modes.get("upgrade", self._client_of(connection))
        if fault == "hang":
            await connection.wait_closed()
            return None
        return connection.respond(http.HTTPStatus(int(fault)), "no\n") if fault else None

    async def _serve_link(self, connection: ServerConnection) -> None:
        self._statistics["websockets"] += 1
        link = WebsocketLink(self._client_of(connection), connection, self._relay, self._queries, self._pairing)
        self._links.append(link)
        try:
            await link.run(self._identity)
        except (ConnectionClosed, OSError):
            pass  # the client left
        except Exception:
            _log.exception("the link of %s failed", link.client)
            self._statistics["failures"] += 1
        finally:
            self._links.remove(link)

    def _client_of(self, connection: ServerConnection) -> str:
        return self._proxy.names.get(connection.remote_address[1], "?")

    def _set_mode(self, rest: str) -> None:
        client, _, assignment = rest.partition(" ")
        name, _, value = assignment.partition("=")
        self._modes.set(name, value, None if client == EVERYONE else client)

    def _fault(self, rest: str) -> int:
        client, _, text = rest.partition(" ")
        fault = Fault.parse(text)
        if fault.resets:
            return self._proxy.cut(None if client == EVERYONE else client, reset=True)
        links = [link for link in self._links if client in (EVERYONE, link.client)]
        for link in links:
            link.suffer(fault)
        return len(links)

    def _cut(self, client: str) -> int:
        return self._proxy.cut(None if client == EVERYONE else client)

    def _unlink(self, label: str) -> None:
        """The phone removes a device of its account."""
        device = next((each for each in self._relay.accounts.devices() if each.label == label), None)
        if device is None:
            raise ValueError(f"there is no device {label!r}")
        self._relay.accounts.remove(device)
        if isinstance(device.link, WebsocketLink):
            device.link.suffer(Fault.parse("removed"))

    def _count(self, _: str) -> dict[str, int]:
        return {"counters_reused": 0, **self._statistics, "links": len(self._links)}

    def _describe_devices(self, _: str) -> dict[str, dict[str, int | bool]]:
        return {
            device.label: {
                "online": device.link is not None and device.link.active,
                "queued": len(device.queue),
                "one_time_keys": len(device.one_time_keys),
            }
            for device in self._relay.accounts.devices()
        }
