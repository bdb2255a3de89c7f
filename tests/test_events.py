"""What handlers of events can rely on."""

import asyncio
import logging
from dataclasses import dataclass

import pytest

from tecnobot_core.connection import ConnectionManager
from tecnobot_core.events import (
    BackgroundTaskFailed,
    Connected,
    Disconnected,
    Event,
    EventBus,
    HeartbeatMissed,
    snake_name,
)
from tecnobot_core.testing import FakeTransport


@dataclass(frozen=True, slots=True)
class OrderPlaced(Event):
    number: int


async def test_handlers_hear_an_event_in_the_order_in_which_they_subscribed() -> None:
    bus, heard = EventBus(), []
    bus.on(OrderPlaced, lambda event: heard.append(("first", event.number)))
    bus.on(Event, lambda event: heard.append(("every", 0)))
    bus.on(OrderPlaced, lambda event: heard.append(("last", event.number)))
    bus.publish(OrderPlaced(7))
    assert heard == [("first", 7), ("every", 0), ("last", 7)]


async def test_an_event_is_found_by_its_whole_name_in_snake_case() -> None:
    bus = EventBus()
    heard: list[Event] = []
    bus.on("order_placed", heard.append)
    bus.publish(OrderPlaced(1))
    bus.publish(HeartbeatMissed(1))
    assert heard == [OrderPlaced(1)]
    assert snake_name(BackgroundTaskFailed) == "background_task_failed"


async def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no event 'order_plced'; there are: .*connected.*"):
        EventBus().on("order_plced", print)


async def test_on_is_a_decorator_and_off_ends_it() -> None:
    bus, heard = EventBus(), []

    @bus.on(OrderPlaced)
    def listen(event: OrderPlaced) -> None:
        heard.append(event.number)

    bus.publish(OrderPlaced(1))
    bus.off(OrderPlaced, listen)
    bus.publish(OrderPlaced(2))
    assert heard == [1]


async def test_a_failing_handler_is_logged_and_counted_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus, heard = EventBus(), []

    def fails(event: Event) -> None:
        raise RuntimeError("broken handler")

    async def fails_later(event: Event) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken async handler")

    bus.on(OrderPlaced, fails)
    bus.on(OrderPlaced, fails_later)
    bus.on(OrderPlaced, lambda event: heard.append(event.number))
    bus.publish(OrderPlaced(1))
    bus.publish(OrderPlaced(2))
    await bus.drain()
    assert heard == [1, 2]
    assert bus.failures == 4
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4


async def test_an_async_handler_gets_its_events_one_after_the_other_and_delays_nobody() -> None:
    bus, slow, quick, gate = EventBus(), [], [], asyncio.Event()

    async def handler(event: OrderPlaced) -> None:
        slow.append(f"begin {event.number}")
        await gate.wait()
        slow.append(f"end {event.number}")

    bus.on(OrderPlaced, handler)
    bus.on(OrderPlaced, lambda event: quick.append(event.number))
    for number in (1, 2, 3):
        bus.publish(OrderPlaced(number))
    await asyncio.sleep(0)
    assert quick == [1, 2, 3]
    assert slow == ["begin 1"]
    gate.set()
    await bus.drain()
    assert slow == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


async def test_an_async_handler_that_is_too_far_behind_loses_its_oldest_events() -> None:
    bus, heard, gate = EventBus(max_waiting=2), [], asyncio.Event()

    async def handler(event: OrderPlaced) -> None:
        await gate.wait()
        heard.append(event.number)

    bus.on(OrderPlaced, handler)
    for number in range(1, 6):
        bus.publish(OrderPlaced(number))
    gate.set()
    await bus.drain()
    assert heard == [1, 4, 5]
    assert bus.dropped == 2


async def test_a_cancellation_that_comes_from_inside_a_handler_is_a_failure_like_another() -> None:
    bus, heard = EventBus(), []

    def cancelled(event: OrderPlaced) -> None:
        raise asyncio.CancelledError

    async def cancelled_once(event: OrderPlaced) -> None:
        if event.number == 1:
            raise asyncio.CancelledError
        heard.append(event.number)

    bus.on(OrderPlaced, cancelled)
    bus.on(OrderPlaced, cancelled_once)
    for number in (1, 2, 3):
        bus.publish(OrderPlaced(number))
    await bus.drain()
    bus.publish(OrderPlaced(4))
    await bus.drain()
    assert heard == [2, 3, 4]
    assert bus.failures == 4 + 1


async def test_closing_lets_handlers_finish_what_was_just_published() -> None:
    bus, heard = EventBus(), []

    async def alert(event: OrderPlaced) -> None:
        await asyncio.sleep(0)
        heard.append(event.number)

    bus.on(OrderPlaced, alert)
    bus.publish(OrderPlaced(1))
    bus.publish(OrderPlaced(2))
    await bus.aclose()
    assert heard == [1, 2]


async def test_closing_cancels_handlers_that_do_not_finish_and_the_bus_can_be_used_again() -> None:
    bus, heard, gate = EventBus(), [], asyncio.Event()

    async def handler(event: OrderPlaced) -> None:
        await gate.wait()
        heard.append(event.number)

    bus.on(OrderPlaced, handler)
    bus.publish(OrderPlaced(1))
    bus.publish(OrderPlaced(2))
    await bus.aclose(patience_s=0)
    gate.set()
    bus.publish(OrderPlaced(3))
    await bus.drain()
    assert heard == [3]


async def test_a_part_takes_short_names() -> None:
    connection = ConnectionManager(FakeTransport())
    heard: list[Event] = []
    connection.on("connected", heard.append)

    @connection.on("disconnected")
    async def listen(event: Disconnected) -> None:
        heard.append(event)

    async with connection:
        await connection.wait_connected()
    await connection.events.drain()
    assert [type(event) for event in heard] == [Connected, Disconnected]
    with pytest.raises(ValueError, match="there are: closed, connected"):
        connection.on("conected", heard.append)
