"""Stays connected, or says truthfully that it is not; on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.connection import ConnectionManager, DisconnectReason, equal_jitter
from tecnobot_core.errors import LifecycleError, LoggedOutError, TransportError
from tecnobot_core.events import Connected, ConnectionFailed, Disconnected, HeartbeatMissed, ReconnectScheduled
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock, FakeTransport


def inbound(number: int) -> InboundMessage:
    return InboundMessage(id=f"m{number}", chat=ChatId("a"), sent_at=0.0, text="hola")


ANSWER = OutboundMessage(chat=ChatId("a"), key="k", text="buenas")


class Link:
    """A manager over a fake transport on a fake clock, and what it told."""

    def __init__(self, **options: object) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport()
        self.manager = ConnectionManager(
            self.transport,
            jitter=lambda delay_s: delay_s,
            clock=self.clock,
            sleep=self.clock.sleep,
            **options,  # type: ignore[arg-type]
        )
        self.heard: list[object] = []
        self.manager.events.on("event", self.heard.append)

    def all(self, kind: type) -> list[object]:
        return [event for event in self.heard if isinstance(event, kind)]


@asynccontextmanager
async def link(**options: object) -> AsyncIterator[Link]:
    made = Link(**options)
    async with made.manager:
        await made.clock.settle()
        yield made


@given(st.integers(0, 5000), st.floats(0.001, 10), st.floats(10, 10_000))
@settings(deadline=None)
def test_the_delay_is_the_formula_exactly(attempt: int, base_s: float, max_s: float) -> None:
    manager = ConnectionManager(FakeTransport(), base_delay_s=base_s, max_delay_s=max_s)
    expected = max_s if attempt > 60 else min(base_s * 2**attempt, max_s)
    assert manager.backoff_delay_s(attempt) == expected
    assert expected / 2 <= equal_jitter(expected) <= expected


async def test_failed_attempts_wait_longer_and_longer() -> None:
    made = Link()
    made.transport.open_errors.extend([TransportError("no route", reason="network")] * 4)
    async with made.manager:
        await made.clock.advance(1 + 2 + 4 + 8)
        assert [event.delay_s for event in made.all(ReconnectScheduled)] == [1, 2, 4, 8]  # type: ignore[attr-defined]
        assert made.transport.opens == 5
        assert made.manager.status().state == "connected"


async def test_the_attempts_limit_ends_in_failed() -> None:
    made = Link(max_attempts=3)
    made.transport.open_errors.extend([TransportError("no route")] * 9)
    async with made.manager:
        await made.clock.advance(100)
        assert made.transport.opens == 3
        assert made.manager.status().state == "failed"
        assert [event.reason for event in made.all(ConnectionFailed)] == ["attempts_exhausted"]  # type: ignore[attr-defined]
        with pytest.raises(TransportError, match="no route"):
            await made.manager.receive()
        with pytest.raises(TransportError):
            await made.manager.wait_connected()


async def test_a_revoked_session_is_never_tried_again() -> None:
    async with link() as made:
        made.transport.lose(DisconnectReason.LOGGED_OUT, retryable=False)
        await made.clock.advance(1000)
        assert made.transport.opens == 1
        assert [event.will_reconnect for event in made.all(Disconnected)] == [False]  # type: ignore[attr-defined]
        with pytest.raises(LoggedOutError):
            await made.manager.receive()


async def test_a_link_that_flaps_is_not_forgiven_before_it_was_stable() -> None:
    async with link(stable_after_s=60, heartbeat_s=1000) as made:
        for up_s, delay_s in ((2, 1), (2, 2), (2, 4), (61, 1)):
            await made.clock.advance(up_s)
            made.transport.lose()
            await made.clock.advance(delay_s)
        delays = [event.delay_s for event in made.all(ReconnectScheduled)]  # type: ignore[attr-defined]
        assert delays == [1, 2, 4, 1]


async def test_every_connected_is_followed_by_one_disconnected() -> None:
    async with link() as made:
        for _ in range(3):
            made.transport.lose()
            await made.clock.advance(60)
    kinds = [type(event) for event in made.heard if isinstance(event, Connected | Disconnected)]
    assert kinds == [Connected, Disconnected] * 4


async def test_two_pings_without_answer_reconnect_at_once() -> None:
    async with link(heartbeat_s=30) as made:
        await made.clock.advance(30)
        assert made.transport.pings == 1
        made.transport.ping_errors.extend([TransportError("silence")] * 2)
        await made.clock.advance(30)
        assert len(made.all(HeartbeatMissed)) == 1
        assert [event.reason for event in made.all(Disconnected)] == ["half_open"]  # type: ignore[attr-defined]
        assert made.manager.status().state == "connected"


async def test_one_ping_without_answer_is_asked_again() -> None:
    async with link(heartbeat_s=30) as made:
        made.transport.ping_errors.append(TransportError("silence"))
        await made.clock.advance(30)
        assert made.manager.status().heartbeats_missed == 1
        assert not made.all(Disconnected)
        assert made.manager.status().state == "connected"


async def test_an_attempt_that_hangs_is_given_up() -> None:
    made = Link(connect_timeout_s=0.01)
    hanging = asyncio.Event()
    made.transport.open = lambda sink: hanging.wait()  # type: ignore[assignment,method-assign,return-value]
    async with made.manager:
        async with asyncio.timeout(10):
            while made.manager.status().state != "waiting":
                await asyncio.sleep(0.001)
        assert "no answer within 0.01 s" in made.manager.status().last_error
        assert made.transport.closes == 1


async def test_what_an_old_link_says_is_not_heard() -> None:
    async with link() as made:
        old_sink = made.transport._sink
        assert old_sink is not None
        made.transport.lose()
        await made.clock.advance(1)
        old_sink(inbound(9))
        made.transport.deliver(inbound(1))
        assert [message.id for message in await made.manager.receive()] == ["m1"]


async def test_messages_not_acknowledged_come_again_after_a_reconnect() -> None:
    async with link() as made:
        made.transport.deliver(inbound(1), inbound(2))
        await made.manager.receive()
        await made.manager.acknowledge(["m1"])
        made.transport.lose()
        await made.clock.advance(1)
        assert [message.id for message in await made.manager.receive()] == ["m2"]


async def test_sending_without_a_link_fails_at_once_and_was_not_sent() -> None:
    async with link() as made:
        made.transport.lose()
        await made.clock.settle()
        with pytest.raises(TransportError, match="not connected") as caught:
            await made.manager.send(ANSWER)
        assert (caught.value.sent, caught.value.retryable) == ("no", True)
        await made.clock.advance(1)
        await made.manager.send(ANSWER)
        assert made.transport.sent == [ANSWER]


async def test_a_message_that_finds_the_link_gone_for_good_may_be_sent_over_a_later_one() -> None:
    async with link() as made:
        made.transport.lose(DisconnectReason.LOGGED_OUT, retryable=False)
        await made.clock.settle()
        with pytest.raises(TransportError, match=r"not connected \(failed\)") as caught:
            await made.manager.send(ANSWER)
        assert (caught.value.sent, caught.value.retryable) == ("no", True)


class Panic(BaseException):
    """As of a library written in Rust: not an Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("surprise"), Panic("surprise"), asyncio.CancelledError()])
