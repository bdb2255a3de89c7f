"""One run in a process of its own: python -m benchmarks._delivery.run JSON."""

import asyncio
import json
import logging
import random
import resource
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks._delivery.customers import Customers, chat_id, flows
from benchmarks._delivery.far import FarDatabase
from benchmarks._delivery.meter import Meter
from benchmarks._delivery.naive import NaiveDelivery
from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.bot import Bot
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.delivery import Conversations, DeliveryStore, MemoryConversations
from tecnobot_core.delivery.addresses import canonical
from tecnobot_core.flows import FlowRepository, MemoryFlowStore
from tecnobot_core.messages import ChatId, Conversation

DRAIN_S = 120.0
TURN_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Run:
    """What is run. *per_s* None: a burst; *rtt_s* above 0: the database is that far away.

    The *n_first* messages, which find a process that has just started, count apart. With *apart* the first chat is not
    measured; with *hangs* its handler never returns.
    *chatbot_id* must be new to the database, and *directory* lies on the disk of its server.
    """

    store: Literal["memory", "durable", "naive"] = "durable"
    n_messages: int = 1000
    n_first: int = 0
    n_chats: int = 500
    per_s: float | None = None
    wait_ms: float = 0.0
    apart: bool = False
    hangs: bool = False
    window_s: float = 0.0
    rtt_s: float = 0.0
    dsn: str = ""
    directory: str = ""
    chatbot_id: str = "bench"


class WaitingConversations(MemoryConversations):
    """Makes every handler wait at random, at most *wait_s*, and that of the chat *hanging* for ever."""

    def __init__(self, wait_s: float, hanging: ChatId | None) -> None:
        super().__init__()
        self._wait_s = wait_s
        self._hanging = hanging
        self._chance = random.Random(4)

    async def load(self, chat: ChatId, limit: int) -> Conversation:
        if chat == self._hanging:
            await asyncio.Event().wait()
        if self._wait_s:
            await asyncio.sleep(self._chance.random() * self._wait_s)
        return await super().load(chat, limit)


async def answer(run: Run, conversations: Conversations, store: DeliveryStore | None) -> dict[str, float]:
    """Let the customers write, and answer all of them."""
    customers = Customers(run.n_messages, run.n_chats, run.per_s, without_first_chat=run.apart)
    bot = Bot(
        ConnectionManager(customers),
        flows=FlowRepository(MemoryFlowStore(flows()), run.chatbot_id),
        conversations=conversations,
        store=store,
        drain_s=DRAIN_S,
        turn_timeout_s=TURN_TIMEOUT_S,
    )
    cpu_s = time.process_time()
    await bot.run()
    return {**customers.findings(run.n_first), "cpu_ms": (time.process_time() - cpu_s) / run.n_messages * 1000}


async def measure(run: Run) -> dict[str, float]:
    """Run and measure, per message where that makes sense."""
    if run.store == "memory":
        hanging = canonical(chat_id(0)) if run.hangs else None
        return await answer(run, WaitingConversations(run.wait_ms / 1000, hanging), None)
    async with Database(run.dsn, min_size=1, max_size=1) as database:
        await migrate(database)
        await ensure_chatbot(database, run.chatbot_id)
        meter = Meter(database, Path(run.directory))
        await meter.begin()
        before = await meter.read(run.chatbot_id)
        found = await (_answer_far(run) if run.rtt_s else _answer_near(run))
        after = await meter.read(run.chatbot_id)
        await meter.checkpoint()
        on_disk = await meter.read(run.chatbot_id)
        return {
            **found,
            **after.since(before),
            "device_bytes_checkpointed": on_disk.since(before)["device_bytes"],
            "rows_missing": _missing(run, await meter.rows(run.chatbot_id)),
        }


async def _answer_near(run: Run) -> dict[str, float]:
    async with Database(run.dsn, application_name=run.chatbot_id) as database:
        store = _store(run, database)
        found = await answer(run, PostgresConversations(database, run.chatbot_id), store)
        return {**found, "commits": store.commits}


async def _answer_far(run: Run) -> dict[str, float]:
    """As near, but history is read through a link of its own, so that the other one counts only what is written."""
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(FarDatabase(run.dsn, run.rtt_s)) for _ in range(2)]
        reading, writing = [
            await stack.enter_async_context(Database(link.dsn, application_name=run.chatbot_id)) for link in links
        ]
        store = _store(run, writing)
        opened = links[1].round_trips
        found = await answer(run, PostgresConversations(reading, run.chatbot_id), store)
        return {**found, "round_trips": (links[1].round_trips - opened) / store.commits}


def _store(run: Run, database: Database) -> PostgresDelivery:
    if run.store == "naive":
        return NaiveDelivery(database, run.chatbot_id)
    return PostgresDelivery(database, run.chatbot_id, write_window_s=run.window_s)


def _missing(run: Run, rows: list[int]) -> int:
    """How far *rows* are from what a finished replay leaves."""
    wanted = [2 * run.n_messages, run.n_messages, run.n_messages, 0]
    return sum(abs(found - want) for found, want in zip(rows, wanted, strict=True))


if __name__ == "__main__":
    run = Run(**json.loads(sys.argv[1]))
    if run.hangs:
        logging.disable(logging.ERROR)  # every handler that is given up is told, as it should be
    result = asyncio.run(measure(run))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**result, "peak_mib": peak_mib}))
