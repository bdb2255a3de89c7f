"""The bot loop in memory: rate, order and peak memory, by number of flows and of messages."""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice, pairwise

from benchmarks._report import Report
from tecnobot_core.bot import Bot
from tecnobot_core.connection import ConnectionManager, DisconnectReason, Lost, Opened, Sink
from tecnobot_core.delivery import MemoryConversations
from tecnobot_core.flows import Flow, FlowRepository, MemoryFlowStore
from tecnobot_core.memory import read_peak_rss_bytes
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage

REQUIRES: list[str] = []
AHEAD = 1000  # messages that wait unacknowledged, as a transport would hold them
REPEATS = 5
STRETCH = 10_000  # messages
MIB = 1024 * 1024


class Customers:
    """A transport that writes *n_messages* over *n_chats* and checks each answer as it comes."""

    def __init__(self, n_messages: int, n_chats: int, n_flows: int) -> None:
        self._messages = (
            InboundMessage(
                id=f"m{number}",
                chat=ChatId(f"customer-{number % n_chats}"),
                sent_at=float(number),
                text=f"hola, quiero saber de palabra{number * 7 % n_flows}",
            )
            for number in range(n_messages)
        )
        self._unacknowledged = 0
        self._next: dict[ChatId, int] = defaultdict(int)
        self._n_chats = n_chats
        self._sink: Sink | None = None
        self.began = (0.0, 0.0)
        self.answered = 0
        self.stretches: list[float] = []
        self.out_of_order = 0

    async def open(self, sink: Sink) -> None:
        self._sink = sink
        self.began = time.perf_counter(), time.process_time()
        sink(Opened())
        self._deliver()

    async def close(self) -> None:
        self._sink = None

    async def ping(self) -> None:
        """Nothing to ask."""

    async def send(self, message: OutboundMessage) -> None:
        number = int(message.key.partition("/")[0][1:])
        self.answered += 1
        if self.answered % STRETCH == 0:
            self.stretches.append(time.process_time())
        self.out_of_order += number // self._n_chats != self._next[message.chat]
        self._next[message.chat] = number // self._n_chats + 1

    async def acknowledge(self, message_ids: Sequence[str]) -> None:
        self._unacknowledged -= len(message_ids)
        self._deliver()

    def _deliver(self) -> None:
        assert self._sink is not None
        for message in islice(self._messages, AHEAD - self._unacknowledged):
            self._unacknowledged += 1
            self._sink(message)
        if not self._unacknowledged:
            self._sink(Lost(DisconnectReason.ENDED, retryable=False))


async def _run(n_messages: int, n_chats: int, n_flows: int) -> dict[str, float]:
    flows = [Flow(f"flow-{n}").on(f"palabra{n}", f"tema {n}").say(f"Respuesta {n}") for n in range(n_flows)]
    customers = Customers(n_messages, n_chats, n_flows)
    bot = Bot(
        ConnectionManager(customers),
        flows=FlowRepository(MemoryFlowStore(flows), "bench"),
        conversations=MemoryConversations(),
        drain_s=600,
    )
    await bot.run()
    wall, cpu = time.perf_counter() - customers.began[0], time.process_time() - customers.began[1]
    times = [customers.began[1], *customers.stretches]
    took = [end - begin for begin, end in pairwise(times)] or [cpu]
    return {
        # The best stretch of each half: a machine that does other things makes some slower, a real drift makes all.
        "late_over_early": min(took[: (len(took) + 1) // 2]) / min(took[len(took) // 2 :]),
        "per_s": n_messages / wall,
        "per_cpu_s": n_messages / cpu,
        "lost": n_messages - customers.answered,
        "out_of_order": customers.out_of_order,
        "peak_mib": read_peak_rss_bytes() / MIB,
    }


def _one(n_messages: int, n_flows: int) -> dict[str, float]:
    """One run, in a process of its own: peak memory is a process's."""
    command = [sys.executable, "-m", "benchmarks.loop", "--one", str(n_messages), str(n_flows)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def measure(*cases: tuple[int, int]) -> list[dict[str, float]]:
    """The best rate, the median drift and the worst of all else, over several rounds of all cases.

    The best rate, because whatever else the machine does only takes away; in rounds, because what it does changes.
    """
    rounds = [[_one(*case) for case in cases] for _ in range(REPEATS)]
    choose = {"late_over_early": statistics.median}
    return [
        {key: choose.get(key, max)(run[key] for run in runs) for key in runs[0]} for runs in zip(*rounds, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    parser.add_argument("--one", nargs=2, type=int, metavar=("MESSAGES", "FLOWS"), help="one run, as JSON")
    arguments = parser.parse_args(argv)
    if arguments.one:
        print(json.dumps(asyncio.run(_run(arguments.one[0], 500, arguments.one[1]))))
        return 0

    report = Report("loop")
    runs = base, many_flows, short, long = measure((5000, 20), (5000, 5000), (20_000, 20), (200_000, 20))
    rate = base["per_cpu_s"]
    report.add("messages/s, a free core (CPU time)", rate, "/s", "at least 5,000", rate >= 5000)
    report.add("messages/s, by the clock on this machine", base["per_s"], "/s")
    lost = sum(run["lost"] for run in runs)
    out_of_order = sum(run["out_of_order"] for run in runs)
    report.add("lost, all runs", lost, "", "0", lost == 0)
    report.add("out of order, all runs", out_of_order, "", "0", out_of_order == 0)
    report.add("peak RSS, 5,000 messages", base["peak_mib"], "MiB", "at most 80", base["peak_mib"] <= 80)
    cost = rate / many_flows["per_cpu_s"] - 1
    report.add("cost of 5,000 flows over 20", cost * 100, "%", "at most 10", cost <= 0.10)
    drift = abs(long["late_over_early"] - 1)
    report.add(
        "rate, second half of 200,000 messages against the first", drift * 100, "% apart", "at most 5", drift <= 0.05
    )
    growth = abs(long["peak_mib"] / short["peak_mib"] - 1)
    report.add("peak RSS, 200,000 against 20,000 messages", growth * 100, "% apart", "at most 5", growth <= 0.05)
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
