"""Every fault that a link can have, on virtual time: what is done, when, and what is told."""

import asyncio
import gc
import warnings
from collections.abc import Callable

import pytest

from tecnobot_core.connection import DisconnectReason, Liveness, Lost, Opened
from tecnobot_core.connection.calls import PATIENCE_S, Calls
from tecnobot_core.errors import LoggedOutError, TransportError
from tecnobot_core.events import (
    Connected,
    Connecting,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionParked,
    Disconnected,
    Event,
    HeartbeatMissed,
    PairingOffered,
    ReconnectScheduled,
    RecycleRecommended,
)
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeTransport
from tests.connection_scene import ANSWER, Scene, inbound
from tests.virtual_time import VirtualLoop, virtually

NO_ROUTE = TransportError("no route", reason="network")


@virtually
async def test_failed_attempts_wait_longer_and_are_forgiven_by_a_stable_link() -> None:
    transport = FakeTransport()
    transport.open_errors.extend([NO_ROUTE] * 5)
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4, 8, 16]
        assert [event.attempt for event in scene.all(Connecting)] == [0, 1, 2, 3, 4, 5]
        assert len(scene.all(Connected)) == 1
        assert scene.manager.status().failures == 5
        await asyncio.sleep(60)
        assert scene.manager.status().failures == 0


@virtually
async def test_the_limit_of_attempts_is_exact_and_leaves_no_timer() -> None:
    transport = FakeTransport()
    transport.open_errors.extend([NO_ROUTE] * 9)
    scene = Scene(transport, max_attempts=3)
    async with scene.manager:
        await scene.until("failed")
        assert transport.opens == 3
        assert scene.all(ConnectionFailed) == [
            ConnectionFailed(
                "attempts_exhausted",
                "network: no route",
                "all attempts failed: check the network and the server, then start again",
            )
        ]
        assert isinstance(scene.loop, VirtualLoop)
        assert scene.loop.timers() == 0


@virtually
async def test_as_many_attempts_are_allowed_after_a_stable_link_as_at_the_beginning() -> None:
    transport = FakeTransport()
    scene = Scene(transport, max_attempts=3)
    async with scene.manager:
        await asyncio.sleep(61)
        transport.open_errors.extend([NO_ROUTE] * 9)
        transport.lose()
        await scene.until("failed")
        assert transport.opens == 1 + 3
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4]
        assert scene.all(Disconnected) == [Disconnected("network", True)]


@virtually
async def test_a_flapping_link_waits_longer_up_to_the_maximum() -> None:
    transport = FakeTransport()
    scene = Scene(transport, max_delay_s=8)
    async with scene.manager:
        for _ in range(6):
            await scene.manager.wait_connected()
            await asyncio.sleep(2)
            transport.lose()
            await scene.settle()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4, 8, 8, 8]


@virtually
async def test_however_often_somebody_asks_there_is_one_attempt() -> None:
    transport = FakeTransport()
    transport.hanging.add("open")
    scene = Scene(transport)
    async with scene.manager:
        for _ in range(100):
            scene.manager.reconnect_now()
            await scene.settle()
        assert (transport.opens, transport.most_opening) == (1, 1)
        transport.hanging.clear()
        await scene.manager.wait_connected()
        for _ in range(100):
            scene.manager.reconnect_now()
            await scene.settle()
        assert (transport.opens, transport.most_opening) == (2, 1)
        transport.lose()
        await scene.settle()
        assert scene.state == "waiting"  # nobody has asked since


def waiting(transport: FakeTransport) -> None:
    transport.open_errors.extend([NO_ROUTE] * 99)


def connecting(transport: FakeTransport) -> None:
    transport.hanging.add("open")


def unadmitted(transport: FakeTransport) -> None:
    transport.admits = False


def parked(transport: FakeTransport) -> None:
    transport.open_errors.append(TransportError("banned", reason="banned", retry_after_s=3600))


def failed(transport: FakeTransport) -> None:
    transport.open_errors.append(LoggedOutError("revoked"))


