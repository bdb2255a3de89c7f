"""Who was told that something went wrong."""

from collections import OrderedDict

from ..messages import ChatId, InboundMessage, Turn
from .texts import Texts
from .turns import Reply, Speech, build_turn

MAX_APOLOGISED = 10_000  # chats that are remembered as told; beyond that an old one may be told again


class Apologies:
    """Apologises once to a chat, and not again before something in it worked."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._told: OrderedDict[ChatId, str] = OrderedDict()  # the message that was apologised for

    def turn(self, message: InboundMessage) -> Turn:
        """What finishes *message*, whose handler failed."""
        # Asked again for the same message when its apology could not be stored with the rest. A signal was sent by
        # nobody, so nobody waits for an answer.
        if message.kind == "signal" or self._told.setdefault(message.chat, message.id) != message.id:
            return build_turn(message, None, Reply.silence("error", "failed"))
        if len(self._told) > MAX_APOLOGISED:
            self._told.popitem(last=False)
        return build_turn(message, None, Reply("error", (Speech(self._texts.apology),), "failed", remembered=False))

    def forget(self, chat: ChatId) -> None:
        """Something in *chat* worked, or nobody may remember it."""
        self._told.pop(chat, None)
