"""A plain aiocache backend in PostgreSQL."""

from collections.abc import Callable, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple

import asyncpg
from aiocache.base import BaseCache
from aiocache.serializers import JsonSerializer

from ....errors import StoreError
from ..database import Database
from .records import ERASE, NOW

# Keys in the order of the arguments; nothing that is invalidated by marks, so it is never older than one.
_SET = f"""
INSERT INTO tecnobot.cache AS kept (key, data, loaded_at, expires_at, tags)
SELECT key, data, 'Infinity', {NOW} + $3, $4 FROM unnest($1::bytea[], $2::bytea[]) AS given (key, data) ORDER BY key
ON CONFLICT (key) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at
"""
_ADD = f"{_SET} WHERE kept.expires_at <= {NOW} RETURNING true"
_SWAP = f"""
UPDATE tecnobot.cache SET data = $3, expires_at = {NOW} + $4 WHERE key = $1 AND data = $2 AND expires_at > {NOW}
RETURNING true
"""
_GET = f"SELECT key, data FROM tecnobot.cache WHERE key = ANY ($1::bytea[]) AND expires_at > {NOW}"
_REMOVE = f"DELETE FROM tecnobot.cache WHERE key = $1 AND expires_at > {NOW} RETURNING true"
_REMOVE_EQUAL = f"DELETE FROM tecnobot.cache WHERE key = $1 AND data = $2 AND expires_at > {NOW} RETURNING true"
_EXPIRE = f"UPDATE tecnobot.cache SET expires_at = {NOW} + $2 WHERE key = $1 AND expires_at > {NOW} RETURNING true"
# Beginning anew where the old value has expired. The number is what the row holds after it, whoever else counts.
_INCREMENT = f"""
INSERT INTO tecnobot.cache AS kept (key, data, loaded_at, expires_at, tags)
VALUES ($1, convert_to($2::bigint::text, 'UTF8'), 'Infinity', 'Infinity', $3)
ON CONFLICT (key) DO UPDATE SET
    data = CASE WHEN kept.expires_at > {NOW}
        THEN convert_to((convert_from(kept.data, 'UTF8')::bigint + $2)::text, 'UTF8') ELSE excluded.data END,
    expires_at = CASE WHEN kept.expires_at > {NOW} THEN kept.expires_at ELSE 'Infinity' END
RETURNING convert_from(data, 'UTF8')::bigint AS value
"""
_OURS = b"tecnobot aiocache"  # a tag of all that is kept here


class NamespacedKey(NamedTuple):
    """A key and its namespace, apart: "ab" with "c" is not "a" with "bc"."""

    namespace: str
    key: str


