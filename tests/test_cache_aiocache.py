"""What aiocache documents, done by all that has its face: commands, serializers, plugins, locks and decorators."""

# mypy: disable-error-code="untyped-decorator"

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import aiocache
import pytest
from aiocache import Cache, cached, cached_stampede, caches, multi_cached
from aiocache.base import SENTINEL, BaseCache
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.plugins import BasePlugin, HitMissRatioPlugin, TimingPlugin
from aiocache.serializers import BaseSerializer, JsonSerializer, NullSerializer, PickleSerializer, StringSerializer

from tecnobot_core import HybridCache
from tecnobot_core.cache.face import MemoryFace
from tecnobot_core.cache.memory import MemoryTier
from tecnobot_core.testing import FakeClock
from tecnobot_core.testing.tier import FakeTier, SharedStore

Clock = Callable[[], float]
Face = TypeVar("Face", bound=MemoryFace)


class Wrapping(BaseSerializer):  # type: ignore[misc]
    """A user's own serializer, in bytes."""

    DEFAULT_ENCODING = None

    def dumps(self, value: Any) -> bytes:
        return b"v1" + json.dumps(value).encode()

    def loads(self, value: bytes) -> Any:
        assert value.startswith(b"v1")
        return json.loads(value[2:])


SERIALIZERS = (NullSerializer, JsonSerializer, PickleSerializer, Wrapping)


class OverMemory(MemoryFace):
    def __init__(self, *, clock: Clock = time.monotonic, **aiocache_kwargs: Any) -> None:
        super().__init__(MemoryTier(1_000_000, clock=clock), **aiocache_kwargs)


class WithoutStore(HybridCache):
    def __init__(self, *, clock: Clock = time.monotonic, **aiocache_kwargs: Any) -> None:
        super().__init__(1_000_000, clock=clock, **aiocache_kwargs)


class WithStore(HybridCache):
    def __init__(self, *, clock: Clock = time.monotonic, **aiocache_kwargs: Any) -> None:
        store = FakeTier(SharedStore(clock))
        super().__init__(1_000_000, store, secret=bytes(32), clock=clock, **aiocache_kwargs)


class AlwaysFresh(WithStore):
    """As if each lookup came from another process, which has nothing in memory."""

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        self.shrink(0)
        return await super().get(*args, **kwargs)

    async def _find(self, key: str) -> Any:
        self.shrink(0)
        return await super()._find(key)


@pytest.fixture(params=[OverMemory, WithoutStore, WithStore, AlwaysFresh])
def face(request: pytest.FixtureRequest) -> type[Any]:
    """All of them behave as aiocache says."""
    kind: type[Any] = request.param
    return kind


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[Face], Awaitable[Face]]]:
    """Opens what has to be opened before it is used."""
    async with AsyncExitStack() as opening:

        async def open_it(cache: Face) -> Face:
            return await opening.enter_async_context(cache) if isinstance(cache, WithStore) else cache

        yield open_it


Opened = Callable[[Any], Awaitable[Any]]


@pytest.fixture(params=[*SERIALIZERS, "plugin", "namespace", "timeout"])
async def cache(request: pytest.FixtureRequest, face: type[Any], opened: Opened) -> Any:
    """The same behaviour is wanted on the quick way and on every other."""
    ways: dict[Any, dict[str, Any]] = {
        "plugin": {"plugins": [BasePlugin()]},
        "namespace": {"namespace": "test:"},
        "timeout": {"timeout": 5},
    }
    return await opened(face(**(ways.get(request.param) or {"serializer": request.param()})))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def timed(clock: FakeClock, face: type[Any], opened: Opened) -> Any:
    return await opened(face(clock=clock, ttl=10))


# Commands


async def test_set_and_get(cache: MemoryFace) -> None:
    assert isinstance(cache, BaseCache)
    assert await cache.set("k", {"a": [1, "é"]}) is True
    assert await cache.get("k") == {"a": [1, "é"]}
    assert await cache.get("other") is None
    assert await cache.get("other", default="default") == "default"


async def test_set_replaces(cache: MemoryFace) -> None:
    await cache.set("k", 1)
    await cache.set("k", 2)
    assert await cache.get("k") == 2


