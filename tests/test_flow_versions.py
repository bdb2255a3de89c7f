"""Which version of a flow a conversation stands on, and how its program is found."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tecnobot_core.errors import FlowError, StoreError
from tecnobot_core.flows import Flow, FlowRepository, FlowStore, MemoryFlowStore
from tecnobot_core.flows.steps import AnyStep, Ask, Call, Do
from tecnobot_core.flows.versions import MAX_OLD, version_of
from tecnobot_core.messages import Position
from tecnobot_core.testing import FakeClock

GREETING = Flow("greeting").on("hola").say("¡Hola!")
CHANGED = Flow("greeting").on("hola").say("Buenas")


class CountingStore(MemoryFlowStore):
    """Counts how often a version is read, and can be down or hold what cannot be read."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        super().__init__(flows)
        self.reads = 0
        self.error: Exception | None = None

    async def load_version(self, chatbot_id: str, flow_id: str, version: int) -> tuple[AnyStep, ...] | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return await super().load_version(chatbot_id, flow_id, version)


class OnlyFlows:
    """A store that keeps no versions, such as a folder of files."""

    def __init__(self, store: FlowStore) -> None:
        self.load, self.version = store.load, store.version
        self.add, self.put, self.remove = store.add, store.put, store.remove


async def served(store: FlowStore) -> FlowRepository:
    repository = FlowRepository(store, "shop")
    await repository.load()
    return repository


def at(version: int, *stack: tuple[str, str, int], flow: str = "greeting") -> Position:
    return Position(flow, "1", version, stack=stack)


# Versions that follow from the content


def test_the_version_of_a_flow_in_code_is_the_same_in_every_process() -> None:
    source = (
        "from tecnobot_core.flows import Flow; from tecnobot_core.flows.steps import Ask, Do;"
        "from tecnobot_core.flows.versions import version_of;"
        "print(version_of(Flow('f').say('ñ\\ud800').then(Ask(text='?', into='x', limits={'min': 1, 'max': 9}),"
        " Do(function='g', arguments={'b': 1, 'a': [2]}))))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", source], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert 0 < int(printed.pop()) < 2**52


def test_the_version_of_a_flow_in_code_changes_with_its_steps_alone() -> None:
    version = version_of(GREETING)
    assert version_of(Flow("other", priority=3, interrupts=True).on("buenas").say("¡Hola!")) == version
    assert version_of(CHANGED) != version
    assert version_of(GREETING.then(Ask(text="?", into="x"))) != version


