"""Copies of the session while it is written and the link is cut, and a login with one of them."""

import asyncio
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import BOT, Stage, answer, stage
from tecnobot_core.connection.ports import Recovered
from tecnobot_core.errors import TransportError
from tecnobot_core.tasks import Tasks

N_CUTS = 20
GRACE_S = 10.0  # for what is still on its way


class Copies:
    """Takes one copy after the other, and looks at each with a reader of its own."""

    def __init__(self, on: Stage) -> None:
        self._on = on
        self.taken = self.failed = self.damaged = 0

    async def take(self) -> None:
        """Until cancelled."""
        while True:
            try:
                taken = await self._on.bot.save_session()
            except TransportError:
                self.failed += 1
                continue
            if taken is None:
                await asyncio.sleep(0.05)
                continue
            self.taken += 1
            self.damaged += not await asyncio.to_thread(_is_whole, self._on.bot.session.directory / "copies" / "copy-0")


async def report_copies(findings: Findings, folder: Path, *, lasts_s: int) -> None:
    """Questions and answers as fast as they go, 20 cuts, and copies without a pause."""
    async with stage(folder) as on, on.customer() as ana:
        await on.open()
        copies = Copies(on)
        async with Tasks("bench") as tasks:
            taking = tasks.start(copies.take(), "take")
            talking = tasks.start(_talk(on), "talk")
            ends_at, said = time.monotonic() + lasts_s, set[str]()
            for number in range(N_CUTS):
                while time.monotonic() < ends_at - lasts_s * (N_CUTS - 1 - number) / N_CUTS:
                    said.add(await ana.say(f"w{len(said)}", BOT))
                begin = len(on.events)
                await on.server.cut("bot")
                await on.until(lambda begin=begin: bool(on.all(Recovered, begin)))  # type: ignore[misc]
            with suppress(TimeoutError):  # counted below
                await on.until(lambda: said <= {message.id for message in on.messages} | on.missed, GRACE_S)
            taking.cancel()
            talking.cancel()
        findings.note(
            f"copies of the session in {lasts_s} s with {N_CUTS} cuts and {len(said):,} questions", copies.taken
        )
        findings.count("  copies that could not be made", copies.failed)
        findings.count("  copies that fail the integrity check", copies.damaged)
        findings.count("  no copy taken", not copies.taken)
        lost = said - {message.id for message in on.messages}
        findings.note("  questions lost, as they crossed answers", len(lost))
        findings.count("  questions lost in silence", len(lost - on.missed))
        await _report_restore(findings, on)


async def _talk(on: Stage) -> None:
    """Take all that has come, and answer the last: answers to all would fall behind more and more."""
    taken = 0
    while True:
        await on.until(lambda: len(on.messages) > taken, timeout_s=3600)  # noqa: B023 - it is awaited here
        new, taken = on.messages[taken:], len(on.messages)
        await on.bot.acknowledge([message.id for message in new])
        with suppress(TransportError):  # cut just now; what is measured are the copies
            await on.bot.send(answer(new[-1], "ya"))


async def _report_restore(findings: Findings, on: Stage) -> None:
    await on.bot.close()
    await asyncio.to_thread(on.bot.session.path.write_bytes, os.urandom(100_000))
    began = time.monotonic()
    age_s = await on.bot.restore_session()
    await on.open()
    findings.note("  a destroyed session restored and logged in after", time.monotonic() - began, "s")
    findings.count("  not restored", age_s is None)
    async with on.customer("berta", 2) as berta:
        await berta.say("sigues ahí", BOT)
        await on.hears("sigues ahí")


def _is_whole(copy: Path) -> bool:
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
        try:
            checked = database.execute("PRAGMA integrity_check").fetchall()
            (devices,) = database.execute("SELECT count(*) FROM whatsmeow_device").fetchone()
        except sqlite3.DatabaseError:
            return False
        return checked == [("ok",)] and devices == 1