def degraded(transport: FakeTransport) -> None:
    transport.ping_errors.append(NO_ROUTE)
    asyncio.get_running_loop().call_later(1, transport.hanging.add, "ping")


def recovering(transport: FakeTransport) -> None:
    asyncio.get_running_loop().call_later(1, lambda: transport.lose(heals=True))


def pairing(transport: FakeTransport) -> None:
    transport.admits = False
    asyncio.get_running_loop().call_later(1, transport.tell, PairingOffered("qr", "secret", 60.0))


def connected(transport: FakeTransport) -> None:
    pass


STATES: dict[str, Callable[[FakeTransport], None]] = {
    make.__name__: make
    for make in (waiting, connecting, unadmitted, parked, failed, degraded, recovering, pairing, connected)
}


@pytest.mark.parametrize("faulty", [set(), {"close"}], ids=["closes", "close_hangs"])
@pytest.mark.parametrize("state", STATES)
@virtually
async def test_stopping_ends_in_time_from_any_state_and_then_nothing_more_is_told(state: str, faulty: set[str]) -> None:
    transport = FakeTransport()
    STATES[state](transport)
    scene = Scene(transport, heartbeat_s=2)
    async with scene.manager:
        await scene.until("connecting" if state == "unadmitted" else state)
        transport.hanging |= faulty
        began_at = scene.loop.time()
        listening_to = transport._sink
    assert scene.loop.time() - began_at <= (12 if faulty else 0)
    assert scene.state == "closed"
    assert isinstance(scene.heard[-1][1], ConnectionClosed)
    assert len(scene.all(Disconnected)) == len(scene.all(Connected))
    told = len(scene.heard)
    for event in (Opened(), Lost(), inbound(1)):
        if listening_to is not None:
            listening_to(event)
    await asyncio.sleep(1000)
    assert len(scene.heard) == told
    assert await scene.manager.receive() == ()


@virtually
async def test_an_attempt_that_hangs_is_given_up_and_its_late_word_is_not_heard() -> None:
    transport = FakeTransport()
    transport.hanging.add("open")
    sinks: list[Callable[[object], None]] = []
    opens = transport.open

    async def remembered(sink: Callable[[object], None]) -> None:
        sinks.append(sink)
        await opens(sink)

    transport.open = remembered  # type: ignore[method-assign,assignment]
    scene = Scene(transport)
    async with scene.manager:
        await scene.until("waiting")
        assert scene.loop.time() == pytest.approx(45, abs=0.1)
        assert transport.closes == 1
        assert scene.manager.status().last_error == "timeout: no answer within 45 s"
        sinks[0](Opened())
        await scene.settle()
        assert scene.state == "waiting"
        transport.hanging.clear()
        await scene.manager.wait_connected()
        assert len(scene.all(Connected)) == 1


@virtually
async def test_a_server_that_never_lets_us_in_is_given_up() -> None:
    transport = FakeTransport()
    transport.admits = False
    scene = Scene(transport)
    async with scene.manager:
        await scene.until("waiting")
        assert scene.loop.time() == pytest.approx(90, abs=0.1)
        assert "did not let us in" in scene.manager.status().last_error


@virtually
async def test_a_link_that_does_not_close_is_left_behind_and_counted() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.hanging.add("close")
        transport.lose()
        await asyncio.sleep(10.5)
        assert scene.times(ReconnectScheduled) == pytest.approx([10], abs=0.1)
        assert scene.manager.status().abandoned == 1
        transport.hanging.clear()
        await scene.manager.wait_connected()
        assert transport.opens == 2


