"""A manager over a fake transport on virtual time, and what it told when."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from tecnobot_core.connection import ConnectionManager
from tecnobot_core.events import Event
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage
from tecnobot_core.testing import FakeTransport

E = TypeVar("E", bound=Event)
TransportT = TypeVar("TransportT", bound=FakeTransport)

ANSWER = OutboundMessage(chat=ChatId("a"), key="k", text="buenas")


def inbound(number: int, text: str = "hola") -> InboundMessage:
    return InboundMessage(id=f"m{number}", chat=ChatId("a"), sent_at=float(number), text=text)


class Scene:
    """Must be made in the loop in which it plays; delays have no jitter."""

    def __init__(self, transport: FakeTransport, **options: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.manager = ConnectionManager(
            transport, **{"jitter": lambda delay_s: delay_s, "clock": self.loop.time, **options}
        )
        self.heard: list[tuple[float, Event]] = []
        self.manager.events.on(Event, lambda event: self.heard.append((self.loop.time(), event)))

    @property
    def state(self) -> str:
        return self.manager.status().state

    def all(self, kind: type[E]) -> Sequence[E]:
        """The events of *kind*, in order."""
        return [event for _, event in self.heard if isinstance(event, kind)]

    def times(self, kind: type[Event]) -> Sequence[float]:
        """When events of *kind* were told."""
        return [at for at, event in self.heard if isinstance(event, kind)]

    async def settle(self) -> None:
        """Let happen what happens at once."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def until(self, state: str) -> None:
        """Return when the state is *state*; a day may pass."""
        async with asyncio.timeout(86_400):
            while self.state != state:
                await self.manager._changes.wait()
