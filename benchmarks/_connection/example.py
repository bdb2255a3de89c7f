"""The whole example over a given transport: python -m benchmarks._connection.example JSON says "ready" and runs."""

import asyncio
import importlib.util
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from tecnobot_core import ChatId, InboundMessage, Settings, configure_logging
from tecnobot_core.connection import Transport
from tecnobot_core.tasks import stop_signals
from tecnobot_core.testing import FakeTransport

EXAMPLE = Path(__file__).parents[2] / "examples" / "tecnobot_app.py"


async def run(account: dict[str, str] | None, question: str, n_questions: int) -> None:
    """With an *account* over WhatsApp; without, over a fake that asks *n_questions* one after the other."""
    settings = Settings.from_env()
    with configure_logging(settings):
        async with AsyncExitStack() as stack:
            app = _load_example().TecnoBot(settings, stack)
            await app.open()
            transport = FakeTransport() if account is None else _whatsapp(account)
            bot = app.bot(transport, durable=True)
            async with stop_signals(bot.stop), asyncio.TaskGroup() as group:
                running = group.create_task(bot.run())
                await app.connection.wait_connected()
                if isinstance(transport, FakeTransport):
                    await _ask(transport, question, n_questions)
                print("ready", flush=True)
                await running


def _whatsapp(account: dict[str, str]) -> Transport:
    # Loaded only here, so that the other process shows what it takes.
    from benchmarks._connection.stage import Account  # noqa: PLC0415

    return Account(**account).transport()


async def _ask(transport: FakeTransport, question: str, n_questions: int) -> None:
    for number in range(n_questions):
        sent = len(transport.sent)
        transport.deliver(InboundMessage(id=f"q{number}", chat=ChatId("ana"), sent_at=0.0, text=question))
        await transport.wait_sent(sent + 1)


def _load_example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("tecnobot_app", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main(told: dict[str, Any]) -> None:
    """*told* is what ``run`` takes."""
    asyncio.run(run(told["account"], told["question"], told["n_questions"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
