"""Stopping a bot in whatever state it is: how long it takes, how it ends, and what is left of it."""

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import WAIT_S, Account, Stage, account, stage
from tests.whatsapp_server.customer import Customer
from tests.whatsapp_server.seeding import seed_device

STOP_WITHIN_S = 12.0
GIVE_UP_S = 30.0
PLATFORM_KILLS_AFTER_S = 3.0
UNDER_WAY_S = 0.5  # from dialing until it hangs where it is made to
LOOK_EVERY_S = 0.02  # what happens in other processes wakes nobody here
N_POURING = 200


@dataclass(frozen=True)
class Case:
    """Reach *state* with the server's *modes*, do *fault* to the link or the child, wait for *then*, and stop."""

    name: str
    state: str
    modes: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    then: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    paired: bool = True


_ASKS_SOON = {"heartbeat_s": 1.0, "ping_timeout_s": 3.0}
CASES = (
    Case("connecting, the process just started", "connecting"),
    Case("connecting, the proxy never answers", "connecting", {"proxy": "hang"}),
    Case("connecting, the upgrade is never answered", "connecting", {"upgrade": "hang"}),
    Case("connecting, the handshake hangs", "connecting", {"handshake": "hang"}),
    Case("connecting, nobody lets it in", "connecting", {"on_connect": "mute"}),
    Case("pairing", "pairing", paired=False),
    Case("connected", "connected"),
    Case("connected, the network swallows all", "connected", fault="blackhole"),
    Case("connected, the child is stopped by SIGSTOP", "connected", fault="SIGSTOP"),
    Case("degraded", "connected", fault="mute", then="degraded", options=_ASKS_SOON),
    Case("recovering", "connected", fault="cut for good", then="recovering"),
    Case("waiting", "waiting", {"proxy": "refuse"}, options={"base_delay_s": 30.0}),
    Case("parked", "parked", {"on_connect": "failure 402 101 3600"}),
    Case("failed", "failed", {"on_connect": "failure 405"}),
)


