"""How soon a change of the table is served, with notifications and by polling, over a real PostgreSQL."""

import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

from benchmarks._report import Report
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, PostgresFlowStore, ensure_chatbot, migrate
from tecnobot_core.events import EventBus, FlowsLoaded
from tecnobot_core.flows import Flow, FlowRepository, MemoryFlowStore

CHANGES = 60
SIZES = (100, 5_000)
POLL_S = 0.2


async def report_live(report: Report) -> None:
    """Milliseconds from the commit of a change to a match that sees it."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server, Database(server.dsn) as database:
            await migrate(database)
            for n_flows in SIZES:
                chatbot = f"bot-{n_flows}"
                await ensure_chatbot(database, chatbot)
                store = PostgresFlowStore(database)
                for n in range(n_flows):
                    await store.put(chatbot, Flow(f"flow-{n}").on(f"palabra{n}").say("…"))
                took_ms = await _Served(store, chatbot).changes()
                cuts = quantiles(took_ms, n=100)
                limit = {"goal": "at most 50", "ok": cuts[98] <= 50} if n_flows == SIZES[0] else {}
                report.add(f"change to visible, {n_flows:,} flows, p50", cuts[49], "ms")
                report.add(f"change to visible, {n_flows:,} flows, p99", cuts[98], "ms", **limit)  # type: ignore[arg-type]
    silent = MemoryFlowStore([Flow("flow-0").on("palabra0").say("…")])
    took_ms = await _Served(silent, "bot", POLL_S).changes(15)
    worst = max(took_ms) / 1000
    report.add(f"change to visible, polling each {POLL_S:g} s", worst, "s", "the interval", worst <= POLL_S * 1.5)


class _Served:
    """A repository that watches its store."""

    def __init__(self, store: MemoryFlowStore | PostgresFlowStore, chatbot: str, poll_s: float = 30.0) -> None:
        self._store = store
        self._chatbot = chatbot
        self._loaded = asyncio.Event()
        events = EventBus()
        events.on(FlowsLoaded, lambda event: self._loaded.set())
        self._flows = FlowRepository(store, chatbot, events=events, poll_s=poll_s)

    async def changes(self, n_changes: int = CHANGES) -> list[float]:
        """Milliseconds until each of some changes is seen."""
        await self._flows.load()
        watching = asyncio.create_task(self._flows.watch())
        try:
            await asyncio.sleep(0.5)  # until it listens
            return [await self._change(f"cambio{n}") for n in range(n_changes)]
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _change(self, keyword: str) -> float:
        await self._store.put(self._chatbot, Flow("flow-0").on(keyword).say("…"))
        began = time.perf_counter()
        while self._flows.match(keyword) is None:
            self._loaded.clear()
            await self._loaded.wait()
        took_ms = (time.perf_counter() - began) * 1000
        await asyncio.sleep(0.05)  # a change now and then, not a burst
        return took_ms
