"""The caches that are measured beside each other, each as its users call it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiocache import SimpleMemoryCache

from tecnobot_core import HybridCache

MIB = 1 << 20
TTL_S = 3600
N_PEER_KEYS = 1_000_000  # room of the caches that count entries


@dataclass(frozen=True)
class Peer:
    """A cache by its two commands; the third argument of *set* is the ttl."""

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str, Any, float], Awaitable[Any]]


class Floor:
    """What no asyncio cache can do without: a coroutine around a dict."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self._values.get(key)

    async def set(self, key: str, value: Any, ttl: float) -> None:
        self._values[key] = value


class _Synchronous:
    """cachetools in coroutines: it has one ttl for all."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    async def get(self, key: str) -> Any:
        return self._cache.get(key)

    async def set(self, key: str, value: Any, ttl: float) -> None:
        self._cache[key] = value


def floor() -> Peer:
    """The floor."""
    cache = Floor()
    return Peer(cache.get, cache.set)


def ours(max_mib: int = 64, **options: Any) -> Peer:
    """HybridCache without a store."""
    cache = HybridCache(max_mib * MIB, **options)
    return Peer(cache.get, cache.set)


def ours_by_policy(max_mib: int = 64) -> Peer:
    """HybridCache through ``get_or_load`` under a policy, for one person."""
    cache = HybridCache(max_mib * MIB)

    async def load() -> Any:
        return value

    async def put(key: str, given: Any, ttl: float) -> None:
        nonlocal value
        value = given
        await cache.get_or_load(key, load, policy="reply", scope="34600000000")

    value: Any = None
    return Peer(lambda key: cache.get_or_load(key, load, policy="reply", scope="34600000000"), put)


def aiocache(**options: Any) -> Peer:
    """aiocache's memory backend."""
    cache = SimpleMemoryCache(**options)
    return Peer(cache.get, cache.set)


def cashews() -> Peer | None:
    """The memory backend of cashews; None where it is not installed."""
    if installed("cashews") is None:
        return None
    cache = import_module("cashews").Cache()
    cache.setup("mem://", size=N_PEER_KEYS)
    return Peer(cache.get, cache.set)


def cachetools_ttl() -> Peer | None:
    """TTLCache of cachetools; None where it is not installed."""
    if installed("cachetools") is None:
        return None
    cache = _Synchronous(import_module("cachetools").TTLCache(N_PEER_KEYS, TTL_S))
    return Peer(cache.get, cache.set)


def installed(package: str) -> str | None:
    """The version of *package*, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