@virtually
async def test_an_open_that_cannot_be_cancelled_holds_back_the_next_one() -> None:
    """Two at once can never be undone by some libraries; better no link than two."""
    transport = FakeTransport()
    ends = asyncio.Event()
    opening = 0

    async def stubborn(sink: object) -> None:
        nonlocal opening
        opening += 1
        try:
            while not ends.is_set():
                try:
                    await ends.wait()
                except asyncio.CancelledError:
                    continue
        finally:
            opening -= 1
        raise NO_ROUTE

    opens, transport.open = transport.open, stubborn  # type: ignore[method-assign]
    scene = Scene(transport, max_attempts=9)
    async with scene.manager:
        await asyncio.sleep(120)
        assert opening == 1
        assert "has not ended yet" in scene.manager.status().last_error
        ends.set()
        transport.open = opens  # type: ignore[method-assign]
        await scene.manager.wait_connected()
        assert (opening, transport.opens) == (0, 1)


@virtually
async def test_a_call_that_cannot_be_cancelled_does_not_hold_up_stopping() -> None:
    transport = FakeTransport()
    ends = asyncio.Event()

    async def stubborn(*_: object) -> None:
        while not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue

    transport.open = transport.close = stubborn  # type: ignore[method-assign,assignment]
    scene = Scene(transport)
    async with scene.manager:
        await asyncio.sleep(5)
    assert scene.loop.time() - 5 <= 12
    assert scene.state == "closed"
    ends.set()
    await scene.settle()


@virtually
async def test_a_call_that_is_cancelled_before_it_begins_is_not_warned_of() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asked = Calls().start(FakeTransport().ping(), "ping")
        asked.cancel()
        await asyncio.wait({asked})
        gc.collect()
    assert told == []


@virtually
async def test_cancelling_the_owner_closes_the_transport() -> None:
    transport = FakeTransport()
    scene = Scene(transport)

    async def own() -> None:
        async with scene.manager:
            await asyncio.Event().wait()

    async with Tasks("test") as tasks:
        owner = tasks.start(own(), "own")
        await scene.until("connected")
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
    assert (transport.closes, scene.state) == (1, "closed")


@virtually
async def test_a_listener_that_raises_or_dawdles_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    order: list[str] = []

    @scene.manager.on("connected")
    def broken(event: Event) -> None:
        order.append("broken")
        raise ZeroDivisionError("listener")

    @scene.manager.on("connected")
    async def slow(event: Event) -> None:
        order.append("slow")
        await asyncio.sleep(10)

    @scene.manager.on("connected")
    def quick(event: Event) -> None:
        order.append("quick")

    async with scene.manager:
        await asyncio.sleep(65)
        assert order == ["broken", "quick", "slow"]
        assert transport.pings == 2
        assert "a handler of connected failed" in caplog.text
    await scene.manager.events.aclose()


@virtually
async def test_an_hour_that_passes_at_once_asks_once() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.settle()
        assert isinstance(scene.loop, VirtualLoop)
        scene.loop.set_forward(3600)
        await asyncio.sleep(1)
        assert transport.pings == 1
        assert not scene.all(Disconnected)
        await asyncio.sleep(60)
        assert transport.pings == 3


@virtually
async def test_a_half_open_link_is_found_within_41_seconds_and_replaced_within_50() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await asyncio.sleep(30.5)  # a ping was answered just now
        transport.hanging.add("ping")
        dead_at = scene.loop.time()
        await scene.until("degraded")
        transport.hanging.add("close")
        while not scene.all(Disconnected):
            await asyncio.sleep(0.1)
        assert scene.times(Disconnected)[0] - dead_at <= 41
        transport.hanging.clear()
        await scene.manager.wait_connected()
        assert scene.loop.time() - dead_at <= 50 + PATIENCE_S
        assert scene.all(Disconnected) == [Disconnected("half_open", True)]


@virtually
async def test_a_doubt_of_the_transport_is_looked_into_at_once() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await asyncio.sleep(3)
        transport.tell(Liveness(ok=False))
        await scene.settle()
        assert (transport.pings, scene.state) == (1, "connected")
        transport.hanging.add("ping")
        transport.tell(Liveness(ok=False))
        await scene.settle()
        assert scene.state == "degraded"
        await scene.manager.send(ANSWER)  # it may still be there
        await asyncio.sleep(6)
        assert scene.times(Disconnected) == [8]
        assert len(scene.all(HeartbeatMissed)) == 2