async def test_add_stores_once(cache: MemoryFace) -> None:
    assert await cache.add("k", 1) is True
    with pytest.raises(ValueError, match="k already exists, use"):
        await cache.add("k", 2)
    assert await cache.get("k") == 1


async def test_multi_set_and_multi_get(cache: MemoryFace) -> None:
    assert await cache.multi_set([("a", 1), ["b", "2"]]) is True
    assert await cache.multi_get(["b", "x", "a"]) == ["2", None, 1]
    assert await cache.multi_get([]) == []


async def test_what_cannot_be_serialized_leaves_all_as_it_was(face: type[Any], opened: Opened) -> None:
    cache = await opened(face(serializer=JsonSerializer()))
    with pytest.raises(TypeError):
        await cache.multi_set([("a", 1), ("b", object())])
    assert await cache.multi_get(["a", "b"]) == [None, None]


async def test_delete_counts(cache: MemoryFace) -> None:
    await cache.set("k", 1)
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0
    assert await cache.get("k") is None


async def test_exists(cache: MemoryFace) -> None:
    assert await cache.exists("k") is False
    await cache.set("k", 1)
    assert await cache.exists("k") is True


async def test_increment(cache: MemoryFace) -> None:
    assert await cache.increment("n") == 1
    assert await cache.increment("n", delta=4) == 5
    assert await cache.increment("n", -7) == -2
    assert await cache.get("n") == -2


@pytest.mark.parametrize("value", ["text", None, [1]])
async def test_increment_of_what_is_no_integer_is_a_type_error(cache: MemoryFace, value: Any) -> None:
    await cache.set("n", value)
    with pytest.raises(TypeError, match="is not an integer"):
        await cache.increment("n")
    assert await cache.get("n") == value


async def test_clear_without_a_namespace_clears_all(cache: MemoryFace) -> None:
    await cache.set("k", 1)
    await cache.set("k", 1, namespace="other")
    assert await cache.clear() is True
    assert [await cache.exists("k"), await cache.exists("k", namespace="other")] == [False, False]


async def test_raw_reaches_the_backend(cache: MemoryFace) -> None:
    await cache.set("k", "v")
    assert await cache.raw("keys") == [cache.build_key("k")]
    assert await cache.raw("get", cache.build_key("k")) == cache.serializer.dumps("v")


async def test_closing_is_harmless(cache: MemoryFace) -> None:
    if isinstance(cache, WithStore):
        pytest.skip("it is used while it is open")
    async with cache as same:
        await same.set("k", 1)
    await cache.close()
    assert await cache.get("k") == 1


async def test_a_connection_has_the_commands(cache: MemoryFace) -> None:
    async with cache.get_connection() as connection:
        await connection.set("k", 1)
        assert await connection.get("k") == 1
        assert await connection.multi_get(["k"]) == [1]
        assert await connection.delete("k") == 1


# Times


async def test_ttl_is_that_of_the_call_or_of_the_cache(timed: MemoryFace, clock: FakeClock) -> None:
    await timed.set("own", 1, ttl=0.5)
    await timed.set("default", 1)
    await timed.set("sentinel", 1, ttl=SENTINEL)
    await timed.set("none", 1, ttl=None)
    await timed.set("zero", 1, ttl=0)
    await timed.multi_set([("many", 1)])
    await timed.add("added", 1)
    keys = ["own", "default", "sentinel", "many", "added", "none", "zero"]
    clock.now = 0.5
    assert [await timed.exists(key) for key in keys] == [False, True, True, True, True, True, True]
    clock.now = 10
    assert [await timed.exists(key) for key in keys] == [False, False, False, False, False, True, True]


async def test_what_has_expired_can_be_added(timed: MemoryFace, clock: FakeClock) -> None:
    await timed.add("k", 1)
    clock.now = 10
    assert await timed.delete("k") == 0
    await timed.add("k", 2)
    assert await timed.get("k") == 2


