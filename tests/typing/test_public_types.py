"""What type checkers see; mypy checks this file, and running it shows that it is also true."""

from typing import assert_type

from tecnobot_core import ConnectionManager, EventBus, HybridCache, RateLimiter
from tecnobot_core.events import Connected, Disconnected
from tecnobot_core.testing import FakeTransport


async def test_the_bus_keeps_the_types_of_events_and_handlers() -> None:
    bus, heard = EventBus(), list[float]()

    @bus.on(Connected)
    def note(event: Connected) -> None:
        heard.append(assert_type(event.downtime_s, float))

    @bus.on("disconnected")
    async def later(event: Disconnected) -> None:
        assert_type(event.will_reconnect, bool)

    bus.publish(Connected(1.5))
    bus.publish(Disconnected("network", True))
    await bus.drain()
    assert heard == [1.5]
    note(Connected(2.5))  # a decorated handler is still the function that it was
    assert heard == [1.5, 2.5]


async def test_a_cache_gives_back_what_the_loader_gives() -> None:
    async def load() -> tuple[int, str]:
        return 1, "one"

    assert assert_type(await HybridCache().get_or_load("k", load), tuple[int, str]) == (1, "one")


def test_numbers_are_numbers() -> None:
    assert assert_type(RateLimiter().hit("a", at=0.0), float) == 0.0
    assert assert_type(ConnectionManager(FakeTransport()).backoff_delay_s(3), float) == 8.0
