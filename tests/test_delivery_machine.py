"""Inbox, lanes, outbox and lease against a model that fits on a page, in any order of faults."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tecnobot_core.delivery import (
    Conversations,
    Delivery,
    DeliveryStore,
    Due,
    MemoryConversations,
    MemoryDelivery,
    OutboxEntry,
    Pending,
    SendState,
    TurnContext,
    TurnPolicy,
)
from tecnobot_core.delivery.ports import Outcome
from tecnobot_core.errors import LeaseLostError, StoreError, TransportError
from tecnobot_core.events import EventBus, SendUncertain
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Position, Turn
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock

T = TypeVar("T")
Handling = Literal["ok", "raises", "late", "poison"]
Sending = Literal["ok", "no", "cut", "maybe", "hangs"]

NOON = 1_800_000_000.0
N_CHATS = 3
MAX_SENDING = 2
APOLOGY = "sorry"


class Lasting(MemoryDelivery):
    """A MemoryDelivery that outlives its owners, and knows whose the lease is."""

    def __init__(self) -> None:
        self.conversations = MemoryConversations(max_rows=10_000)
        super().__init__(self.conversations, max_remembered=100_000)
        self.epoch = 0

    async def interrupted(self) -> Sequence[OutboxEntry]:
        taken = [OutboxEntry(id, k.message, "uncertain") for id, k in self._outbox.items() if k.state == "taken"]
        await self.move({entry.id: "uncertain" for entry in taken})
        return taken


class Keeping(Lasting):
    """One that leaves to its next owner what is recorded of an interrupted send."""

    async def interrupted(self) -> Sequence[OutboxEntry]:
        return [OutboxEntry(id, k.message, "taken") for id, k in self._outbox.items() if k.state == "taken"]


class Owner:
    """One owner's way to a store that lasts: refused after a takeover, and failing when told."""

    def __init__(self, store: DeliveryStore, lasting: Lasting | None, faults: "Faults") -> None:
        self._store = store
        self._lasting = lasting
        self._faults = faults
        self._epoch = 0

    async def __aenter__(self) -> Self:
        self._faults.check()
        if self._lasting is None:
            await self._store.__aenter__()
        else:
            self._lasting.epoch += 1
            self._epoch = self._lasting.epoch
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._store.__aexit__(exc_type, exc, traceback)

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        self._faults.check()
        return await self._store.accept(messages)

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        self._faults.check()
        return await self._store.pending(after, limit)

    async def claim_due(self, until: float, limit: int) -> Due:
        return await self._owned(lambda: self._store.claim_due(until, limit))

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        if any(row.content == "poison" for turn in turns for row in turn.history):
            raise StoreError("this can never be stored", retryable=False)
        return await self._owned(lambda: self._store.commit(turns, taken=taken, again_at=again_at))

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        return await self._owned(lambda: self._store.post(messages))

    async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        await self._owned(lambda: self._store.record_groups(groups))

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        await self._owned(lambda: self._store.move(states, urgent=urgent))

    async def interrupted(self) -> Sequence[OutboxEntry]:
        return await self._owned(self._store.interrupted)

    async def unsent(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        return await self._owned(lambda: self._store.unsent(after, limit))

    async def confirm(self) -> None:
        await self._owned(self._store.confirm)

    async def purge(self, older_than_s: float, batch: int = 5000) -> int:
        return await self._owned(lambda: self._store.purge(older_than_s, batch))

    async def _owned(self, call: Callable[[], Awaitable[T]]) -> T:
        self._faults.check()
        if self._lasting is not None and self._epoch != self._lasting.epoch:
            raise LeaseLostError("another process owns the chatbot")
        return await call()


@dataclass
class Faults:
    """How often the store still fails."""

    failures: int = 0

    def check(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("the database is away", retryable=True)


@dataclass
class Link:
    """The phones: what arrived, in order."""

    plan: list[Sending] = field(default_factory=list)
    arrived: list[tuple[ChatId, str]] = field(default_factory=list)
    failures: int = 0  # of questions

    async def outcome(self, key: str) -> Outcome:
        """What became of *key*, as this link remembers everything."""
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise TransportError("cut again")
        return "sent" if any(key == arrived for _, arrived in self.arrived) else "no"

    async def send(self, message: OutboundMessage) -> None:
        fate = self.plan.pop(0) if self.plan else "ok"
        if fate == "no":
            raise TransportError("busy")
        if fate == "cut":
            raise TransportError("cut before it arrived", sent="maybe")
        self.arrived.append((message.chat, message.key))
        if fate == "hangs":
            await asyncio.Event().wait()
        if fate == "maybe":
            raise TransportError("cut", sent="maybe")
        await asyncio.sleep(0)  # beyond the wire and before the mark: where a kill makes it uncertain


class HastyClock:
    """A thousand times too fast, where a database takes real time."""

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() * 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)

    async def settle(self) -> None:
        await asyncio.sleep(0.002)


@dataclass
class Process:
    """One life of the bot."""

    delivery: Delivery
    store: DeliveryStore
    clock: FakeClock | HastyClock


class World:
    """Everything outside of the model: the store that lasts, the link, and the processes."""

    clock_type: type[FakeClock] | type[HastyClock] = FakeClock
    policy = TurnPolicy(collapse_after_s=0)
    store_type: type[Lasting] = Lasting
    knows_outcomes = False

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults = Faults()
        self.link = Link()
        self.handling: dict[str, Handling] = {}
        self.announced: list[tuple[int, str]] = []  # which process said of which key that it is uncertain
        self.handled: list[tuple[str, str]] = []  # which turn was made of which text, each time
        self.handlers_hang = False
        self.wall_s = NOON
        self.starts = 0
        self.processes: list[Process] = []
        self.left_uncertain = 0  # by the processes before the last one
        self.lasting: Lasting | None = None

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.loop.run_until_complete(asyncio.wait_for(awaited(), 30))

    async def new_store(self) -> DeliveryStore:
        if self.lasting is None:
            self.lasting = self.store_type()
        return self.lasting

    async def pass_time(self, seconds: float) -> None:
        self.wall_s += seconds
        for process in self.processes:
            await process.clock.advance(seconds)

    async def start(self) -> None:
        """A new process takes over, whoever ran before."""
        clock, events = self.clock_type(), EventBus()
        self.starts = number = self.starts + 1
        events.on(SendUncertain, lambda event: self.announced.append((number, event.key)))
        store = await self.new_store()
        delivery = Delivery(
            Owner(store, self.lasting, self.faults),
            handle=self._handle,
            fail=_apologise,
            send=self.link.send,
            wait_ready=_nothing,
            outcome=self.link.outcome if self.knows_outcomes else None,
            events=events,
            max_concurrent=MAX_SENDING,
            max_loaded=4,
            policy=self.policy,
            clock=clock,
            sleep=clock.sleep,
            wall_clock=lambda: self.wall_s,
        )

        async def open() -> None:
            await delivery.__aenter__()
            # Counted before this process sends anything of its own.
            self.left_uncertain = sum(announcer == number for announcer, _ in self.announced)

        opening = asyncio.create_task(open())
        while not opening.done():
            await clock.advance(1)
        await opening
        self.processes.append(Process(delivery, store, clock))

    async def kill(self, process: Process) -> None:
        self.processes.remove(process)
        await process.delivery._tasks.aclose()
        if isinstance(own := getattr(process.store, "_tasks", None), Tasks):
            await own.aclose()

    async def retire(self) -> None:
        """End those that stood down."""
        for process in [process for process in self.processes if process.delivery.stood_down]:
            self.processes.remove(process)
            await process.delivery.aclose()

    async def close(self) -> None:
        for process in list(self.processes):
            await self.kill(process)

    def memory(self) -> Conversations:
        """What every process remembers."""
        assert self.lasting is not None
        return self.lasting.conversations

    async def conversations(self) -> Mapping[ChatId, list[str]]:
        return {c: [r.content for r in (await self.memory().load(c, 9999)).history] for c in CHATS}

    async def waiting(self) -> int:
        """How much the store still holds to be done or sent."""
        assert self.lasting is not None
        positions = [(await self.lasting.conversations.load(chat, 0)).position for chat in CHATS]
        standing = sum(position is not None for position in positions)
        return len(await self.lasting.pending(0, 9999)) + len(self.lasting._outbox) + standing

    async def _handle(self, context: TurnContext) -> Turn:
        message = context.message
        self.handled.append((message.id, message.text))
        if self.handlers_hang:
            await asyncio.Event().wait()
        match self.handling.get(message.id, "ok"):
            case "raises":
                raise RuntimeError("the handler broke")
            case "late":
                await asyncio.sleep(0)
                raise TimeoutError  # as the deadline does, without real time
            case "poison":
                return _turn(message, "poison")
        return _turn(message, message.text)


CHATS = [ChatId(f"chat-{number}") for number in range(N_CHATS)]


def _turn(message: InboundMessage, says: str) -> Turn:
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome="answered",
        answered_by="test",
        history=(ChatMessage("user", says),),
        outgoing=tuple(OutboundMessage(chat=message.chat, key=f"{message.id}/{n}", text=says) for n in range(2)),
    )


