"""What long runs leave in memory, and how soon a backlog is answered: python -m benchmarks._delivery.lasting JSON."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks._delivery.customers import N_FLOWS, chat_id, flows
from tecnobot_core.adapters.postgres import (
    Database,
    PostgresAliases,
    PostgresConversations,
    PostgresDelivery,
    ensure_chatbot,
    migrate,
)
from tecnobot_core.bot import Bot
from tecnobot_core.connection import ConnectionManager, DisconnectReason, Lost, Opened, Sink
from tecnobot_core.delivery import AddressBook
from tecnobot_core.flows import FlowRepository, MemoryFlowStore
from tecnobot_core.memory import read_rss_bytes
from tecnobot_core.messages import InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks

AHEAD = 1000
BATCH = 1000


@dataclass(frozen=True)
class LongRun:
    """*n_messages* of *n_chats*; *waiting*: they are in the inbox before the bot starts."""

    dsn: str
    chatbot_id: str
    n_messages: int
    n_chats: int
    waiting: bool = False


class Crowd:
    """Writes one message after the other, and remembers of the answers only how many they are and their order."""

    def __init__(self, run: LongRun) -> None:
        self.answered = 0
        self.out_of_order = 0
        self.first_at: float | None = None
        self.rss_bytes: dict[int, int] = {}  # by the number of answers
        self._run = run
        self._places = bytearray(run.n_chats)  # how many of each chat were answered; a few each
        self._tasks = Tasks("crowd")
        self._unacknowledged = 0
        self._room = asyncio.Event()
        self._all_answered = asyncio.Event()

    def message(self, number: int) -> InboundMessage:
        chat, place = number % self._run.n_chats, number // self._run.n_chats
        return InboundMessage(
            id=str(number),
            chat=chat_id(chat),
            sent_at=time.time(),
            text=f"hola, quiero saber de palabra{(chat + place) % N_FLOWS:02}",
        )

    async def open(self, sink: Sink) -> None:
        sink(Opened())
        self._tasks.start(self._write(sink), "write")

    async def close(self) -> None:
        await self._tasks.aclose()

    async def ping(self) -> None:
        """Nothing to ask."""

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        self._unacknowledged -= len(message_ids)
        self._room.set()

    async def send(self, message: OutboundMessage) -> None:
        if self.first_at is None:
            self.first_at = time.perf_counter()
        place, chat = divmod(int(message.key.partition("/")[0]), self._run.n_chats)
        self.out_of_order += place != self._places[chat]
        self._places[chat] = place + 1
        self.answered += 1
        if self.answered % (self._run.n_messages // 4) == 0:
            self.rss_bytes[self.answered] = read_rss_bytes()
        if self.answered == self._run.n_messages:
            self._all_answered.set()

    async def _write(self, sink: Sink) -> None:
        for number in range(0 if self._run.waiting else self._run.n_messages):
            while self._unacknowledged >= AHEAD:
                self._room.clear()
                await self._room.wait()
            self._unacknowledged += 1
            sink(self.message(number))
        await self._all_answered.wait()
        sink(Lost(DisconnectReason.ENDED, retryable=False))


async def measure(run: LongRun) -> dict[str, float]:
    """Run, and read RSS at each quarter."""
    crowd = Crowd(run)
    async with Database(run.dsn, min_size=1, max_size=1) as database:
        await migrate(database)
        await ensure_chatbot(database, run.chatbot_id)
    if run.waiting:
        await _leave_waiting(run, crowd)
    began_at = time.perf_counter()
    async with Database(run.dsn) as database:
        bot = Bot(
            ConnectionManager(crowd),
            flows=FlowRepository(MemoryFlowStore(flows()), run.chatbot_id),
            conversations=PostgresConversations(database, run.chatbot_id),
            store=PostgresDelivery(database, run.chatbot_id),
            addresses=AddressBook(PostgresAliases(database, run.chatbot_id)),
        )
        await bot.run()
    quarter, *_, whole = (crowd.rss_bytes[number] for number in sorted(crowd.rss_bytes))
    assert crowd.first_at is not None
    return {
        "lost": run.n_messages - crowd.answered,
        "out_of_order": crowd.out_of_order,
        "first_s": crowd.first_at - began_at,
        "per_s": run.n_messages / (time.perf_counter() - began_at),
        "rss_quarter_mib": quarter / 2**20,
        "rss_whole_mib": whole / 2**20,
    }


async def _leave_waiting(run: LongRun, crowd: Crowd) -> None:
    """As a process that was killed before it answered anything."""
    async with Database(run.dsn) as database, PostgresDelivery(database, run.chatbot_id) as store:
        for begin in range(0, run.n_messages, BATCH):
            end = min(begin + BATCH, run.n_messages)
            await store.accept([crowd.message(number) for number in range(begin, end)])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(LongRun(**json.loads(sys.argv[1]))))))
