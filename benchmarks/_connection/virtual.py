"""What needs no network: a link that is taken over again and again, and the delays, on time that moves when told."""

from benchmarks._connection.findings import Findings
from tecnobot_core.connection import ConnectionManager, DisconnectReason, equal_jitter
from tecnobot_core.connection.ports import Sink
from tecnobot_core.errors import TransportError
from tecnobot_core.events import ReconnectScheduled
from tecnobot_core.testing import FakeClock, FakeTransport

FLAPS = 10_000
NETWORK_FLAPS = 200
DELAYS = 1_000
MAX_DELAY_S = 60.0
LIMITS_S = ((1.0, 60.0), (0.25, 30.0), (3.0, 86_400.0))


class FlappingTransport(FakeTransport):
    """Opens, and is lost the next moment, each time."""

    def __init__(self, reason: DisconnectReason, *, retryable: bool) -> None:
        super().__init__()
        self._reason = reason
        self._retryable = retryable

    async def open(self, sink: Sink) -> None:
        await super().open(sink)
        self.lose(self._reason, retryable=self._retryable)


async def report_flaps(findings: Findings) -> None:
    """Two programs with one session would throw each other out for ever; who is thrown out stays out."""
    replaced = await _dials(FlappingTransport(DisconnectReason.REPLACED, retryable=False), FLAPS)
    findings.count(f"dials in the time of {FLAPS:,} flaps, opened then replaced", replaced, "1", at_most=1)
    network = await _dials(FlappingTransport(DisconnectReason.NETWORK, retryable=True), NETWORK_FLAPS)
    findings.note(f"  the same in the time of {NETWORK_FLAPS:,} where the network fails instead", network)


async def report_delays(findings: Findings) -> None:
    """Every delay that is announced, and the formula for other limits."""
    clock, transport = FakeClock(), FakeTransport()
    transport.open_errors.extend([TransportError("no route", reason="network")] * (DELAYS + 1))
    manager = ConnectionManager(transport, max_delay_s=MAX_DELAY_S, clock=clock, sleep=clock.sleep)
    told: list[float] = []
    manager.events.on(ReconnectScheduled, lambda event: told.append(event.delay_s))
    async with manager:
        while len(told) <= DELAYS:
            await clock.advance(MAX_DELAY_S)
    outside = sum(not _is_within(delay_s, n, 1.0, MAX_DELAY_S) for n, delay_s in enumerate(told[: DELAYS + 1]))
    for base_s, max_s in LIMITS_S:
        exact = ConnectionManager(FakeTransport(), base_delay_s=base_s, max_delay_s=max_s)
        for n in range(DELAYS + 1):
            outside += exact.backoff_delay_s(n) != _expected_s(n, base_s, max_s)
            outside += not _is_within(equal_jitter(exact.backoff_delay_s(n)), n, base_s, max_s)
    goal = "0 outside [d/2, d], d = min(base * 2^n, max)"
    findings.count(f"delays 0 to {DELAYS:,} outside their bounds", outside, goal)


async def _dials(transport: FakeTransport, flaps: int) -> int:
    """How often a manager opens *transport* in the time that *flaps* openings would take at the longest delay."""
    clock = FakeClock()
    async with ConnectionManager(transport, max_delay_s=MAX_DELAY_S, clock=clock, sleep=clock.sleep):
        for _ in range(flaps):
            await clock.advance(MAX_DELAY_S)
    return transport.opens


def _is_within(delay_s: float, n: int, base_s: float, max_s: float) -> bool:
    longest_s = _expected_s(n, base_s, max_s)
    return longest_s / 2 <= delay_s <= longest_s


def _expected_s(n: int, base_s: float, max_s: float) -> float:
    # In whole numbers, as 2.0 ** 1024 is none.
    return max_s if n > 64 else min(base_s * 2**n, max_s)
