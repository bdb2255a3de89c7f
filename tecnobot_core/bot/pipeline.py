"""What the bot does with a message: admit, understand, answer."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast, get_args

from ..delivery import Conversations
from ..errors import AudioError, CompletionError
from ..flows import FlowEvent, FlowMatch, FlowRepository
from ..flows.context import SendNow
from ..flows.steps import Send
from ..knowledge import Knowledge, Passage
from ..messages import ChatMessage, Conversation, InboundMessage, MediaReference, OutboundMessage, Position, Turn
from .admission import Admission
from .cleaning import clean
from .conversing import Conversing
from .texts import Texts
from .thinking import Thinking
from .turns import Asked, Reply, Speech, Trace, build_turn

logger = logging.getLogger(__name__)

TYPED_EVENTS = frozenset(get_args(FlowEvent))


class Pipeline:
    """Turns a message into a Turn; nothing outside changes before the Turn is committed."""

    def __init__(
        self,
        *,
        admission: Admission,
        conversations: Conversations,
        texts: Texts,
        flows: FlowRepository | None = None,
        conversing: Conversing | None = None,
        thinking: Thinking | None = None,
        knowledge: Knowledge | None = None,
        hearing: Callable[[MediaReference], Awaitable[str]] | None = None,
        history_limit: int = 5,
        max_text_chars: int = 4000,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._admission = admission
        self._conversations = conversations
        self._texts = texts
        self._flows = flows
        self._conversing = conversing
        self._thinking = thinking
        self._knowledge = knowledge
        self._hearing = hearing
        self._history_limit = history_limit
        self._max_text_chars = max_text_chars
        self._clock = clock

    async def answer(
        self, message: InboundMessage, earlier: Sequence[InboundMessage] = (), send_now: SendNow | None = None
    ) -> Turn:
        """Admit, understand, answer; *earlier* ones, which nobody answered, count as said before."""
        before = self._rows(earlier)
        trace = Trace(self._clock)
        question = ""
        reply = self._admission.refuse(message)
        trace.note("admit", "admitted" if reply is None else reply.by)
        if reply is None:
            question, reply = await self._understand(message, trace)
        if reply is None:
            reply = await self._answer(Asked(message, question, send_now), before, trace)
        return build_turn(message, question, reply, tuple(trace.steps), before=before)

    def apologise_for_delay(self, message: InboundMessage, earlier: Sequence[InboundMessage]) -> Turn:
        """One apology in the place of an answer to a backlog; what was asked is remembered."""
        reply = Reply.text("late", self._texts.late)
        return build_turn(message, self._words(message), reply, before=self._rows(earlier))

    async def answer_from_flows(self, message: InboundMessage) -> Sequence[OutboundMessage]:
        """What a flow that only says something says to a keyword, without store; empty where none is meant."""
        if message.kind != "text" or self._flows is None or self._conversing is None:
            return ()
        if self._admission.refuse(message) is not None:
            return ()
        match = self._flows.match(question) if (question := self._words(message)) else None
        if match is None or not all(isinstance(step, Send) for step in match.flow.steps):
            return ()
        reply = await self._conversing.start(match, Asked(message, question))
        return build_turn(message, question, reply).outgoing

    async def _understand(self, message: InboundMessage, trace: Trace) -> tuple[str, Reply | None]:
        """The text to answer, or the reply that ends it here."""
        text = message.text
        if message.kind in ("voice", "audio") and message.media is not None and self._hearing is not None:
            try:
                text = await self._hearing(message.media)
            except AudioError as error:
                trace.note("understand", error.kind)
                return "", Reply.refusal("audio", self._texts.unsupported(message.kind))
        if len(text) > self._max_text_chars:
            trace.note("understand", f"{len(text)} characters")
            return "", Reply.refusal("too_long", self._texts.too_long(self._max_text_chars))
        question = clean(text)
        trace.note("understand", f"{message.kind}, {len(question)} characters")
        if question or message.kind != "text":
            return question, None
        return "", Reply.refusal("empty", self._texts.empty)

    def _words(self, message: InboundMessage) -> str:
        return clean(message.text[: self._max_text_chars])

    def _rows(self, messages: Sequence[InboundMessage]) -> tuple[ChatMessage, ...]:
        """What was said in *messages*; the owner's own are the assistant's."""
        rows = (ChatMessage("assistant" if m.from_me else "user", self._words(m)) for m in messages)
        return tuple(row for row in rows if row.content)

    async def _answer(self, asked: Asked, before: tuple[ChatMessage, ...], trace: Trace) -> Reply:
        conversation = await self._conversations.load(asked.message.chat, self._history_limit)
        trace.note("remember", f"{len(conversation.history)} messages")
        late, reply = await self._from_flow(asked, conversation.position, trace)
        reply = (
            reply
            or await self._from_keyword(asked, trace)
            or await self._from_event(asked, trace)
            or await self._from_words(asked, conversation, before, trace)
        )
        return replace(reply, says=(*late, *reply.says)) if late else reply

    async def _from_flow(
        self, asked: Asked, position: Position | None, trace: Trace
    ) -> tuple[tuple[Speech, ...], Reply | None]:
        """What the flow in progress makes of it, behind what it says because its time was over."""
        if position is None or self._conversing is None:
            return (), None
        late, reply = await self._conversing.resume(position, asked)
        trace.note("flow", f"{position.flow}: {position.step if reply is not None else 'over'}")
        return late, reply

    async def _from_keyword(self, asked: Asked, trace: Trace) -> Reply | None:
        match = self._flows.match(asked.question) if self._flows is not None and asked.question else None
        trace.note("keyword", "no match" if match is None else f"{match.flow.id}: {match.matched}")
        return await self._start(match, asked)

    async def _from_event(self, asked: Asked, trace: Trace) -> Reply | None:
        """What a message without words is answered with: the flow of its kind, or that it cannot be used."""
        if asked.question:
            return None
        if (reply := await self._event(asked.message.kind, asked, trace)) is not None:
            return reply
        return Reply.refusal("unsupported", self._texts.unsupported(asked.message.kind))

    async def _from_words(
        self, asked: Asked, conversation: Conversation, before: tuple[ChatMessage, ...], trace: Trace
    ) -> Reply:
        """The model, else the knowledge, else that nothing was found; newcomers are welcomed before it."""
        reply = await self._from_model(asked, (*conversation.history, *before), trace)
        if reply is None and (passage := await self._from_knowledge(asked.question, trace)) is not None:
            reply = Reply.text("knowledge", passage.text)
        if not conversation.history:
            welcome = await self._event("welcome", asked, trace)
            if welcome is not None:
                return welcome if reply is None else _after(welcome, reply)
        if reply is None:
            reply = await self._event("unknown", asked, trace)
        return reply or Reply.text("unknown", self._texts.unknown)

    async def _from_model(self, asked: Asked, history: tuple[ChatMessage, ...], trace: Trace) -> Reply | None:
        if self._thinking is None:
            return None
        passages = () if self._knowledge is None else await self._knowledge.context(asked.question)
        try:
            text = await self._thinking.answer(asked.message.chat, asked.question, history, passages)
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
