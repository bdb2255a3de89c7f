"""Records in a file that only grows: length, checksum, JSON. What a crash cut off is found and dropped."""

import json
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
    """Each whole record with its offset and length, up to the first that is torn or damaged."""
    offset, size = 0, os.fstat(descriptor).st_size
    while offset + _HEAD.size <= size:
        length, checksum = _HEAD.unpack(os.pread(descriptor, _HEAD.size, offset))
        body = os.pread(descriptor, length, offset + _HEAD.size) if offset + _HEAD.size + length <= size else b""
        if len(body) != length or zlib.crc32(body) != checksum:
            return
        yield offset, _HEAD.size + length, json.loads(body.decode("utf-8", "surrogatepass"))
        offset += _HEAD.size + length


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
