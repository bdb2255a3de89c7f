"""A namespace of a cache without a store ends at once, and its memory is given back in slices."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core import CachePolicy, HybridCache
from tecnobot_core.cache import MemoryFace
from tecnobot_core.cache.namespaces import MARK, Epochs, namespace_of, namespaced, without_namespace

POLICIES = {"p": CachePolicy(3600), "mine": CachePolicy(3600, scope="user")}
COUNT = 1000
WHAT = {
    "clear": lambda cache: cache.clear(namespace="n"),
    "invalidate": lambda cache: cache.invalidate(namespace="n"),
}


async def value() -> str:
    return "loaded"


async def filled(cache: HybridCache) -> HybridCache:
    await cache.multi_set([(str(number), number) for number in range(COUNT)], namespace="n")
    await cache.set(5, "number", namespace="n")
    await cache.set("0", "of another", namespace="nn")
    await cache.set("0", "of none")
    await cache.get_or_load("0", value, policy="p")
    return cache


@pytest.mark.parametrize("what", WHAT)
async def test_a_namespace_is_gone_before_anybody_looked_at_its_entries(what: str) -> None:
    cache = await filled(HybridCache(policies=POLICIES))
    await WHAT[what](cache)
    assert cache.statistics()["entries"] == COUNT + 4
    assert [await cache.get(key, namespace="n") for key in ("0", "999", 5)] == [None] * 3
    assert await cache.multi_get(["1", "2"], namespace="n") == [None, None]
    assert not await cache.exists("3", namespace="n")
    assert await cache.delete("3", namespace="n") == 0
    assert await cache.add("4", "new", namespace="n")
    assert await cache.increment("5", namespace="n") == 1
    assert [await cache.get("0", namespace="nn"), await cache.get("0")] == ["of another", "of none"]


@pytest.mark.parametrize("what", WHAT)
async def test_its_memory_is_given_back_in_slices_and_what_was_set_meanwhile_stays(what: str) -> None:
    cache = await filled(HybridCache(policies=POLICIES))
    await WHAT[what](cache)
    await cache.set("0", "new", namespace="n")
    left: list[int] = []
    while not left or left[-1] > 4:
        await asyncio.sleep(0)
        left.append(len(cache._memory))
    assert max(before - after for before, after in pairwise(left)) <= 200
    assert await cache.get("0", namespace="n") == "new"
    assert [await cache.get("0", namespace="nn"), await cache.get("0")] == ["of another", "of none"]
    assert await cache.get_or_load("0", not_called, policy="p") == "loaded"


async def not_called() -> str:
    raise AssertionError("what is kept is loaded again")


@pytest.mark.parametrize("namespace", [None, "own"])
async def test_all_that_was_set_ends_under_default_and_no_answer_of_a_policy_does(namespace: str | None) -> None:
    cache = await filled(HybridCache(policies=POLICIES, namespace=namespace))
    await cache.get_or_load("loaded", value)
    await cache.set(MARK + "x", "marked")
    await cache.get_or_load("0", value, policy="mine", scope="ana")
    await cache.set(7, "a number")
    await cache.invalidate(namespace="default")
    for key in ("0", "loaded", MARK + "x", 7):
        assert await cache.get(key) is None
        assert await cache.get(key, namespace="n") is None
    assert await cache.get_or_load("loaded", value) == "loaded"
    for key in ("k", 7, MARK + "x"):
        await cache.set(key, "again")
        await cache.set(key, "again", namespace="n")
    await turns()
    assert len(cache._memory) == 2 + 1 + 6
    for key in ("k", 7, MARK + "x"):
        assert [await cache.get(key), await cache.get(key, namespace="n")] == ["again", "again"]
    assert await cache.get_or_load("loaded", not_called) == "loaded"
    assert await cache.get_or_load("0", not_called, policy="p") == "loaded"
    assert await cache.get_or_load("0", not_called, policy="mine", scope="ana") == "loaded"


async def turns(n: int = 100) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_a_namespace_of_its_own_ends_by_its_name_and_by_no_other() -> None:
    cache = HybridCache(namespace="own")
    await cache.set("k", 1)
    await cache.clear(namespace="other")
    assert await cache.get("k") == 1
    await cache.clear(namespace="own")
    assert [await cache.get("k"), await cache.get("k", namespace="own")] == [None, None]
    await cache.set("k", 2)
    assert [await cache.get("k"), await cache.get("k", namespace="own")] == [2, 2]
    assert await cache.raw("get", cache.build_key("k")) == 2


async def test_what_is_being_loaded_when_its_namespace_ends_is_not_kept() -> None:
    cache = HybridCache(namespace="own")
    go_on = asyncio.Event()

    async def slow() -> str:
        await go_on.wait()
        return "old"

    loading = asyncio.ensure_future(cache.get_or_load("k", slow))
    await turns(3)
    await cache.clear(namespace="own")
    go_on.set()
    assert await loading == "old"
    assert await cache.get("k") is None
    assert await cache.get_or_load("k", value) == "loaded"


async def test_all_that_was_set_bare_and_nothing_else_ends_under_default() -> None:
    cache = HybridCache()
    await cache.set("k", 1)
    await cache.invalidate(namespace="default")
    assert [await cache.get("k"), await cache.exists("k")] == [None, False]
    await cache.set("k", 2)
    await turns()
    assert [await cache.get("k"), await cache.exists("k")] == [2, True]


async def test_what_ends_while_memory_is_given_back_is_given_back_too() -> None:
    cache = HybridCache()
    for name in "abc":
        await cache.multi_set([(str(number), number) for number in range(COUNT)], namespace=name)
    for name in "cba":
        await cache.clear(namespace=name)
        await turns(3)  # so some of the last one was seen before it ends
    await turns()
    assert len(cache._memory) == 0


def test_what_another_event_loop_did_not_give_back_goes_in_the_next_one() -> None:
    cache = HybridCache()

    async def leave() -> None:
        await cache.multi_set([(str(number), number) for number in range(COUNT)], namespace="n")
        await cache.clear(namespace="n")

    async def again() -> None:
        assert len(cache._memory) > 0
        await cache.clear(namespace="other")
        await turns()
        assert len(cache._memory) == 0

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    asyncio.run(again())


async def test_a_face_without_tasks_forgets_at_once() -> None:
    cache = MemoryFace()
    await cache.set("k", 1, namespace="n")
    await cache.set("k", 2)
    await cache.clear(namespace="n")
    assert [await cache.get("k", namespace="n"), await cache.get("k"), len(cache._memory)] == [None, 2, 1]


# Keys

texts = st.text(st.sampled_from(MARK + "0123.:=~ab"), max_size=6)
keys = texts | st.integers(-2, 12) | st.binary(max_size=2)
places = st.tuples(texts, keys, st.integers(0, 12))


def place(namespace: str, key: Any, epoch: int) -> str:
    return namespaced(namespace, key, epoch) if namespace else without_namespace(key, epoch)


@given(places, places)
def test_no_two_keys_of_any_namespaces_and_epochs_are_one(one: tuple[str, Any, int], two: tuple[str, Any, int]) -> None:
    assert (place(*one) == place(*two)) == (repr(one) == repr(two))
    assert namespace_of(place(*one)) == one[0]


@given(st.lists(st.sampled_from(["", "a", "1", None]), max_size=12), st.lists(st.tuples(st.sampled_from("a1"), keys)))
def test_exactly_what_was_built_before_its_namespace_ended_is_over(ends: list[str | None], built: Any) -> None:
    epochs = Epochs(max_ended=100)
    before: dict[str, bool] = {}
    for ended in ends:
        for namespace, key in [("", "bare"), *built]:
            before[place(namespace, key, epochs.of(namespace))] = False
        if ended is None:
            epochs.end_all()
        else:
            epochs.end(ended)
        for key in before:
            before[key] |= ended is None or namespace_of(key) == ended
    assert {key: epochs.is_over(key) for key in before} == before


def test_of_few_namespaces_it_is_known_that_they_ended_and_more_end_all() -> None:
    epochs = Epochs(max_ended=10)
    built = {}
    for number in range(1000):
        built[number] = namespaced(str(number), "k", epochs.of(str(number)))
        epochs.end(str(number))
    assert all(epochs.is_over(key) for key in built.values())
    assert len(epochs._ended) <= 10
    assert not epochs.is_over(namespaced("5", "k", epochs.of("5")))
