"""The little of protobuf that the handshake needs: fields by number, without a schema."""

from collections.abc import Iterator
from typing import Self

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class Fields(dict[int, int | bytes]):
    """The first value of each field of a message. A field of another type than asked for raises ``ValueError``."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        fields = cls()
        for number, value in _read(data):
            fields.setdefault(number, value)
        return fields

    def bytes(self, number: int) -> bytes:
        value = self.get(number)
        if not isinstance(value, bytes):
            raise ValueError(f"protobuf field {number} is {value!r}, not bytes")
        return value

    def number(self, number: int, default: int = 0) -> int:
        value = self.get(number, default)
        if not isinstance(value, int):
            raise ValueError(f"protobuf field {number} is bytes, not a number")
        return value

    def message(self, number: int) -> "Fields":
        return Fields.parse(self.bytes(number))


def field(number: int, value: int | bytes) -> bytes:
    """One field, ready to be joined with others to a message."""
    if isinstance(value, bytes):
        return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value: int | bytes
        if key & 7 == _VARINT:
            value, at = _read_varint(data, at)
        else:
            size, at = _size(data, at, key & 7)
            value, at = data[at : at + size], at + size
            if len(value) != size:
                raise ValueError("protobuf message is cut short")
        yield key >> 3, value


def _size(data: bytes, at: int, wire_type: int) -> tuple[int, int]:
    if wire_type == _BYTES:
        return _read_varint(data, at)
    if wire_type in (_FIXED_64, _FIXED_32):
        return 8 if wire_type == _FIXED_64 else 4, at
    raise ValueError(f"protobuf wire type {wire_type} is not known")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("protobuf message is cut short")
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at
