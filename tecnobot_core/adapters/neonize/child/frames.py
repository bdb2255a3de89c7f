"""The message format between the bot and the gateway process, version 1.

A frame is four bytes of length, most significant first, and as many bytes of JSON in UTF-8: an object whose ``type``
tells the rest. Bytes in it are base64. Media never travel in a frame, but as paths of files.

To the gateway:

``request``      ``n`` (counts from 1), ``do``, and what that needs; answered once, in any order; ``within_s``: then
                 nobody waits for the answer any more
``acknowledge``  ``ids``: these messages are journaled
``alive?``       answered by ``alive``, even while the library hangs

From the gateway:

``hello``        first: ``version``, ``library`` (its version), ``damaged_bytes`` (of the spool, which a disk spoilt)
``broken``       instead of it: ``detail``, ``package`` (what is missing, or empty), ``retryable``; the process ends
``answer``       ``n`` and ``value``, or ``error`` (``message``, ``reason``, ``sent``, ``retryable``)
``alive``        ``rss_bytes``, ``spooled`` (messages that are not acknowledged)
``opened``       the link is up
``lost``         ``reason``, ``detail``, ``retryable``, ``retry_after_s``, ``heals`` (it connects again by itself)
``liveness``     ``ok``, ``missed``: what the library's own heartbeat says
``pairing``      ``kind`` ("qr", "code"), ``data``, ``lasts_s``
``paired``       ``ok``, ``detail``
``message``      ``id``, ``chat``, ``aliases``, ``sent_at``, ``text``, ``kind``, ``media``, ``sender_name``,
                 ``from_me``, ``reply_to``
``missed``       ``id``, ``chat``: the library dropped a message that was never seen here; ``from_me``
``trouble``      ``detail``: something that is worth a line in the log
``receipt``      ``ids``, ``chat``, ``kind`` ("delivered", "read", "played")

Whoever does not know a type ignores it; a field's meaning changes only with the version.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = 1
MAX_FRAME_BYTES = 4 * 1024 * 1024  # a text has at most 65,536 characters; a replay of ids may be longer

_LENGTH = struct.Struct(">I")

Frame = dict[str, Any]


def encode(frame: Mapping[str, Any]) -> bytes:
    """*frame* as it travels."""
    body = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is longer than {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cuts what arrives in pieces of any size into frames; ValueError on what is none."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that *data* completes."""
        self._buffer += data
        while (end := self._end()) is not None:
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield decode(body)

    def _end(self) -> int | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {length} bytes is announced; the longest has {MAX_FRAME_BYTES}")
        end = _LENGTH.size + int(length)
        return end if len(self._buffer) >= end else None


def decode(body: bytes) -> Frame:
    """The frame in *body*, which comes without its length."""
    frame = json.loads(body.decode("utf-8", "surrogatepass"))
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise ValueError("a frame is a JSON object with a text named type")
    return frame