@virtually
async def test_a_doubt_that_is_taken_back_before_anybody_looks_is_forgotten() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await asyncio.sleep(3)
        transport.tell(Liveness(ok=False))
        transport.tell(Liveness(ok=True))
        await scene.settle()
        link = scene.manager._machine._link
        assert link is not None
        assert not link.attention.is_set()  # if it were, no time would pass any more
        await asyncio.sleep(31)
        assert (transport.pings, scene.state, scene.manager.status().heartbeats_missed) == (1, "connected", 0)


@virtually
async def test_a_cut_during_a_ping_is_not_waited_out() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        transport.hanging.add("ping")
        await asyncio.sleep(31)
        transport.lose()
        await scene.settle()
        assert scene.all(Disconnected) == [Disconnected("network", True)]
        assert scene.loop.time() == 31


@virtually
async def test_a_link_that_heals_in_time_is_left_alone() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        transport.deliver(inbound(1))
        await scene.settle()
        transport.lose(heals=True)
        await scene.until("recovering")
        with pytest.raises(TransportError) as caught:
            await scene.manager.send(ANSWER)
        assert caught.value.sent == "no"
        await asyncio.sleep(9)
        transport.recover()
        await scene.until("connected")
        assert (transport.opens, transport.closes) == (1, 0)
        assert [event.downtime_s for event in scene.all(Connected)][1:] == pytest.approx([9], abs=0.1)
        assert [message.id for message in await scene.manager.receive()] == ["m1"]


@pytest.mark.parametrize("ending", ["time", "asked", "given_up"])
@virtually
async def test_a_link_that_does_not_heal_is_taken_over(ending: str) -> None:
    transport = FakeTransport()
    scene = Scene(transport, base_delay_s=30)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(heals=True)
        await scene.until("recovering")
        if ending == "asked":
            scene.manager.reconnect_now()
        elif ending == "given_up":
            transport.lose()
        await scene.until("waiting")
        assert scene.loop.time() == pytest.approx(10 if ending == "time" else 0, abs=0.1)
        assert transport.closes == 1
        await scene.manager.wait_connected()
        connected_at = {"time": 10 + 30, "asked": 0, "given_up": 30}[ending]
        assert scene.loop.time() == pytest.approx(connected_at, abs=0.1)
        assert transport.opens == 2
        assert scene.all(Disconnected) == [Disconnected("network", True)]


@pytest.mark.parametrize("heals", [True, False])
@virtually
async def test_a_listener_may_ask_for_a_link_as_soon_as_it_hears_of_the_loss(heals: bool) -> None:
    transport = FakeTransport()
    scene = Scene(transport, base_delay_s=30)
    scene.manager.on("disconnected", lambda _: scene.manager.reconnect_now())
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(heals=heals)
        await scene.settle()
        assert (scene.state, transport.opens, scene.loop.time()) == ("connected", 2, 0)


@virtually
async def test_who_asks_before_anybody_looks_at_the_loss_is_heard() -> None:
    transport = FakeTransport()
    scene = Scene(transport, base_delay_s=30)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(heals=True)
        scene.manager.reconnect_now()
        await scene.settle()
        assert (scene.state, transport.opens, scene.loop.time()) == ("connected", 2, 0)


@virtually
async def test_a_link_that_healed_after_all_has_answered_whoever_asked() -> None:
    transport = FakeTransport()
    scene = Scene(transport, base_delay_s=30)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(heals=True)
        await scene.until("recovering")
        scene.manager.reconnect_now()
        transport.recover()
        await scene.settle()
        assert (scene.state, transport.opens) == ("connected", 1)
        transport.lose()
        await scene.settle()
        assert scene.state == "waiting"


