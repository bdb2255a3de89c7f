"""A link that is kept up: what is told while it breaks, waits and comes back."""

import asyncio

from tecnobot_core import ConnectionManager
from tecnobot_core.errors import TransportError
from tecnobot_core.events import Disconnected, ReconnectScheduled
from tecnobot_core.testing import FakeTransport


async def main() -> None:
    """Break a link whose next attempt fails too, and print what the manager tells."""
    transport = FakeTransport()  # Or any other, such as the console's or WhatsApp's.
    connection = ConnectionManager(transport, base_delay_s=0.2)
    lost = asyncio.Event()

    @connection.on("disconnected")
    def tell(event: Disconnected) -> None:
        print(f"disconnected: {event.reason}, comes back: {event.will_reconnect}")
        lost.set()

    @connection.on("reconnect_scheduled")
    async def tell_later(event: ReconnectScheduled) -> None:
        print(f"the next attempt comes in {event.delay_s:.1f} s")

    async with connection:
        await connection.wait_connected()
        transport.open_errors.append(TransportError("no route to the server", reason="network"))
        transport.lose()
        await lost.wait()
        await connection.wait_connected()
        status = connection.status()
        print(f"{status.state} again after {status.opens} opens; last error: {status.last_error}")


if __name__ == "__main__":
    asyncio.run(main())