def _apologise(message: InboundMessage, error: Exception) -> Turn:
    sorry = OutboundMessage(chat=message.chat, key=f"{message.id}/{APOLOGY}", text=APOLOGY)
    outgoing = () if message.kind == "signal" else (sorry,)
    return Turn(chat=message.chat, inbound=(message.id,), outcome="failed", answered_by="error", outgoing=outgoing)


async def _nothing() -> None:
    """The link is always there."""


class DeliveryMachine(RuleBasedStateMachine):
    """Rules do what the world does to a bot; the model knows only what was accepted and how each was to be handled."""

    world_type: type[World] = World

    def __init__(self) -> None:
        super().__init__()
        self.world = self.world_type()
        self.accepted: defaultdict[ChatId, list[str]] = defaultdict(list)  # the model
        self.now = 0.0

    @initialize()
    def first_process(self) -> None:
        self._do(self.world.start())

    @rule(
        incoming=st.lists(
            st.tuples(st.sampled_from(CHATS), st.sampled_from(["ok", "ok", "ok", "raises", "late", "poison"])),
            min_size=1,
            max_size=6,
        ),
        doubled=st.booleans(),
        by_eldest=st.booleans(),
        passes=st.integers(0, 40),
    )
    def accept(self, incoming: list[tuple[ChatId, Handling]], doubled: bool, by_eldest: bool, passes: int) -> None:
        messages = []
        for chat, handling in incoming:
            id = f"{chat.reveal()}-{len(self.accepted[chat])}"
            self.accepted[chat].append(id)
            self.world.handling[id] = self._fate(handling)
            messages.append(InboundMessage(id=id, chat=chat, sent_at=self.now, text=id))
        self._accept(messages * 2 if doubled else messages, self.world.processes[0 if by_eldest else -1], passes)

    @rule(chat=st.sampled_from(CHATS), number=st.integers(0, 9))
    def deliver_again(self, chat: ChatId, number: int) -> None:
        if number < len(self.accepted[chat]):
            id = self.accepted[chat][number]
            self._accept([InboundMessage(id=id, chat=chat, sent_at=0.0, text=id)], self.world.processes[-1], 1)

    @rule(plan=st.lists(st.sampled_from(["ok", "no", "cut", "maybe", "hangs"]), min_size=1, max_size=4))
    def link_will(self, plan: list[Sending]) -> None:
        # One chat that hangs on the link is enough, and only a kill ends it.
        self.world.link.plan = [fate for n, fate in enumerate(plan) if fate != "hangs" or "hangs" not in plan[:n]]

    @rule(failures=st.integers(1, 5))
    def store_will_fail(self, failures: int) -> None:
        self.world.faults.failures = failures

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._do(self.world.pass_time(seconds))

    @rule()
    def kill_and_restart(self) -> None:
        self._do(self.world.kill(self.world.processes[-1]))
        self._do(self.world.start())

    @rule()
    def another_takes_over(self) -> None:
        self._do(self.world.start())
        self._do(self.world.retire())

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        keys = [key for _, key in self.world.link.arrived]
        assert len(keys) == len(set(keys))

    @invariant()
    def answers_are_in_order(self) -> None:
        arrived: defaultdict[ChatId, list[tuple[int, str]]] = defaultdict(list)
        for chat, key in self.world.link.arrived:
            id, _, part = key.partition("/")
            arrived[chat].append((self.accepted[chat].index(id), part))
        assert all(order == sorted(order) for order in arrived.values())

    @invariant()
    def no_more_is_uncertain_than_could_be_on_the_wire(self) -> None:
        assert self.world.left_uncertain <= MAX_SENDING
        assert len(self.world.announced) == len(set(self.world.announced))

    def teardown(self) -> None:
        try:
            if self.world.processes:
                self._finish()
        finally:
            self._do(self.world.close())
            self.world.loop.close()

    def _finish(self) -> None:
        """Let a last process without faults do what is left, and compare with the model."""
        self.world.faults.failures = 0
        self.world.link.plan = []
        self.kill_and_restart()
        self._do(self._until_done())
        self.nothing_is_sent_twice()
        self.answers_are_in_order()
        self.no_more_is_uncertain_than_could_be_on_the_wire()
        said = {key for _, key in self.world.link.arrived} | {key for _, key in self.world.announced}
        self._compare(self._do(self.world.conversations()), said)

    def _compare(self, histories: Mapping[ChatId, list[str]], said: set[str]) -> None:
        good = {chat: [id for id in ids if self._is_answered(id)] for chat, ids in self.accepted.items()}
        assert {chat: rows for chat, rows in histories.items() if rows} == {c: ids for c, ids in good.items() if ids}
        assert said == {key for ids in self.accepted.values() for id in ids for key in self._keys(id)}

    def _fate(self, handling: Handling) -> Handling:
        return handling

    def _is_answered(self, id: str) -> bool:
        return self.world.handling[id] == "ok"

    def _keys(self, id: str) -> list[str]:
        return [f"{id}/0", f"{id}/1"] if self._is_answered(id) else [f"{id}/{APOLOGY}"]

    async def _until_done(self) -> None:
        for _ in range(1000):
            await self.world.pass_time(6)
            if not await self.world.waiting():
                return
        raise AssertionError("something is never done")

    def _accept(self, messages: list[InboundMessage], process: Process, passes: int) -> None:
        async def accept() -> None:
            accepting = asyncio.create_task(process.delivery.accept(messages))
            # What follows may come while these messages are anywhere on their way.
            for _ in range(passes):
                await asyncio.sleep(0)
            while not accepting.done():
                await process.clock.advance(0.1)
            await accepting

        self._do(accept())
        self._do(self.world.retire())

    def _do(self, work: Awaitable[T]) -> T:
        return self.world.run(work)