@pytest.mark.parametrize("method", ["open", "ping", "close"])
async def test_whatever_a_transport_raises_is_a_loss_and_the_link_comes_back(
    method: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    made = Link(heartbeat_s=30)
    works = getattr(made.transport, method)
    errors = [error]

    async def broken(*arguments: object) -> None:
        if errors:
            raise errors.pop()
        await works(*arguments)

    setattr(made.transport, method, broken)
    async with made.manager:
        await made.clock.advance(30)
        made.transport.lose()
        await made.clock.advance(10)
        assert made.manager.status().state == "connected"
        assert not errors
    assert made.manager.status().state == "closed"
    surprising = not isinstance(error, asyncio.CancelledError)
    assert ("something other than a TransportError" in caplog.text) == surprising


@pytest.mark.parametrize(
    "error", [TransportError("gone"), ZeroDivisionError("surprise"), Panic("surprise"), asyncio.CancelledError()]
)
async def test_an_acknowledgement_that_fails_stops_nothing(error: BaseException) -> None:
    async with link() as made:
        made.transport.deliver(inbound(1))
        await made.manager.receive()
        works = made.transport.acknowledge

        async def broken(ids: object) -> None:
            raise error

        made.transport.acknowledge = broken  # type: ignore[method-assign,assignment]
        await made.manager.acknowledge(["m1"])
        made.transport.acknowledge = works  # type: ignore[method-assign]
        made.transport.lose()
        await made.clock.advance(1)
        assert [message.id for message in await made.manager.receive()] == ["m1"]


async def test_a_broken_parameter_ends_the_link_aloud_and_nobody_waits_for_it() -> None:
    def broken_jitter(delay_s: float) -> float:
        raise ZeroDivisionError("jitter")

    transport = FakeTransport()
    transport.open_errors.append(TransportError("no route"))
    manager = await ConnectionManager(transport, jitter=broken_jitter).__aenter__()
    with pytest.raises(TransportError, match="jitter"):
        await manager.receive()
    assert manager.status().state == "failed"
    with pytest.raises(ZeroDivisionError, match="jitter"):
        await manager.aclose()


async def test_a_loss_during_a_ping_keeps_its_own_reason() -> None:
    async with link(heartbeat_s=30) as made:

        async def ping() -> None:
            made.transport.lose(DisconnectReason.LOGGED_OUT, retryable=False)
            raise TransportError("the link went away")

        made.transport.ping = ping  # type: ignore[method-assign]
        await made.clock.advance(1000)
        assert made.transport.opens == 1
        assert [event.reason for event in made.all(Disconnected)] == ["logged_out"]  # type: ignore[attr-defined]
        assert not made.all(HeartbeatMissed)


async def test_a_link_that_flaps_does_not_pile_up_what_it_delivers_again() -> None:
    async with link(heartbeat_s=1000) as made:
        made.transport.deliver(inbound(1), inbound(2))
        for _ in range(5):
            made.transport.lose()
            await made.clock.advance(60)
        assert [message.id for message in await made.manager.receive()] == ["m1", "m2"]


async def test_a_stable_link_that_is_lost_is_tried_again_even_when_one_attempt_is_allowed() -> None:
    async with link(max_attempts=1, stable_after_s=60, heartbeat_s=1000) as made:
        await made.clock.advance(61)
        made.transport.lose()
        await made.clock.advance(1)
        assert made.manager.status().state == "connected"
        made.transport.lose()
        await made.clock.settle()
        assert made.manager.status().state == "failed"


async def test_reconnect_now_does_not_wait() -> None:
    made = Link(base_delay_s=60)
    made.transport.open_errors.append(TransportError("no route"))
    async with made.manager, Tasks("test") as tasks:
        waiting = tasks.start(made.manager.wait_connected(), "wait")
        await made.clock.settle()
        assert made.manager.status().state == "waiting"
        made.manager.reconnect_now()
        await waiting
        assert made.transport.opens == 2


async def test_messages_end_with_the_input_and_answers_still_go_out() -> None:
    async with link() as made:
        made.transport.deliver(inbound(1))
        made.transport.end()
        ids = []
        async for message in made.manager.messages():
            ids.append(message.id)
            await made.manager.acknowledge([message.id])
        assert ids == ["m1"]
        await made.manager.send(ANSWER)
        assert made.transport.sent == [ANSWER]


async def test_after_stop_receiving_nothing_is_handed_out() -> None:
    async with link() as made:
        made.transport.deliver(inbound(1))
        made.manager.stop_receiving()
        assert await made.manager.receive() == ()
        assert made.manager.status().state == "connected"


async def test_closing_while_waiting_ends_at_once() -> None:
    made = Link()
    made.transport.open_errors.append(TransportError("no route"))
    async with made.manager:
        await made.clock.settle()
    assert made.manager.status().state == "closed"
    assert await made.manager.receive() == ()
    with pytest.raises(LifecycleError, match="make a new one"):
        await made.manager.__aenter__()


@pytest.mark.parametrize("bad", [0, -1, float("nan"), "30", True, None])
@pytest.mark.parametrize(
    "name",
    [
        "base_delay_s",
        "max_delay_s",
        "heartbeat_s",
        "save_session_s",
        "connect_timeout_s",
        "auth_timeout_s",
        "pairing_timeout_s",
        "ping_timeout_s",
        "heal_timeout_s",
        "close_timeout_s",
        "stop_timeout_s",
        "save_timeout_s",
    ],
)
def test_times_that_cannot_be_are_refused(name: str, bad: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a .*number of seconds above 0, not {bad!r}"):
        ConnectionManager(FakeTransport(), **{name: bad})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_delay_s": 5, "max_delay_s": 1}, r"base_delay_s \(5\) must be at most max_delay_s \(1\)"),
        ({"max_delay_s": float("inf")}, "max_delay_s must be a finite number"),
        ({"stable_after_s": -1}, "stable_after_s must be a number of seconds of at least 0, not -1"),
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1, or None for no limit, not 0"),
        ({"max_attempts": 2.5}, "max_attempts .* not 2.5"),
        ({"recycle_after_opens": 0}, "recycle_after_opens must be a whole number of at least 1, not 0"),
        ({"recycle_after_opens": None}, "recycle_after_opens .* not None"),
    ],
)
def test_limits_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ConnectionManager(FakeTransport(), **options)  # type: ignore[arg-type]


def test_what_is_never_done_has_an_infinite_time() -> None:
    never = float("inf")
    ConnectionManager(FakeTransport(), heartbeat_s=never, save_session_s=never, stable_after_s=0, max_attempts=1)