async def test_expire_sets_and_lifts_a_time(timed: MemoryFace, clock: FakeClock) -> None:
    assert await timed.expire("k", 5) is False
    await timed.set("k", 1)
    await timed.set("l", 1)
    assert await timed.expire("k", 2) is True
    assert await timed.expire("l", 0) is True
    clock.now = 2
    assert await timed.get("k") is None
    clock.now = 1_000
    assert await timed.get("l") == 1


async def test_a_command_that_lasts_longer_than_its_timeout_is_a_timeout_error() -> None:
    class Slow(MemoryFace):
        _has_store = True

        async def _fetch(self, key: str) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await Slow(timeout=0.001).get("k")
    with pytest.raises(TimeoutError):
        await Slow().exists("k", timeout=0.001)


# Functions of the call


async def test_dumps_fn_and_loads_fn_take_the_place_of_the_serializer(cache: MemoryFace) -> None:
    await cache.set("k", 5, dumps_fn=lambda value: f"<{value}>")
    assert await cache.get("k", loads_fn=lambda value: value.strip("<>")) == "5"
    await cache.multi_set([("l", 6)], dumps_fn=str)
    assert await cache.multi_get(["l"], loads_fn=int) == [6]
    await cache.add("m", 7, dumps_fn=str)
    assert await cache.get("m", loads_fn=int) == 7


async def test_string_serializer_casts(face: type[Any], opened: Opened) -> None:
    cache = await opened(face(serializer=StringSerializer()))
    await cache.set("k", 1)
    assert await cache.get("k") == "1"
    assert await cache.increment("k") == 2
    assert await cache.get("k") == "2"


# Plugins


async def test_every_command_calls_its_plugins(face: type[Any], opened: Opened) -> None:
    heard: list[str] = []

    class Hearing(BasePlugin):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            async def hook(client: Any, *args: Any, **kwargs: Any) -> None:
                assert ("took" in kwargs and "ret" in kwargs) == name.startswith("post_")
                heard.append(name)

            return hook if name.startswith(("pre_", "post_")) else super().__getattribute__(name)

    cache = await opened(face(plugins=[Hearing()]))
    calls = {
        "get": ("k",), "set": ("k", 1), "add": ("l", 1), "multi_get": (["k"],), "multi_set": ([("k", 1)],),
        "delete": ("l",), "exists": ("k",), "increment": ("k",), "expire": ("k", 1), "clear": (), "raw": ("keys",),
    }  # fmt: skip
    for name, arguments in calls.items():
        await getattr(cache, name)(*arguments)
        assert heard == [f"pre_{name}", f"post_{name}"]
        heard.clear()


async def test_timing_plugin(face: type[Any], opened: Opened) -> None:
    cache = await opened(face(plugins=[TimingPlugin()]))
    await cache.set("k", 1)
    for _ in range(3):
        await cache.get("k")
    assert cache.profiling["get_total"] == 3
    assert cache.profiling["set_min"] <= cache.profiling["set_max"]


async def test_hit_miss_ratio_plugin(face: type[Any], opened: Opened) -> None:
    cache = await opened(face(plugins=[HitMissRatioPlugin()]))
    await cache.set("k", 1)
    await cache.get("k")
    await cache.get("other")
    await cache.multi_get(["k", "other"])
    assert cache.hit_miss_ratio == {"total": 4, "hits": 2, "hit_ratio": 0.5}


# Locks


async def test_red_lock_lets_others_wait_until_it_is_released(cache: MemoryFace) -> None:
    order = []

    async def second() -> None:
        async with RedLock(cache, "k", lease=5):
            order.append("second")

    async with RedLock(cache, "k", lease=5):
        waiting = asyncio.ensure_future(second())
        for _ in range(5):
            await asyncio.sleep(0)
        assert await cache._redlock_release(cache.build_key("k-lock"), "another's") == 0
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    assert not await cache.exists("k-lock")


async def test_optimistic_lock_sees_a_change(cache: MemoryFace) -> None:
    await cache.set("k", "first")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("second", ttl=60) is True
    async with OptimisticLock(cache, "k") as lock:
        await cache.set("k", "between")
        with pytest.raises(OptimisticLockError):
            await lock.cas("third")
    assert await cache.get("k") == "between"
    async with OptimisticLock(cache, "new") as lock:
        assert await lock.cas("no conflict") is True


