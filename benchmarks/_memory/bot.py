"""A bot in a storm of attachments: python -m benchmarks._memory.bot JSON prints what became of it as JSON."""

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from tecnobot_core import HybridCache, MemoryManager
from tecnobot_core.errors import MemoryBusyError
from tecnobot_core.memory import Priority, read_peak_rss_bytes
from tecnobot_core.tasks import Tasks

MIB = 1 << 20
AT_ONCE = 30
N_CHATS = 3000
MAX_ROWS = 20
MAX_MEDIA = 5000  # counts, as bots without a budget of bytes have them
MAX_HISTORIES = 20_000
VOICE_SHARE, DOCUMENT_SHARE = 0.35, 0.01
VOICE_BYTES = (100_000, 600_000)
DOCUMENT_BYTES = 12 * MIB
CHUNK_BYTES = 64 * 1024
ROW_BYTES = 400  # about what a row of a history takes: dict, text and number
PAUSE_S = 0.001  # from one message to the next
TICK_S = 0.01


@dataclass(frozen=True)
class Storm:
    """*n_messages* at a bot; *limit_mib* is its manager's, or with None there is no manager."""

    limit_mib: int | None
    seed: int
    n_messages: int


class Filling(Protocol):
    """What a Lease and a bot without one have in common."""

    def landed(self, n_bytes: int) -> None: ...
    def shrink(self, n_bytes: int) -> None: ...


class Unwatched:
    """The lease of a bot that asks nobody."""

    def landed(self, n_bytes: int) -> None:
        pass

    def shrink(self, n_bytes: int) -> None:
        pass


class Lag:
    """How long the event loop did not come back: the longest by the wall clock, and the longest work of its thread."""

    def __init__(self) -> None:
        self.most_s = self.most_cpu_s = 0.0

    async def watch(self) -> None:
        while True:
            began, cpu_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            self.most_s = max(self.most_s, time.perf_counter() - began - TICK_S)
            self.most_cpu_s = max(self.most_cpu_s, time.thread_time() - cpu_s)


class StormBot:
    """Keeps attachments, answers and histories; a voice note takes four times its bytes while it is converted."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self._random = random.Random(storm.seed)
        self.memory = None if storm.limit_mib is None else MemoryManager(storm.limit_mib * MIB)
        self.media: OrderedDict[int, bytearray] = OrderedDict()
        self.replies = HybridCache(64 * MIB)
        self.histories: OrderedDict[int, list[dict[str, object]]] = OrderedDict()
        self.handled = self.refused = self.histories_dropped = 0
        self._register()

    async def run(self) -> dict[str, object]:
        """Handle the storm; what became of it."""
        lag, room = Lag(), asyncio.Semaphore(AT_ONCE)
        async with Tasks("bot") as tasks, self.memory or nullcontext():
            watching = tasks.start(lag.watch(), "lag")
            began, cpu_s = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as group:
                for number in range(self._storm.n_messages):
                    await room.acquire()
                    group.create_task(self._handle(number)).add_done_callback(lambda _: room.release())
                    await asyncio.sleep(PAUSE_S)
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
            watching.cancel()
            return {
                "handled": self.handled,
                "refused": self.refused,
                "histories_dropped": self.histories_dropped,
                "lag_ms": lag.most_s * 1e3,
                "lag_cpu_ms": lag.most_cpu_s * 1e3,
                "wall_s": wall_s,
                "cpu_s": cpu_s,
                "media_left": len(self.media),
                "peak_bytes": read_peak_rss_bytes(),
                **self._of_memory(),
            }

    def _register(self) -> None:
        if self.memory is None:
            return
        self.memory.register("media", self._release_media, priority=Priority.MEDIA)
        self.memory.register("replies", self.replies.release_slowly, priority=Priority.REPLIES)
        self.memory.register("histories", self._release_histories, priority=Priority.HISTORIES)

    def _release_media(self, wanted_bytes: int) -> int:
        freed_bytes = 0
        while self.media and freed_bytes < wanted_bytes:
            freed_bytes += len(self.media.popitem(last=False)[1])
        return freed_bytes

    def _release_histories(self, wanted_bytes: int) -> int:
        freed_bytes = 0
        while self.histories and freed_bytes < wanted_bytes:
            freed_bytes += ROW_BYTES * len(self.histories.popitem(last=False)[1])
            self.histories_dropped += 1
        return freed_bytes

    async def _handle(self, number: int) -> None:
        chance = self._random.random()
        self._remember(self._random.randrange(N_CHATS), number)
        try:
            if chance < VOICE_SHARE:
                await self._receive(number, self._random.randrange(*VOICE_BYTES), 3, 0.03)
            elif chance < VOICE_SHARE + DOCUMENT_SHARE:
                await self._receive(number, DOCUMENT_BYTES, 2, 0.05)
        except MemoryBusyError:
            self.refused += 1
        await self.replies.set(f"question {number}", f"respuesta {number} " * 40)
        self.handled += 1
        if self.memory is not None:
            self.memory.count_messages()

    def _remember(self, chat: int, number: int) -> None:
        rows = self.histories.setdefault(chat, [])
        rows.append({"number": number, "text": f"hola {number} " * 20, "at": time.time()})
        del rows[:-MAX_ROWS]
        self.histories.move_to_end(chat)
        if len(self.histories) > MAX_HISTORIES:
            self.histories.popitem(last=False)

    async def _receive(self, number: int, n_bytes: int, factor: int, takes_s: float) -> None:
        """Download *n_bytes*, convert them in *factor* times as many more, and keep the former."""
        async with self._reserve(n_bytes * (1 + factor)) as lease:
            raw = bytearray()
            while len(raw) < n_bytes:
                before_bytes = len(raw)
                raw += chunk_of(min(CHUNK_BYTES, n_bytes - before_bytes))
                lease.landed(len(raw) - before_bytes)
                await asyncio.sleep(0)
            converted = raw * factor
            lease.landed(len(converted))
            await asyncio.sleep(takes_s)
            del converted
            self.media[number] = raw
        if len(self.media) > MAX_MEDIA:
            self.media.popitem(last=False)

    def _reserve(self, n_bytes: int) -> AbstractAsyncContextManager[Filling]:
        return nullcontext(Unwatched()) if self.memory is None else self.memory.reserve(n_bytes)

    def _of_memory(self) -> dict[str, object]:
        if self.memory is None:
            return {}
        statistics = self.memory.statistics()
        reservations = statistics.reservations
        return {
            "waits": reservations.waits,
            "waited_s": reservations.waited_s,
            "reserved_bytes": reservations.reserved_bytes,
            "trims": statistics.trims,
            "collections": statistics.collections,
            "estimated_bytes": sum(one.estimated_bytes for one in statistics.releasers.values()),
            "actual_bytes": sum(one.actual_bytes for one in statistics.releasers.values()),
        }


def chunk_of(n_bytes: int) -> bytes:
    """What came from the network."""
    return (os.urandom(1024) * (n_bytes // 1024 + 1))[:n_bytes]


async def main() -> None:
    """Carry out the storm that the command line tells."""
    logging.getLogger("tecnobot_core").addHandler(logging.NullHandler())  # it tells of every level, as it should
    print(json.dumps(await StormBot(Storm(**json.loads(sys.argv[1]))).run()))


if __name__ == "__main__":
    asyncio.run(main())
