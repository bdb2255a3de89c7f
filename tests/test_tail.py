"""HistoryTail: what it remembers of active chats is what the store would say, and its size."""

import asyncio
import contextlib
import gc
import json
import re
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.delivery.memory import MemoryConversations
from tecnobot_core.delivery.ports import Conversations
from tecnobot_core.delivery.tail import HistoryTail
from tecnobot_core.errors import StoreError
from tecnobot_core.memory import MemoryManager
from tecnobot_core.messages import ChatId, ChatMessage, Conversation, Position, Role, ToolCall, Turn

Ending = Literal["saw the beginning", "saw the end", "fails", "cancelled"]

ANA, BEN, EVA = CHATS = ChatId("ana"), ChatId("ben"), ChatId("eva")


class Store(MemoryConversations):
    """Keeps what it is given as a database does, in its own form of text and JSON. Counts its reads.

    While ``ending`` is set, a read that begins waits for it, and then tells what the store held when it began or ended.
    """

    def __init__(self) -> None:
        super().__init__(max_rows=10_000)
        self.reads = 0
        self.ending: asyncio.Future[Ending] | None = None

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        self.reads += 1
        seen = await self.look(chat, limit)
        if self.ending is not None and await self.ending == "saw the end":
            seen = await self.look(chat, limit)
        return seen

    async def look(self, chat: ChatId, limit: int) -> Conversation:
        """What a read gives; nobody else holds it."""
        found = await super().load(chat, limit)
        return replace(found, position=found.position and stored_position(found.position))

    async def record(self, turns: Sequence[Turn]) -> None:
        await super().record(
            [
                replace(turn, history=stored(turn.history), position=turn.position and stored_position(turn.position))
                for turn in turns
            ]
        )


