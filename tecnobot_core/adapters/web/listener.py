"""Where the server may listen, and the socket it listens on."""

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator

from ...errors import ConfigurationError

_MIN_TOKEN_LENGTH = 16


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*; names are not looked up, so but "localhost" none is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def binding_problems(host: str, port: int, token: str, metrics_token: str) -> Iterator[str]:
    """A sentence for everything that forbids to listen like this."""
    exposed = not is_loopback(host)
    if not 0 <= port <= 65535:
        yield f"WEB_PORT is {port}; wanted is a number from 0 (any free port) to 65535"
    if exposed and not token:
        yield f"others can reach WEB_HOST {host!r}: set WEB_TOKEN, of {_MIN_TOKEN_LENGTH} characters or more"
    for name, text in (("WEB_TOKEN", token), ("METRICS_TOKEN", metrics_token)):
        if not (text.isascii() and text.isprintable() and " " not in text):
            yield f"{name} must be printable ASCII without spaces, to travel in a header"
        if exposed and 0 < len(text) < _MIN_TOKEN_LENGTH:
            yield f"others can reach WEB_HOST {host!r}: {name} needs {_MIN_TOKEN_LENGTH} characters, not {len(text)}"


async def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigurationError says what to change when there can be none."""
    find = asyncio.get_running_loop().getaddrinfo
    try:
        found = await find(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _bound(*found[0])
    except OSError as error:
        raise ConfigurationError(_listen_problem(host, port, error)) from error


def url_of(listener: socket.socket) -> str:
    """The address of *listener* for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _bound(family: int, kind: int, protocol: int, _name: str, address: tuple[str | int, ...]) -> socket.socket:
    # With the protocol named, unlike socket.create_server: asyncio switches Nagle's algorithm off only for sockets that
    # say they are TCP, and with it every answer would wait 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken by another program; set WEB_PORT to another one, or to 0 for any free port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this process lacks; set WEB_PORT to 1024 or more"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host!r} is not an address of this machine; set WEB_HOST to one, such as 127.0.0.1"
    return f"cannot listen on {host}, port {port} (WEB_HOST, WEB_PORT): {error.strerror}"
