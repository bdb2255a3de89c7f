"""Devices that join an account: offered to a client, confirmed by the account's phone, signed by the device."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.whatsapp_server.accounts import Account, Accounts, Device, now
from tests.whatsapp_server.faults import Fault, Modes
from tests.whatsapp_server.nodes import LID, PHONE, SERVER, Content, Jid, Node
from tests.whatsapp_server.phone import FORGERIES, Entry, MistypedError, Phone, Scanned
from tests.whatsapp_server.protobuf import Fields

_REFERENCES = [f"2@REFERENCE{number}" for number in range(6)]  # each is shown in a QR code for a while
_NAMESPACE = "md"
_BY_CODE = "link_code_companion_reg"
_REFERENCE = "link_code_pairing_ref"
_OVER = ("joined", "refused", "left")

# Field numbers of ClientPayload, and of the registration in it.
_REGISTRATION, _IDENTITY = 19, 3


class Link(Protocol):
    """The connection of a client without an account."""

    client: str

    def send(self, node: Node) -> None: ...
    def suffer(self, fault: Fault) -> None: ...


@dataclass(eq=False)
class Candidate:
    """A client that wants to join, and how far it is: offered, entered, mistyped, confirmed, then one of ``_OVER``."""

    link: Link
    noise_key: bytes
    identity_key: bytes
    state: str = "offered"
    detail: str = ""
    number: str = ""
    device: int = 0
    question: str = ""  # the id of the confirmation, which it is to answer
    wrapped_key: bytes = field(default=b"", repr=False)
    entry: Entry | None = field(default=None, repr=False)


class Pairing:
    def __init__(self, accounts: Accounts, modes: Modes, statistics: Counter[str]) -> None:
        self._accounts = accounts
        self._modes = modes
        self._statistics = statistics
        self._phones: dict[str, Phone] = {}
        self._candidates: list[Candidate] = []
        self._numbers = itertools.count(1)

    def offer(self, link: Link, noise_key: bytes, login: Fields) -> None:
        """Let a client without an account show how it can be found."""
        self._statistics["pairing_offers"] += 1
        identity_key = login.message(_REGISTRATION).bytes(_IDENTITY)
        self._candidates.append(Candidate(link, noise_key, identity_key))
        self._ask(link, Node.of("pair-device", [Node.of("ref", each.encode()) for each in _REFERENCES]))

    def receive(self, link: Link, node: Node) -> list[Node]:
        """What a client without an account says; return what it is answered at once."""
        candidate = next((each for each in self._candidates if each.link is link), None)
        if candidate is None or node.tag != "iq":
            return []
        kind, namespace = node.text("type"), node.text("xmlns") or ""
        if kind in ("result", "error"):
            self._hear_answer(candidate, node)
            return []
        self._statistics[f"query_{namespace}"] += 1
        if self._modes.get("ignore_query", link.client) == namespace:
            return []
        asked = node.child(_BY_CODE)
        content = self._answer(candidate, asked) if asked is not None else None
        return [Node.of("iq", content, from_=SERVER, type="result", id=node.text("id"))]

    def leave(self, link: Link) -> None:
        """The client's connection has ended: nobody can find it any more."""
        for candidate in self._candidates:
            if candidate.link is link and candidate.state not in _OVER:
                candidate.state, candidate.detail = "left", candidate.state

    def scan(self, number: str, text: str, forged: str = "") -> str:
        """The phone of *number* reads a QR code; return "number:device" of what may join now.

        With *forged* the confirmation comes from somebody who has not the key for that part. Raises ``ValueError``.
        """
        if forged and forged not in FORGERIES:
            raise ValueError(f"{forged!r} cannot be forged; {' or '.join(FORGERIES)} can")
        scanned = Scanned.read(text)
        candidate = self._find(lambda each: _shows(each, scanned), "shows this QR code")
        candidate.number = number
        self._confirm(candidate, scanned.secret, forged)
        return f"{number}:{candidate.device}"

    def enter(self, number: str, code: str) -> None:
        """A code is typed on the phone of *number*. ``describe`` tells whether it was right. Raises ``ValueError``."""
        shown = self._find(lambda each: each.number == number and bool(each.wrapped_key), f"shows a code for {number}")
        shown.entry = Entry(self._phone(number), code, shown.wrapped_key)
        shown.state = "entered"
        content = [
            Node.of(_REFERENCE, _REFERENCES[0].encode()),
            Node.of("link_code_pairing_wrapped_primary_ephemeral_pub", shown.entry.wrapped_key),
            Node.of("primary_identity_pub", self._phone(number).public_key),
        ]
        hello = Node.of(_BY_CODE, content, stage="primary_hello")
        node_id = f"code-{next(self._numbers)}"
        shown.link.send(Node.of("notification", [hello], from_=SERVER, type=_BY_CODE, id=node_id, t=now()))

    def describe(self) -> list[dict[str, str | int]]:
        """Everyone who was offered to join, oldest first."""
        return [
            {"client": each.link.client, "state": each.state, "detail": each.detail, "device": each.device}
            for each in self._candidates
        ]

    def _answer(self, candidate: Candidate, asked: Node) -> Content:
        """The two questions of joining by code."""
        stage = asked.text("stage")
        if stage == "companion_hello":
            candidate.number = (asked.jid("jid") or Jid("")).user
            candidate.wrapped_key = _content(asked, "link_code_pairing_wrapped_companion_ephemeral_pub")
            return [Node.of(_BY_CODE, [Node.of(_REFERENCE, _REFERENCES[0].encode())])]
        if stage == "companion_finish" and candidate.entry is not None:
            bundle = _content(asked, "link_code_pairing_wrapped_key_bundle")
            try:
                secret = candidate.entry.finish(bundle, candidate.identity_key)
            except MistypedError:
                candidate.state = "mistyped"  # the phone says so; nobody tells the device
            else:
                self._confirm(candidate, secret)
        return None

    def _confirm(self, candidate: Candidate, secret: bytes, forged: str = "") -> None:
        """The phone lets the device join, which looks whether it was its own phone."""
        candidate.device = self._accounts.next_device(candidate.number)
        candidate.state = "confirmed"
        phone, account = self._phone(candidate.number), Account(candidate.number)
        identity = phone.confirm(candidate.identity_key, secret, candidate.device, forged)
        joining = Device(account, candidate.device)
        device = Node.of("device", jid=joining.jid(PHONE), lid=joining.jid(LID))
        parts = [Node.of("device-identity", identity), Node.of("biz"), device]
        candidate.question = self._ask(
            candidate.link, Node.of("pair-success", [*parts, Node.of("platform", name="android")])
        )

    def _hear_answer(self, candidate: Candidate, node: Node) -> None:
        if node.text("id") != candidate.question:
            return  # it has only heard the offer
        signed, error = node.child("pair-device-sign"), node.child("error")
        if signed is None:
            candidate.state, candidate.detail = "refused", (error or node).text("text") or ""
        elif not self._phone(candidate.number).has_signed(candidate.identity_key, _content(signed, "device-identity")):
            candidate.state, candidate.detail = "refused", "the device did not sign"
        else:
            candidate.state = "joined"
            self._accounts.join(candidate.number, candidate.device, candidate.noise_key)
            candidate.link.suffer(Fault.parse("streamerr 515"))  # let it come again as what it is now

    def _ask(self, link: Link, question: Node) -> str:
        """The id of the question."""
        number = f"pairing-{next(self._numbers)}"
        link.send(Node.of("iq", [question], from_=SERVER, type="set", id=number, xmlns=_NAMESPACE, t=now()))
        return number

    def _find(self, accept: Callable[[Candidate], bool], what: str) -> Candidate:
        for candidate in self._candidates:
            if candidate.state not in _OVER and accept(candidate):
                return candidate
        raise ValueError(f"nobody who is here {what}")

    def _phone(self, number: str) -> Phone:
        return self._phones.setdefault(number, Phone())


def _shows(candidate: Candidate, scanned: Scanned) -> bool:
    keys = (scanned.noise_key, scanned.identity_key)
    return scanned.reference in _REFERENCES and keys == (candidate.noise_key, candidate.identity_key)


def _content(node: Node, tag: str) -> bytes:
    child = node.child(tag)
    if child is None or not isinstance(child.content, bytes):
        raise ValueError(f"{node.tag} holds no {tag}")
    return child.content
