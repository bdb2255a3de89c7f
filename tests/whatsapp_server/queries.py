"""Answers to what clients ask: keys, devices, media hosts, settings, to leave."""

import itertools
from collections.abc import Callable

from tests.whatsapp_server.accounts import Account, Device, now
from tests.whatsapp_server.media import HOST
from tests.whatsapp_server.nodes import LID, PHONE, SERVER, Content, Jid, Node
from tests.whatsapp_server.relay import Relay

_FEW_KEYS = 5
_PRIVACY = ("readreceipts", "last", "online", "profile")
_HOURS_6_S = 21_600


class Queries:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._numbers = itertools.count(1)
        self._answers: dict[str, Callable[[Device, Node], Content]] = {
            "encrypt": self._keys,
            "usync": self._users,
            "w:m": _media_hosts,
            "privacy": _privacy,
            "md": self._devices,
        }

    def answer(self, client: str, device: Device, query: Node) -> list[Node]:
        """None, or one."""
        namespace = query.text("xmlns") or ""
        self._relay.statistics[f"query_{namespace}"] += 1
        if query.text("type") in ("result", "error") or self._relay.modes.get("ignore_query", client) == namespace:
            return []
        answer = self._answers.get(namespace)
        content = answer(device, query) if answer else None
        return [Node.of("iq", content, from_=SERVER, type="result", id=query.text("id"))]

    def _keys(self, device: Device, query: Node) -> Content:
        if query.text("type") == "set":
            self._upload(device, query)
            return None
        first = query.children[0]
        if first.tag == "count":
            # For 0 a new device would make 812 keys and not 50, which takes a second.
            return [Node.of("count", value=max(1, len(device.one_time_keys)))]
        return [Node.of("list", [self._bundle(user.jid("jid")) for user in first.children])]

    def _upload(self, device: Device, query: Node) -> None:
        is_new = not device.keys
        for child in query.children:
            if child.tag == "list":
                device.one_time_keys.extend(child.children)
            else:
                device.keys[child.tag] = child
        if is_new:
            self._announce(device)

    def _announce(self, device: Device) -> None:
        """The account's other devices forget the list of devices that they hold."""
        account = device.account
        listed = [Node.of("device", jid=other.jid(LID)) for other in account.devices.values()]
        devices = Node.of("devices", listed, dhash="2:changed")
        for other in account.ready_devices():
            if other is not device:
                other.deliver(self._notification(account.lid_jid, "account_sync", devices))

    def _devices(self, device: Device, query: Node) -> Content:
        """A device may leave its own account."""
        leaving = query.child("remove-companion-device")
        if leaving is not None and leaving.jid("jid") in (device.jid(PHONE), device.jid(LID)):
            self._relay.note("in", device, leaving)
            self._relay.accounts.remove(device)
            self._announce(device)
        return None

    def _bundle(self, jid: Jid | None) -> Node:
        """What opens a session with a device. A one-time key is handed out once."""
        device = self._relay.accounts.find_device(jid) if jid else None
        if device is None or not device.keys:
            return Node.of("user", [Node.of("error", code="404", text="item-not-found")], jid=jid)
        keys = [device.keys[tag] for tag in ("registration", "type", "identity")]
        keys += [device.one_time_keys.popleft()] if device.one_time_keys else []
        if len(device.one_time_keys) < _FEW_KEYS:
            left = Node.of("count", value=len(device.one_time_keys))
            device.deliver(self._notification(SERVER, "encrypt", left))
        self._relay.statistics["bundles"] += 1
        return Node.of("user", [*keys, device.keys["skey"]], jid=jid)

    def _notification(self, source: Jid, kind: str, content: Node) -> Node:
        node_id = f"notification-{next(self._numbers)}"
        return Node.of("notification", [content], from_=source, type=kind, id=node_id, t=now())

    def _users(self, _: Device, query: Node) -> Content:
        first = query.children[0]
        asked = {child.tag for child in _children(first, "query")}
        users = [self._user(user, asked) for user in _children(first, "list")]
        return [Node.of("usync", [Node.of("list", users)], sid=first.text("sid"))]

    def _user(self, user: Node, asked: set[str]) -> Node:
        jid = user.jid("jid")
        if jid is None:
            return self._contact(user.child("contact") or Node("contact"))
        account = self._relay.accounts.find(jid)
        parts = _known(account, asked) if account else []
        return Node.of("user", parts, jid=jid)

    def _contact(self, contact: Node) -> Node:
        """Whether a number, written as the content, is on WhatsApp."""
        content = contact.content.decode() if isinstance(contact.content, bytes) else str(contact.content)
        phone = Jid(content.partition("@")[0].lstrip("+"))
        account = self._relay.accounts.find(phone)
        found = Node.of("contact", contact.content, type="in" if account else "out")
        return Node.of("user", [found], jid=account.lid_jid if account else None, pn_jid=phone)


def _known(account: Account, asked: set[str]) -> list[Node]:
    parts = []
    if "devices" in asked:
        listed = [Node.of("device", id=device.number) for device in account.ready_devices()]
        parts.append(Node.of("devices", [Node.of("device-list", listed)]))
    if "lid" in asked:
        parts.append(Node.of("lid", val=account.lid_jid))
    return parts


def _children(node: Node, tag: str) -> list[Node]:
    child = node.child(tag)
    return child.children if child else []


def _media_hosts(_: Device, query: Node) -> Content:
    hosts = [Node.of("host", hostname=HOST)]
    return [Node.of("media_conn", hosts, auth="AUTH", auth_ttl=_HOURS_6_S, ttl=_HOURS_6_S, max_buckets=12)]


def _privacy(_: Device, query: Node) -> Content:
    if query.child("privacy") is None:
        return None
    return [Node.of("privacy", [Node.of("category", name=name, value="all") for name in _PRIVACY])]