# Decorators


async def test_cached_calls_once(face: type[Any], opened: Opened) -> None:
    calls = []

    @cached(ttl=60, cache=face, namespace="main")
    async def double(number: int) -> int:
        calls.append(number)
        return number * 2

    await opened(double.cache)
    assert [await double(2), await double(2), await double(3)] == [4, 4, 6]
    assert calls == [2, 3]
    assert await double(2, cache_read=False) == 4
    assert calls == [2, 3, 2]


async def test_cached_takes_serializers_plugins_keys_and_skips(face: type[Any], opened: Opened) -> None:
    @cached(
        cache=face, key_builder=lambda function, *args: f"key:{args[0]}", serializer=JsonSerializer(),
        plugins=[HitMissRatioPlugin()], skip_cache_func=lambda result: result is None,
    )  # fmt: skip
    async def load(name: str) -> list[str] | None:
        return [name] if name else None

    await opened(load.cache)
    assert [await load("a"), await load("a"), await load("")] == [["a"], ["a"], None]
    assert await load.cache.exists("key:a")
    assert load.cache.hit_miss_ratio["hits"] == 1


async def test_cached_stampede_calls_once_for_many(face: type[Any], opened: Opened) -> None:
    if face is AlwaysFresh:
        pytest.skip("aiocache's lock is that of one process")
    calls, gate = [], asyncio.Event()

    @cached_stampede(lease=5, ttl=60, cache=face)
    async def load(name: str) -> str:
        calls.append(name)
        await gate.wait()
        return name

    await opened(load.cache)
    callers = [asyncio.ensure_future(load("a")) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*callers) == ["a"] * 20
    assert calls == ["a"]


async def test_multi_cached_asks_for_what_is_missing(face: type[Any], opened: Opened) -> None:
    asked = []

    @multi_cached("names", cache=face, namespace="n:")
    async def load(names: list[str]) -> dict[str, str]:
        asked.append(list(names))
        return {name: name.upper() for name in names}

    await opened(load.cache)
    assert await load(names=["a", "b"]) == {"a": "A", "b": "B"}
    assert await load(names=["a", "b", "c"]) == {"a": "A", "b": "B", "c": "C"}
    assert asked == [["a", "b"], ["c"]]


# The factory


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, face: type[Any]) -> Iterator[None]:
    before = caches.get_config()
    monkeypatch.setitem(aiocache.AIOCACHE_CACHES, "face", face)
    yield
    caches.set_config(before)


@pytest.mark.usefixtures("registered")
async def test_the_factory_makes_it(face: type[Any], opened: Opened) -> None:
    made = Cache(face, namespace="n", ttl=5)
    assert isinstance(made, face)
    assert made.ttl == 5
    assert isinstance(Cache.from_url("face://"), face)
    caches.set_config(
        {
            "default": {
                "cache": face,
                "serializer": {"class": "aiocache.serializers.JsonSerializer"},
                "plugins": [{"class": "aiocache.plugins.TimingPlugin"}],
            }
        }
    )
    cache = await opened(caches.get("default"))
    await cache.set("k", [1])
    assert await cache.get("k") == [1]
    assert cache.profiling["get_total"] == 1


UNDER_AN_ABSTRACT_BASE = """
import asyncio
from abc import ABC, abstractmethod
import aiocache.base

class BaseCache(aiocache.base.BaseCache, ABC):
    @abstractmethod
    def build_key(self, key, namespace=None): ...

aiocache.base.BaseCache = BaseCache
from tecnobot_core import HybridCache

async def main():
    cache = HybridCache(namespace="n")
    await cache.set("k", 1)
    print(isinstance(cache, BaseCache), await cache.get("k"), await cache.get("k", namespace="m"))

asyncio.run(main())
"""


def test_it_can_be_made_where_the_base_leaves_build_key_to_its_subclasses() -> None:
    """As aiocache 1.0 does, which is not published."""
    done = subprocess.run([sys.executable, "-c", UNDER_AN_ABSTRACT_BASE], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["True", "1", "None"], "")
