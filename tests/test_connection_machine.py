"""Whatever happens to a link, in whatever order, the manager's promises hold."""

import asyncio
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tecnobot_core.connection import DisconnectReason, Liveness, Lost, Opened, Recovered, TransportEvent
from tecnobot_core.connection.reasons import response_to
from tecnobot_core.errors import TransportError
from tecnobot_core.events import (
    Connected,
    Connecting,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionParked,
    Disconnected,
    PairingEnded,
    PairingOffered,
    ReconnectScheduled,
    RecycleRecommended,
)
from tecnobot_core.testing import FakeMessenger
from tests.connection_scene import Scene, inbound
from tests.virtual_time import VirtualLoop

STABLE_S = 60.0
REASONS = st.sampled_from([reason for reason in DisconnectReason if reason != DisconnectReason.ENDED])
ERRORS = ("open_errors", "ping_errors", "presence_errors", "save_errors")
METHODS = st.sampled_from(["open", "close", "ping", "set_presence", "save_session"])
TOLD = st.sampled_from(
    [
        Opened(),
        Recovered(),
        Liveness(ok=True),
        Liveness(ok=False),
        Lost(heals=True),
        Lost(DisconnectReason.RESTART_REQUIRED),
        PairingOffered("qr", "secret", 60.0),
        PairingEnded(paired=True),
        PairingEnded(paired=False),
        inbound(1),
    ]
)


class Panic(BaseException):
    """As of a library written in Rust: not an Exception."""


