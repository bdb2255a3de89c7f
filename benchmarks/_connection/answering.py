"""The whole example over WhatsApp: how long an answer takes, and how much bigger the bot's process is for it."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles

import psutil

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import BOT, MIB, WAIT_S, Account, Stage, stage
from tests.whatsapp_server.customer import Customer

QUESTION, ANSWER = "eres un robot", "Soy Sol, la asistente automática"
WARM = 10
REST_S = 3.0
STOP_S = 12.0
OTHERS_NUMBER = 2


async def report_answers(findings: Findings, folder: Path, *, n_questions: int) -> None:
    """Question and answer through a client that answers by itself, then through the example and its database."""
    async with stage(folder) as on, on.customer() as ana:
        async with on.customer("echo", OTHERS_NUMBER) as other:
            await other.echo()
            echoes_s = await _ask(ana, other.number, "echo: ", n_questions)
        async with example(on, on.account, 0) as bot:
            answers_s = await _ask(ana, BOT, ANSWER, n_questions)
            with_mib = await _rss_mib(bot)
        async with example(on, None, WARM + n_questions) as bot:
            without_mib = await _rss_mib(bot)
    findings.note("question → answer of the library's own echo, p50", 1e3 * median(echoes_s), "ms")
    findings.note("question → answer of a flow in the example, p50", 1e3 * median(answers_s), "ms")
    findings.note("  p95", 1e3 * quantiles(answers_s, n=20)[-1], "ms")
    over_ms = 1e3 * (median(answers_s) - median(echoes_s))
    findings.measure("  p50 over the echo", over_ms, "ms", at_most=60)
    findings.note("RSS of the example without WhatsApp, after as many answers", without_mib, "MiB")
    findings.note("  with WhatsApp", with_mib, "MiB")
    findings.measure("  more with WhatsApp", with_mib - without_mib, "MiB", at_most=3)


@asynccontextmanager
async def example(on: Stage, account: Account | None, n_questions: int) -> AsyncIterator[Process]:
    """The example's process, once it is connected, or has answered *n_questions*; it has data of its own."""
    told = {
        "account": None if account is None else asdict(account),
        "question": QUESTION,
        "n_questions": n_questions,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks._connection.example", json.dumps(told)),
        env=_environment(on.directory / ("data" if account is None else "data-whatsapp")),
        stdout=PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            while (line := await process.stdout.readline()) != b"ready\n":
                if not line:
                    raise RuntimeError(f"the example ended with {await process.wait()} before it was ready")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                await process.wait()


async def _ask(customer: Customer, to: str, begins: str, n_questions: int) -> list[float]:
    """Seconds of each but the first ones, one after the other."""
    took_s = []
    for _ in range(WARM + n_questions):
        seen, began = len(customer.events), time.perf_counter()
        await customer.say(QUESTION, to)
        await customer.wait_for(
            "MessageEv", lambda event: event["text"].startswith(begins), since=seen, timeout_s=WAIT_S
        )
        took_s.append(time.perf_counter() - began)
    return took_s[WARM:]


async def _rss_mib(process: Process) -> float:
    """At rest."""
    await asyncio.sleep(REST_S)
    return float(psutil.Process(process.pid).memory_info().rss) / MIB


def _environment(data: Path) -> dict[str, str]:
    ours = ("DATABASE_", "OPENAI_", "WEB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # One person asks more often than people do.
    return {**kept, "DATA_DIR": str(data), "RATE_LIMIT_MAX_MESSAGES": "100000", "LOG_LEVEL": "WARNING"}
