"""Attachments that came in: fetched one at a time, straight from the library's memory into a file."""

import os
from base64 import b64decode
from pathlib import Path
from typing import Any

from .client import Client
from .failures import SendFailure
from .frames import Frame
from .lanes import is_late
from .sending import RefusedError

_FIELDS = {
    "image": "imageMessage",
    "video": "videoMessage",
    "voice": "audioMessage",
    "audio": "audioMessage",
    "document": "documentMessage",
    "sticker": "stickerMessage",
}
_BINARY, _ERROR = 1, 2  # fields of DownloadReturnFunction
_GONE = ("403", "404", "410", "invalid media", "hash", "mismatch", "no url", "nothing downloadable")


def fetch(client: Client, request: Frame) -> Frame:
    """Write the attachment ``media`` to the file ``target``, of at most ``max_bytes``; its ``size_bytes``.

    The size that the sender told is checked before the download; the library then refuses one of another size.
    """
    media = request["media"]
    size = media.get("size_bytes")
    if size is not None and size > request["max_bytes"]:
        raise _refused(f"the attachment has {size} bytes; at most {request['max_bytes']} are fetched", retryable=False)
    message = _message(client.library.e2e, media).SerializeToString()
    client.require_ready()
    with client.library.borrowed("DownloadAny", client.uuid, message, len(message)) as answer:
        number, content = _only_field(answer)
        if number == _ERROR:
            error = bytes(content).decode("utf-8", "replace")
            raise _refused(error, retryable=not any(part in error for part in _GONE))
        if len(content) > request["max_bytes"]:
            raise _refused(f"the attachment has {len(content)} bytes, more than the sender told", retryable=False)
        if is_late(request):  # then the target may be gone, and would be made anew
            raise _refused("nobody waits for the attachment any more", retryable=True)
        _write(Path(request["target"]), content)
        return {"size_bytes": len(content)}


def _message(e2e: Any, media: Frame) -> Any:
    """A message that holds only what is needed to fetch *media*."""
    path, _, encrypted_hash = media["address"].partition("#")
    if (field := _FIELDS.get(media["kind"])) is None or not path or not media.get("key"):
        raise _refused(f"this is no attachment that WhatsApp keeps: {media['kind']}", retryable=False)
    message = e2e.Message()
    part = getattr(message, field)
    part.directPath = path
    part.fileEncSHA256 = b64decode(encrypted_hash)
    part.fileSHA256 = bytes.fromhex(media["sha256"])
    part.mediaKey = b64decode(media["key"])
    if media.get("size_bytes") is not None:
        part.fileLength = media["size_bytes"]
    return message


def _only_field(answer: memoryview) -> tuple[int, memoryview]:
    """The number and content of the single field in *answer*; protobuf itself would copy it several times."""
    if not answer:
        return _BINARY, answer
    length, shift, position = 0, 0, 1
    while True:
        byte = answer[position]
        length |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return answer[0] >> 3, answer[position : position + length]


def _write(target: Path, content: memoryview) -> None:
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            while content:
                content = content[file.write(content) :]
    except OSError as error:
        raise _refused(f"the attachment cannot be written: {error.strerror}", retryable=True) from error


def _refused(sentence: str, *, retryable: bool) -> RefusedError:
    return RefusedError(sentence, SendFailure("no", retryable, "unknown"))