class Faults(RuleBasedStateMachine):
    """One manager, a transport with every fault, and all the time of the world."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.messenger = FakeMessenger()

    def play(self, seconds: float = 0.0) -> None:
        """Let *seconds* pass."""
        self.runner.run(asyncio.sleep(seconds))

    def tell(self, *events: TransportEvent) -> None:
        """Tell *events* in the loop, before anybody can look."""

        async def tell() -> None:
            for event in events:
                self.messenger.tell(event)

        self.runner.run(tell())

    def all_is_well(self) -> None:
        """Take all faults back that were not used up."""
        self.messenger.hanging.clear()
        self.messenger.admits = self.messenger.is_reachable = True
        for errors in ERRORS:
            getattr(self.messenger, errors).clear()

    @initialize(
        attempts=st.sampled_from([None, 1, 3]), parks=st.booleans(), reachable=st.booleans(), copy=st.booleans()
    )
    def open(self, attempts: int | None, parks: bool, reachable: bool, copy: bool) -> None:
        self.messenger.is_reachable = reachable
        self.messenger.copy_age_s = 45.0 if copy else None
        self.max_attempts = attempts

        async def make() -> Scene:
            scene = Scene(
                self.messenger,
                max_attempts=attempts,
                stable_after_s=STABLE_S,
                recycle_after_opens=5,
                park_on=[DisconnectReason.REPLACED, DisconnectReason.ATTEMPTS_EXHAUSTED] if parks else (),
            )
            await scene.manager.__aenter__()
            return scene

        self.scene = self.runner.run(make())

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 11.0, 31.0, 61.0, 100.0, 5000.0]))
    def time_passes(self, seconds: float) -> None:
        self.play(seconds)

    @rule(seconds=st.sampled_from([59.0, 3600.0]))
    def the_machine_was_suspended(self, seconds: float) -> None:
        self.loop.set_forward(seconds)
        self.play()

    @rule(reason=REASONS, retryable=st.booleans(), retry_after_s=st.sampled_from([None, 30.0]), times=st.integers(1, 4))
    def attempts_will_fail(
        self, reason: DisconnectReason, retryable: bool, retry_after_s: float | None, times: int
    ) -> None:
        error = TransportError("no", reason=reason, retryable=retryable, retry_after_s=retry_after_s)
        self.messenger.open_errors.extend([error] * times)

    @rule(reason=REASONS)
    def it_is_lost(self, reason: DisconnectReason) -> None:
        self.messenger.lose(reason)
        self.play()

    @rule(event=TOLD)
    def it_is_told(self, event: TransportEvent) -> None:
        self.tell(event)
        self.play()

    @rule(first=TOLD, second=TOLD)
    def two_things_are_told_before_anybody_looks(self, first: TransportEvent, second: TransportEvent) -> None:
        self.tell(first, second)

    @rule(times=st.integers(1, 3))
    def pings_will_fail(self, times: int) -> None:
        self.messenger.ping_errors.extend([TransportError("silence")] * times)

    @rule(errors=st.sampled_from(ERRORS))
    def it_panics(self, errors: str) -> None:
        getattr(self.messenger, errors).append(Panic("surprise"))

    @rule(method=METHODS)
    def it_hangs(self, method: str) -> None:
        self.messenger.hanging.add(method)

    @rule()
    def nothing_hangs(self) -> None:
        self.messenger.hanging.clear()

    @rule(admits=st.booleans(), reachable=st.booleans())
    def the_server_admits(self, admits: bool, reachable: bool) -> None:
        self.messenger.admits = admits
        self.messenger.is_reachable = reachable

    @rule(times=st.integers(1, 3))
    def somebody_asks_for_a_link(self, times: int) -> None:
        for _ in range(times):
            self.scene.manager.reconnect_now()
        self.play()

    @rule(looks=st.booleans())
    def who_asks_while_it_heals_waits_for_nothing(self, looks: bool) -> None:
        self.all_is_well()
        self.play(100)  # longer than any wait or attempt
        if self.scene.state != "connected":
            return
        self.tell(Lost(heals=True))
        if looks:
            self.play()
        opens, asked_at = self.messenger.opens, self.loop.time()
        self.scene.manager.reconnect_now()
        self.runner.run(self.scene.settle())
        assert self.loop.time() == asked_at
        assert self.messenger.opens > opens or self.scene.state in ("failed", "parked")

    @precondition(lambda self: self.scene.state == "failed")
    @rule()
    def a_failed_link_stays_failed(self) -> None:
        opens = self.messenger.opens
        self.scene.manager.reconnect_now()
        self.tell(Opened())
        self.play(10_000)
        assert self.messenger.opens == opens
        assert self.scene.state == "failed"

    @invariant()
    def one_attempt_at_a_time(self) -> None:
        assert self.messenger.most_opening <= 1

    @invariant()
    def every_connected_is_followed_by_exactly_one_disconnected(self) -> None:
        told = [type(event) for _, event in self.scene.heard if isinstance(event, Connected | Disconnected)]
        assert all(
            kind is expected for kind, expected in zip(told, [Connected, Disconnected] * len(told), strict=False)
        )
        up = bool(told) and told[-1] is Connected
        assert up == (self.scene.state in ("connected", "degraded"))

    @invariant()
    def waits_grow_until_a_link_was_stable(self) -> None:
        expected, up_at = 0, 0.0
        for at, event in self.scene.heard:
            match event:
                case Connected():
                    up_at = at
                case Disconnected() if at - up_at >= STABLE_S:
                    expected = 0
                case ConnectionParked(resumes_in_s=None):
                    expected = 0
                case ReconnectScheduled(delay_s=delay_s) if delay_s > 0 and delay_s != 30.0:
                    # Less than expected never; more where a wait that the server asked for came in between.
                    assert delay_s >= self.scene.manager.backoff_delay_s(expected)
                    expected += 1

    @invariant()
    def a_final_reason_is_not_followed_by_an_attempt(self) -> None:
        events = [event for _, event in self.scene.heard]
        for event, after in pairwise(events):
            if isinstance(event, Disconnected) and not event.will_reconnect:
                assert not isinstance(after, Connecting | Connected)
        final = next((n for n, event in enumerate(events) if isinstance(event, ConnectionFailed)), None)
        if final is not None:
            assert not [event for event in events[final + 1 :] if isinstance(event, Connecting | Connected)]
            reason = DisconnectReason(events[final].reason)  # type: ignore[attr-defined]
            assert reason == "attempts_exhausted" or response_to(reason, retryable=False) != "retry"

    @invariant()
    def attempts_stay_within_their_limit(self) -> None:
        if self.max_attempts is not None:
            assert self.scene.manager.status().failures <= self.max_attempts

    @invariant()
    def every_fifth_open_recommends_a_new_process(self) -> None:
        assert len(self.scene.all(RecycleRecommended)) == self.messenger.opens // 5

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            began_at = self.loop.time()
            self.runner.run(self.scene.manager.aclose())
            assert self.loop.time() - began_at <= 12
            assert self.scene.state == "closed"
            assert self.scene.all(ConnectionClosed)
            assert len(self.scene.all(Connected)) == len(self.scene.all(Disconnected))
            told = len(self.scene.heard)
            self.tell(Opened())
            self.play(1000)
            assert len(self.scene.heard) == told
            assert self.loop.timers() == 0
        self.runner.close()


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
