"""Links that fall silent, that are cut, and a bot whose loop stands still while a backlog pours in."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import TypeVar

import psutil

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import BOT, MIB, WAIT_S, Stage, only_child, stage
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.events import Connected, Disconnected, Event, HeartbeatMissed
from tecnobot_core.tasks import Tasks

EventT = TypeVar("EventT", bound=Event)

LIBRARY_ALONE_WAIT_S = 300.0
N_CUTS = 60
WARM_CUTS = 10  # until its heap has the size that it keeps
N_SENDERS = 4
BLOCKED_S = 5.0


class Bot:
    """A manager over the stage's transport that takes messages as they come, and when it told what."""

    def __init__(self, on: Stage) -> None:
        self.manager = ConnectionManager(on.bot)
        self.texts: list[str] = []
        self.acknowledges = True
        self._told: list[tuple[float, Event]] = []
        self._changed = asyncio.Event()
        self.manager.events.on(Event, self._hear)

    async def take(self) -> None:
        """Journal, in memory, and acknowledge, until the end."""
        while batch := await self.manager.receive():
            self.texts += [message.text for message in batch]
            self._changed.set()
            await self.manager.acknowledge([message.id for message in batch])

    async def told(self, kind: type[EventT], since: float, timeout_s: float = WAIT_S) -> tuple[float, EventT]:
        """The first of *kind* after *since*, once it is told, and when."""
        async with asyncio.timeout(timeout_s):
            while True:
                for at, event in self._told:
                    if at >= since and isinstance(event, kind):
                        return at, event
                await self.changed()

    async def has(self, texts: set[str], timeout_s: float = WAIT_S) -> None:
        """Return when all *texts* have come, or after *timeout_s*."""
        try:
            async with asyncio.timeout(timeout_s):
                while not texts <= set(self.texts):
                    await self.changed()
        except TimeoutError:
            pass  # counted as lost

    async def changed(self) -> None:
        """Return at the next thing that comes or is told."""
        self._changed.clear()
        await self._changed.wait()

    def _hear(self, event: Event) -> None:
        self._told.append((time.monotonic(), event))
        self._changed.set()


async def report_half_open(findings: Findings, folder: Path) -> None:
    """The server hears and says nothing more, and the connection stays."""
    async with stage(folder) as on:
        bot = Bot(on)
        async with bot.manager, Tasks("bench") as tasks:
            taking = tasks.start(bot.take(), "take")
            await bot.manager.wait_connected()
            muted_at = time.monotonic()
            await on.server.fault("bot", "mute")
            doubted_at, _ = await bot.told(HeartbeatMissed, muted_at)
            lost_at, lost = await bot.told(Disconnected, muted_at)
            again_at, _ = await bot.told(Connected, muted_at)
            taking.cancel()
    findings.note("half-open link: first doubt after", doubted_at - muted_at, "s")
    findings.measure(f"half-open link: detected ({lost.reason}) after", lost_at - muted_at, "s", at_most=41)
    findings.measure("half-open link: connected again after", again_at - muted_at, "s", at_most=50)


async def report_library_alone(findings: Findings, folder: Path) -> None:
    """The same for the library as it comes, which counts as connected again when it logs in."""
    async with stage(folder) as on, on.customer() as alone:
        logins = (await on.server.statistics())["logins"]
        muted_at = time.monotonic()
        await on.server.fault(alone.name, "mute")
        async with asyncio.timeout(LIBRARY_ALONE_WAIT_S):
            while (await on.server.statistics())["logins"] == logins:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.2)
    findings.note("  the library alone: connected again after", time.monotonic() - muted_at, "s")


async def report_cuts(findings: Findings, folder: Path) -> None:
    """Cut, while somebody writes, again and again."""
    async with stage(folder) as on:
        bot, healed_s, sizes = Bot(on), [], []
        async with bot.manager, Tasks("bench") as tasks, on.customer() as ana:
            taking = tasks.start(bot.take(), "take")
            await bot.manager.wait_connected()
            for number in range(WARM_CUTS + N_CUTS):
                cut_at = time.monotonic()
                await on.server.cut("bot")
                await ana.say(f"cut {number}", BOT)
                healed_s.append((await bot.told(Connected, cut_at))[0] - cut_at)
                await bot.has({f"cut {number}"}, 10)
                child = only_child(on.bot)
                sizes.append((child.num_fds(), child.memory_info().rss / MIB, child.pid))
            taking.cancel()
    said = {f"cut {number}" for number in range(WARM_CUTS + N_CUTS)}
    findings.count(f"messages lost over {len(said)} cuts", len(said - set(bot.texts)))
    findings.count("messages that came twice over the cuts", len(bot.texts) - len(set(bot.texts)))
    findings.count("new processes over the cuts", len({pid for *_, pid in sizes}) - 1)
    findings.measure("cut link, server up: connected again, p50", median(healed_s), "s", at_most=1)
    findings.measure("cut link, server up: connected again, worst", max(healed_s), "s", at_most=1)
    first, last = sizes[WARM_CUTS - 1], sizes[-1]
    findings.count(f"file descriptors more after {N_CUTS} cuts", last[0] - first[0], "at most 2", at_most=2)
    findings.measure(f"RSS of the child more after {N_CUTS} cuts", last[1] - first[1], "MiB", at_most=3)


async def report_blocked(findings: Findings, folder: Path, *, n_messages: int) -> None:
    """They wait on the server; when they pour in, the bot's loop does not run for five seconds."""
    async with stage(folder) as on:
        await on.open()
        async with AsyncExitStack() as stack:
            senders = [await stack.enter_async_context(on.customer(f"c{n}", n)) for n in range(N_SENDERS)]
            await asyncio.gather(*(sender.say("antes", BOT) for sender in senders))
            await on.until(lambda: len(on.messages) == N_SENDERS)
            await on.acknowledge_all()
            await on.bot.close()
            each = n_messages // N_SENDERS
            await asyncio.gather(*(sender.say_many(f"{sender.name} ", each, BOT) for sender in senders))
        before_mib = psutil.Process().memory_info().rss / MIB
        bot = Bot(on)
        said = {f"c{n} {number}" for n in range(N_SENDERS) for number in range(each)}
        async with bot.manager, Tasks("bench") as tasks:
            taking = tasks.start(bot.take(), "take")
            await bot.manager.wait_connected()
            began = time.monotonic()
            time.sleep(BLOCKED_S)  # noqa: ASYNC251 - the fault
            spooled_mib = only_child(on.bot).memory_info().rss / MIB
            queued = (await on.server.devices())[f"{BOT}:7"]["queued"]
            await bot.has(said)
            took_s = time.monotonic() - began
            own_mib, child_mib = psutil.Process().memory_info().rss / MIB, only_child(on.bot).memory_info().rss / MIB
            taking.cancel()
    findings.count(f"of {len(said):,} messages lost, loop blocked {BLOCKED_S:g} s", len(said - set(bot.texts)))
    findings.note("  of these not taken by the child when it ran again", queued)
    findings.note("  all there after", took_s, "s")
    findings.measure("  RSS of the child then, and", spooled_mib, "MiB", at_most=120)
    findings.measure("  RSS of the child when all were there", child_mib, "MiB", at_most=120)
    findings.measure("  RSS of the bot more than before", own_mib - before_mib, "MiB", at_most=32)
