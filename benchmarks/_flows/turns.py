"""One message is one transition, however messages and functions fall together; and what many flows cost the loop."""

import asyncio
import random
from collections import defaultdict

from benchmarks import _builderbot
from benchmarks._report import Report
from benchmarks.loop import measure
from tecnobot_core import Bot, ChatId, ConnectionManager, EventBus, Flow, FlowRepository, InboundMessage
from tecnobot_core.events import TurnCommitted
from tecnobot_core.flows import FlowContext, MemoryFlowStore
from tecnobot_core.testing import FakeTransport

N_CHATS = 500
N_ANSWERS = 20
N_MESSAGES = 2_000
PEER_FLOWS = (20, 500)


async def report_turns(report: Report) -> None:
    """Counts what became of each answer of many people, who send theirs in bursts, out of step with each other."""
    rng = random.Random(7)
    turns: dict[ChatId, list[str]] = defaultdict(list)
    kept: dict[ChatId, list[str]] = defaultdict(list)

    async def keep(context: FlowContext) -> None:
        await asyncio.sleep(rng.random() / 1000)
        context.variables["answers"] = [*context.variables.get("answers", []), context.text]

    flow = Flow("form").on("empezar")
    for n in range(N_ANSWERS):
        flow = flow.ask(f"¿{n}?", into=f"answer{n}").do("keep")
    flow = flow.say("{answers}")
    events = EventBus()

    def note(event: TurnCommitted) -> None:
        turns[event.turn.chat].append(event.turn.inbound[0])
        if event.turn.position is not None:
            kept[event.turn.chat] = list(event.turn.position.variables.get("answers", []))  # type: ignore[call-overload]

    events.on(TurnCommitted, note)
    transport = FakeTransport(_bursts(rng), ends=True)
    bot = Bot(
        ConnectionManager(transport),
        flows=FlowRepository(MemoryFlowStore([flow]), "bench"),
        functions={"keep": keep},
        events=events,
        drain_s=600,
    )
    await bot.run()
    total = N_CHATS * (N_ANSWERS + 1)
    done = sum(len(of_chat) for of_chat in turns.values())
    right = sum(of_chat == [f"{chat.reveal()}-{n}" for n in range(N_ANSWERS + 1)] for chat, of_chat in turns.items())
    whole = sum(answers == [f"respuesta {n}" for n in range(1, N_ANSWERS)] for answers in kept.values())
    report.add(f"turns for {total:,} messages of {N_CHATS} chats", done, "", f"{total:,}", done == total)
    report.add("chats with one transition a message, in order", 100 * right / N_CHATS, "%", "100", right == N_CHATS)
    report.add("chats whose answers all went to their question", 100 * whole / N_CHATS, "%", "100", whole == N_CHATS)


def _bursts(rng: random.Random) -> list[InboundMessage]:
    """All messages, each chat's in order, mixed in bursts."""
    waiting = {ChatId(f"chat{n}"): 0 for n in range(N_CHATS)}
    messages: list[InboundMessage] = []
    while waiting:
        chat = rng.choice(list(waiting))
        for _ in range(rng.choice((1, 1, 2, 5))):
            n = waiting[chat]
            text = "empezar" if n == 0 else f"respuesta {n}"
            messages.append(InboundMessage(id=f"{chat.reveal()}-{n}", chat=chat, sent_at=2e9 + n, text=text))
            waiting[chat] += 1
            if n == N_ANSWERS:
                del waiting[chat]
                break
    return messages


def report_loop(report: Report) -> None:
    """The whole loop with few and with many flows, beside the peer's."""
    few, many = measure((5_000, 20), (5_000, 5_000))
    cost = 100 * (few["per_cpu_s"] / many["per_cpu_s"] - 1)
    report.add("whole loop, 5,000 flows over 20", cost, "%", "at most 10", cost <= 10)
    if (version := _builderbot.version()) is None:
        report.add("BuilderBot", "not installed", "")
        return
    options = {"n_messages": N_MESSAGES, "n_chats": 100, "wait_ms": 0, "concurrency_limit": 1}
    rates = [_builderbot.burst({**options, "n_flows": n})["per_s"] for n in PEER_FLOWS]
    for n, rate in zip(PEER_FLOWS, rates, strict=True):
        report.add(f"BuilderBot {version}, {n} flows", rate, "messages/s")
    report.add("BuilderBot, 500 flows over 20", 100 * (rates[0] / rates[1] - 1), "%")
