"""The caches that are measured beside each other, each as its users call it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
    """A cache by its two commands; the third argument of *set* is the ttl. *get_all* is the loop that is measured."""

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str, Any, float], Awaitable[Any]]
    get_all: Callable[[Sequence[str]], Awaitable[None]] | None = None

    async def read(self, keys: Sequence[str]) -> None:
        """Ask for one key after the other."""
        if self.get_all is not None:
            await self.get_all(keys)
            return
        get = self.get
        for key in keys:
            await get(key)


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


def ours_by_policy(scope: str | None = None) -> Peer:
    """HybridCache through ``get_or_load``: for everybody, or under a policy of one person, *scope*."""
    cache = HybridCache(64 * MIB)
    policy = "transcript" if scope is None else "reply"

    async def load() -> Any:
        raise LookupError("it was loaded before")

    async def put(key: str, value: Any, ttl: float) -> None:
        async def load() -> Any:
            return value

        await cache.get_or_load(key, load, policy=policy, scope=scope)

    async def get_all(keys: Sequence[str]) -> None:
        for key in keys:
            await cache.get_or_load(key, load, policy="transcript")

    async def get_all_of_one(keys: Sequence[str]) -> None:
        for key in keys:
            await cache.get_or_load(key, load, policy="reply", scope=scope)

    get = partial(cache.get_or_load, loader=load, policy=policy, scope=scope)
    return Peer(get, put, get_all if scope is None else get_all_of_one)


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
