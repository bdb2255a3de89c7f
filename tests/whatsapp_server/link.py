"""One client's websocket: handshake, login, nodes in and out."""

import asyncio
from collections import Counter
from contextlib import suppress

from websockets.asyncio.server import ServerConnection

from tests.whatsapp_server.accounts import Device, now
from tests.whatsapp_server.certificates import NoiseIdentity
from tests.whatsapp_server.faults import Fault
from tests.whatsapp_server.nodes import LID, SERVER, Node
from tests.whatsapp_server.noise import Channel, Frames, respond
from tests.whatsapp_server.pairing import Pairing
from tests.whatsapp_server.protobuf import Fields
from tests.whatsapp_server.queries import Queries
from tests.whatsapp_server.relay import Relay

# Field numbers of ClientPayload.
_USERNAME, _DEVICE = 1, 18

_CLOSE = None
_LAST_WORDS = ("failure", "stream:error")
_GRACE_S = 0.1
# neonize can miss a refusal that comes while its own call to connect still runs: it then says nothing for ever. No
# server outside this machine is that quick; on a busy machine it is missed now and then all the same.
_REFUSAL_S = 0.1


class WebsocketLink:
    """``accounts.Link`` over a websocket. A muted link says nothing: the half-open connection of a dead server."""

    def __init__(self, client: str, socket: ServerConnection, relay: Relay, queries: Queries, pairing: Pairing) -> None:
        self.client = client
        self.active = False
        self._socket = socket
        self._relay = relay
        self._queries = queries
        self._pairing = pairing
        self._muted = False
        self._device: Device | None = None
        self._outgoing: asyncio.Queue[Node | None] = asyncio.Queue()

    async def run(self, identity: NoiseIdentity) -> None:
        """Serve until the client leaves."""
        if self._relay.modes.get("handshake", self.client):
            return await self._socket.wait_closed()
        channel, noise_key, login = await respond(Frames(self._socket), identity)
        writing = asyncio.create_task(self._write(channel))
        try:
            self._log_in(noise_key, login)
            while True:
                self._receive(await channel.receive())
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self._pairing.leave(self)
            if self._device is not None and self._device.link is self:
                self._device.link = None

    def send(self, node: Node) -> None:
        if not self._muted:
            self._outgoing.put_nowait(node)

    def suffer(self, fault: Fault) -> None:
        """A reset is the proxy's to do."""
        for node in fault.nodes:
            self.send(node)
        if fault.mutes is not None:
            self._muted = fault.mutes
        if fault.closes:
            self._outgoing.put_nowait(_CLOSE)

    def _receive(self, node: Node) -> None:
        device = self._device
        if device is None:
            self._send_all(self._pairing.receive(self, node))
        elif node.tag == "iq":
            self._send_all(self._queries.answer(self.client, device, node))
            if node.child("active") is not None:
                self._activate(device)
        else:
            self._send_all(self._relay.receive(self.client, device, node))

    def _log_in(self, noise_key: bytes, login: Fields) -> None:
        if _USERNAME not in login:
            return self._pairing.offer(self, noise_key, login)
        self._relay.statistics["logins"] += 1
        fault = self._fault_of_login()
        device = self._relay.accounts.log_in(str(login.number(_USERNAME)), login.number(_DEVICE), noise_key)
        if device is None:
            fault = Fault.parse("failure 401")
        else:
            self._take_over(device)
        if fault is not None:
            asyncio.get_running_loop().call_later(_REFUSAL_S, self.suffer, fault)
            return
        assert device is not None
        self.send(Node.of("success", t=now(), lid=device.jid(LID), location="test"))

    def _take_over(self, device: Device) -> None:
        if isinstance(device.link, WebsocketLink):
            device.link.suffer(Fault.parse("replaced"))
        device.link, self._device = self, device

    def _fault_of_login(self) -> Fault | None:
        text = self._relay.modes.get("on_connect", self.client)
        if text is None:
            return None
        if text.startswith("once "):
            self._relay.modes.take("on_connect", self.client)
        return Fault.parse(text.removeprefix("once "))

    def _activate(self, device: Device) -> None:
        """The client asked for its traffic: first what waited, between a preview and an end mark."""
        self.active = True
        waiting = list(device.queue.values())
        if waiting:
            tags = Counter(node.tag for node in waiting)
            counts = {tag: tags[tag] for tag in ("message", "receipt", "notification")}
            self.send(Node.of("ib", [Node.of("offline_preview", None, count=len(waiting), appdata=0, **counts)]))
        for number, node in enumerate(waiting):
            again = Node(node.tag, {**node.attributes, "offline": str(number)}, node.content)
            self._relay.note("again", device, again)
            self.send(again)
        self.send(Node.of("ib", [Node.of("offline", count=len(waiting))], from_=SERVER))

    def _send_all(self, nodes: list[Node]) -> None:
        for node in nodes:
            self.send(node)

    async def _write(self, channel: Channel) -> None:
        last = None
        while (node := await self._outgoing.get()) is not _CLOSE:
            await channel.send(node)
            last = node.tag
        if last in _LAST_WORDS:
            # A client that reads the end of the connection first forgets the node that it has not handled.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._socket.wait_closed(), _GRACE_S)
        await self._socket.close()
