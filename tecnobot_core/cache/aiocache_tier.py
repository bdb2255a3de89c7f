"""Any aiocache backend as a store for cached bytes."""

import math
import struct
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from ..errors import ConfigurationError, StoreError
from .hashing import blake2b
from .ports import Record

_HEADER = struct.Struct(">4sddII")  # what it is, when it was loaded, until when it lives, length of its key, tags
_WHAT = b"tnc1"
_TAG = struct.Struct(">I")
_MAX_KEY_BYTES = 100  # in hexadecimal; Memcached takes 250 characters
_MAX_TTL_S = 30 * 86_400  # what is more is a date for Memcached
_KEEPS_BYTES = ("memory", "hybrid")  # whatever the encoding

T = TypeVar("T")


class AiocacheTier:
    """Records in *cache*, which stays its owner's to open and close, under names that begin with *prefix*.

    It must keep bytes as they are: ``serializer=NullSerializer(encoding=None)``. What such a backend cannot do: find
    what has a tag, so ``erase`` is a StoreError and the records stay until they expire; and tell other processes, so
    each hears its own marks only. The backend keeps a record for at most twice its time, and at most 30 days.
    ``unreadable`` counts what was found and is no record.
    """

    def __init__(self, cache: BaseCache, *, prefix: str = "tecnobot:", clock: Callable[[], float] = time.time) -> None:
        serializer = cache.serializer
        as_they_are = serializer.encoding is None or cache.NAME in _KEEPS_BYTES
        if not isinstance(serializer, NullSerializer) or not as_they_are:
            raise ConfigurationError(
                f"the {cache.NAME} cache must keep bytes as they are; "
                "make it with serializer=NullSerializer(encoding=None)"
            )
        self.unreadable = 0
        self._cache = cache
        self._prefix = prefix
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    async def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        if not keys:
            return {}
        values = await _translated(self._cache.multi_get([self._name(key) for key in keys]))
        now = self._clock()
        records = {}
        for key, value in zip(keys, values or (), strict=False):  # a disabled cache answers with no value at all
            if value is None:
                continue
            if (record := _record(key, value)) is None:
                self.unreadable += 1
            elif record.expires_at > now:
                records[key] = record
        return records

    async def put_many(self, records: Sequence[Record]) -> None:
        now = self._clock()
        over: list[bytes] = []
        by_time: defaultdict[int, list[tuple[str, bytes]]] = defaultdict(list)
        for record in {record.key: record for record in records}.values():
            left_s = record.expires_at - now
            if left_s > 0:
                by_time[_rounded_up(left_s)].append((self._name(record.key), _packed(record)))
            else:
                over.append(record.key)
        for ttl_s, pairs in by_time.items():
            await _translated(self._cache.multi_set(pairs, ttl=ttl_s))
        await self.delete_many(over)

    async def delete_many(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            await _translated(self._cache.delete(self._name(key)))

    async def erase(self, tag: bytes) -> int:
        raise StoreError(
            f"the {self._cache.NAME} cache cannot find what has a tag; its records stay until they expire. "
            "PostgresTier can erase",
            retryable=False,
        )

    def _name(self, key: bytes) -> str:
        short = key.hex() if len(key) <= _MAX_KEY_BYTES else f"-{blake2b(key, digest_size=32).hexdigest()}"
        return f"{self._prefix}{short}"


async def _translated(call: Awaitable[T]) -> T:
    try:
        return await call
    except StoreError:
        raise
    except Exception as error:  # each backend has errors of its own
        raise StoreError(f"the cache failed: {type(error).__name__}", retryable=True) from error


def _rounded_up(left_s: float) -> int:
    """Whole seconds, as Memcached wants them, and few different ones, so that few calls set many records."""
    return _MAX_TTL_S if left_s > _MAX_TTL_S / 2 else 1 << (math.ceil(left_s) - 1).bit_length()


def _packed(record: Record) -> bytes:
    tags = b"".join(_TAG.pack(len(tag)) + tag for tag in record.tags)
    header = _HEADER.pack(_WHAT, record.loaded_at, record.expires_at, len(record.key), len(record.tags))
    return b"".join((header, record.key, tags, record.data))


def _record(key: bytes, value: Any) -> Record | None:
    """The record of *key* in *value*; None where that is something else."""
    if not isinstance(value, bytes) or len(value) < _HEADER.size:
        return None
    what, loaded_at, expires_at, key_bytes, n_tags = _HEADER.unpack_from(value)
    at = _HEADER.size + key_bytes
    if what != _WHAT or value[_HEADER.size : at] != key:
        return None
    tags = []
    for _ in range(n_tags):
        if at + _TAG.size > len(value):
            return None
        end = at + _TAG.size + _TAG.unpack_from(value, at)[0]
        tags.append(value[at + _TAG.size : end])
        at = end
    if at > len(value) or math.isnan(loaded_at) or math.isnan(expires_at):
        return None
    return Record(key, value[at:], loaded_at, expires_at, tuple(tags))
