"""The bot that is killed: ``python -m tests.crash.bot DATABASE SOCKET SEED CHATBOT CLOCK``.

DATABASE is an address, or the folder of a private server. CLOCK is "steady" or "jumps".
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tecnobot_core import Bot, ConnectionManager, EventBus
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.completion import Completion
from tecnobot_core.connection import Lost, Opened, Sink
from tecnobot_core.delivery import TurnPolicy
from tecnobot_core.errors import TransportError
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks, stop_signals


class SocketTransport:
    """Speaks with Phones, a line of JSON for each thing said."""

    def __init__(self, path: str, sent_at: Callable[[], float]) -> None:
        self._path = path
        self._sent_at = sent_at
        self._tasks = Tasks("socket")
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def open(self, sink: Sink) -> None:
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise TransportError(str(error), reason="network") from error
        sink(Opened())
        self._tasks.start(self._read(reader, sink), "read")

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        await self._tasks.aclose()
        self._tasks = Tasks("socket")

    async def send(self, message: OutboundMessage) -> None:
        sent = self._waiting[message.key] = asyncio.get_running_loop().create_future()
        self.say({"type": "send", "chat": message.chat.reveal(), "key": message.key})
        try:
            await sent
        finally:
            del self._waiting[message.key]

    async def ping(self) -> None:
        """The socket tells by itself."""

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        self.say({"type": "acknowledge", "ids": list(message_ids)})

    def say(self, line: dict[str, Any]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise TransportError("the socket is closed", reason="network")
        self._writer.write(json.dumps(line).encode() + b"\n")

    async def _read(self, reader: asyncio.StreamReader, sink: Sink) -> None:
        while line := await reader.readline():
            said = json.loads(line)
            if said["type"] == "message":
                chat, text = ChatId(said["chat"]), f"¿{said['id']}?"
                sink(InboundMessage(id=said["id"], chat=chat, sent_at=self._sent_at(), text=text))
            else:
                self._waiting[said["key"]].set_result(None)
        for sent in self._waiting.values():
            sent.set_exception(TransportError("the socket closed", reason="network", sent="maybe"))
        sink(Lost())


class JumpingClock:
    """This machine's clock as somebody sets it: an hour ahead, right again, an hour behind, every few looks."""

    def __init__(self) -> None:
        self._looks = 0

    def __call__(self) -> float:
        self._looks += 1
        return time.time() + 3600 * (0, 1, 0, -1)[self._looks // 25 % 4]


class SlowModel:
    """Answers each question with itself, after a while that differs."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        await asyncio.sleep(self._chance.random() * 0.02)
        return Completion(f"answer to {messages[-1].content}", "slow")


@asynccontextmanager
async def address_of(database: str) -> AsyncIterator[str]:
    if "://" in database:
        yield database
        return
    async with EmbeddedPostgres(Path(database)) as server:
        yield server.dsn


async def main(where: str, path: str, seed: int, chatbot: str, jumps: bool) -> None:
    transport, events = SocketTransport(path, sent_at=time.time if jumps else lambda: 0.0), EventBus()
    async with address_of(where) as dsn, Database(dsn) as database:
        await migrate(database)
        await ensure_chatbot(database, chatbot)
        bot = Bot(
            ConnectionManager(transport, base_delay_s=0.05, events=events),
            model=SlowModel(seed),
            conversations=PostgresConversations(database, chatbot),
            store=PostgresDelivery(database, chatbot),
            # Every message gets its own answer, however often it is killed; or what every bot does.
            policy=TurnPolicy() if jumps else TurnPolicy(collapse_after_s=0),
            wall_clock=JumpingClock() if jumps else time.time,
            events=events,
        )
        async with stop_signals(bot.stop):
            await bot.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5] == "jumps"))