class StoppedBot:
    """The process of a *case*, from its start to its end."""

    def __init__(self, on: Stage, name: str, options: dict[str, Any]) -> None:
        self.account: Account = account(on.server, on.directory, name)
        self.journal = on.directory / f"{name}.journal"
        settings = {"account": asdict(self.account), "options": options, "journal": str(self.journal)}
        self._command = [sys.executable, "-m", "benchmarks._connection.stopping_bot", json.dumps(settings)]
        self.process: Process | None = None

    async def start(self) -> None:
        """It tells its states from now on."""
        self.process = await asyncio.create_subprocess_exec(*self._command, stdout=PIPE)

    async def reaches(self, state: str) -> None:
        """RuntimeError when it ends before."""
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while (line := await self.process.stdout.readline()) != f"{state}\n".encode():
                if not line:
                    raise RuntimeError(f"the bot ended with {await self.process.wait()} before it was {state}")

    async def stop(self) -> tuple[float, int]:
        """Seconds from SIGTERM to its end, and its exit status."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GIVE_UP_S):
                status = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            status = await self.process.wait()
        return time.monotonic() - began, status

    def children(self) -> list[psutil.Process]:
        """The processes that have its spool open, wherever they were started from."""
        spool = str(Path(self.account.directory) / "spool")
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if spool in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill(self) -> None:
        """All of it, as a platform ends a container."""
        for process in self.children():
            process.kill()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


async def report_stops(findings: Findings, folder: Path) -> None:
    """Each state once."""
    slowest, wrong_status, left = (0.0, ""), [], []
    async with stage(folder) as on:
        for number, case in enumerate(CASES):
            took_s, status, n_children = await _stop(on, f"bot{number}", case)
            slowest = max(slowest, (took_s, case.name))
            wrong_status += [case.name] if status else []
            left += [case.name] if n_children else []
            findings.measure(f"stopped while {case.name}", took_s, "s", at_most=STOP_WITHIN_S)
    findings.note("slowest stop", slowest[1])
    findings.count(f"stops of {len(CASES)} without exit status 0{_named(wrong_status)}", len(wrong_status))
    findings.count(f"stops of {len(CASES)} that left a child{_named(left)}", len(left))


async def report_killed(findings: Findings, folder: Path) -> None:
    """SIGTERM while messages pour in, and three seconds later SIGKILL for whatever is still there."""
    async with stage(folder) as on, on.customer() as ana:
        for name, fault in (("", ""), (", its child stopped by SIGSTOP", "SIGSTOP")):
            lost, again = await _stop_and_kill(on, ana, f"killed{fault}", fault)
            findings.count(f"lost in silence of {N_POURING}, killed 3 s after SIGTERM{name}", lost)
            findings.note("  came again after it", again)


async def _stop(on: Stage, name: str, case: Case) -> tuple[float, int, int]:
    bot = StoppedBot(on, name, case.options)
    if case.paired:
        await _pair(bot.account, name)
    await on.server.set_mode(name, **case.modes)
    connections = (await on.server.statistics()).get("connections", 0)
    await bot.start()
    try:
        await bot.reaches(case.state)
        if case.modes and case.state == "connecting":
            await _until_it_dials(on, connections)
        await _harm(on, name, bot, case.fault)
        if case.then:
            await bot.reaches(case.then)
        took_s, status = await bot.stop()
        return took_s, status, len(bot.children())
    finally:
        bot.kill()
        await on.server.set_mode(name, **dict.fromkeys(case.modes))


async def _until_it_dials(on: Stage, connections: int) -> None:
    """Return a moment after the library has dialed: the first connection is the question whether anybody is there."""
    async with asyncio.timeout(WAIT_S):
        while (await on.server.statistics()).get("connections", 0) < connections + 2:  # noqa: ASYNC110 - see there
            await asyncio.sleep(LOOK_EVERY_S)
    await asyncio.sleep(UNDER_WAY_S)


async def _harm(on: Stage, name: str, bot: StoppedBot, fault: str) -> None:
    match fault:
        case "mute":
            await on.server.fault(name, "mute")
        case "blackhole":
            await on.server.set_mode(name, blackhole="on")
        case "SIGSTOP":
            (await _child_of(bot)).suspend()
        case "cut for good":
            await on.server.set_mode(name, proxy="hang")
            await on.server.cut(name)


async def _stop_and_kill(on: Stage, ana: Customer, name: str, fault: str) -> tuple[int, int]:
    """How many were lost in silence, and how many came again."""
    bot = StoppedBot(on, name, {})
    number = f"55119777700{len(name):02}"
    await _pair(bot.account, name, number)
    await bot.start()
    await bot.reaches("connected")
    pouring = asyncio.create_task(ana.say_many(f"{name} ", N_POURING, number))
    while len(_journaled(bot.journal)) < N_POURING // 4:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(LOOK_EVERY_S)
    await _harm(on, name, bot, fault)
    assert bot.process is not None
    bot.process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(PLATFORM_KILLS_AFTER_S):
            await bot.process.wait()
    bot.kill()
    await bot.process.wait()
    await pouring
    await bot.start()
    wanted = {f"{name} {n}" for n in range(N_POURING)}
    ends_at = time.monotonic() + WAIT_S
    while time.monotonic() < ends_at and len(wanted - _texts(bot)) > _announced(bot):  # noqa: ASYNC110 - as above
        await asyncio.sleep(LOOK_EVERY_S)
    await bot.stop()
    records = [record for record in _journaled(bot.journal) if "id" in record]
    lost = max(len(wanted - _texts(bot)) - _announced(bot), 0)
    return lost, len(records) - len({record["id"] for record in records})


async def _pair(of: Account, name: str, number: str = "") -> None:
    transport = of.transport()
    transport.session.prepare()
    number = number or f"55119666600{name.removeprefix('bot'):0>2}"
    await asyncio.to_thread(seed_device, transport.session.path, number, 7, "Bot")


async def _child_of(bot: StoppedBot) -> psutil.Process:
    async with asyncio.timeout(WAIT_S):
        while not (found := await asyncio.to_thread(bot.children)):  # noqa: ASYNC110 - another process starts it
            await asyncio.sleep(LOOK_EVERY_S)
    return found[0]


def _journaled(journal: Path) -> list[dict[str, str]]:
    lines = journal.read_text("utf-8").splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _texts(bot: StoppedBot) -> set[str]:
    return {record["text"] for record in _journaled(bot.journal) if "text" in record}


def _announced(bot: StoppedBot) -> int:
    return len({record["missed"] for record in _journaled(bot.journal) if "missed" in record})


def _named(names: list[str]) -> str:
    return f" ({'; '.join(names)})" if names else ""