class KeepingWorld(World):
    store_type = Keeping


class KeepingMachine(DeliveryMachine):
    """A link that knows nothing: whoever comes next records what was interrupted."""

    world_type: type[World] = KeepingWorld


class KnowingWorld(World):
    """Its link knows what became of everything; a question may fail."""

    store_type = Keeping
    knows_outcomes = True

    async def start(self) -> None:
        self.link.failures = self.starts % 3
        await super().start()


class KnowingMachine(DeliveryMachine):
    """Nothing is uncertain: what may have been sent is asked for, whoever was sending it."""

    world_type: type[World] = KnowingWorld

    @invariant()
    def nothing_is_uncertain(self) -> None:
        assert self.world.announced == []

    def _compare(self, histories: Mapping[ChatId, list[str]], said: set[str]) -> None:
        super()._compare(histories, said)
        assert said == {key for _, key in self.world.link.arrived}


class GroupingWorld(World):
    policy = TurnPolicy(quiet_s=0.5, max_wait_s=2, collapse_after_s=0)


class GroupingMachine(DeliveryMachine):
    """Fragments become one turn; which ones, is settled before it is done for the first time."""

    world_type: type[World] = GroupingWorld

    @rule(chat=st.sampled_from(CHATS), number=st.integers(1, 4), seconds=st.sampled_from([0.0, 0.3, 0.6]))
    def type_fragments(self, chat: ChatId, number: int, seconds: float) -> None:
        for _ in range(number):
            self.accept([(chat, "ok")], False, False, 0)
            self.time_passes(seconds)

    @rule(chat=st.sampled_from(CHATS))
    def kill_while_handling(self, chat: ChatId) -> None:
        """One more fragment comes to a turn whose handler had begun."""
        self.world.handlers_hang = True
        self.type_fragments(chat, 1, 0.6)
        self.now -= 0.6
        self.world.handlers_hang = False
        self.kill_and_restart()
        self.type_fragments(chat, 1, 0.0)

    @invariant()
    def a_turn_is_made_of_the_same_messages_each_time(self) -> None:
        assert len({id for id, _ in self.world.handled}) == len(set(self.world.handled))

    def _fate(self, handling: Handling) -> Handling:
        return "ok"

    def _compare(self, histories: Mapping[ChatId, list[str]], said: set[str]) -> None:
        turns = {chat: [row.split("\n") for row in rows] for chat, rows in histories.items()}
        assert {c: [id for turn in all for id in turn] for c, all in turns.items() if all} == {
            c: ids for c, ids in self.accepted.items() if ids
        }
        assert said == {f"{turn[0]}/{n}" for all in turns.values() for turn in all for n in range(2)}


