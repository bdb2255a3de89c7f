"""What a turn is made from, and what its handler may do before it returns."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ..messages import InboundMessage, OutboundMessage


@dataclass(frozen=True, slots=True)
class TurnContext:
    """One turn: *message* is to be answered; *earlier* are older ones of its chat that nobody answered.

    Fragments that were typed together are one *message*, with their texts as lines. ``message.id`` is the turn's id.
    *arrived* are all of them as they came.

    Inside ``with context.untimed():`` the deadline of the turn does not run, and it begins anew behind it. For what has
    a deadline of its own: it keeps the chat waiting, and one of those that are answered at once.
    """

    message: InboundMessage
    earlier: tuple[InboundMessage, ...]
    _post: Callable[[OutboundMessage], Awaitable[bool]]
    arrived: tuple[InboundMessage, ...] = ()
    untimed: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def idempotency_key(self) -> str:
        """The same text each time that this turn is done, also after a crash.

        A handler runs at least once: a function outside that must not act twice for one message needs this key.
        """
        return self.message.id

    async def send_now(self, text: str, *, key: str, buttons: tuple[str, ...] = ()) -> bool:
        """Say *text* at once, before and apart from what the turn commits; False when *key* was said in it before.

        For "one moment, please". Said also when the turn fails afterwards, and once however often the turn is done.
        """
        key = f"{self.message.id}!{key}"
        return await self._post(OutboundMessage(chat=self.message.chat, key=key, text=text, buttons=buttons))
