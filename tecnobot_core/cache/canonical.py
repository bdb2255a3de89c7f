"""One way to write a value, whatever the order or the spelling that it came in."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from .hashing import blake2b

# What prints itself whole, and the same in every process. By name: importing them would double what a cache takes.
_PRINTED = frozenset(
    {
        "decimal.Decimal", "uuid.UUID", "pathlib.PurePath", "datetime.date", "datetime.datetime", "datetime.time",
        "datetime.timedelta",
    }
)  # fmt: skip


def digest_of(value: object) -> str:
    """A digest that is equal exactly for equal values; TypeError, which says where, for what has no stable spelling.

    Mappings and sets have no order, text is compared in Unicode's form NFC, and 1 is 1.0, but True is not 1.
    """
    out: list[bytes] = []
    _write(value, out.append, "the value")
    return blake2b(b"".join(out), digest_size=16, person=b"tecnobot key").hexdigest()


def _write(value: Any, out: Callable[[bytes], None], where: str) -> None:
    """Every part has its kind and its length in front, so that no two values are written the same."""
    if value is None or isinstance(value, bool):
        out(b"n" if value is None else b"t" if value else b"f")
    elif isinstance(value, Enum):
        _tagged(b"E", (type(value).__qualname__, value.name), out, where)
    elif isinstance(value, str):
        # str.encode: a subclass may print as something else.
        _sized(b"s", str.encode(unicodedata.normalize("NFC", value), "utf-8", "surrogatepass"), out)
    elif isinstance(value, int | float):
        is_whole = isinstance(value, float) and value.is_integer()
        _sized(
            b"i", format(int(value), "x").encode() if is_whole or isinstance(value, int) else repr(value).encode(), out
        )
    elif isinstance(value, bytes | bytearray | memoryview):
        _sized(b"b", bytes(value), out)
    elif _prints_itself(type(value)):
        _tagged(b"P", (type(value).__qualname__, str(value)), out, where)
    elif isinstance(value, Mapping):
        pairs = sorted((_written(key, where), _written(item, f"{where}[{key!r:.50}]")) for key, item in value.items())
        _sized(b"d", b"".join(key + item for key, item in pairs), out)
    elif is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        _tagged(b"D", (type(value).__qualname__, named), out, where)
    elif isinstance(value, Set):
        _sized(b"S", b"".join(sorted(_written(item, where) for item in value)), out)
    elif isinstance(value, Sequence):
        _sized(b"l", b"".join(_written(item, f"{where}[{index}]") for index, item in enumerate(value)), out)
    else:
        raise TypeError(f"{where} is a {type(value).__name__}, which has no stable spelling for a key; pass key=")


def _prints_itself(kind: type) -> bool:
    return any(f"{base.__module__.partition('.')[0]}.{base.__qualname__}" in _PRINTED for base in kind.__mro__)


def _written(value: object, where: str) -> bytes:
    out: list[bytes] = []
    _write(value, out.append, where)
    return b"".join(out)


def _tagged(kind: bytes, parts: Sequence[object], out: Callable[[bytes], None], where: str) -> None:
    _sized(kind, b"".join(_written(part, where) for part in parts), out)


def _sized(kind: bytes, written: bytes, out: Callable[[bytes], None]) -> None:
    out(b"%b%d:%b" % (kind, len(written), written))
