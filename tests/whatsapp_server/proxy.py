"""The way in: an HTTP CONNECT proxy that knows who is calling, and can cut the line.

Clients name themselves by the user of the proxy's address, ``http://bot:x@127.0.0.1:PORT``. Whatever host they ask for,
they get the server's own.
"""

import asyncio
import base64
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.whatsapp_server.faults import Modes

_CHUNK_BYTES = 65536


@dataclass(eq=False)
class _Line:
    client: str
    outer: asyncio.StreamWriter
    inner: asyncio.StreamWriter | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self, *, reset: bool) -> None:
        if reset:
            _reset_on_close(self.outer)
        for writer in (self.outer, self.inner):
            if writer is not None:
                writer.transport.abort()
        self.ended.set()


class Proxy:
    """*ports* says where each host is served; *names* will hold each client by the port that it comes from inside."""

    def __init__(self, modes: Modes, statistics: Counter[str], ports: Mapping[str, int]) -> None:
        self._modes = modes
        self._statistics = statistics
        self._ports = ports
        self._lines: list[_Line] = []
        self.names: dict[int, str] = {}

    async def start(self) -> int:
        """The port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        self._server = server
        return port

    def cut(self, client: str | None, *, reset: bool = False) -> int:
        """End the lines of a client, or all, at once; with *reset* as a connection reset. Return how many."""
        lines = [line for line in self._lines if client in (None, line.client)]
        for line in lines:
            line.cut(reset=reset)
        return len(lines)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._statistics["connections"] += 1
        try:
            host, client = _read_request(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        line = _Line(client, writer)
        self._lines.append(line)
        carrying = asyncio.create_task(self._carry(line, host, reader))
        ended = asyncio.create_task(line.ended.wait())
        await asyncio.wait((carrying, ended), return_when=asyncio.FIRST_COMPLETED)
        self._lines.remove(line)
        for task in (carrying, ended):
            task.cancel()
        await asyncio.gather(carrying, ended, return_exceptions=True)
        line.cut(reset=False)

    async def _carry(self, line: _Line, host: str, reader: asyncio.StreamReader) -> None:
        fault = self._modes.get("proxy", line.client)
        if fault == "hang":
            await reader.read()  # until the client gives up, or is cut
            return None
        if fault == "refuse":
            line.outer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return await line.outer.drain()
        inner_reader, line.inner = await asyncio.open_connection("127.0.0.1", self._ports[host])
        self.names[line.inner.get_extra_info("sockname")[1]] = line.client
        line.outer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        ways = ((reader, line.inner), (inner_reader, line.outer))
        await asyncio.gather(*(self._copy(line.client, source, sink) for source, sink in ways))

    async def _copy(self, client: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK_BYTES):
                await self._modes.while_set("blackhole", client)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the other side has gone: so does this one
        finally:
            sink.close()


def _read_request(head: bytes) -> tuple[str, str]:
    """The host asked for, and the client's name ("?" when it gave none)."""
    first, *headers = head.decode().split("\r\n")
    host = first.split()[1].partition(":")[0]
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "proxy-authorization":
            return host, base64.b64decode(value.split()[-1]).decode().partition(":")[0]
    return host, "?"


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    # No time to linger: the kernel answers with RST in place of FIN.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
