"""Real customers and a bot that answers each of their messages: at a human pace, and in bursts."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks._connection.findings import Findings
from benchmarks._connection.stage import BOT, Stage, stage
from tecnobot_core import Bot, ConnectionManager, EventBus
from tecnobot_core.completion import Completion
from tecnobot_core.events import MessageMissed
from tecnobot_core.messages import ChatMessage
from tests.whatsapp_server.customer import Customer

PACE_S = 0.2  # five messages a second: as fast as anybody types
BURST = 200
SETTLE_S = 0.5  # as in the example
GRACE_S = 5.0  # without anything new, nothing more comes
LOOK_EVERY_S = 0.2


class Echo:
    """A model that needs no time."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """What the person wrote."""
        text = messages[-1].content
        self.heard.add(text)
        return Completion(f"re {text}", "echo")


class Conversation:
    """What *customer* says to a bot with *model*, and what became of it."""

    def __init__(self, on: Stage, customer: Customer, model: Echo) -> None:
        self._on = on
        self._customer = customer
        self._model = model
        self._reused_before = 0
        self.said: set[str] = set()
        self.missed: set[str] = set()
        self.reused = 0

    async def begin(self) -> None:
        """Count reused steps from now on."""
        self._reused_before = (await self._on.server.statistics())["counters_reused"]

    async def end(self) -> None:
        """Return when all is answered, or nothing more happens."""
        ends_at, progress = time.monotonic() + GRACE_S, -1
        while (self.unheard or self.unanswered) and time.monotonic() < ends_at:
            if (now := len(self._model.heard) + len(self._customer.events)) != progress:
                progress, ends_at = now, time.monotonic() + GRACE_S
            await asyncio.sleep(LOOK_EVERY_S)
        self.reused = (await self._on.server.statistics())["counters_reused"] - self._reused_before

    @property
    def unheard(self) -> set[str]:
        """What the bot never saw."""
        return self.said - self._model.heard

    @property
    def unanswered(self) -> set[str]:
        """What the bot answered, and the customer never saw the answer."""
        seen = {event["text"] for event in self._customer.events if event["event"] == "MessageEv"}
        return {text for text in self.said & self._model.heard if f"re {text}" not in seen}


async def report_pace(findings: Findings, folder: Path, *, n_messages: int) -> None:
    """Each message answered at once."""
    async with stage(folder) as on, _conversation(on, settle_s=0.0) as (conversation, ana):
        for number in range(n_messages):
            conversation.said.add(f"p{number}")
            await ana.say(f"p{number}", BOT)
            await asyncio.sleep(PACE_S)
    name = f"of {n_messages:,} messages at a human pace, each answered at once"
    _report(findings, name, conversation, at_most=0)


async def report_bursts(findings: Findings, folder: Path, *, n_bursts: int) -> None:
    """As fast as the library can, with a wait before answering, and one burst without it."""
    async with stage(folder / "settling") as on, _conversation(on, settle_s=SETTLE_S) as (settling, ana):
        for number in range(n_bursts):
            settling.said |= {f"b{number} {n}" for n in range(BURST)}
            await ana.say_many(f"b{number} ", BURST, BOT)
            await settling.end()
    _report(findings, f"of {n_bursts} bursts of {BURST}, settle_s={SETTLE_S:g}", settling, at_most=0.002)
    async with stage(folder / "at-once") as on, _conversation(on, settle_s=0.0) as (at_once, ana):
        at_once.said |= {f"w {n}" for n in range(BURST)}
        await ana.say_many("w ", BURST, BOT)
    _report(findings, f"  of one burst of {BURST}, settle_s=0", at_once)


@asynccontextmanager
async def _conversation(on: Stage, *, settle_s: float) -> AsyncIterator[tuple[Conversation, Customer]]:
    """A bot that runs, and someone who can write to it; at the end all has come that comes."""
    model = Echo()
    events = EventBus()
    connection = ConnectionManager(on.bot, events=events)
    bot = Bot(connection, model=model, settle_s=settle_s, events=events)
    async with on.customer() as ana:
        conversation = Conversation(on, ana, model)
        events.on(MessageMissed, lambda event: conversation.missed.add(event.message_id))
        running = asyncio.create_task(bot.run())
        try:
            await connection.wait_connected()
            await conversation.begin()
            yield conversation, ana
            await conversation.end()
        finally:
            bot.stop()
            await running


def _report(findings: Findings, name: str, found: Conversation, *, at_most: float | None = None) -> None:
    lost = len(found.unheard) + len(found.unanswered)
    findings.note(f"{name}: questions lost", len(found.unheard))
    findings.note("  answers lost", len(found.unanswered))
    if at_most is not None:
        findings.measure("  lost, of questions and answers", 50 * lost / len(found.said), "%", at_most=100 * at_most)
    findings.note("  steps that the server counted as reused", found.reused)
    findings.count("  lost without such a step", max(lost - found.reused, 0))
    findings.count("  questions lost in silence", max(len(found.unheard) - len(found.missed), 0))
