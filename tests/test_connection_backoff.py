"""How long is waited, and for how often."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.connection import ConnectionManager, DisconnectReason, equal_jitter
from tecnobot_core.errors import TransportError
from tecnobot_core.events import ReconnectScheduled
from tecnobot_core.testing import FakeTransport
from tests.connection_scene import Scene
from tests.virtual_time import run_virtually


@given(st.floats(0.001, 60), st.floats(60, 86_400))
@settings(max_examples=20, deadline=None)
def test_each_of_a_thousand_delays_lies_in_the_upper_half_of_its_formula(base_s: float, max_s: float) -> None:
    manager = ConnectionManager(FakeTransport(), base_delay_s=base_s, max_delay_s=max_s)
    for attempt in range(1001):
        delay_s = min(base_s * 2**attempt, max_s) if attempt < 64 else max_s
        assert manager.backoff_delay_s(attempt) == delay_s
        assert delay_s / 2 <= equal_jitter(delay_s) <= delay_s


def test_the_thousand_delays_that_are_really_waited_do_too() -> None:
    async def main() -> None:
        transport = FakeTransport()
        transport.open_errors.extend([TransportError("no route")] * 1001)
        scene = Scene(transport, jitter=equal_jitter)
        async with scene.manager:
            await scene.manager.wait_connected()
        delays = [event.delay_s for event in scene.all(ReconnectScheduled)]
        assert len(delays) == 1001
        for number, delay_s in enumerate(delays):
            full_s = scene.manager.backoff_delay_s(number)
            assert full_s / 2 <= delay_s <= full_s
        at = scene.times(ReconnectScheduled)
        assert all(abs(b - a - d) < 1e-6 for a, b, d in zip(at, at[1:], delays, strict=False))

    run_virtually(main())


def test_the_first_wait_after_a_stable_link_is_the_base() -> None:
    async def main() -> None:
        transport = FakeTransport()
        scene = Scene(transport, base_delay_s=3)
        async with scene.manager:
            for _ in range(3):
                await asyncio.sleep(70)
                transport.lose(DisconnectReason.SERVER_CLOSED)
                await scene.settle()
                assert scene.manager.status().failures == 0
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [3, 3, 3]

    run_virtually(main())
