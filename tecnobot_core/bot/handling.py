"""A turn of the conversation, seen from delivery: made, failed, committed."""

from functools import partial

from ..delivery import TurnContext
from ..events import EventBus, HandoffBegan, HandoffEnded
from ..memory import MemoryManager
from ..messages import InboundMessage, Turn
from .apologies import Apologies
from .people import People
from .pipeline import Pipeline
from .signs import Signs


class Handling:
    """Asks *pipeline*, with *signs* shown meanwhile, and tells of handoffs once they are committed.

    Committed messages are counted in *memory*, which tells by them whether each leaves something behind.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        people: People,
        apologies: Apologies,
        signs: Signs,
        events: EventBus,
        memory: MemoryManager | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._people = people
        self._apologies = apologies
        self._signs = signs
        self._events = events
        self._memory = memory

    async def handle(self, context: TurnContext) -> Turn:
        """The Turn of a message."""
        message = context.message
        if message.from_me or message.kind == "signal":
            turn = await self._pipeline.answer(message, context.earlier, context.send_now)
        else:
            await self._signs.show_typing(message.chat, True)
            try:
                turn = await self._answer(context)
            finally:
                await self._signs.show_typing(message.chat, False)
        self._apologies.forget(message.chat)
        return turn

    async def _answer(self, context: TurnContext) -> Turn:
        written = [message for message in context.arrived if not message.from_me]
        begun = partial(self._signs.mark_read, written)
        return await self._pipeline.answer(context.message, context.earlier, context.send_now, begun, context.untimed)

    def fail(self, message: InboundMessage, error: Exception) -> Turn:
        """The Turn of a message whose handling raised *error*."""
        return self._apologies.turn(message)

    def note(self, turn: Turn) -> None:
        """*turn* was committed."""
        self._people.note(turn)
        if self._memory is not None:
            self._memory.count_messages(len(turn.inbound))
        for step in turn.trace:
            if step.stage == "handoff":
                self._events.publish((HandoffBegan if step.detail == "began" else HandoffEnded)(turn.chat))
