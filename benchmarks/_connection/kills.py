"""Messages that are on their way while the gateway process is killed."""

import asyncio
import random
import signal
from contextlib import suppress
from pathlib import Path

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import BOT, stage

GRACE_S = 5.0  # for what is still on its way
KILL_WITHIN_S = 0.015


async def report_kills(findings: Findings, folder: Path, *, n_kills: int) -> None:
    """SIGKILL of the gateway process, 0 to 15 ms after a message began to be sent, or after it was."""
    chance = random.Random(8)
    async with stage(folder) as on, on.customer() as ana:
        await on.open()
        await ana.say("antes", BOT)
        await on.hears("antes")
        sent = []
        for number in range(n_kills):
            saying = asyncio.create_task(ana.say(f"k{number}", BOT))
            if number % 2:
                await saying  # by then it may have arrived; else it has not even left
            await asyncio.sleep(chance.uniform(0, KILL_WITHIN_S))
            on.child.send_signal(signal.SIGKILL)
            sent.append(await saying)
            await on.bot.close()
            await on.open()
            await ana.say(f"z{number}", BOT)
            await on.hears(f"z{number}")
            await on.acknowledge_all()
        with suppress(TimeoutError):  # counted below
            # What is not sent again is announced a moment after the server has sent all it had.
            await on.until(lambda: set(sent) <= {message.id for message in on.messages} | on.missed, GRACE_S)
        handled = {message.id for message in on.messages}
        missed = on.missed
    silent = {*sent} - handled - missed
    findings.count(f"lost in silence of {n_kills} messages, child killed 0 to 15 ms after", len(silent))
    findings.note("  handled", len({*sent} & handled))
    findings.note("  announced as missed", len({*sent} & missed))
    findings.count("  announced as missed, yet handled", len(missed & handled))
    findings.note("  came again, as nobody had acknowledged them", len(on.messages) - len(handled))
