"""What the bot does with a message: admit, understand, answer."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

from ..delivery import Conversations
from ..errors import StoreError
from ..flows import FlowRepository
from ..flows.context import SendNow
from ..flows.steps import Send
from ..messages import ChatMessage, Conversation, InboundMessage, OutboundMessage, Turn
from .admission import Admission
from .answering import Answering
from .conversing import Conversing
from .handoffs import change_of, is_silent, taken_over
from .losses import MISSED, OWNER_MISSED
from .texts import Texts
from .turns import Asked, Reply, Trace, build_turn
from .understanding import Understanding, Untimed


class Pipeline:
    """Turns a message into a Turn; nothing outside changes before the Turn is committed.

    A chat in which the owner writes is the owner's for *owner_silence_s*. With *apologises_for_delay* a backlog gets
    one apology in the place of an answer.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        conversations: Conversations,
        texts: Texts,
        understanding: Understanding,
        answering: Answering,
        flows: FlowRepository | None = None,
        conversing: Conversing | None = None,
        owner_silence_s: float = 0.0,
        apologises_for_delay: bool = False,
        history_limit: int = 5,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._admission = admission
        self._conversations = conversations
        self._texts = texts
        self._understanding = understanding
        self._answering = answering
        self._flows = flows
        self._conversing = conversing
        self._owner_silence_s = owner_silence_s
        self._apologises_for_delay = apologises_for_delay
        self._history_limit = history_limit
        self._clock = clock
        self._wall_clock = wall_clock

    async def answer(
        self,
        message: InboundMessage,
        earlier: Sequence[InboundMessage] = (),
        send_now: SendNow | None = None,
        begun: Callable[[], object] = bool,
        untimed: Untimed = nullcontext,
    ) -> Turn:
        """Admit, understand, answer; *earlier* ones, which nobody answered, count as said before.

        *begun* is called when it is the bot that answers, before it thinks; *untimed* holds what has a deadline of its
        own.
        """
        before = self._understanding.rows(earlier)
        trace = Trace(self._clock)
        question: str | None = None
        reply = self._admission.refuse(message)
        trace.note("admit", "admitted" if reply is None else reply.by)
        if reply is None or reply.says:
            if self._flows is not None:
                await self._flows.ready()
            conversation = await self._conversations.load(message.chat, self._history_limit)
            trace.note("remember", f"{len(conversation.history)} messages")
            if message.kind == "signal":
                reply = await self._obey(message, conversation, trace)
            elif message.from_me:
                before, reply = (*before, *self._understanding.rows([message])), self._heed_owner(conversation)
            elif is_silent(conversation.position, self._wall_clock()):
                question, reply = self._keep_silent(message, conversation, reply)
            else:
                begun()
                if reply is None:
                    question, reply = await self._hear(message, earlier, conversation, before, send_now, untimed, trace)
            if reply.outcome == "answered" and (change := change_of(conversation.position, reply.position)):
                trace.note("handoff", change)
        return build_turn(message, question, reply, tuple(trace.steps), before=before)

    async def _hear(
        self,
        message: InboundMessage,
        earlier: Sequence[InboundMessage],
        conversation: Conversation,
        before: tuple[ChatMessage, ...],
        send_now: SendNow | None,
        untimed: Untimed,
        trace: Trace,
    ) -> tuple[str, Reply]:
        if earlier and self._apologises_for_delay:
            late = replace(Reply.text("late", self._texts.late), position=conversation.position)
            return self._understanding.words(message), late
        question, reply = await self._understanding.question(message, trace, untimed)
        if reply is None:
            asked = Asked(message, question, send_now, self._understanding.wordless(message))
            reply = await self._answering.answer(asked, conversation, before, trace)
        return question, reply

    def _keep_silent(
        self, message: InboundMessage, conversation: Conversation, refusal: Reply | None
    ) -> tuple[str | None, Reply]:
        """Remember what is said to the person who has taken over."""
        if refusal is not None:
            return None, replace(refusal, says=())
        return self._understanding.words(message) or None, Reply("handoff", position=conversation.position)

    def _make_way(self, conversation: Conversation) -> Reply:
        """A person answers in the bot's place: a handoff, if it is none yet."""
        until_s = self._wall_clock() + self._owner_silence_s if self._owner_silence_s else None
        return Reply("owner", position=taken_over(conversation.position, until_s))

    def _heed_owner(self, conversation: Conversation) -> Reply:
        """The owner answers from the phone, which is a handoff unless that is turned off."""
        return self._make_way(conversation) if self._owner_silence_s else Reply("owner", position=conversation.position)

    async def _obey(self, signal: InboundMessage, conversation: Conversation, trace: Trace) -> Reply:
        """What is done because time is over, or because the application says so."""
        position, reply = conversation.position, None
        # Whoever stored the due time may have rounded it; the signal holds what was stored.
        now_s = max(self._wall_clock(), signal.sent_at)
        if signal.text == "handoff":
            return self._make_way(conversation)
        if signal.text == OWNER_MISSED:
            return self._heed_owner(conversation)
        if signal.text == MISSED:
            silent = is_silent(position, now_s) or not self._texts.missed
            reply = Reply.silence(MISSED) if silent else Reply.refusal(MISSED, self._texts.missed)
        elif position is not None and self._conversing is not None:
            if signal.text == "due":
                reply = await self._conversing.remind_or_time_out(position, now_s, signal.id)
            elif signal.text == "release" and position.kind == "handoff":
                reply = await self._conversing.release(position, signal.id)
        trace.note("signal", f"{signal.text}: {'nothing to do' if reply is None else reply.by}")
        return reply or Reply.silence("signal")

    async def answer_from_flows(self, message: InboundMessage) -> Sequence[OutboundMessage]:
        """What a flow that only says something says to a keyword, without store; empty where none is meant."""
        if message.kind != "text" or self._flows is None or self._conversing is None:
            return ()
        if self._admission.refuse(message) is not None:
            return ()
        try:
            await self._flows.ready()
        except StoreError:
            return ()
        match = self._flows.match(question) if (question := self._understanding.words(message)) else None
        if match is None or not all(isinstance(step, Send) for step in match.flow.steps):
            return ()
        reply = await self._conversing.start(match, Asked(message, question))
        return build_turn(message, question, reply).outgoing
