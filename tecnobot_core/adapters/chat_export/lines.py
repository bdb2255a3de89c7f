"""The lines of a text file, numbered and decoded one by one, so that no file is ever held whole."""

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from ...errors import ConfigurationError

MAX_LINE_CHARS = 101_000  # a message of the longest kept length, and the date and name before it
_MAX_LINE_BYTES = 4 * MAX_LINE_CHARS  # UTF-8 takes at most four bytes for a character
_HEAD_BYTES = 4096
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # every other byte of UTF-8 begins a character


class Line(NamedTuple):
    """One line without its end; *number* counts from 1.

    A line that is not UTF-8 has *readable* False and shows U+FFFD for what could not be decoded. *cut_chars* counts
    what was left out of a line that is too long.
    """

    number: int
    text: str
    readable: bool = True
    cut_chars: int = 0


@contextmanager
def open_lines(path: str | os.PathLike[str]) -> Iterator[Iterator[Line]]:
    """The lines of the file at *path*, while inside.

    Raises ConfigurationError when it cannot be read, or is no UTF-8 text at all.
    """
    try:
        with open(path, "rb") as file:
            _refuse_other_formats(path, file.read(_HEAD_BYTES))
            file.seek(0)
            yield _read_lines(file)
    except OSError as error:
        raise ConfigurationError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from error


def _refuse_other_formats(path: str | os.PathLike[str], head: bytes) -> None:
    name = os.fspath(path)
    if head.startswith(b"PK\x03\x04"):
        raise ConfigurationError(f"{name} is a zip archive; unpack it and give the .txt that is inside")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head.count(0) > len(head) // 4:
        raise ConfigurationError(f"{name} is UTF-16 or not text; save it as UTF-8, which is what WhatsApp writes")


def _read_lines(file: BinaryIO) -> Iterator[Line]:
    number = 0
    while raw := file.readline(_MAX_LINE_BYTES):
        number += 1
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) >= _MAX_LINE_BYTES and not raw.endswith(b"\n"):
            yield _cut_line(number, raw, file)
            continue
        try:
            yield Line(number, raw.decode().rstrip("\r\n"))
        except UnicodeDecodeError:
            yield Line(number, raw.decode(errors="replace").rstrip("\r\n"), readable=False)


def _cut_line(number: int, head: bytes, file: BinaryIO) -> Line:
    """The first characters of a line that is too long; reads on to its end."""
    n_chars = _count_chars(head)
    while (more := file.readline(_MAX_LINE_BYTES)) and not more.endswith(b"\n"):
        n_chars += _count_chars(more)
    n_chars += _count_chars(more.rstrip(b"\r\n"))
    try:
        # Incremental: the cut may lie inside a character, which is then left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return Line(number, head[:_HEAD_BYTES].decode(errors="replace"), readable=False)
    return Line(number, text, cut_chars=n_chars - len(text))


def _count_chars(data: bytes) -> int:
    return len(data.translate(None, _CONTINUATION_BYTES))