@virtually
async def test_who_asks_while_a_lost_link_is_closed_does_not_wait_after_that() -> None:
    transport = FakeTransport()
    scene = Scene(transport, base_delay_s=30)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.hanging.add("close")
        transport.lose()
        await asyncio.sleep(1)
        scene.manager.reconnect_now()
        await scene.manager.wait_connected()
        assert scene.loop.time() <= 10 + PATIENCE_S
        transport.hanging.clear()
        transport.lose()
        await scene.settle()
        assert scene.state == "waiting"  # the question was answered


@virtually
async def test_who_asks_during_an_attempt_that_fails_gets_one_more_at_once() -> None:
    transport = FakeTransport()
    transport.hanging.add("open")
    scene = Scene(transport, base_delay_s=30, connect_timeout_s=5)
    async with scene.manager:
        await asyncio.sleep(1)
        scene.manager.reconnect_now()
        await asyncio.sleep(5)
        assert (scene.state, transport.opens) == ("connecting", 2)
        await asyncio.sleep(6)
        assert (scene.state, transport.opens) == ("waiting", 2)


@virtually
async def test_a_ban_is_waited_out_whoever_asked_before_it_was_known() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    transport.admits = False
    async with scene.manager:
        await scene.settle()
        scene.manager.reconnect_now()
        transport.tell(Lost(DisconnectReason.BANNED, retry_after_s=3600))
        await scene.until("parked")
        await asyncio.sleep(3600)
        assert (scene.state, transport.opens) == ("parked", 1)


@virtually
async def test_a_link_that_is_lost_and_heals_before_anybody_looks_is_told_as_both() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(heals=True)
        transport.recover()
        await scene.settle()
        kinds = [type(event) for _, event in scene.heard if isinstance(event, Connected | Disconnected)]
        assert kinds == [Connected, Disconnected, Connected]
        assert (transport.opens, scene.state) == (1, "connected")


FINAL = [
    DisconnectReason.LOGGED_OUT,
    DisconnectReason.REPLACED,
    DisconnectReason.OUTDATED,
    DisconnectReason.AUTH_FAILED,
    DisconnectReason.BANNED,  # nobody said for how long
    DisconnectReason.STORE_ERROR,  # nothing to restore from
    DisconnectReason.PAIRING_TIMEOUT,
]


@pytest.mark.parametrize("reason", FINAL)
@pytest.mark.parametrize("when", ["open", "up"])
@virtually
async def test_a_final_reason_is_never_tried_again_and_says_what_to_do(reason: DisconnectReason, when: str) -> None:
    transport = FakeTransport()
    if when == "open":
        transport.open_errors.append(TransportError("said the server", reason=reason))
    scene = Scene(transport)
    async with scene.manager:
        await scene.settle()
        transport.lose(reason)
        await scene.until("failed")
        await asyncio.sleep(86_400)
        scene.manager.reconnect_now()
        await asyncio.sleep(86_400)
        assert transport.opens == 1
        (failed,) = scene.all(ConnectionFailed)
        assert failed.reason == reason
        assert failed.advice
        assert scene.manager.status().advice == failed.advice
        with pytest.raises(TransportError, match=failed.advice) as caught:
            await scene.manager.receive()
        assert (caught.value.reason, caught.value.retryable) == (reason, False)
        assert not scene.all(ReconnectScheduled)
        assert [event.will_reconnect for event in scene.all(Disconnected)] == [False] * (when == "up")


@virtually
async def test_a_ban_is_waited_out_once() -> None:
    transport = FakeTransport()
    ban = TransportError("banned", reason="banned", retryable=False, retry_after_s=3600)
    transport.open_errors.extend([ban, ban])
    scene = Scene(transport)
    async with scene.manager:
        await scene.until("parked")
        assert scene.manager.status().next_attempt_in_s == pytest.approx(3600 + 300, abs=0.1)
        assert [event.resumes_in_s for event in scene.all(ConnectionParked)] == [3900]
        assert "phone" in scene.all(ConnectionParked)[0].advice
        await asyncio.sleep(3899)
        assert transport.opens == 1
        await asyncio.sleep(2)
        assert (transport.opens, scene.state) == (2, "failed")