def test_the_order_in_which_arguments_are_written_is_no_change() -> None:
    one, other = (Do(function="g", arguments=dict(pairs)) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert version_of(GREETING.then(one)) == version_of(GREETING.then(other))


def test_the_version_that_a_store_gives_wins() -> None:
    assert version_of(Flow("f", version=17).on("x").say("y")) == 17


# Programs


async def test_a_program_is_built_once_and_kept_while_its_version_is() -> None:
    store = MemoryFlowStore([GREETING])
    repository = await served(store)
    program = repository.program("greeting")
    assert program is repository.program("greeting")
    await store.put("shop", Flow("greeting", priority=9).on("buenas").say("¡Hola!"))
    await repository.refresh()
    assert repository.program("greeting") is program
    await store.put("shop", CHANGED)
    await repository.refresh()
    assert repository.program("greeting") is not program


async def test_a_change_takes_no_version_away_that_is_in_use() -> None:
    store = MemoryFlowStore([GREETING, Flow("menu").on("menú").then(Call(flow="greeting"))])
    repository = await served(store)
    old = [repository.program(id) for id in ("greeting", "menu")]
    await store.put("shop", CHANGED)
    await store.remove("shop", "menu")
    await repository.refresh()
    # Between the steps of a turn nothing is loaded.
    assert [program and repository.program(program.flow_id, program.version) for program in old] == old
    assert all(old)


async def test_what_a_position_stands_on_stays_though_it_changes_before_it_is_asked_for() -> None:
    store = CountingStore([GREETING])
    repository = await served(store)
    await repository.load_versions(at(version_of(GREETING)))
    await store.put("shop", CHANGED)
    await repository.refresh()
    assert repository.program("greeting", version_of(GREETING)) is not None
    assert store.reads == 0


async def test_the_callers_of_a_position_are_loaded_too() -> None:
    menu = Flow("menu").on("menú").then(Call(flow="greeting"))
    store = CountingStore([GREETING, menu])
    await store.put("shop", CHANGED)
    await store.remove("shop", "menu")
    repository = await served(store)
    await repository.load_versions(at(version_of(CHANGED), ("menu", "1", version_of(menu))))
    assert repository.program("menu", version_of(menu)) is not None
    assert repository.program("menu") is None
    assert store.reads == 1


async def test_a_version_is_read_once_also_where_it_is_gone_until_the_flows_change() -> None:
    store = CountingStore([GREETING])
    await store.put("shop", CHANGED)
    repository = await served(store)
    for _ in range(3):
        await repository.load_versions(at(version_of(GREETING), ("greeting", "1", 12345)))
    assert store.reads == 2
    assert repository.program("greeting", 12345) is None
    await store.put("shop", Flow("price").on("precio").say("5 €"))
    await repository.refresh()
    await repository.load_versions(at(version_of(GREETING)))
    assert store.reads == 3


async def test_a_position_without_a_flow_or_of_the_current_version_reads_nothing() -> None:
    store = CountingStore([GREETING])
    repository = await served(store)
    await repository.load_versions(Position("", "", kind="handoff"))
    await repository.load_versions(at(0))
    await repository.load_versions(at(version_of(GREETING)))
    assert store.reads == 0


async def test_only_the_last_used_versions_are_remembered() -> None:
    store = CountingStore([GREETING])
    repository = await served(store)
    for version in range(1, MAX_OLD + 2):
        await repository.load_versions(at(1))
        await repository.load_versions(at(version))
        repository.program("greeting", 1)
    reads = store.reads
    await repository.load_versions(at(1))
    assert store.reads == reads == MAX_OLD + 1
    await repository.load_versions(at(2))
    assert store.reads == reads + 1


async def test_a_store_that_is_down_is_told_and_asked_again() -> None:
    store = CountingStore([GREETING])
    await store.put("shop", CHANGED)
    repository = await served(store)
    store.error = StoreError("down", retryable=True)
    with pytest.raises(StoreError):
        await repository.load_versions(at(version_of(GREETING)))
    store.error = None
    await repository.load_versions(at(version_of(GREETING)))
    assert repository.program("greeting", version_of(GREETING)) is not None


async def test_a_version_that_cannot_be_read_any_more_counts_as_gone(caplog: pytest.LogCaptureFixture) -> None:
    store = CountingStore([GREETING])
    repository = await served(store)
    store.error = FlowError("flow 'greeting': unknown step kind")
    await repository.load_versions(at(5))
    assert repository.program("greeting", 5) is None
    assert "unknown step kind" in caplog.text


async def test_without_kept_versions_a_process_goes_on_with_those_it_served_until_they_are_moved() -> None:
    store = MemoryFlowStore([GREETING])
    repository = await served(OnlyFlows(store))
    old = repository.program("greeting")
    assert old is not None
    await store.put("shop", CHANGED)
    await repository.refresh()
    await repository.load_versions(at(old.version))
    assert repository.program("greeting", old.version) is old
    await repository.move_conversations("greeting")
    assert repository.program("greeting", old.version) is None


async def test_the_store_in_memory_keeps_only_so_many_versions() -> None:
    store = MemoryFlowStore()
    flows = [Flow("greeting").on("hola").say(f"hola {number}") for number in range(300)]
    for flow in flows:
        await store.put("shop", flow)
    kept = [await store.load_version("shop", "greeting", version_of(flow)) is not None for flow in flows]
    assert kept == [False] * 43 + [True] * 257  # 256, and the current one


# A flow that breaks


async def test_a_flow_that_breaks_is_served_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryFlowStore([GREETING])
    repository = await served(store)
    await store.put("shop", Flow("greeting").on("hola"))
    assert await repository.refresh()
    assert repository.get("greeting") == GREETING
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "last good version" in caplog.text
    await store.put("shop", CHANGED)
    await repository.refresh()
    assert repository.get("greeting") == CHANGED


async def test_a_flow_whose_expressions_nobody_can_compile_any_more_is_served_as_it_was() -> None:
    store = MemoryFlowStore([GREETING])
    repository = await served(store)
    await store.put("shop", Flow("greeting").on("^h", kind="regex").say("x"))
    await repository.refresh()
    assert repository.get("greeting") == GREETING
    assert repository.match("hola") is not None


async def test_a_broken_flow_that_is_removed_is_served_no_more() -> None:
    store = MemoryFlowStore([GREETING])
    repository = await served(store)
    await store.put("shop", Flow("greeting").on("hola"))
    await repository.refresh()
    await store.remove("shop", "greeting")
    await repository.refresh()
    assert repository.get("greeting") is None


async def test_watching_deletes_old_versions_every_hour_and_a_failing_store_is_tried_again() -> None:
    class Purging(MemoryFlowStore):
        purged = 0

        async def purge_versions(self, chatbot_id: str, **_: object) -> int:
            self.purged += 1
            raise StoreError("away", retryable=True)

    store, clock = Purging([Flow("f").on("hola").say("…")]), FakeClock()
    flows = FlowRepository(store, "bot", poll_s=600, clock=clock, sleep=clock.sleep)
    watching = asyncio.create_task(flows.watch())
    await clock.advance(3500)
    assert store.purged == 0
    await clock.advance(2 * 3600)
    assert store.purged == 2
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