def stored(value: Any) -> Any:
    """*value* with U+FFFD where a database holds no such character."""
    match value:
        case str():
            return re.sub("[\x00\ud800-\udfff]", "\ufffd", value)
        case ChatMessage():
            return replace(value, content=stored(value.content), tool_calls=stored(value.tool_calls))
        case ToolCall():
            return replace(value, arguments=stored(value.arguments))
        case dict():
            return {stored(key): stored(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(stored, value))
    return value


def stored_position(position: Position) -> Position:
    variables = stored(json.loads(json.dumps(dict(position.variables))))
    return Position(stored(position.flow), stored(position.step), position.version, variables)


class Unsure(Store):
    """Does what it is told, and then fails to say so."""

    async def record(self, turns: Sequence[Turn]) -> None:
        await super().record(turns)
        raise StoreError("the connection was lost", retryable=True)

    async def delete(self, chat: ChatId) -> int:
        await super().delete(chat)
        raise StoreError("the connection was lost", retryable=True)


class Away(Store):
    """Fails."""

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        raise StoreError("away", retryable=True)


class Driver(MemoryConversations):
    """Gives the *rows* of a chat as a driver does: in objects of its own, also the role."""

    def __init__(self, rows: Sequence[ChatMessage], position: Position | None = None) -> None:
        super().__init__()
        self._rows = rows
        self._position = position

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        return Conversation(tuple(map(copied, self._rows)), self._position)


def copied(row: ChatMessage) -> ChatMessage:
    calls = tuple(
        ToolCall(id=anew(call.id), name=anew(call.name), arguments=anew(call.arguments)) for call in row.tool_calls
    )
    role: Any = anew(row.role)
    return ChatMessage(role, anew(row.content), calls, row.tool_call_id and anew(row.tool_call_id), row.pinned)


def anew(text: str) -> str:
    return text.encode().decode()


def said(chat: ChatId, *texts: str, position: Position | None = None, pinned: bool = False) -> Turn:
    history = tuple(ChatMessage("user", text, pinned=pinned) for text in texts)
    return Turn(chat=chat, inbound=("m",), outcome="answered", answered_by="flow", history=history, position=position)


async def commit(store: Store, tail: HistoryTail, turn: Turn) -> None:
    """What Delivery does."""
    if turn.outcome == "answered":
        await store.record([turn])
    tail.note(turn)


async def assert_tells_the_truth(store: Store, tail: HistoryTail, chat: ChatId, limit: int) -> None:
    assert await tail.load(chat, limit) == await store.look(chat, limit)


chats = st.sampled_from([ANA, ANA, BEN])
limits = st.integers(0, 7)
texts = st.text(max_size=8) | st.sampled_from(["x\x00", "\ud800", "\\u0000"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(texts | st.integers(), inner, max_size=3)
    ),
    max_leaves=4,
)
positions = st.builds(Position, texts, texts, st.integers(0, 9), st.dictionaries(texts, values, max_size=3))
calls = st.builds(ToolCall, id=st.just("1"), name=st.just("stock"), arguments=texts)
roles = st.sampled_from(["user", "assistant", "system"])
rows = st.builds(ChatMessage, roles, texts, st.just(()) | st.tuples(calls), pinned=st.booleans())
turns = st.builds(
    Turn,
    chat=chats,
    inbound=st.just(("m",)),
    outcome=st.sampled_from(["answered"] * 5 + ["refused", "failed"]),
    answered_by=st.just("flow"),
    history=st.lists(rows, max_size=4).map(tuple),
    position=st.none() | positions,
    welcomed_at=st.none() | st.floats(0, 4e9),
)
endings = st.sampled_from(["saw the beginning", "saw the end", "fails", "cancelled"])
changes = st.one_of(
    st.tuples(st.just("commit"), turns),
    st.tuples(st.just("commit"), turns),
    st.tuples(st.sampled_from(["record", "record and note"]), turns),
    st.tuples(st.sampled_from(["delete", "forget"]), chats),
    st.tuples(st.just("release"), st.integers(0, 3000)),
    st.tuples(st.just("taken over"), turns),
)
reads = st.tuples(st.just("load"), chats, limits)
overlaps = st.tuples(st.just("begin"), chats, limits) | st.tuples(st.just("end"), st.integers(0, 5), endings)
steps = st.lists(changes | reads | overlaps, min_size=10, max_size=40)


class World:
    """A store, its tail, and reads that are under way."""

    def __init__(self, max_bytes: int) -> None:
        self.store = Store()
        self.tail = HistoryTail(self.store, max_bytes=max_bytes)
        self.max_bytes = max_bytes
        self.reads: list[tuple[asyncio.Task[Conversation], asyncio.Future[Ending]]] = []

    async def step(self, name: str, *given: Any) -> None:
        match name:
            case "commit":
                await commit(self.store, self.tail, *given)
            case "load":
                await assert_tells_the_truth(self.store, self.tail, *given)
            case "begin":
                await self.begin(*given)
            case "end":
                await self.end(*given)
            case "record":
                await self.tail.record(given)
            case "record and note":  # a Delivery whose store records through the tail
                await self.tail.record([turn for turn in given if turn.outcome == "answered"])
                self.tail.note(*given)
            case "taken over":  # by somebody who writes
                await self.store.record(given)
                self.tail.clear()
            case "delete":
                await self.tail.delete(*given)
            case _:
                getattr(self.tail, name)(*given)
        assert self.tail.used_bytes <= self.max_bytes
        assert bool(self.tail.used_bytes) == bool(len(self.tail))

    async def begin(self, chat: ChatId, limit: int) -> None:
        """Begin a read that does not end yet; what needs none ends at once, and is right."""
        self.store.ending = asyncio.get_running_loop().create_future()
        read = asyncio.create_task(self.tail.load(chat, limit))
        await asyncio.sleep(0)
        self.reads.append((read, self.store.ending))
        self.store.ending = None
        if read.done():
            self.reads.pop()
            assert read.result() == await self.store.look(chat, limit)

    async def end(self, number: int, ending: Ending) -> None:
        if number >= len(self.reads):
            return
        read, told = self.reads.pop(number)
        if ending == "cancelled":
            read.cancel()
        elif ending == "fails":
            told.set_exception(StoreError("away", retryable=True))
        else:
            told.set_result(ending)
        (result,) = await asyncio.gather(read, return_exceptions=True)
        expected = {"cancelled": asyncio.CancelledError, "fails": StoreError}.get(ending, Conversation)
        assert isinstance(result, expected)


@settings(max_examples=300)
@given(steps, st.sampled_from([100_000, 100_000, 100_000, 2000, 1]))
async def test_whatever_happens_it_tells_what_the_store_would(steps: list[tuple[Any, ...]], max_bytes: int) -> None:
    world = World(max_bytes)
    for step in steps:
        await world.step(*step)
        # Also so that the next step finds it remembered.
        await assert_tells_the_truth(world.store, world.tail, ANA, 4)
    while world.reads:
        await world.end(0, "saw the beginning")
    for chat in CHATS:
        for limit in (3, 0, 8, 5):
            await assert_tells_the_truth(world.store, world.tail, chat, limit)


async def test_an_active_chat_costs_one_read() -> None:
    store = Store()
    tail = HistoryTail(store)
    for number in range(20):
        await assert_tells_the_truth(store, tail, ANA, 5)
        await commit(store, tail, said(ANA, f"question {number}", f"answer {number}", position=Position("f", "s")))
    assert store.reads == 1


async def test_a_smaller_limit_is_served_and_a_larger_one_read() -> None:
    store = Store()
    await store.record([said(ANA, "a", "b", pinned=True), said(ANA, *map(str, range(10)))])
    tail = HistoryTail(store)
    await tail.load(ANA, 5)
    await assert_tells_the_truth(store, tail, ANA, 2)
    assert store.reads == 1
    await assert_tells_the_truth(store, tail, ANA, 6)
    assert store.reads == 2
    await assert_tells_the_truth(store, tail, ANA, 5)
    assert store.reads == 2


async def test_a_chat_that_was_not_loaded_stays_unknown() -> None:
    store = Store()
    tail = HistoryTail(store)
    await commit(store, tail, said(ANA, "a"))
    assert len(tail) == 0


@pytest.mark.parametrize("ending", ["saw the beginning", "saw the end"])
async def test_a_turn_that_is_committed_during_a_read_is_told_once(ending: Ending) -> None:
    world = World(100_000)
    for limit in (5, 6):  # nothing is known; then less than is wanted
        await world.begin(ANA, limit)
        await commit(world.store, world.tail, said(ANA, f"during {limit}"))
        await world.end(0, ending)
        await assert_tells_the_truth(world.store, world.tail, ANA, 5)


async def test_a_chat_that_is_deleted_during_a_read_stays_deleted() -> None:
    world = World(100_000)
    await world.store.record([said(ANA, "a")])
    await world.begin(ANA, 5)
    await world.tail.delete(ANA)
    await world.end(0, "saw the beginning")
    assert await world.tail.load(ANA, 5) == Conversation()


async def test_a_turn_that_was_not_answered_changes_nothing() -> None:
    store = Store()
    tail = HistoryTail(store)
    await tail.load(ANA, 5)
    await commit(store, tail, said(ANA, "a", position=Position("f", "s")))
    await commit(store, tail, replace(said(ANA, "b"), outcome="refused"))
    await assert_tells_the_truth(store, tail, ANA, 5)
    assert store.reads == 1


async def test_a_read_that_fails_raises_what_the_store_raised_and_leaves_nothing() -> None:
    world = World(100_000)
    await world.begin(ANA, 5)
    read, told = world.reads.pop()
    told.set_exception(error := StoreError("away", retryable=True))
    with pytest.raises(StoreError) as caught:
        await read
    assert caught.value is error
    assert len(world.tail) == 0


async def test_concurrent_reads_of_a_chat_agree() -> None:
    world = World(100_000)
    await world.store.record([said(ANA, "a", "b")])
    await world.begin(ANA, 5)
    await world.begin(ANA, 3)
    await world.end(0, "saw the beginning")
    await world.end(0, "saw the beginning")
    await assert_tells_the_truth(world.store, world.tail, ANA, 3)
    assert world.store.reads == 2


async def test_a_write_whose_outcome_is_unknown_makes_the_chat_unknown() -> None:
    store = Unsure()
    tail = HistoryTail(store)
    for write in (tail.record([said(ANA, "a")]), tail.delete(ANA)):
        await tail.load(ANA, 5)
        with pytest.raises(StoreError):
            await write
        await assert_tells_the_truth(store, tail, ANA, 5)


async def test_after_clear_every_chat_is_read_again() -> None:
    store = Store()
    tail = HistoryTail(store)
    for chat in CHATS:
        await tail.load(chat, 5)
    tail.clear()
    assert (len(tail), tail.used_bytes) == (0, 0)
    for chat in CHATS:
        await store.record([said(chat, "from another owner")])
        await assert_tells_the_truth(store, tail, chat, 5)


async def test_a_read_from_before_clear_is_not_remembered() -> None:
    world = World(100_000)
    await world.begin(ANA, 5)
    world.tail.clear()
    await world.store.record([said(ANA, "from another owner")])
    await world.end(0, "saw the beginning")
    await assert_tells_the_truth(world.store, world.tail, ANA, 5)


async def test_a_handler_that_changes_the_variables_it_was_given_changes_nothing_here() -> None:
    store = Store()
    tail = HistoryTail(store)
    await tail.load(ANA, 5)
    items = ["tv"]
    await commit(store, tail, said(ANA, "a", position=Position("order", "item", 1, {"items": items})))
    items.append("given by the handler, then changed")
    for _ in range(2):
        position = (await tail.load(ANA, 5)).position
        assert position is not None
        assert position.variables == {"items": ["tv"]}
        items = position.variables["items"]  # type: ignore[assignment]
        items.append("uncommitted")
    assert store.reads == 1


@pytest.mark.parametrize(
    "turn",
    [
        said(ANA, "a\x00"),
        said(ANA, "\ud800"),
        said(ANA, position=Position("f", "s", 1, {"pair": (1, 2)})),
        said(ANA, position=Position("f", "s", 1, {"street": "a\x00"})),
        said(ANA, position=Position("f", "\ud800")),
    ],
    ids=["nul", "surrogate", "tuple", "nul_in_position", "surrogate_in_position"],
)
async def test_what_a_store_keeps_in_another_form_is_read_back(turn: Turn) -> None:
    store = Store()
    tail = HistoryTail(store)
    await tail.load(ANA, 5)
    await commit(store, tail, turn)
    for _ in range(2):
        await assert_tells_the_truth(store, tail, ANA, 5)
    assert store.reads == 2


async def test_variables_that_are_not_json_are_not_remembered() -> None:
    position = Position("f", "s", 1, {"when": object()})
    tail = HistoryTail(Driver([], position))
    assert (await tail.load(ANA, 5)).position is position
    assert len(tail) == 0


async def test_the_least_recently_used_chats_are_released_first() -> None:
    store = Store()
    tail = HistoryTail(store)
    for chat in CHATS:
        await tail.load(chat, 5)
    await tail.load(ANA, 5)
    await commit(store, tail, said(BEN, "b"))
    used_bytes = tail.used_bytes
    freed_bytes = tail.release(1)
    assert freed_bytes == used_bytes - tail.used_bytes > 0
    assert await was_read(store, tail) == [EVA]
    tail.release(1)
    assert await was_read(store, tail) == [ANA]


async def was_read(store: Store, tail: HistoryTail) -> list[ChatId]:
    """The chats that cost a read, loaded from the one that was used longest ago."""
    found = []
    for chat in (ANA, BEN, EVA):
        before = store.reads
        await tail.load(chat, 5)
        if store.reads > before:
            found.append(chat)
    return found


async def test_releasing_gives_what_is_wanted_or_all_there_is() -> None:
    tail = HistoryTail(Store())
    for number in range(100):
        await tail.load(ChatId(str(number)), 5)
    assert tail.release(0) == 0
    assert len(tail) == 100
    assert 1000 <= tail.release(1000) < 2000
    left_bytes = tail.used_bytes
    assert tail.release(10**9) == left_bytes
    assert (len(tail), tail.used_bytes) == (0, 0)


async def test_a_memory_manager_takes_from_it_under_pressure() -> None:
    tail = HistoryTail(Store())
    await tail.load(ANA, 5)
    memory = MemoryManager(1000, probe=lambda: 950)
    memory.register("history tail", tail.release)
    assert (await memory.check()).released_bytes > 0
    assert len(tail) == 0


async def test_the_bound_holds_for_any_number_of_chats() -> None:
    tail = HistoryTail(Driver([ChatMessage("user", "x" * 100)]), max_bytes=20_000)
    for number in range(500):
        await tail.load(ChatId(str(number)), 5)
        assert tail.used_bytes <= 20_000
    assert len(tail) > 20


async def test_a_chat_that_is_bigger_than_the_bound_is_not_kept_and_drives_nobody_out() -> None:
    store = Store()
    tail = HistoryTail(store, max_bytes=5_000)
    await tail.load(ANA, 5)
    await tail.load(BEN, 5)
    await commit(store, tail, said(BEN, "x" * 5_000))
    assert len(tail) == 1
    await assert_tells_the_truth(store, tail, BEN, 5)
    assert await was_read(store, tail) == [BEN, EVA]


def talk(*texts: str) -> list[ChatMessage]:
    roles: tuple[Role, Role] = ("user", "assistant")
    return [ChatMessage(roles[number % 2], text) for number, text in enumerate(texts)]


STOCK = ToolCall(id="call_12", name="stock", arguments='{"sku": "tv"}')


@pytest.mark.parametrize(
    ("rows", "position"),
    [
        (talk(*["x" * 60] * 5), None),
        (talk(*["x" * 4_000] * 5), None),
        (talk(*["¿Qué precio tiene? " * 4] * 5), None),
        (talk(*["Un televisor 📺 " * 4] * 5), None),
        (talk(*["Un televisor 📺 " * 250] * 5), None),
        (talk("ok", "ya", "no", "sí", "1"), None),
        ([ChatMessage("assistant", "ya miro", (STOCK,) * 4)] * 5, None),
        (talk(*["x" * 60] * 5), Position("order", "address", 3, {"items": ["tv"] * 20, "street": "Calle " * 9})),
    ],
    ids=["ordinary", "long", "accents", "emoji", "long_emoji", "short", "tool_calls", "in_a_flow"],
)
@pytest.mark.parametrize("way", ["read", "noted"])
async def test_the_used_bytes_are_what_python_takes_within_a_seventh(
    way: str, rows: Sequence[ChatMessage], position: Position | None
) -> None:
    tail = HistoryTail(Driver(rows if way == "read" else [], position), max_bytes=10**8)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(200):
            await tail.load(chat := ChatId(f"+3460000{number:04}"), 5)
            if way == "noted":
                tail.note(replace(said(chat, position=position), history=tuple(map(copied, rows))))
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tail) == 200
    assert 0.85 <= tail.used_bytes / taken_bytes <= 1.15


async def test_reads_that_fail_leave_nothing_behind() -> None:
    tail = HistoryTail(Away())
    tracemalloc.start()
    try:
        for number in range(2_000):
            with contextlib.suppress(StoreError):
                await tail.load(ChatId(str(number)), 5)
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken_bytes < 20_000


def test_it_is_conversations_and_refuses_a_bound_below_one_byte() -> None:
    conversations: Conversations = HistoryTail(Store(), max_bytes=1)
    with pytest.raises(ValueError, match="max_bytes must be at least 1, not 0"):
        HistoryTail(conversations, max_bytes=0)


async def test_an_export_is_the_stores() -> None:
    store = Store()
    await store.record([said(ANA, "a")])
    assert await HistoryTail(store).export(ANA) == await store.export(ANA)
