"""Accounts, their linked devices, and what waits for each device until it says that it has it."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from tests.whatsapp_server.nodes import LID, PHONE, Jid, Node
from tests.whatsapp_server.seeding import LID_PREFIX


class Link(Protocol):
    """A device's connection. It is active once the device has asked for its traffic."""

    active: bool

    def send(self, node: Node) -> None: ...


QueueKey = tuple[str, str, str, str | None]


@dataclass(eq=False)
class Device:
    account: "Account"
    number: int
    keys: dict[str, Node] = field(default_factory=dict)
    """The uploaded nodes registration, type, identity and skey, by their tag."""
    one_time_keys: deque[Node] = field(default_factory=deque)
    queue: dict[QueueKey, Node] = field(default_factory=dict)
    """What the device has not acknowledged, in the order of delivery."""
    link: Link | None = None
    noise_key: bytes | None = None
    """By which it is known when it logs in; None: it came already paired, and nothing was told of its keys."""

    @property
    def label(self) -> str:
        return f"{self.account.number}:{self.number}"

    def jid(self, server: str) -> Jid:
        return Jid(self.account.user(server), server, self.number)

    def deliver(self, node: Node) -> None:
        """Keep the node until it is acknowledged; send it now when the device is listening."""
        key = queue_key(node.tag, node.text("id"), node.jid("from"), node.text("type"))
        self.queue[key] = node
        self.say(node)

    def say(self, node: Node) -> None:
        """Send what may be lost, when the device is listening."""
        if self.link is not None and self.link.active:
            self.link.send(node)

    def acknowledge(self, key: QueueKey) -> None:
        self.queue.pop(key, None)


class Account:
    def __init__(self, number: str) -> None:
        self.number = number
        self.name = "-"
        self.devices: dict[int, Device] = {}
        self.watchers: set[tuple[Device, str]] = set()
        """Who asked for its presence, and under which of its addresses."""

    @property
    def phone_jid(self) -> Jid:
        return Jid(self.number)

    @property
    def lid_jid(self) -> Jid:
        return Jid(self.user(LID), LID)

    def user(self, server: str) -> str:
        return LID_PREFIX + self.number if server == LID else self.number

    def jid(self, server: str) -> Jid:
        return Jid(self.user(server), server)

    def ready_devices(self) -> list[Device]:
        """Those that uploaded keys, so that a message can be encrypted for them."""
        return [device for device in self.devices.values() if device.keys]


class Accounts:
    """Everyone who has joined here, or logged in once."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._removed: set[tuple[str, int]] = set()

    def log_in(self, number: str, device_number: int, noise_key: bytes) -> Device | None:
        """None when the device was removed, or is another than the one that joined under this number."""
        if (number, device_number) in self._removed:
            return None
        account = self._accounts.setdefault(number, Account(number))
        device = account.devices.setdefault(device_number, Device(account, device_number))
        return device if device.noise_key in (None, noise_key) else None

    def next_device(self, number: str) -> int:
        """A number for one more device of the account; those of removed devices are not given again."""
        taken = {device for owner, device in self._removed if owner == number} | {0}
        account = self._accounts.get(number)
        return max(taken | set(account.devices if account else ())) + 1

    def join(self, number: str, device_number: int, noise_key: bytes) -> None:
        """Let a device log in, with this key only."""
        account = self._accounts.setdefault(number, Account(number))
        account.devices[device_number] = Device(account, device_number, noise_key=noise_key)

    def remove(self, device: Device) -> None:
        """Never let it in again."""
        del device.account.devices[device.number]
        self._removed.add((device.account.number, device.number))

    def find(self, jid: Jid | None) -> Account | None:
        """The account under either of its addresses."""
        if jid is None or jid.server not in (PHONE, LID):
            return None
        return self._accounts.get(jid.user if jid.server == PHONE else jid.user.removeprefix(LID_PREFIX))

    def find_device(self, jid: Jid) -> Device | None:
        account = self.find(jid)
        return account.devices.get(jid.device) if account else None

    def devices(self) -> list[Device]:
        return [device for account in self._accounts.values() for device in account.devices.values()]


def queue_key(tag: str, node_id: str | None, peer: Jid | None, kind: str | None) -> QueueKey:
    """What an acknowledgement names. Receipts of one message differ by their type, messages do not."""
    return tag, node_id or "", str(peer), kind if tag == "receipt" else None


def now() -> str:
    return str(int(time.time()))