class PostgresCache(BaseCache):  # type: ignore[misc]  # aiocache has no annotations
    """aiocache's commands over ``tecnobot.cache`` of *database*, which must be open and migrated.

    Values are text or bytes, as the serializer makes them: JSON unless another is given, never pickle by itself.
    ``increment`` and ``_cas_token`` are atomic among all processes. ``clear`` empties the given namespace, else that of
    the cache, else all of them; it looks at every row, and leaves those of HybridCache. Failures are StoreError.
    """

    NAME = "postgres"

    def __init__(
        self,
        database: Database,
        *,
        serializer: Any = None,
        key_builder: Callable[[str, str | None], str] | None = None,
        **aiocache_kwargs: Any,
    ) -> None:
        super().__init__(serializer=serializer or JsonSerializer(), **aiocache_kwargs)
        self._database = database
        self._key_builder = key_builder
        # aiocache 0.12 looks it up in the instance, where it has put its own; 1.0 in the class.
        self.build_key = self._built  # type: ignore[method-assign]

    def build_key(self, key: Any, namespace: str | None = None) -> NamespacedKey:
        """The namespace stays apart from the key, so that nothing else can look like it."""
        return self._built(key, namespace)

    def _built(self, key: Any, namespace: str | None = None) -> NamespacedKey:
        namespace = self.namespace if namespace is None else namespace
        text = key.value if isinstance(key, Enum) else key
        if self._key_builder is not None:
            text = self._key_builder(text, namespace)
        if not isinstance(text, str):
            raise TypeError(f"a key is text, not {type(text).__name__}")
        return NamespacedKey(namespace or "", text)

    async def _get(self, key: NamespacedKey, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        return (await self._multi_get([key], encoding))[0]

    async def _gets(self, key: NamespacedKey, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        return await self._get(key, None)

    async def _multi_get(
        self, keys: Sequence[NamespacedKey], encoding: str | None = "utf-8", _conn: Any = None
    ) -> list[Any]:
        digests = [_digest(key) for key in keys]
        rows = await self._database.fetch(_GET, digests, idempotent=True)
        found: dict[bytes, bytes] = {row["key"]: row["data"] for row in rows}
        values = [found.get(digest) for digest in digests]
        return values if encoding is None else [None if data is None else data.decode(encoding) for data in values]

    async def _set(
        self, key: NamespacedKey, value: Any, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        if _cas_token is None:
            return await self._multi_set([(key, value)], ttl)
        swapped = await self._database.fetch(_SWAP, _digest(key), _bytes(_cas_token), _bytes(value), _ttl_s(ttl))
        return bool(swapped)

    async def _multi_set(
        self, pairs: Sequence[tuple[NamespacedKey, Any]], ttl: float | None = None, _conn: Any = None
    ) -> bool:
        given = {_digest(key): _bytes(value) for key, value in pairs}
        if given:
            tags = _tags(pairs[0][0].namespace)
            await self._database.execute(_SET, list(given), list(given.values()), _ttl_s(ttl), tags, idempotent=True)
        return True

    async def _add(self, key: NamespacedKey, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        arguments = ([_digest(key)], [_bytes(value)], _ttl_s(ttl), _tags(key.namespace))
        if not await self._database.fetch(_ADD, *arguments):
            raise ValueError(f"Key {key.key} already exists, use .set to update the value")
        return True

    async def _delete(self, key: NamespacedKey, _conn: Any = None) -> int:
        return len(await self._database.fetch(_REMOVE, _digest(key)))

    async def _exists(self, key: NamespacedKey, _conn: Any = None) -> bool:
        return bool(await self._database.fetch(_GET, [_digest(key)], idempotent=True))

    async def _increment(self, key: NamespacedKey, delta: int, _conn: Any = None) -> int:
        try:
            row = await self._database.fetchrow(_INCREMENT, _digest(key), delta, _tags(key.namespace))
        except StoreError as error:
            if isinstance(error.__cause__, asyncpg.DataError):
                raise TypeError("Value is not an integer") from error
            raise
        assert row is not None  # either way a row is there afterwards
        value: int = row["value"]
        return value

    async def _expire(self, key: NamespacedKey, ttl: float | None, _conn: Any = None) -> bool:
        return bool(await self._database.fetch(_EXPIRE, _digest(key), _ttl_s(ttl), idempotent=True))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        wanted = namespace if namespace is not None else self.namespace
        await self._database.fetch(ERASE, _OURS if wanted is None else _tag(wanted), idempotent=True)
        return True

    async def _raw(self, command: str, *args: Any, encoding: Any = None, _conn: Any = None, **kwargs: Any) -> Any:
        """SQL, with its arguments; its rows."""
        return await self._database.fetch(command, *args)

    async def _redlock_release(self, key: NamespacedKey, value: Any) -> int:
        return len(await self._database.fetch(_REMOVE_EQUAL, _digest(key), _bytes(value)))


def _digest(key: NamespacedKey) -> bytes:
    """32 bytes, so that it is none of HybridCache's, which have 16. The length keeps the parts apart."""
    namespace = key.namespace.encode("utf-8", "surrogatepass")
    text = key.key.encode("utf-8", "surrogatepass")
    return blake2b(b"%d:%b%b" % (len(namespace), namespace, text), digest_size=32, person=b"tecnobot aio").digest()


def _tag(namespace: str) -> bytes:
    return blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=32, person=b"tecnobot aio ns").digest()


def _tags(namespace: str) -> list[bytes]:
    return [_OURS, _tag(namespace)]


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value).encode()
    raise TypeError(
        f"PostgresCache keeps text and bytes, not {type(value).__name__}; give it a serializer that makes one"
    )


def _ttl_s(ttl: float | None) -> float:
    """As for aiocache's memory backend, neither None nor 0 ends."""
    return float(ttl) if ttl else float("inf")
