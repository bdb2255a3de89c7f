"""The process with the library: how big it is, what an attachment makes of it, and after it was replaced."""

import asyncio
import os
from pathlib import Path

import psutil

from benchmarks._connection.findings import Findings
from benchmarks._connection.links import Bot
from benchmarks._connection.stage import BOT, MIB, Stage, only_child, stage
from tecnobot_core.events import Connected, Disconnected
from tecnobot_core.messages import MediaReference, OutboundMessage
from tests.whatsapp_server.customer import Customer

MEDIA_BYTES = 16 * MIB
REST_S = 2.0
MAX_RSS_BYTES = 32 * MIB  # below what it ever has, so that it is replaced when it is first asked: after 5 s


async def report_child(findings: Findings, folder: Path) -> None:
    """At rest, while 16 MiB come and go, and after recycling."""
    async with stage(folder) as on, on.customer() as ana:
        await on.open()
        await ana.say("hola", BOT)
        await on.hears("hola")
        await asyncio.sleep(REST_S)
        findings.measure("RSS of the child at rest", _rss_mib(on.child), "MiB", at_most=100)
        peaks_mib = [await _fetch(on, ana), await _send(on)]
        findings.measure("  its peak, 16 MiB fetched", peaks_mib[0], "MiB", at_most=250)
        findings.measure("  its peak, 16 MiB sent too", peaks_mib[1], "MiB", at_most=250)
        await asyncio.sleep(REST_S)
        findings.note("  a moment later", _rss_mib(on.child), "MiB")
        await on.bot.close()
        await _report_recycling(findings, on)


async def _fetch(on: Stage, ana: Customer) -> float:
    data = os.urandom(MEDIA_BYTES)
    heard = len(on.messages)
    await ana.send_media("document", data, BOT, fileName="big")
    await on.until(lambda: len(on.messages) > heard)
    media = on.messages[-1].media
    assert media is not None
    await on.bot.fetch_media(media, on.directory / "fetched", max_bytes=2 * MEDIA_BYTES)
    fetched = await asyncio.to_thread((on.directory / "fetched").read_bytes)
    if fetched != data:
        raise RuntimeError("the attachment is not what was sent")
    return _peak_mib(on.child)


async def _send(on: Stage) -> float:
    media = MediaReference(kind="document", address=str(on.directory / "fetched"), file_name="big")
    await on.bot.send(OutboundMessage(chat=on.messages[-1].chat, key="big", media=media))
    return _peak_mib(on.child)


async def _report_recycling(findings: Findings, on: Stage) -> None:
    """A manager replaces a process that has become too big, as an ordinary reconnect."""
    on.bot = on.account.transport(max_rss_bytes=MAX_RSS_BYTES)
    media = on.messages[-1].media
    assert media is not None
    bot = Bot(on)
    async with bot.manager:
        await bot.manager.wait_connected()
        child, began = only_child(on.bot), asyncio.get_running_loop().time()
        await on.bot.fetch_media(media, on.directory / "again", max_bytes=2 * MEDIA_BYTES)
        before_mib = _rss_mib(child)
        lost_at, lost = await bot.told(Disconnected, began)
        again_at, _ = await bot.told(Connected, lost_at)
        await asyncio.sleep(REST_S)
        after = only_child(on.bot)
        findings.note(f"  recycled ({lost.reason}) above {MAX_RSS_BYTES // MIB} MiB, RSS before", before_mib, "MiB")
        findings.note("  no link while it was replaced", again_at - lost_at, "s")
        findings.measure("  RSS after recycling", _rss_mib(after), "MiB", at_most=120)
        findings.count("  not replaced", after.pid == child.pid)


def _rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / MIB


def _peak_mib(process: psutil.Process) -> float:
    """What the kernel remembers."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
