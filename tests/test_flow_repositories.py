"""The flows of many chatbots: loaded when they are needed, dropped when memory is, and what they weigh."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from tecnobot_core.errors import FlowError, LifecycleError, StoreError
from tecnobot_core.flows import Flow, FlowRepositories, FlowRepository, Keyword, MatchIndex, MemoryFlowStore
from tecnobot_core.flows.sizes import estimate_bytes
from tecnobot_core.flows.steps import Ask, Choice, Do, Menu, Send

GREETING = Flow("greeting").on("hola").say("¡Hola!")
SPARE_S = 120.0


class FakeClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowStore(MemoryFlowStore):
    """Loads when it is let, and can be down."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        super().__init__(flows)
        self.go = asyncio.Event()
        self.go.set()
        self.loads = 0
        self.down = False

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        self.loads += 1
        await self.go.wait()
        if self.down:
            raise StoreError("down", retryable=True)
        return await super().load(chatbot_id)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> SlowStore:
    return SlowStore([GREETING])


@pytest.fixture
def repositories(store: SlowStore, clock: FakeClock) -> FlowRepositories:
    return FlowRepositories(store, clock=clock, spare_s=SPARE_S)


# Ready


async def test_being_ready_loads_once(store: SlowStore) -> None:
    repository = FlowRepository(store, "shop")
    await repository.ready()
    await repository.ready()
    assert repository.match("hola") is not None
    assert store.loads == 1


