"""WhatsApp's binary XML: nodes of a tag, attributes and content."""

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.whatsapp_server.tokens import DOUBLE_BYTE, SINGLE_BYTE

PHONE, LID = "s.whatsapp.net", "lid"
"""The two servers of a person's address: by phone number, and by an id that hides it."""

_EMPTY, _DOUBLES, _AD_JID, _LIST_8, _LIST_16, _JID = 0, range(236, 240), 247, 248, 249, 250
_HEX_8, _BINARY_8, _BINARY_20, _BINARY_32, _NIBBLE_8 = 251, 252, 253, 254, 255
_DIGITS = {_HEX_8: "0123456789ABCDEF", _NIBBLE_8: "0123456789-.????"}


class Token(str):
    """A word of the string table that ``tokens`` does not know; it is written back as it came."""

    @classmethod
    def of(cls, wire: bytes) -> "Token":
        return cls(f"?{wire.hex()}")

    @property
    def wire(self) -> bytes:
        return bytes.fromhex(self[1:])


@dataclass(frozen=True)
class Jid:
    """An address: a user, or one device of it. Device 0 is the phone; the server itself has no user."""

    user: str
    server: str = PHONE
    device: int = 0

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}" if self.user else self.server


SERVER = Jid("")

Attribute = str | Jid
Content: TypeAlias = "list[Node] | bytes | str | Jid | None"


@dataclass
class Node:
    tag: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    content: Content = None

    @classmethod
    def of(cls, tag: str, content: Content = None, **attributes: Attribute | int | None) -> "Node":
        """A node; attributes that are None are left out. Python's own words are written ``from_``."""
        kept = {name.rstrip("_"): _attribute(value) for name, value in attributes.items() if value is not None}
        return cls(tag, kept, content)

    @property
    def children(self) -> list["Node"]:
        return self.content if isinstance(self.content, list) else []

    def child(self, tag: str) -> "Node | None":
        return next((child for child in self.children if child.tag == tag), None)

    def text(self, name: str) -> str | None:
        """The attribute as text; None when it is absent."""
        return None if name not in self.attributes else str(self.attributes[name])

    def jid(self, name: str) -> Jid | None:
        """The attribute when it is an address; a bare server counts as one."""
        value = self.attributes.get(name)
        return Jid("", value) if isinstance(value, str) else value


def encode(node: Node) -> bytes:
    """Words are written as plain strings: a client takes them as well as positions."""
    size = 1 + 2 * len(node.attributes) + (node.content is not None)
    parts = [bytes([_LIST_8, size]), _encode_text(node.tag)]
    for name, value in node.attributes.items():
        parts += [_encode_text(name), _encode_value(value)]
    if isinstance(node.content, list):
        parts += [bytes([_LIST_16]), struct.pack(">H", len(node.content)), *map(encode, node.content)]
    elif node.content is not None:
        parts.append(_encode_value(node.content))
    return b"".join(parts)


def decode(data: bytes) -> Node:
    """Raises ``ValueError`` for what is no node."""
    return _Decoder(data).node()


def _attribute(value: Attribute | int) -> Attribute:
    return str(value) if isinstance(value, int) else value


def _encode_value(value: Attribute | bytes) -> bytes:
    if isinstance(value, bytes):
        return _encode_bytes(value)
    if isinstance(value, str):
        return _encode_text(value)
    if value.device:  # its own form: the domain (0 phone, 1 LID), the device, the user
        return bytes([_AD_JID, value.server == LID, value.device]) + _encode_text(value.user)
    user = _encode_text(value.user) if value.user else bytes([_EMPTY])
    return bytes([_JID]) + user + _encode_text(value.server)


def _encode_text(text: str) -> bytes:
    return text.wire if isinstance(text, Token) else _encode_bytes(text.encode())


def _encode_bytes(data: bytes) -> bytes:
    if len(data) < 256:
        return bytes([_BINARY_8, len(data)]) + data
    return bytes([_BINARY_32]) + struct.pack(">I", len(data)) + data


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def node(self) -> Node:
        size = self._list_size(self._number(1))
        tag = self._text()
        attributes: dict[str, Attribute] = {}
        for _ in range((size - 1) // 2):
            name, value = self._text(), self._value()
            attributes[name] = value.decode() if isinstance(value, bytes) else value or ""
        return Node(tag, attributes, self._content() if size % 2 == 0 else None)

    def _content(self) -> Content:
        kind = self._data[self._at]
        if kind in (_LIST_8, _LIST_16):
            self._at += 1
            return [self.node() for _ in range(self._list_size(kind))]
        return self._value()

    def _text(self) -> str:
        value = self._value()
        if isinstance(value, str):
            return value  # as it is: str() of a Token would forget how it was written
        return value.decode() if isinstance(value, bytes) else str(value or "")

    def _value(self) -> bytes | str | Jid | None:
        start, kind = self._at, self._number(1)
        if kind == _EMPTY:
            return None
        if kind in (_BINARY_8, _BINARY_20, _BINARY_32):
            return self._bytes(self._number({_BINARY_8: 1, _BINARY_20: 3, _BINARY_32: 4}[kind]))
        if kind in (_JID, _AD_JID):
            return self._jid(kind)
        if kind in _DIGITS:
            return self._packed(_DIGITS[kind])
        word = DOUBLE_BYTE.get((kind, self._number(1))) if kind in _DOUBLES else SINGLE_BYTE.get(kind)
        return word or Token.of(self._data[start : self._at])

    def _jid(self, kind: int) -> Jid:
        if kind == _JID:
            return Jid(self._text(), self._text())
        domain, device = self._number(1), self._number(1)
        return Jid(self._text(), LID if domain == 1 else PHONE, device)

    def _packed(self, digits: str) -> str:
        """Two digits in a byte; the highest bit of the size says that the last one is filling."""
        size = self._number(1)
        text = "".join(digits[byte >> 4] + digits[byte & 15] for byte in self._bytes(size & 127))
        return text[:-1] if size >> 7 else text

    def _list_size(self, kind: int) -> int:
        if kind not in (_LIST_8, _LIST_16):
            raise ValueError(f"a node begins with a list, not with {kind}")
        return self._number(1 if kind == _LIST_8 else 2)

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "big")

    def _bytes(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("the node is cut short")
        return self._data[self._at - size : self._at]
