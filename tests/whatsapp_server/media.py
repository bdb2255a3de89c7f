"""The media server: encrypted files go up and come down, unread."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.whatsapp_server.faults import Modes

HOST = "mmg.whatsapp.net"
_MAX_HEAD_BYTES = 65536


class MediaServer:
    """POST of a path ends with the name of the file, and answers where to GET it. One request for each connection."""

    def __init__(self, modes: Modes, statistics: Counter[str], names: Mapping[int, str]) -> None:
        self._modes = modes
        self._statistics = statistics
        self._names = names
        self._files: dict[str, bytes] = {}

    async def start(self, tls: ssl.SSLContext) -> int:
        """The port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=_MAX_HEAD_BYTES)
        self._server = server
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status, body = await self._answer(reader, self._names.get(writer.get_extra_info("peername")[1]))
            writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
            writer.write(body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # cut
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, client: str | None) -> tuple[int, bytes]:
        method, path, size = _read_head(await reader.readuntil(b"\r\n\r\n"))
        content = await reader.readexactly(size)
        self._statistics[f"media_{method.lower()}"] += 1
        fault = self._modes.get("upload" if method == "POST" else "media", client)
        if fault == "hang":
            await reader.read()  # until the client gives up, or is cut
            return 503, b""
        if fault:
            return int(fault), b""
        name = path.rpartition("/")[2]
        if method == "POST":
            self._files[name] = content
            # A client appends "&hash=…" to this path, so that it needs a query.
            where = f"/v/{name}?ccb=1"
            return 200, json.dumps({"url": f"https://{HOST}{where}", "direct_path": where}).encode()
        return (200, self._files[name]) if name in self._files else (404, b"")


def _read_head(head: bytes) -> tuple[str, str, int]:
    """Method, path, and the size of the body in bytes."""
    first, *headers = head.decode().split("\r\n")
    method, target, _ = first.split()
    fields = (header.partition(":") for header in headers)
    size = next((int(value) for name, _, value in fields if name.lower() == "content-length"), 0)
    return method, urlsplit(target).path, size