async def test_many_that_wait_cause_one_load(store: SlowStore) -> None:
    repository = FlowRepository(store, "shop")
    store.go.clear()
    waiting = [asyncio.create_task(repository.ready()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting.pop(0).cancel()  # it was the one that loads
    await asyncio.sleep(0)
    store.go.set()
    await asyncio.gather(*waiting)
    assert store.loads == 2
    assert repository.match("hola") is not None


async def test_a_store_that_is_down_is_told_to_who_waits(store: SlowStore) -> None:
    repository = FlowRepository(store, "shop")
    store.down = True
    with pytest.raises(StoreError):
        await repository.ready()
    store.down = False
    await repository.ready()


async def test_released_flows_are_loaded_again_at_their_next_use(store: SlowStore) -> None:
    repository = FlowRepository(store, "shop")
    await repository.ready()
    assert repository.release() > 0
    assert (repository.used_bytes, len(repository), repository.release()) == (0, 0, 0)
    with pytest.raises(LifecycleError, match=r"ready\(\) before each use"):
        repository.match("hola")
    await repository.ready()
    assert repository.match("hola") is not None


async def test_watching_does_not_load_what_was_released_before_it_is_used(store: SlowStore) -> None:
    slept = 0

    async def sleep(_: float) -> None:
        nonlocal slept
        slept += 1
        await store.put("shop", Flow(f"flow{slept}").on("x").say("x"))
        await asyncio.sleep(0)

    repository = FlowRepository(store, "shop", sleep=sleep)
    await repository.ready()
    repository.release()
    watching = asyncio.create_task(repository.watch())
    while slept < 5:
        await asyncio.sleep(0)
    assert (len(repository), store.loads) == (0, 1)
    await repository.ready()
    before = len(repository)
    while slept < 10:
        await asyncio.sleep(0)
    assert len(repository) > before
    watching.cancel()
    await asyncio.wait([watching])


# Many chatbots


async def test_a_chatbot_has_one_repository(repositories: FlowRepositories) -> None:
    assert repositories.get("shop") is repositories.get("shop")
    assert repositories.get("shop") is not repositories.get("bakery")


async def test_the_least_recently_used_are_dropped_first_and_no_more_than_wanted(
    repositories: FlowRepositories, clock: FakeClock
) -> None:
    for chatbot in ("a", "b", "c"):
        clock.now += 1
        await repositories.get(chatbot).ready()
    one = repositories.get("a").used_bytes
    assert repositories.used_bytes == 3 * one > 0
    clock.now += SPARE_S
    repositories.get("a").match("hola")
    clock.now += SPARE_S
    assert repositories.release(one + 1) == 2 * one
    assert [len(repositories.get(chatbot)) for chatbot in ("a", "b", "c")] == [1, 0, 0]
    assert repositories.release(10**9) == one
    assert repositories.release(10**9) == 0


async def test_what_was_used_a_moment_ago_is_kept(repositories: FlowRepositories, clock: FakeClock) -> None:
    used = {
        "ready": repositories.get("ready").ready,
        "matched": repositories.get("matched").ready,
        "idle": repositories.get("idle").ready,
    }
    for ready in used.values():
        await ready()
    clock.now += SPARE_S
    await repositories.get("ready").ready()
    repositories.get("matched").match("nada")
    clock.now += SPARE_S - 1
    repositories.release(10**9)
    assert [len(repositories.get(chatbot)) for chatbot in used] == [1, 1, 0]


async def test_a_dropped_chatbot_answers_again(repositories: FlowRepositories, clock: FakeClock) -> None:
    repository = repositories.get("shop")
    await repository.ready()
    clock.now += SPARE_S
    repositories.release(1)
    await repository.ready()
    assert repository.match("hola") is not None


# What they weigh


def plain(number: int) -> Flow:
    return Flow(f"flow{number}").on(f"palabra{number}", f"tema {number}").say("…")


def rich(number: int) -> Flow:
    choices = tuple(
        Choice(label=f"opción {number} {n}", keywords=(f"n{n}",), steps=(Send(text="x"),)) for n in range(4)
    )
    return (
        Flow(f"flow{number}")
        .on(f"Canción {number}", f"tema {number}", f"más palabras {number}")
        .say(f"Hola, número {number}, " + "y mucho más " * 10, "uno", "dos")
        .then(
            Ask(text=f"¿Cuántos {number}?", into="n", type="integer", limits={"min": 0, "max": number}),
            Menu(text="¿Qué?", choices=choices),
            Do(function="f", arguments={"a": [number, {"b": "c"}]}),
        )
    )


@contextmanager
def taken_bytes() -> Iterator[Callable[[], int]]:
    """Inside, tells how many bytes were taken since and are still held."""

    def taken() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    gc.collect()
    tracemalloc.start()
    try:
        yield taken
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [plain, rich])
@pytest.mark.parametrize("n_flows", [100, 500])
def test_the_estimate_is_near_what_is_taken(make: Callable[[int], Flow], n_flows: int) -> None:
    stored = json.dumps([_stored(make(number)) for number in range(n_flows)])
    with taken_bytes() as taken:
        rows = enumerate(json.loads(stored))
        index = MatchIndex(Flow.from_stored(*row, version=10**6 + number) for number, row in rows)
        del rows
        held_bytes = taken()
    assert 0.75 * held_bytes < estimate_bytes(index) < 1.33 * held_bytes


def _stored(flow: Flow) -> tuple[str, list[str], dict[str, object]]:
    return flow.id, [keyword.text for keyword in flow.keywords], flow.response()


def test_a_chatbot_without_flows_can_be_dropped_too() -> None:
    assert 0 < estimate_bytes(MatchIndex()) < 5_000


def test_an_index_takes_at_most_a_hundred_bytes_a_keyword_beside_its_flows() -> None:
    bots = [[plain(100 * bot + number) for number in range(100)] for bot in range(50)]
    with taken_bytes() as taken:
        indexes = [MatchIndex(flows) for flows in bots]
        held_bytes = taken()
    assert held_bytes / sum(len(flow.keywords) for index in indexes for flow in index) <= 100
    assert held_bytes / len(bots) * 1_000 <= 20 * 2**20  # a thousand chatbots


def test_a_keyword_is_counted_with_its_place_in_the_index() -> None:
    few, many = Flow("f").on("x").say("y"), Flow("f", tuple(Keyword(f"x{n}") for n in range(100))).say("y")
    assert estimate_bytes(MatchIndex([many])) > estimate_bytes(MatchIndex([few])) + 99 * 180
