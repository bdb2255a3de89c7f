"""What a value weighs as an object, and how it is written down when it goes cold."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from sys import getsizeof
from types import ModuleType
from typing import Any, Final

Buffer = Any  # a slice of mmap or bytearray; typeshed has no single name for both

TEXT: Final = 0
BYTES: Final = 1
OBJECT: Final = 2
KEPT: Final = 3
"""A value that cannot be written down; it stays an object."""
COMPRESSED: Final = 4
"""Added to one of the others."""

MIN_COMPRESSED_BYTES = 1200
MAX_COMPRESSED_BYTES = 128 * 1024
"""More would stall the loop: zlib writes about 50 MB a second."""
PAYS = 0.9
RETRY_AFTER = 32
"""So many values are written as they are after one that did not get smaller."""

SAMPLES = (64, 16, 4, 1)
"""A container with more elements is weighed by so many of them; the deeper, the fewer."""
HEADER_BYTES = 16
"""What the allocator and the garbage collector add to an object, on average."""
PLAIN = (str, bytes, bytearray, int, float, complex)


def weigh(value: object) -> int:
    """About the bytes that *value* takes as an object, with what it refers to; bounded work for big containers."""
    kind = type(value)
    if kind is str or kind is bytes:
        return value.__sizeof__() + HEADER_BYTES  # getsizeof looks this up by name, and takes five times as long
    # What the cache itself wraps values in knows its weight: finding it out takes longer than all else of a put.
    if (own := getattr(kind, "__cache_weight__", None)) is not None:
        return own(value)  # type: ignore[no-any-return]
    return _weigh(value, set(), 0)


def _weigh(value: object, seen: set[int], depth: int) -> int:
    if value is None or value is True or value is False or isinstance(value, type | ModuleType) or id(value) in seen:
        return 0
    size_bytes = getsizeof(value) + HEADER_BYTES
    if isinstance(value, PLAIN) or depth == len(SAMPLES):
        return size_bytes
    seen.add(id(value))
    if isinstance(value, dict):
        keys_bytes = _weigh_some(value, len(value), seen, depth)
        return size_bytes + keys_bytes + _weigh_some(value.values(), len(value), seen, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return size_bytes + _weigh_some(value, len(value), seen, depth)
    # An object is no deeper than its attributes: what it holds is what its author thinks of as the value.
    attributes = list(_attributes(value))
    return size_bytes + _weigh_some(attributes, len(attributes), seen, depth)


def _weigh_some(elements: Iterable[object], count: int, seen: set[int], depth: int) -> int:
    sample = SAMPLES[depth]
    sampled_bytes = sum([_weigh(element, seen, depth + 1) for element in islice(elements, sample)])
    return sampled_bytes * count // sample if count > sample else sampled_bytes


def _attributes(value: object) -> Iterator[object]:
    if (attributes := getattr(value, "__dict__", None)) is not None:
        yield attributes
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield getattr(value, name, None)


class Writing:
    """Writes values down and reads them back. Text and bytes go as they are, anything else through *dumps*."""

    def __init__(self, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]) -> None:
        self._dumps = dumps
        self._loads = loads
        self._skip = 0

    def write(self, value: Any) -> tuple[int, Any]:
        """The kind and the bytes of *value*; of kind KEPT with the value itself when it cannot be written."""
        written: bytes
        if type(value) is str:
            kind, written = TEXT, value.encode("utf-8", "surrogatepass")
        elif type(value) is bytes:
            kind, written = BYTES, value
        else:
            try:
                kind, written = OBJECT, self._dumps(value)
            except Exception:  # whatever a value's own code raises
                return KEPT, value
        if MIN_COMPRESSED_BYTES <= len(written) <= MAX_COMPRESSED_BYTES:
            return self._compress(kind, written)
        return kind, written

    def read(self, kind: int, written: Buffer) -> Any:
        """The value that was written; raises what *loads* raises."""
        if kind >= COMPRESSED:
            kind, written = kind - COMPRESSED, zlib.decompress(written)
        if kind == TEXT:
            return str(written, "utf-8", "surrogatepass")
        if kind == BYTES:
            return bytes(written)
        return self._loads(written)

    def _compress(self, kind: int, written: bytes) -> tuple[int, bytes]:
        # What one caller keeps is alike: after bytes that did not get smaller the next ones will not either.
        if self._skip:
            self._skip -= 1
            return kind, written
        smaller = zlib.compress(written, 1)
        if len(smaller) <= len(written) * PAYS:
            return kind + COMPRESSED, smaller
        self._skip = RETRY_AFTER
        return kind, written
