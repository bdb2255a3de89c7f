"""What the server does with messages, receipts, typing and presence. It reads addresses, never contents."""

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass

from tests.whatsapp_server.accounts import Account, Accounts, Device, now, queue_key
from tests.whatsapp_server.faults import Modes
from tests.whatsapp_server.nodes import LID, PHONE, Attribute, Jid, Node
from tests.whatsapp_server.ratchet import RatchetSteps

_TRACE_LENGTH = 20_000
_PASSED_ON = ("meta", "reporting", "biz")  # beside the ciphertext


@dataclass(frozen=True)
class Passage:
    """A node that passed; *way* is "in" from a device, "out" to it, "again" when it waited."""

    at: float
    way: str
    device: str
    tag: str
    id: str
    type: str
    peer: str


class Relay:
    def __init__(self, modes: Modes, statistics: Counter[str]) -> None:
        self.accounts = Accounts()
        self.modes = modes
        self.statistics = statistics
        self._steps = RatchetSteps()
        self._trace: deque[Passage] = deque(maxlen=_TRACE_LENGTH)

    def receive(self, client: str, sender: Device, node: Node) -> list[Node]:
        """Pass the node on; return what the sender is answered at once."""
        self.note("in", sender, node)
        match node.tag:
            case "message":
                return self._message(client, sender, node)
            case "receipt":
                return self._receipt(client, sender, node)
            case "ack":
                kind = node.text("class") or ""
                sender.acknowledge(queue_key(kind, node.text("id"), node.jid("to"), node.text("type")))
            case "chatstate":
                self._typing(client, sender, node)
            case "presence":
                self._presence(sender, node)
        return []

    def note(self, way: str, device: Device, node: Node) -> None:
        peer = node.text("from") or node.text("to") or ""
        passage = (time.time(), way, device.label, node.tag, node.text("id") or "", node.text("type") or "", peer)
        self._trace.append(Passage(*passage))

    def trace(self, since: float) -> list[dict[str, str | float]]:
        """What passed from the time *since* on, oldest first."""
        return [asdict(passage) for passage in self._trace if passage.at >= since]

    def _message(self, client: str, sender: Device, node: Node) -> list[Node]:
        """Acknowledge, and give each addressed device its own ciphertext."""
        self.statistics["messages"] += 1
        to = node.jid("to") or Jid("")
        peer = self.accounts.find(to)
        copies = _copies(node, to)
        if peer is not None and self.modes.get("deliver", client) != "drop":
            for jid, copy in copies.items():
                self._deliver(client, sender, peer, node, jid, copy)
        if self.modes.get("noack", client):
            return []
        # A hash that cannot match sends the client back for the list of devices.
        stale = "participants" in {child.tag for child in node.children} and self._misses_devices(sender, peer, copies)
        phash = "2:changed" if stale else None
        server_id = None if peer else 77
        ack = {"class": "message", "id": node.text("id"), "from": to, "t": now(), "phash": phash}
        return [Node.of("ack", None, **ack, server_id=server_id)]

    def _misses_devices(self, sender: Device, peer: Account | None, copies: dict[Jid, Node]) -> bool:
        listed = {self.accounts.find_device(jid) for jid in copies}
        wanted = {*sender.account.ready_devices(), *(peer.ready_devices() if peer else ())} - {sender}
        return not wanted <= listed

    def _deliver(self, client: str, sender: Device, peer: Account, node: Node, jid: Jid, copy: Node) -> None:
        target, encrypted = self.accounts.find_device(jid), copy.child("enc")
        if target is None or encrypted is None:
            return
        server = self._server_of(node.jid("to"), client)
        attributes = _attributes(sender, target, peer, node, server)
        identity = [child for child in node.children if child.tag == "device-identity"]
        beside = [child for child in node.children if child.tag in _PASSED_ON]
        beside += identity if encrypted.text("type") == "pkmsg" else []
        if self._steps.is_reused(sender.label, target.label, encrypted):
            self.statistics["counters_reused"] += 1
        deliver = self.modes.get("deliver", client)
        if deliver == "corrupt":
            self.modes.take("deliver", client)
            encrypted = _damaged(encrypted)
        delivered = Node("message", attributes, [encrypted, *beside])
        for _ in range(2 if deliver == "twice" else 1):
            self.note("out", target, delivered)
            target.deliver(delivered)

    def _receipt(self, client: str, sender: Device, node: Node) -> list[Node]:
        """It acknowledges a message to the server, and is passed on to who wrote the message."""
        self.statistics["receipts"] += 1
        if self.modes.get("noreceipt", client):
            return []
        to, kind = node.jid("to") or Jid(""), node.text("type")
        if kind != "retry":
            for message_id in _message_ids(node):
                sender.acknowledge(queue_key("message", message_id, to, None))
        peer = self.accounts.find(to)
        if peer is not None:
            for target in self._readers(sender, peer, to, kind):
                target.deliver(_passed_receipt(sender, to, node))
        return [Node.of("ack", class_="receipt", id=node.text("id"), from_=to, type=kind)]

    def _readers(self, sender: Device, peer: Account, to: Jid, kind: str | None) -> list[Device]:
        """A retry, and a receipt of one's own device, go to the device that wrote; others to all of the account."""
        targets = list(peer.devices.values())
        if kind in ("retry", "sender"):
            targets = [device for device in targets if device.number == to.device]
        return [device for device in targets if device is not sender]

    def _typing(self, client: str, sender: Device, node: Node) -> None:
        peer = self.accounts.find(node.jid("to"))
        source = sender.account.jid(self._server_of(node.jid("to"), client))
        for target in peer.devices.values() if peer else ():
            target.say(Node.of("chatstate", node.content, from_=source))

    def _presence(self, sender: Device, node: Node) -> None:
        self.statistics["presence"] += 1
        kind, watched = node.text("type"), self.accounts.find(node.jid("to"))
        if kind == "subscribe":
            if watched is not None:
                watched.watchers.add((sender, (node.jid("to") or Jid("")).server))
            return
        account = sender.account
        account.name = node.text("name") or account.name
        for watcher, server in account.watchers:
            gone = "unavailable" if kind == "unavailable" else None
            watcher.say(Node.of("presence", from_=account.jid(server), type=gone))

    def _server_of(self, to: Jid | None, client: str) -> str:
        """Under which address a sender appears: as it addressed the receiver, unless the mode says otherwise."""
        asked = {"phone": PHONE, "lid": LID}.get(self.modes.get("addressing", client) or "")
        return asked or (to.server if to else PHONE)