@virtually
async def test_who_wished_it_waits_for_the_owner_instead_of_failing() -> None:
    transport = FakeTransport()
    scene = Scene(transport, park_on=[DisconnectReason.REPLACED])
    async with scene.manager:
        await scene.manager.wait_connected()
        transport.lose(DisconnectReason.REPLACED)
        await asyncio.sleep(86_400)
        assert (transport.opens, scene.state) == (1, "parked")
        assert scene.all(Disconnected) == [Disconnected("replaced", False)]
        scene.manager.reconnect_now()
        await scene.manager.wait_connected()
        assert transport.opens == 2


@virtually
async def test_who_asks_after_all_attempts_failed_gets_as_many_again() -> None:
    transport = FakeTransport()
    transport.open_errors.extend([NO_ROUTE] * 9)
    scene = Scene(transport, max_attempts=2, park_on=[DisconnectReason.ATTEMPTS_EXHAUSTED])
    async with scene.manager:
        await scene.until("parked")
        assert transport.opens == 2
        scene.manager.reconnect_now()
        await asyncio.sleep(100)
        assert (transport.opens, scene.state) == (4, "parked")
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 1]


@virtually
async def test_a_stable_link_forgives_also_when_it_heals_by_itself() -> None:
    transport = FakeTransport()
    transport.open_errors.extend([NO_ROUTE] * 3)
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        await asyncio.sleep(61)
        transport.lose(heals=True)
        await scene.until("recovering")
        transport.recover()
        await scene.until("connected")
        assert scene.manager.status().failures == 0
        transport.lose()
        await scene.until("waiting")
        await scene.settle()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4, 1]


@virtually
async def test_a_restart_that_the_server_asks_for_is_done_at_once_but_not_in_circles() -> None:
    transport = FakeTransport()
    scene = Scene(transport, max_attempts=1)
    async with scene.manager:
        await asyncio.sleep(61)
        for restarts in (1, 2):
            transport.lose(DisconnectReason.RESTART_REQUIRED)
            await scene.settle()
            assert (scene.loop.time(), scene.state) == (61 * restarts, "connected")
            await asyncio.sleep(61)
        transport.lose(DisconnectReason.RESTART_REQUIRED)
        await scene.settle()
        transport.lose(DisconnectReason.RESTART_REQUIRED)
        await scene.settle()
        assert scene.state == "failed"


@virtually
async def test_the_other_side_is_left_alone_for_as_long_as_it_asked() -> None:
    transport = FakeTransport()
    transport.open_errors.append(TransportError("slow down", reason="server_error", retry_after_s=77))
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [77]


@virtually
async def test_ten_thousand_flaps_of_opened_then_replaced_are_one_dial() -> None:
    class PingPong(FakeTransport):
        """As two copies of one session: whoever connects is replaced by the other."""

        def admit(self) -> None:
            super().admit()
            self.lose(DisconnectReason.REPLACED)

    transport = PingPong()
    scene = Scene(transport)
    async with scene.manager:
        for _ in range(10_000):
            scene.manager.reconnect_now()
            await asyncio.sleep(60)
        assert transport.opens == 1


@virtually
async def test_after_many_opens_a_new_process_is_recommended() -> None:
    transport = FakeTransport()
    transport.open_errors.extend([NO_ROUTE] * 25)
    scene = Scene(transport, recycle_after_opens=10)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert [event.opens for event in scene.all(RecycleRecommended)] == [10, 20]


@virtually
async def test_the_status_tells_a_link_that_lives_from_one_that_is_useful() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.settle()
        transport.deliver(inbound(1))
        await asyncio.sleep(100)
        status = scene.manager.status()
        assert (status.proof_of_life_age_s, status.useful_event_age_s) == (10, 100)
        await scene.manager.send(ANSWER)
        status = scene.manager.status()
        assert (status.proof_of_life_age_s, status.useful_event_age_s) == (0, 0)
        assert (status.opens, status.uptime_s, status.in_state_s, status.ping_s) == (1, 100, 100, 0)
