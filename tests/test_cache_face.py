"""The face over the memory tier: defects of aiocache's own backend that it has not, and what a store behind hears."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import pytest
from aiocache.plugins import BasePlugin
from aiocache.serializers import JsonSerializer

from tecnobot_core.cache.face import MemoryFace
from tecnobot_core.cache.memory import MISSING, MemoryTier
from tecnobot_core.cache.namespaces import namespaced
from tecnobot_core.testing import FakeClock

# The defects of aiocache 0.12.3's memory backend, one by one.


async def test_it_is_bounded_by_bytes() -> None:
    cache = MemoryFace(MemoryTier(100_000))
    for number in range(1_000):
        await cache.set(f"k{number}", bytes(1_000))
    assert cache._memory.used_bytes <= 100_000
    assert await cache.get("k999") == bytes(1_000)


async def test_a_time_needs_no_timer() -> None:
    cache = MemoryFace()
    scheduled = len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]
    for _ in range(3):
        await cache.set("k", 1, ttl=60)
    assert len(asyncio.get_running_loop()._scheduled) == scheduled  # type: ignore[attr-defined]


def test_a_time_passes_whatever_the_loop_does() -> None:
    clock = FakeClock()
    cache = MemoryFace(MemoryTier(10_000, clock=clock))
    asyncio.run(cache.set("k", 1, ttl=5))
    clock.now = 4.9
    assert asyncio.run(cache.get("k")) == 1
    clock.now = 5.0
    assert asyncio.run(cache.get("k")) is None


async def test_clear_leaves_nothing_behind_that_ends_a_later_value() -> None:
    clock = FakeClock()
    cache = MemoryFace(MemoryTier(10_000, clock=clock))
    await cache.set("k", 1, ttl=5)
    await cache.clear()
    await cache.set("k", 2)
    clock.now = 6
    assert await cache.get("k") == 2


async def test_namespaces_are_apart_however_they_and_the_keys_are_cut() -> None:
    cache = MemoryFace()
    await cache.set("c", 1, namespace="ab")
    assert await cache.get("bc", namespace="a") is None
    assert await cache.get("abc") is None
    own = MemoryFace(namespace="ab")
    await own.set("c", 1)
    assert [await own.get("c"), await own.get("bc", namespace="a"), await own.get("abc", namespace="")] == [
        1,
        None,
        None,
    ]


async def test_clearing_a_namespace_leaves_those_that_begin_like_it() -> None:
    cache = MemoryFace()
    for namespace in ("user:1", "user:12", "user:"):
        await cache.set("k", namespace, namespace=namespace)
        await cache.set(7, namespace, namespace=namespace)
    await cache.set("user:1k", "none")
    assert await cache.clear(namespace="user:1")
    assert [await cache.get("k", namespace=name) for name in ("user:1", "user:12", "user:")] == [
        None,
        "user:12",
        "user:",
    ]
    assert await cache.get(7, namespace="user:1") is None
    assert await cache.get("user:1k") == "none"


async def test_none_is_a_value() -> None:
    for cache in (MemoryFace(), MemoryFace(plugins=[BasePlugin()]), MemoryFace(serializer=JsonSerializer())):
        await cache.set("k", None, ttl=60)
        assert await cache.get("k", default="absent") is None
        assert await cache.get("other", default="absent") == "absent"
        assert await cache.exists("k")
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("k", 1)
        assert await cache.delete("k") == 1
        assert not await cache.exists("k")


async def test_by_default_no_command_makes_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(call: Any, seconds: float) -> None:
        call.close()
        raise AssertionError("a timeout was set up")

    cache = MemoryFace()
    monkeypatch.setattr(asyncio, "wait_for", refuse)
    await cache.set("k", 1)
    await cache.exists("k")
    with pytest.raises(AssertionError, match="set up"):
        await cache.get("k", timeout=1)
    cache.timeout = 1
    with pytest.raises(AssertionError, match="set up"):
        await cache.get("k")


async def test_aiocache_disable_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = MemoryFace()
    monkeypatch.setenv("AIOCACHE_DISABLE", "1")
    disabled = MemoryFace()
    await enabled.set("k", 1)
    assert await enabled.get("k") == 1
    assert disabled.is_disabled
    results = [
        await disabled.set("k", 1), await disabled.get("k"), await disabled.add("k", 1), await disabled.add("k", 1),
        await disabled.multi_set([("k", 1)]), await disabled.multi_get(["k"]), await disabled.delete("k"),
        await disabled.exists("k"), await disabled.increment("k"), await disabled.expire("k", 1),
        await disabled.clear(), await disabled.raw("keys"),
    ]  # fmt: skip
    assert results == [True, None, True, True, True, [], 0, False, 1, False, True, None]
    assert len(disabled._memory) == 0


async def test_a_counter_goes_through_its_serializer_and_keeps_its_time() -> None:
    clock = FakeClock()
    cache = MemoryFace(MemoryTier(10_000, clock=clock), serializer=JsonSerializer())
    await cache.set("n", 1, ttl=10)
    assert await cache.increment("n", 2) == 3
    assert await cache.get("n") == 3
    assert await cache.increment("new") == 1
    assert await cache.get("new") == 1
    clock.now = 10
    assert await cache.get("n") is None


# Keys


class Color(Enum):
    RED = "red"


class Shy(str):
    """Text that prints as something else, as a ChatId does."""

    __slots__ = ()

    def __str__(self) -> str:
        return "hidden"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return "hidden"


@pytest.mark.parametrize("namespace", [None, "n"])
async def test_keys_that_differ_are_apart(namespace: str | None) -> None:
    cache = MemoryFace(namespace=namespace)
    keys: list[Any] = [
        "1",
        1,
        b"1",
        ("1",),
        "\0=1",
        "\0~int:1",
        "~int:1",
        "\x001:n1",
        "\0",
        "",
        Shy("a"),
        Shy("b"),
        Color.RED,
    ]
    for number, key in enumerate(keys):
        await cache.set(key, number)
    assert [await cache.get(key) for key in keys] == list(range(len(keys)))
    assert await cache.get("red") == await cache.get(Color.RED)
    assert await cache.get("a") == keys.index("a")
    assert await cache.get("anything", namespace="other") is None


async def test_a_text_that_looks_like_a_key_of_a_namespace_is_none() -> None:
    cache = MemoryFace()
    await cache.set("\x001:nk", "mine")
    await cache.set("k", "yours", namespace="n")
    assert await cache.get("\x001:nk") == "mine"
    assert await cache.get("k", namespace="n") == "yours"


async def test_a_text_that_looks_like_a_key_of_a_namespace_does_not_find_it() -> None:
    cache = MemoryFace()
    await cache.set("k", "yours", namespace="n")
    assert await cache.get("\x001:nk") is None


async def test_what_is_read_through_the_face_is_kept_longer() -> None:
    cache = MemoryFace(MemoryTier(300_000))
    await cache.set("read", 1)
    for _ in range(3):
        await cache.get("read")
    for number in range(1_000):
        await cache.set(f"k{number}", bytes(1_000))
    assert await cache.get("read") == 1


async def test_many_namespaces_are_not_remembered_for_ever() -> None:
    cache = MemoryFace()
    for number in range(2_000):
        await cache.set("k", number, namespace=f"user:{number}")
    assert await cache.get("k", namespace="user:3") == 3
    assert len(cache._prefixes) <= 256


async def test_a_key_builder_decides_and_namespaces_can_still_be_cleared() -> None:
    def build(key: str, namespace: str | None = None) -> str:
        return f"app/{namespace}/{key}"

    cache = MemoryFace(key_builder=build, namespace="a")
    await cache.set("k", 1)
    await cache.set("k", 2, namespace="b")
    assert sorted(await cache.raw("keys")) == ["app/a/k", "app/b/k"]
    assert cache.build_key("k", "b") == "app/b/k"
    await cache.clear(namespace="b")
    assert await cache.raw("keys") == ["app/a/k"]


async def test_a_key_builder_that_ignores_namespaces_does_not_clear_everything() -> None:
    def build(key: str, namespace: str | None = None) -> str:
        return key

    cache = MemoryFace(key_builder=build)
    await cache.set("k", 1)
    await cache.clear(namespace="b")
    assert await cache.get("k") == 1


async def test_settings_may_change_while_it_is_used() -> None:
    cache = MemoryFace()
    await cache.set("k", 1)
    cache.namespace = "n"
    assert await cache.get("k") is None
    cache.serializer = JsonSerializer()
    await cache.set("k", [1])
    assert await cache.raw("get", cache.build_key("k")) == "[1]"
    heard = []

    class Hearing(BasePlugin):  # type: ignore[misc]
        async def pre_get(self, client: Any, *args: Any, **kwargs: Any) -> None:
            heard.append((args, kwargs))

    cache.plugins.append(Hearing())
    await cache.get("k", namespace="n")
    await cache.get("k", "default")
    assert heard == [(("k",), {"namespace": "n"}), (("k",), {"default": "default"})]


async def test_raw_calls_only_what_is_public() -> None:
    cache = MemoryFace()
    for name in ("_find", "__init__", "nothing", "max_bytes"):
        with pytest.raises(ValueError, match="no command of the memory tier; use a public method"):
            await cache.raw(name)


# A store behind the memory


class Stored(MemoryFace):
    """A face with a dict for a store, that writes down what it heard."""

    _has_store = True

    def __init__(self, store: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store = store
        self.heard: list[tuple[Any, ...]] = []
        self.gate: asyncio.Event | None = None

    async def _fetch(self, key: str) -> Any:
        self.heard.append(("fetch", key))
        found = self.store.get(key, MISSING)
        if self.gate:
            await self.gate.wait()
        return found

    async def _fetch_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        self.heard.append(("fetch_many", *keys))
        return {key: self.store[key] for key in keys if key in self.store}

    async def _stored(self, pairs: Sequence[tuple[str, Any]], ttl_s: float | None) -> None:
        self.heard.append(("stored", dict(pairs), ttl_s))
        self.store.update(pairs)

    async def _removed(self, keys: Sequence[str]) -> None:
        self.heard.append(("removed", *keys))
        for key in keys:
            self.store.pop(key, None)

    async def _cleared(self, namespace: str | None) -> None:
        self.heard.append(("cleared", namespace))


async def test_a_miss_asks_the_store_and_a_hit_does_not() -> None:
    cache = Stored({"a": 1, "b": 2})
    await cache.set("c", 3, ttl=5)
    assert [await cache.get("c"), await cache.get("a"), await cache.get("x", "none")] == [3, 1, "none"]
    assert await cache.multi_get(["c", "b", "x"]) == [3, 2, None]
    assert await cache.exists("b")
    assert cache.heard == [
        ("stored", {"c": 3}, 5), ("fetch", "a"), ("fetch", "x"), ("fetch_many", "b", "x"), ("fetch", "b"),
    ]  # fmt: skip


async def test_every_write_reaches_the_store() -> None:
    cache = Stored({})
    await cache.add("a", 1)
    await cache.multi_set([("b", 2), ("c", 3)], ttl=7)
    await cache.expire("b", 0)
    await cache.increment("c")
    assert await cache.delete("a") == 1
    assert await cache.clear("n")
    heard = [call for call in cache.heard if call[0] not in ("fetch", "fetch_many")]
    assert heard[:3] == [("stored", {"a": 1}, None), ("stored", {"b": 2, "c": 3}, 7), ("stored", {"b": 2}, None)]
    assert heard[3][1] == {"c": 4}
    assert heard[3][2] == pytest.approx(7, abs=0.5)
    assert heard[4:] == [("removed", "a"), ("cleared", "n")]


async def test_the_store_is_asked_through_serializers_too() -> None:
    cache = Stored({"a": "[1]"}, serializer=JsonSerializer())
    assert await cache.get("a") == [1]
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("a", 2)
    assert await cache.delete("a") == 1
    assert await cache.delete("a") == 0


async def test_of_two_that_add_at_once_one_wins() -> None:
    cache = Stored({})
    cache.gate = asyncio.Event()
    adding = [asyncio.ensure_future(cache.add("k", number)) for number in range(2)]
    await asyncio.sleep(0)
    cache.gate.set()
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(result) for result in results] == [bool, ValueError]
    assert await cache.get("k") == 0


class Holding(MemoryFace):
    """Holds pairs; those marked do not count."""

    _holds_more = True

    def _hold(self, key: str, value: Any, ttl_s: float | None) -> Any:
        return [value, True]

    def _open(self, key: str, held: Any) -> Any:
        return held[0] if held[1] else MISSING


async def test_a_subclass_may_hold_more_than_values_and_take_them_back() -> None:
    cache = Holding()
    await cache.set("k", 1)
    await cache.multi_set([("l", 2)])
    assert [await cache.get("k"), await cache.get("l")] == [1, 2]
    assert await cache.increment("l") == 3
    cache._memory.get("k")[1] = False
    assert await cache.get("k", "taken back") == "taken back"
    assert not await cache.exists("k")
    assert await cache.add("k", 5)
    assert await cache.get("k") == 5


# What it costs to be there


LOADED = """
import asyncio, importlib.util, sys
from pathlib import Path
import tecnobot_core
# The room without what its __init__ brings: the engine is another matter.
room = importlib.util.module_from_spec(importlib.util.find_spec("tecnobot_core.cache"))
sys.modules[room.__name__] = tecnobot_core.cache = room
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
import tecnobot_core.cache.face
print(resident() - before, "redis" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_importing_face_and_tier_takes_at_most_3_mb_and_no_redis() -> None:
    run = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    taken_bytes, redis = run.stdout.split()
    assert int(taken_bytes) <= 3_000_000
    assert redis == "False"


async def test_a_hit_makes_nothing_that_the_garbage_collector_must_look_at() -> None:
    cache = MemoryFace()
    await cache.set("k", "value", ttl=60)
    await cache.get("k")
    gc.collect()
    before = gc.get_count()[0]
    gc.disable()
    try:
        for _ in range(1_000):
            await cache.get("k")
        assert gc.get_count()[0] - before < 100
    finally:
        gc.enable()


async def test_a_timeout_that_is_set_later_counts() -> None:
    cache = MemoryFace()
    await cache.set("k", 1)
    cache.timeout = -1  # over before anything is done
    assert cache.timeout == -1
    for call in (cache.get("k"), cache.set("k", 2)):
        with pytest.raises(asyncio.TimeoutError):
            await call
    cache.timeout = 0
    assert await cache.get("k") == 1


async def test_a_key_that_looks_like_one_of_a_namespace_is_another_one_whenever_it_is_used() -> None:
    for namespaces in (["shop", None], [None, "shop"]):
        cache = MemoryFace(namespace=namespaces[0])
        forged = namespaced("shop", "k")
        for namespace in namespaces:
            cache.namespace = namespace
            await cache.set("k", namespace)
        cache.namespace = None
        assert await cache.get(forged) is None
        await cache.set(forged, "forged")
        assert [await cache.get("k", namespace="shop"), await cache.get("k"), await cache.get(forged)] == [
            "shop",
            None,
            "forged",
        ]
