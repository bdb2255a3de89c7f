"""Values as they are kept: in memory as they are, in a store as bytes that prove where they come from."""

import json
import math
import struct
import zlib
from typing import Any

from .hashing import blake2b
from .memory.values import weigh

COMPRESS_FROM_BYTES = 1024  # below it the headers and the time cost more than what is saved
VERSION = 1
_HEADER = struct.Struct(">BcBdf")  # version, codec, compressed, fresh until in the store's clock, seconds of its load
_PROOF_BYTES = 8
ENTRY_BYTES = 232  # the object, its two times and the tuple of its tags
TAG_BYTES = 72
MAX_DEPTH = 100


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


class Envelope:
    """Writes and reads the bytes of a stored value: JSON, text or bytes, never code.

    Each is proved with *secret* for its key: what is somebody else's, damaged, or another key's is not read.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, key: bytes, value: object, *, fresh_until: float, load_s: float) -> bytes:
        """*value* as bytes for *key*. What would not come back the same is a NotJsonError."""
        codec, body = _encoded(value)
        packed = zlib.compress(body, 1) if len(body) >= COMPRESS_FROM_BYTES else body
        is_smaller = len(packed) < len(body)
        sealed = _HEADER.pack(VERSION, codec, is_smaller, fresh_until, load_s) + (packed if is_smaller else body)
        return self._proof(key, sealed) + sealed

    def open(self, key: bytes, data: bytes) -> tuple[Any, float, float]:
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
        return _decoded(codec, body), fresh_until, load_s

    def _proof(self, key: bytes, sealed: bytes) -> bytes:
        return blake2b(key + sealed, key=self._secret, digest_size=_PROOF_BYTES, person=b"tecnobot seal").digest()


def _encoded(value: object) -> tuple[bytes, bytes]:
    if type(value) is bytes:
        return b"b", value
    try:
        if type(value) is str:
            return b"t", value.encode()
        _check(value, MAX_DEPTH)
        return b"j", json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # a lone surrogate, or a number of thousands of digits
        raise NotJsonError(f"JSON cannot hold this value: {error}") from error


def _decoded(codec: bytes, body: bytes) -> Any:
    if codec == b"b":
        return body
    text = body.decode()
    return text if codec == b"t" else json.loads(text)


def _check(value: object, depth: int) -> None:
    """NotJsonError where JSON would give back something else: a list for a tuple, text for a key that is a number."""
    kind = type(value)
    if kind in (str, int, bool) or value is None:
        return
    if isinstance(value, float) and kind is float and math.isfinite(value):
        return
    if depth and kind is list:
        for item in value:  # type: ignore[attr-defined]
            _check(item, depth - 1)
    elif depth and kind is dict and all(type(key) is str for key in value):  # type: ignore[attr-defined]
        for item in value.values():  # type: ignore[attr-defined]
            _check(item, depth - 1)
    else:
        raise NotJsonError(f"JSON cannot hold a {kind.__name__} so that it comes back the same")
