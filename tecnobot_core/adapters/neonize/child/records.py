"""Records in a file that only grows: length, checksum, JSON. What a crash cut off or a disk damaged is passed over."""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = struct.Struct(">II")


def encode_record(record: dict[str, Any]) -> bytes:
    """*record* with its length and CRC-32."""
    body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def read_records(descriptor: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Each whole record with its offset and length; where some is damaged, it goes on at the next one that is whole."""
    if not os.fstat(descriptor).st_size:
        return
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        offset = 0
        while (found := _find(data, offset)) is not None:
            offset, body = found
            yield offset, _HEAD.size + len(body), json.loads(body.decode("utf-8", "surrogatepass"))
            offset += _HEAD.size + len(body)


def read_record(descriptor: int, offset: int, length: int) -> dict[str, Any]:
    """The record at *offset*, which ``read_records`` or an append told."""
    body = os.pread(descriptor, length - _HEAD.size, offset + _HEAD.size)
    record: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
    return record


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data* at the end; what was written of it before a failure is taken back."""
    begin, view = os.lseek(descriptor, 0, os.SEEK_END), memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os.ftruncate(descriptor, begin)  # a torn record would hide those that come after it
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find(data: mmap.mmap, offset: int) -> tuple[int, bytes] | None:
    """The first whole record at *offset* or behind it."""
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack(data[offset : offset + _HEAD.size])
        body = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if len(body) == length and zlib.crc32(body) == checksum and body[:1] == b"{":
            return offset, body
        # Whatever was damaged, its length too: every record's body begins like this.
        begin = data.find(b'{"', offset + _HEAD.size + 1)
        if begin < 0:
            return None
        offset = begin - _HEAD.size
    return None