def _copies(node: Node, to: Jid) -> dict[Jid, Node]:
    """The ciphertext for each device. Without a list the node itself is one: a retry to a single device."""
    listed = node.child("participants")
    if listed is None:
        return {to: node}
    return {jid: child for child in listed.children if (jid := child.jid("jid")) is not None}


def _attributes(sender: Device, target: Device, peer: Account, node: Node, server: str) -> dict[str, Attribute]:
    other = PHONE if server == LID else LID
    alias = "pn" if server == LID else "lid"
    if target.account is sender.account:  # a copy for another device of the sender
        aside: dict[str, Attribute] = {"recipient": peer.jid(server), f"peer_recipient_{alias}": peer.jid(other)}
    else:
        aside = {f"sender_{alias}": sender.account.jid(other)}
    message = {"id": node.text("id"), "type": node.text("type"), "edit": node.text("edit")}
    kept: dict[str, Attribute] = {name: value for name, value in message.items() if value is not None}
    return {"from": sender.jid(server), "t": now(), "notify": sender.account.name, **kept, **aside}


def _damaged(encrypted: Node) -> Node:
    content = bytearray(encrypted.content if isinstance(encrypted.content, bytes) else b"")
    content[-20] ^= 1  # inside the ciphertext, before its MAC
    return Node("enc", encrypted.attributes, bytes(content))


def _message_ids(receipt: Node) -> list[str | None]:
    more = [item.text("id") for child in receipt.children if child.tag == "list" for item in child.children]
    return [receipt.text("id"), *more]


def _passed_receipt(sender: Device, to: Jid, node: Node) -> Node:
    kept = ("id", "type", "recipient")
    names = {name: value for name, value in node.attributes.items() if name in kept}
    return Node("receipt", {"from": sender.jid(to.server), "t": now(), **names}, node.content)
