"""Who answers: the flow in progress, a keyword, an event, the model, or what the owner wrote down."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast, get_args

from ..errors import CompletionError
from ..flows import FlowEvent, FlowMatch, FlowRepository
from ..knowledge import Knowledge, Passage
from ..messages import ChatMessage, Conversation, Position
from .conversing import Conversing
from .offers import BUTTONS, chosen, suggestion, with_buttons
from .opening_hours import OpeningHours
from .texts import Texts
from .thinking import Thinking
from .turns import Asked, Reply, Speech, Trace
from .welcome import Welcome

logger = logging.getLogger(__name__)

TYPED_EVENTS = frozenset(get_args(FlowEvent))


class Answering:
    """Asks one after the other, until one has an answer. Every part can be left out.

    *welcome* says who is welcomed. Outside of *opening_hours* the flow of the event "closed", if there is one, answers
    what no flow in progress waits for.
    """

    def __init__(
        self,
        *,
        texts: Texts,
        flows: FlowRepository | None,
        conversing: Conversing | None,
        thinking: Thinking | None,
        knowledge: Knowledge | None,
        welcome: Welcome | None,
        opening_hours: OpeningHours | None,
        language: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._texts = texts
        self._flows = flows
        self._conversing = conversing
        self._thinking = thinking
        self._knowledge = knowledge
        self._welcome = welcome or Welcome()
        self._opening_hours = opening_hours
        self._language = language
        self._wall_clock = wall_clock

    async def answer(
        self, asked: Asked, conversation: Conversation, before: tuple[ChatMessage, ...], trace: Trace
    ) -> Reply:
        """The first that has an answer; *before* was said since *conversation* and nobody answered it."""
        position, now_s = conversation.position, self._wall_clock()
        if position is not None and position.kind == BUTTONS:
            asked, position = self._choose(position, asked), None
        late, reply = await self._from_flow(asked, position, trace)
        reply = (
            reply
            or await self._from_closed(asked, trace)
            or await self._from_keyword(asked, trace)
            or await self._from_event(asked, trace)
            or await self._from_words(asked, conversation, before, trace)
        )
        if late:
            reply = replace(reply, says=(*late, *reply.says))
        return with_buttons(reply, now_s)

    def _choose(self, position: Position, asked: Asked) -> Asked:
        """What is asked with the number of a button is what stands on it, unless a keyword is that number."""
        button = chosen(position, asked.question, self._wall_clock())
        if button is None or (self._flows is not None and self._flows.match(asked.question) is not None):
            return asked
        return replace(asked, question=button)

    async def _from_flow(
        self, asked: Asked, position: Position | None, trace: Trace
    ) -> tuple[tuple[Speech, ...], Reply | None]:
        """What the flow in progress makes of it, behind what it says because its time was over."""
        if position is None or self._conversing is None:
            return (), None
        late, reply = await self._conversing.resume(position, asked)
        trace.note("flow", f"{position.flow}: {position.step if reply is not None else 'over'}")
        return late, reply

    async def _from_closed(self, asked: Asked, trace: Trace) -> Reply | None:
        """The flow that says when there is somebody again; words that interrupt go before it."""
        if self._opening_hours is None or self._flows is None or self._conversing is None:
            return None
        now_s = self._wall_clock()
        closed = self._flows.event("closed")
        if closed is None or self._opening_hours.is_open(now_s):
            return None
        if asked.question and self._flows.match(asked.question, interrupting_only=True) is not None:
            return None
        trace.note("event", "closed")
        opens_at = self._opening_hours.describe(now_s, self._language)
        return await self._conversing.start(closed, asked, {"opens_at": opens_at})

    async def _from_keyword(self, asked: Asked, trace: Trace) -> Reply | None:
        if self._flows is None or not asked.question:
            return None
        match = self._flows.match(asked.question)
        trace.note("keyword", "no match" if match is None else f"{match.flow.id}: {match.matched}")
        if match is None and (guess := self._flows.suggest(asked.question)) is not None:
            trace.note("suggestion", guess.flow.id)
            return suggestion(guess, self._texts, self._wall_clock())
        return await self._start(match, asked)

    async def _from_event(self, asked: Asked, trace: Trace) -> Reply | None:
        """What a message without words is answered with: the flow of its kind, or that it cannot be used."""
        if asked.question:
            return None
        if (reply := await self._event(asked.message.kind, asked, trace)) is not None:
            return reply
        return Reply.refusal("unsupported", asked.wordless or self._texts.unsupported(asked.message.kind))

    async def _from_words(
        self, asked: Asked, conversation: Conversation, before: tuple[ChatMessage, ...], trace: Trace
    ) -> Reply:
        """The model, else the knowledge, else that nothing was found; newcomers are welcomed before it."""
        reply = await self._from_model(asked, (*conversation.history, *before), trace)
        if reply is None and (passage := await self._from_knowledge(asked.question, trace)) is not None:
            reply = Reply.text("knowledge", passage.text)
        now_s = self._wall_clock()
        if self._welcome.is_due(conversation.welcomed_at, now_s, is_new=not conversation.history):
            welcome = await self._event("welcome", asked, trace)
            if welcome is not None:
                return replace(welcome if reply is None else _after(welcome, reply), welcomed_at=now_s)
        if reply is None:
            reply = await self._event("unknown", asked, trace)
        return reply or Reply.text("unknown", self._texts.unknown)

    async def _from_model(self, asked: Asked, history: tuple[ChatMessage, ...], trace: Trace) -> Reply | None:
        if self._thinking is None:
            return None
        passages = () if self._knowledge is None else await self._knowledge.context(asked.question)
        try:
            text = await self._thinking.answer(
                asked.message.chat, asked.question, history, passages, sender_name=asked.message.sender_name
            )
        except CompletionError as error:
            logger.warning("no answer from the model (%s): %s", error.kind, error)
            trace.note("model", error.kind)
            return None
        trace.note("model", f"{len(passages)} passages")
        return Reply.text("model", text)

    async def _from_knowledge(self, question: str, trace: Trace) -> Passage | None:
        if self._knowledge is None:
            return None
        passage = await self._knowledge.answer(question)
        trace.note("knowledge", "nothing" if passage is None else f"{passage.title} ({passage.coverage:.0%})")
        return passage

    async def _event(self, name: str, asked: Asked, trace: Trace) -> Reply | None:
        if self._flows is None or name not in TYPED_EVENTS:
            return None
        match = self._flows.event(cast("FlowEvent", name))
        if match is not None:
            trace.note("event", name)
        return await self._start(match, asked)

    async def _start(self, match: FlowMatch | None, asked: Asked) -> Reply | None:
        if match is None or self._conversing is None:
            return None
        return await self._conversing.start(match, asked)


def _after(welcome: Reply, reply: Reply) -> Reply:
    """*reply* behind a welcome; before it, when the welcome ends with a question, which is answered next."""
    says = (*welcome.says, *reply.says) if welcome.position is None else (*reply.says, *welcome.says)
    return replace(reply, says=says, position=welcome.position or reply.position)