class DueWorld(World):
    """Who writes is waited for, for a while that differs. The next turn of the chat, whoever's, says that it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0  # how often what is due still fails

    async def _handle(self, context: TurnContext) -> Turn:
        message = context.message
        position = (await self.memory().load(message.chat, 0)).position
        ends = "" if position is None else f" ends {position.step}"
        if message.kind != "signal":
            number = int(message.id.rpartition("-")[2])
            waits = Position("ask", message.id, kind="ask", expires_at=self.wall_s + (0.0, 0.3, 3.0, 40.0)[number % 4])
            return replace(_turn(message, message.id + ends), position=waits)
        if position is None or position.due_at is None or max(self.wall_s, message.sent_at) < position.due_at:
            return Turn(chat=message.chat, inbound=(message.id,), outcome="skipped", answered_by="signal")
        if self.failures:
            self.failures -= 1
            raise RuntimeError("what is due broke")
        return replace(_turn(message, "due" + ends), outgoing=())


class DueMachine(DeliveryMachine):
    """Each position is ended by the next turn of its chat, or when it is due: none is forgotten, none ended twice."""

    world_type: type[World] = DueWorld

    @rule(failures=st.integers(1, 3))
    def what_is_due_will_fail(self, failures: int) -> None:
        assert isinstance(self.world, DueWorld)
        self.world.failures = failures

    def _fate(self, handling: Handling) -> Handling:
        return "ok"

    def _compare(self, histories: Mapping[ChatId, list[str]], said: set[str]) -> None:
        assert said == {key for ids in self.accepted.values() for id in ids for key in self._keys(id)}
        for chat, rows in histories.items():
            assert [row.split()[0] for row in rows if not row.startswith("due")] == self.accepted[chat]
            standing = ""
            for row in rows:
                by, _, ended = row.partition(" ends ")
                assert ended == standing
                standing = "" if by == "due" else by
            assert standing == ""


def _run(machine: type[DeliveryMachine], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_in_memory_every_message_has_one_turn_and_every_answer_is_said_once() -> None:
    _run(DeliveryMachine, examples=100, steps=30)


def test_in_memory_a_link_that_knows_what_it_sent_leaves_nothing_uncertain() -> None:
    _run(KnowingMachine, examples=60, steps=30)


def test_in_memory_what_was_interrupted_is_ended_by_the_next_owner() -> None:
    _run(KeepingMachine, examples=40, steps=30)


def test_in_memory_what_is_due_is_done_once() -> None:
    _run(DueMachine, examples=60, steps=30)


def test_in_memory_fragments_are_one_turn_whose_messages_are_settled_once() -> None:
    _run(GroupingMachine, examples=100, steps=30)


@pytest.mark.postgres
def test_in_postgresql_every_message_has_one_turn_and_every_answer_is_said_once(database_url: str) -> None:
    from tecnobot_core.adapters.postgres import (
        Database,
        PostgresConversations,
        PostgresDelivery,
        ensure_chatbot,
        migrate,
    )

    class Lasts(World):
        """A chatbot of its own for each example; a new PostgresDelivery for each process."""

        clock_type = HastyClock

        def __init__(self) -> None:
            super().__init__()
            self.chatbot = f"machine-{uuid.uuid4().hex}"
            self.database: Database | None = None

        async def new_store(self) -> DeliveryStore:
            if self.database is None:
                self.database = await Database(database_url).__aenter__()
                await migrate(self.database)
                await ensure_chatbot(self.database, self.chatbot)
            return PostgresDelivery(self.database, self.chatbot)

        async def close(self) -> None:
            await super().close()
            if self.database is not None:
                await self.database.aclose()

        def memory(self) -> Conversations:
            assert self.database is not None
            return PostgresConversations(self.database, self.chatbot)

        async def waiting(self) -> int:
            assert self.database is not None
            return int(
                await self.database.fetchval(
                    "SELECT (SELECT count(*) FROM tecnobot.inbox WHERE chatbot_id = $1) + (SELECT count(*)"
                    " FROM tecnobot.outbox WHERE chatbot_id = $1 AND state IN ('waiting', 'taken'))"
                    " + (SELECT count(*) FROM tecnobot.conversation WHERE chatbot_id = $1)",
                    self.chatbot,
                )
            )

    class PostgresMachine(DeliveryMachine):
        world_type = Lasts

    class GroupingLasts(Lasts):
        policy = GroupingWorld.policy

    class PostgresGroupingMachine(GroupingMachine):
        world_type = GroupingLasts

    class DueLasts(DueWorld, Lasts):
        """The same over a database."""

    class PostgresDueMachine(DueMachine):
        world_type = DueLasts

    _run(PostgresMachine, examples=20, steps=20)
    _run(PostgresDueMachine, examples=10, steps=20)
    _run(PostgresGroupingMachine, examples=10, steps=20)
