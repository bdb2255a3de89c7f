"""What goes wrong, for one client or for all: lasting modes, and single faults of a link."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.whatsapp_server.nodes import Jid, Node
from tests.whatsapp_server.protobuf import field as protobuf_field

MODES = {
    "proxy": "refuse | hang: answer CONNECT with 502, or never",
    "upgrade": "hang | a status such as 503: the websocket's request",
    "handshake": "hang: the server's half of the Noise handshake never comes",
    "on_connect": "a fault in place of <success>, such as 'failure 401'; 'once failure 401' only for the next login",
    "blackhole": "on: bytes stop both ways, the connection stays",
    "ignore_query": "a namespace such as passive, w:p or usync: its queries get no answer",
    "noack": "on: messages are passed on, their sender gets no ack",
    "noreceipt": "on: receipts are not seen, so messages stay queued and come again after a reconnect",
    "deliver": "drop | twice | corrupt: lose all; each twice; damage the next one, which is asked for again",
    "addressing": "phone | lid: how a sender is written, whatever was addressed",
    "upload": "hang | a status: media going up",
    "media": "hang | a status such as 404: media coming down",
}
"""Every mode, and its values."""

_WORDS = {
    "proxy": {"refuse", "hang"},
    "upgrade": {"hang"},
    "handshake": {"hang"},
    "blackhole": {"on"},
    "noack": {"on"},
    "noreceipt": {"on"},
    "deliver": {"drop", "twice", "corrupt"},
    "addressing": {"phone", "lid"},
    "upload": {"hang"},
    "media": {"hang"},
}
_WITH_STATUS = {"upgrade", "upload", "media"}


class Modes:
    """Lasting faults. One that is set for a client goes before one for all."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str | None], str] = {}
        self._changed = asyncio.Event()

    def set(self, name: str, value: str, client: str | None = None) -> None:
        """Begin a mode; an empty *value* ends it. Raises ``ValueError`` for what ``MODES`` does not list."""
        _check_mode(name, value)
        if value:
            self._values[name, client] = value
        else:
            self._values.pop((name, client), None)
        self._changed.set()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """End all modes."""
        self._values.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def get(self, name: str, client: str | None) -> str | None:
        return self._values.get((name, client)) or self._values.get((name, None))

    def take(self, name: str, client: str | None) -> str | None:
        """The mode's value, and end the mode."""
        value = self.get(name, client)
        self._values.pop((name, client if (name, client) in self._values else None), None)
        return value

    async def while_set(self, name: str, client: str | None) -> None:
        """Return when the mode is not set."""
        while self.get(name, client):
            await self._changed.wait()


@dataclass(frozen=True)
class Fault:
    """One thing that the server does to a link: nodes to send, then perhaps the end."""

    nodes: list[Node] = field(default_factory=list)
    closes: bool = False
    mutes: bool | None = None
    resets: bool = False

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Raises ``ValueError`` that lists the faults."""
        name, *arguments = text.split() or [""]
        stays_open = "-noclose" in arguments
        arguments = [argument for argument in arguments if argument != "-noclose"]
        try:
            fault = _FAULTS[name](arguments)
        except (KeyError, IndexError):
            raise ValueError(f"{text!r} is no fault; it is one of: {', '.join(FAULTS)}") from None
        return cls(fault.nodes, fault.closes and not stays_open, fault.mutes, fault.resets)


FAULTS = (
    "failure REASON [CODE EXPIRE_S] [-noclose]",
    "streamerr CODE [-noclose]",
    "replaced [-noclose]",
    "removed [-noclose]",
    "mute",
    "unmute",
    "close",
    "rst",
    "channel ID TEXT",
)
"""Every fault. With -noclose the server leaves the connection open afterwards."""


def _failure(arguments: list[str]) -> Fault:
    code, expire = (arguments[1], arguments[2]) if len(arguments) > 1 else (None, None)
    return Fault([Node.of("failure", reason=arguments[0], code=code, expire=expire)], closes=True)


def _stream_error(arguments: list[str]) -> Fault:
    return Fault([Node.of("stream:error", code=arguments[0])], closes=True)


def _replaced(_: list[str]) -> Fault:
    return Fault([Node.of("stream:error", [Node.of("conflict", type="replaced")])], closes=True)


def _removed(_: list[str]) -> Fault:
    return Fault([Node.of("stream:error", [Node.of("conflict", type="device_removed")], code="401")], closes=True)


def _channel(arguments: list[str]) -> Fault:
    """A message of a public channel: in plain text, and the only kind that comes twice when it is sent twice."""
    text = protobuf_field(1, " ".join(arguments[1:]).encode())
    source = Jid("120363000", "newsletter")
    body = [Node.of("plaintext", text)]
    message_id = arguments[0]
    return Fault([Node.of("message", body, from_=source, id=message_id, t="1700000000", type="text", server_id="5")])


_FAULTS: dict[str, Callable[[list[str]], Fault]] = {
    "failure": _failure,
    "streamerr": _stream_error,
    "replaced": _replaced,
    "removed": _removed,
    "mute": lambda _: Fault(mutes=True),
    "unmute": lambda _: Fault(mutes=False),
    "close": lambda _: Fault(closes=True),
    "rst": lambda _: Fault(resets=True),
    "channel": _channel,
}


def _check_mode(name: str, value: str) -> None:
    if name not in MODES:
        raise ValueError(f"{name!r} is no mode; the modes are {', '.join(MODES)}")
    if not value or name == "ignore_query":
        return
    if name == "on_connect":
        Fault.parse(value.removeprefix("once "))
    elif value not in _WORDS[name] and not (name in _WITH_STATUS and value.isdigit()):
        raise ValueError(f"{name} cannot be {value!r}; it is {MODES[name]}")
