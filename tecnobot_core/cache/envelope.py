"""Values as they are kept: in memory as they are, in a store as bytes that prove where they come from."""

import json
import math
import struct
import zlib
from math import inf
from typing import Any

from .hashing import blake2b
from .memory.values import MAX_COMPRESSED_BYTES, weigh

COMPRESS_FROM_BYTES = 1024  # below it the headers and the time cost more than what is saved
VERSION = 1
_HEADER = struct.Struct(">BcBdf")  # version, codec, compressed, fresh until in the store's clock, seconds of its load
_NOT_LOADED = -1.0
_PROOF_BYTES = 8
ENTRY_BYTES = 232  # the object, its two times and the tuple of its tags
TAG_BYTES = 72
MAX_DEPTH = 100
MEMORY_ONLY = b"memory only"
"""A tag in memory of what was set and cannot be in the store."""


class Entry:
    """A value in memory with what its policy needs.

    ``began_at`` is when its loading began, a stamp of KnownMarks. ``fresh_until`` is on the clock of the memory tier;
    so is ``retry_at``, until when nobody tries to load again. ``checked`` is the generation of KnownMarks under which
    it was last found to count, and in which it does not end, so that a hit looks at no mark and no time of its own.
    """

    __slots__ = ("began_at", "checked", "fresh_until", "retry_at", "tags", "value")

    def __init__(
        self,
        value: Any,
        began_at: float,
        fresh_until: float,
        tags: tuple[bytes, ...] = (),
        retry_at: float | None = None,
    ) -> None:
        self.value = value
        self.began_at = began_at
        self.fresh_until = fresh_until
        self.tags = tags
        self.retry_at = retry_at
        self.checked: object = None

    def __cache_weight__(self) -> int:
        """What it takes with its value, in bytes."""
        return ENTRY_BYTES + len(self.tags) * TAG_BYTES + weigh(self.value)

    def __reduce__(self) -> tuple[type["Entry"], tuple[Any, ...]]:
        return Entry, (self.value, self.began_at, self.fresh_until, self.tags, self.retry_at)


class NotJsonError(TypeError):
    """A value that JSON would give back changed, or cannot write."""


class TooBigError(Exception):
    """A value of more bytes than are wanted."""


class Envelope:
    """Writes and reads the bytes of a stored value: JSON, text or bytes, never code.

    Each is proved with *secret* for its key: what is somebody else's, damaged, or another key's is not read.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(
        self, key: bytes, value: object, *, fresh_until: float, load_s: float | None, max_bytes: float = inf
    ) -> bytes:
        """*value* as bytes for *key*; *load_s* is None where it was set, and not loaded.

        What would not come back the same is a NotJsonError, what takes more than *max_bytes*, not compressed, a
        TooBigError: it is given up as soon as that is known, since writing it whole would stall the loop.
        """
        codec, body = _encoded(value, max_bytes)
        packed = zlib.compress(body, 1) if COMPRESS_FROM_BYTES <= len(body) <= MAX_COMPRESSED_BYTES else body
        is_smaller = len(packed) < len(body)
        loaded = _NOT_LOADED if load_s is None else load_s
        sealed = _HEADER.pack(VERSION, codec, is_smaller, fresh_until, loaded) + (packed if is_smaller else body)
        return self._proof(key, sealed) + sealed

    def open(self, key: bytes, data: bytes) -> tuple[Any, float, float | None]:
        """The value of *data*, until when it is fresh, and how long it took to load; ValueError when it is not ours."""
        sealed = data[_PROOF_BYTES:]
        if len(sealed) < _HEADER.size or data[:_PROOF_BYTES] != self._proof(key, sealed):
            raise ValueError("these bytes were not written for this key with this secret")
        version, codec, is_smaller, fresh_until, load_s = _HEADER.unpack_from(sealed)
        if version != VERSION:
            raise ValueError(f"this version of the envelope is {VERSION}, not {version}")
        body = sealed[_HEADER.size :]
        if is_smaller:
            body = zlib.decompress(body)
        return _decoded(codec, body), fresh_until, None if load_s < 0 else load_s

    def _proof(self, key: bytes, sealed: bytes) -> bytes:
        return blake2b(key + sealed, key=self._secret, digest_size=_PROOF_BYTES, person=b"tecnobot seal").digest()


def _encoded(value: object, max_bytes: float) -> tuple[bytes, bytes]:
    if type(value) is bytes:
        codec, body = b"b", value
    else:
        _left(value, max_bytes, MAX_DEPTH)
        try:
            codec, body = _written(value)
        except ValueError as error:  # a lone surrogate, or a number of thousands of digits
            raise NotJsonError(f"JSON cannot hold this value: {error}") from error
    if len(body) > max_bytes:
        raise TooBigError
    return codec, body


def _written(value: object) -> tuple[bytes, bytes]:
    if type(value) is str:
        return b"t", value.encode()
    return b"j", json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _decoded(codec: bytes, body: bytes) -> Any:
    if codec == b"b":
        return body
    text = body.decode()
    return text if codec == b"t" else json.loads(text)


def _left(value: object, left_bytes: float, depth: int) -> float:
    """What *value* leaves of *left_bytes* at most, or a TooBigError.

    NotJsonError where JSON would give back something else: a list for a tuple, text for a key that is a number.
    """
    kind = type(value)
    if kind is str:
        left_bytes -= len(value)  # type: ignore[arg-type]
    elif kind is int or kind is bool or value is None or (kind is float and math.isfinite(value)):  # type: ignore[arg-type]
        left_bytes -= 1
    elif depth and kind is list:
        for item in value:  # type: ignore[attr-defined]
            left_bytes = _left(item, left_bytes, depth - 1) - 1
    elif depth and kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise NotJsonError(f"JSON cannot hold a {type(key).__name__} as a key so that it comes back the same")
            left_bytes = _left(item, left_bytes, depth - 1) - len(key) - 4
    else:
        raise NotJsonError(f"JSON cannot hold a {kind.__name__} so that it comes back the same")
    if left_bytes < 0:
        raise TooBigError
    return left_bytes
