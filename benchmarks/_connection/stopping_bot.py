"""A bot that keeps a journal, to be stopped: python -m benchmarks._connection.stopping_bot JSON tells its states."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks._connection.stage import Account
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.errors import TransportError
from tecnobot_core.events import MessageMissed
from tecnobot_core.messages import InboundMessage
from tecnobot_core.tasks import Tasks, stop_signals

LOOK_EVERY_S = 0.01


class JournalingBot:
    """*settings* are an account, options of the manager, and the path of a journal of one JSON object a line."""

    def __init__(self, settings: dict[str, Any]) -> None:
        transport = Account(**settings["account"]).transport()
        self._manager = ConnectionManager(transport, **settings["options"])
        self._manager.events.on(MessageMissed, lambda event: self._write([{"missed": event.message_id}]))
        self._journal = os.open(settings["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def run(self) -> None:
        """Until a signal comes."""
        stop = asyncio.Event()
        async with stop_signals(stop.set), self._manager, Tasks("bench") as tasks:
            tasks.start(self._take(), "take")
            tasks.start(self._tell(), "tell")
            await stop.wait()

    async def _take(self) -> None:
        with contextlib.suppress(TransportError):  # failed for good: nothing to take
            while batch := await self._manager.receive():
                self._note(batch)
                await self._manager.acknowledge([message.id for message in batch])

    def _note(self, batch: Sequence[InboundMessage]) -> None:
        self._write([{"id": message.id, "text": message.text} for message in batch])

    def _write(self, records: list[dict[str, str]]) -> None:
        os.write(self._journal, "".join(json.dumps(record) + "\n" for record in records).encode())
        os.fsync(self._journal)

    async def _tell(self) -> None:
        told = ""
        while True:
            if (state := self._manager.status().state) != told:
                print(state, flush=True)
                told = state
            await asyncio.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    logging.getLogger("tecnobot_core").addHandler(logging.NullHandler())
    asyncio.run(JournalingBot(json.loads(sys.argv[1])).run())
