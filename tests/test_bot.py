"""What a person gets back, whatever they send."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core import (
    Bot,
    ChatId,
    ChatMessage,
    EventBus,
    Flow,
    FlowRepository,
    HistoryWindow,
    HybridCache,
    InboundMessage,
    Knowledge,
    MediaReference,
    MemoryManager,
    RateLimiter,
)
from tecnobot_core.adapters.openai import OpenAIChat
from tecnobot_core.bot import SPANISH, Hearing
from tecnobot_core.bot.apologies import Apologies
from tecnobot_core.completion import Completion
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.delivery import MemoryConversations, MemoryDelivery, Pacing
from tecnobot_core.errors import CompletionError, LifecycleError, StoreError, TransportError
from tecnobot_core.events import DuplicateIgnored, TurnCommitted, TurnFailed
from tecnobot_core.flows import MemoryFlowStore
from tecnobot_core.knowledge import Passage
from tecnobot_core.messages import MessageKind, Turn
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeOpenAI, FakeTransport, Step

FLOWS = (
    Flow("saludo").on("hola", "buenas").say("¡Hola! ¿En qué te ayudo?"),
    Flow("precios").on("precio", "cuánto cuesta").say("Los precios están en la tienda.", "Celulares", "Laptops"),
    Flow("corazon").on("❤️").say("¡Gracias!"),
)
ANA = ChatId("ana")


def inbound(
    text: str,
    number: int = 1,
    *,
    chat: ChatId = ANA,
    kind: MessageKind = "text",
    media: MediaReference | None = None,
    from_me: bool = False,
) -> InboundMessage:
    id = f"{chat.reveal()}-{number}"
    return InboundMessage(id=id, chat=chat, sent_at=float(number), text=text, kind=kind, media=media, from_me=from_me)


class Model:
    """Answers with what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Sequence[ChatMessage]] = []

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        self.asked.append(messages)
        answer = self.answers.pop(0) if self.answers else "no sé"
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, "fake")


class Paragraphs:
    """Finds a passage when the question holds its title."""

    def __init__(self, **passages: str) -> None:
        self.passages = passages

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        return [Passage(title, text, 1.0) for title, text in self.passages.items() if title in question][:limit]


class Run:
    """A bot over a fake transport that answers what it is given."""

    def __init__(self, flows: Sequence[Flow] = FLOWS, **parts: object) -> None:
        self.transport = FakeTransport()
        self.turns: list[Turn] = []
        self.failures: list[TurnFailed] = []
        events = EventBus()
        events.on(TurnCommitted, lambda event: self.turns.append(event.turn))
        events.on(TurnFailed, self.failures.append)
        repository = FlowRepository(MemoryFlowStore(flows), "bot")
        self.bot = Bot(ConnectionManager(self.transport), flows=repository, events=events, **parts)  # type: ignore[arg-type]

    async def answers(self, *messages: InboundMessage) -> list[str]:
        """Deliver *messages*, let the bot finish, and return all that it said."""
        self.transport.deliver(*messages)
        self.transport.end()
        await self.bot.run()
        return [message.text for message in self.transport.sent]


async def test_a_keyword_is_answered_by_its_flow() -> None:
    run = Run()
    assert await run.answers(inbound("¡HOLAAA!")) == ["¡Hola! ¿En qué te ayudo?"]
    turn = run.turns[0]
    assert (turn.outcome, turn.answered_by) == ("answered", "flow")
    assert [step.stage for step in turn.trace] == ["admit", "remember", "understand", "keyword"]
    assert turn.history == (ChatMessage("user", "¡HOLAAA!"), ChatMessage("assistant", "¡Hola! ¿En qué te ayudo?"))


async def test_every_part_but_the_connection_can_be_left_out() -> None:
    transport = FakeTransport([inbound("hola", 1), inbound("", 2, kind="voice")], ends=True)
    await Bot(ConnectionManager(transport)).run()
    assert [message.text for message in transport.sent] == [SPANISH.unknown, SPANISH.unsupported("voice")]


async def test_buttons_travel_with_their_text() -> None:
    run = Run()
    await run.answers(inbound("¿Cuánto cuesta el cargador?"))
    assert run.transport.sent[0].buttons == ("Celulares", "Laptops")


async def test_the_model_sees_the_prompt_the_passages_and_the_last_messages() -> None:
    model = Model("uno", "dos", "tres")
    run = Run(model=model, prompt="Eres Sol.", knowledge=Knowledge(Paragraphs(envío="Gratis desde $500.")))
    questions = ["a ver", "y el envío", "¿y si no?"]
    assert await run.answers(*(inbound(text, n) for n, text in enumerate(questions))) == ["uno", "dos", "tres"]
    system, *rows = model.asked[1]
    assert system.role == "system"
    assert "Eres Sol." in system.content
    assert "Gratis desde $500." in system.content
    assert [row.content for row in rows] == ["a ver", "uno", "y el envío"]
    assert [row.content for row in model.asked[2][1:]] == ["a ver", "uno", "y el envío", "dos", "¿y si no?"]


async def test_every_path_to_the_model_cuts_the_history_to_the_window() -> None:
    model = Model()
    run = Run(model=model, window=HistoryWindow(5))
    await run.answers(*(inbound(f"pregunta {n}", n) for n in range(20)))
    assert max(map(len, model.asked)) == 5
    assert model.asked[-1][-1].content == "pregunta 19"


async def test_when_the_model_fails_the_knowledge_answers() -> None:
    model = Model(CompletionError("down", kind="unavailable"), CompletionError("down", kind="quota"))
    run = Run(model=model, knowledge=Knowledge(Paragraphs(garantía="Un año.")))
    assert await run.answers(inbound("¿hay garantía?", 1), inbound("qwerty", 2)) == ["Un año.", SPANISH.unknown]
    assert [turn.answered_by for turn in run.turns] == ["knowledge", "unknown"]


async def test_the_bot_is_useful_without_a_model() -> None:
    run = Run(knowledge=Knowledge(Paragraphs(garantía="Un año.")))
    assert await run.answers(inbound("¿y la garantía?")) == ["Un año."]


async def test_newcomers_are_welcomed_once_and_their_question_is_answered() -> None:
    flows = (*FLOWS, Flow("bienvenida", event="welcome").say("¡Bienvenida!"))
    run = Run(flows, knowledge=Knowledge(Paragraphs(garantía="Un año.")))
    await run.answers(inbound("¿y la garantía?", 1), inbound("¿garantía?", 2), inbound("qwerty", 1, chat=ChatId("b")))
    said = {chat: [m.text for m in run.transport.sent if m.chat == chat] for chat in (ANA, ChatId("b"))}
    assert said == {ANA: ["¡Bienvenida!", "Un año.", "Un año."], ChatId("b"): ["¡Bienvenida!"]}


async def test_nothing_found_is_the_owners_flow_or_a_plain_text() -> None:
    assert await Run(()).answers(inbound("qwerty")) == [SPANISH.unknown]
    owners = Run((Flow("no_se", event="unknown").say("Pregunta a Sol."),))
    assert await owners.answers(inbound("qwerty")) == ["Pregunta a Sol."]


async def test_more_than_the_limit_is_told_once_and_then_silence() -> None:
    run = Run(rate_limiter=RateLimiter(3, 60))
    said = await run.answers(*(inbound("hola", n) for n in range(10)))
    assert len(said) == 4
    assert said[3] == SPANISH.slow_down(57)
    assert [turn.outcome for turn in run.turns] == ["answered"] * 3 + ["refused"] * 7


async def test_the_limit_follows_the_time_of_the_messages() -> None:
    run = Run(rate_limiter=RateLimiter(1, 60))
    messages = [InboundMessage(id=str(at), chat=ANA, sent_at=at, text="hola") for at in (0.0, 60.0, 120.0)]
    assert len(await run.answers(*messages)) == 3


async def test_what_the_owner_writes_is_remembered_and_not_answered() -> None:
    run = Run()
    assert await run.answers(inbound("hola", from_me=True)) == []
    assert [(turn.answered_by, turn.history) for turn in run.turns] == [("owner", (ChatMessage("assistant", "hola"),))]


async def test_who_is_on_the_blacklist_gets_nothing() -> None:
    run = Run(blacklist={ANA})
    assert len(await run.answers(inbound("hola"), inbound("hola", chat=ChatId("b")))) == 1


async def test_the_same_id_three_times_is_answered_once() -> None:
    run = Run()
    ignored: list[DuplicateIgnored] = []
    run.bot.events.on(DuplicateIgnored, ignored.append)
    assert len(await run.answers(*[inbound("hola")] * 3)) == 1
    assert len(ignored) == 2


@pytest.mark.parametrize(
    "kind", ["voice", "image", "video", "document", "sticker", "location", "contact", "reaction", "unknown"]
)
async def test_what_cannot_be_used_is_refused_by_its_name(kind: MessageKind) -> None:
    run = Run()
    assert await run.answers(inbound("", kind=kind)) == [SPANISH.unsupported(kind)]
    assert run.turns[0].outcome == "refused"


async def test_an_image_starts_the_owners_flow_and_its_caption_counts_as_text() -> None:
    flows = (*FLOWS, Flow("foto", event="image").say("¡Qué buena foto!"))
    run = Run(flows)
    said = await run.answers(inbound("", 1, kind="image"), inbound("hola", 2, kind="image"))
    assert said == ["¡Qué buena foto!", "¡Hola! ¿En qué te ayudo?"]


OGG = b"OggS" + bytes(100)


async def test_a_voice_note_is_transcribed_and_answered_and_a_forwarded_one_only_once() -> None:
    transcribed = []

    async def transcribe(clip: object) -> str:
        transcribed.append(clip)
        return "hola"

    @asynccontextmanager
    async def fetch(media: MediaReference) -> AsyncIterator[bytes]:
        yield OGG if media.address == "ogg" else b"not audio"

    run = Run(hearing=Hearing(fetch, transcribe, cache=HybridCache()))
    note, noise = (MediaReference(kind="voice", address=address) for address in ("ogg", "noise"))
    said = await run.answers(
        *(inbound("", n, kind="voice", media=media) for n, media in enumerate((note, note, noise)))
    )
    assert said == ["¡Hola! ¿En qué te ayudo?", "¡Hola! ¿En qué te ayudo?", SPANISH.no_sound]
    assert len(transcribed) == 1


async def test_a_voice_note_in_which_nobody_speaks_is_asked_for_again_unless_a_flow_answers_it() -> None:
    async def hears(media: MediaReference) -> str:
        return ""

    note = inbound("", kind="voice", media=MediaReference(kind="voice", address="silence"))
    assert await Run(hearing=hears).answers(note) == [SPANISH.say_again]
    flows = (*FLOWS, Flow("voz", event="voice").say("¡Qué buena voz!"))
    assert await Run(flows, hearing=hears).answers(note) == ["¡Qué buena voz!"]


async def test_at_critical_memory_attachments_are_refused_and_text_is_answered() -> None:
    memory = MemoryManager(100, probe=lambda: 95, sleep=_for_ever)
    await memory.check()
    run = Run(memory=memory)
    said = await run.answers(inbound("", 1, kind="image"), inbound("hola", 2))
    assert said == [SPANISH.busy, "¡Hola! ¿En qué te ayudo?"]


async def _for_ever(seconds: float) -> None:
    await asyncio.Event().wait()


class BrokenModel(Model):
    """Fails in a way that nobody foresaw."""

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        raise ZeroDivisionError("surprise")


async def test_an_error_is_apologised_for_once_until_something_works() -> None:
    run = Run(model=BrokenModel())
    texts = ["a", "b", "hola", "c"]
    said = await run.answers(*(inbound(text, n) for n, text in enumerate(texts)))
    assert said == [SPANISH.apology, "¡Hola! ¿En qué te ayudo?", SPANISH.apology]
    assert [turn.outcome for turn in run.turns] == ["failed", "failed", "answered", "failed"]
    assert len(run.failures) == 3


async def test_an_error_in_one_chat_is_not_another_chats() -> None:
    run = Run(model=BrokenModel())
    said = await run.answers(inbound("a", chat=ChatId("broken")), inbound("hola", chat=ChatId("fine")))
    assert sorted(said) == sorted([SPANISH.apology, "¡Hola! ¿En qué te ayudo?"])


async def test_a_handler_that_hangs_is_cancelled_and_apologised_for() -> None:
    class HungModel(Model):
        async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
            await asyncio.Event().wait()
            raise AssertionError

    run = Run(model=HungModel(), turn_timeout_s=0.01)
    assert await run.answers(inbound("a", 1), inbound("hola", 2)) == [SPANISH.apology, "¡Hola! ¿En qué te ayudo?"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", SPANISH.empty),
        ("   \n\t ", SPANISH.empty),
        ("\u200b\u200d\ufeff", SPANISH.empty),
        ("\x00\x07\x1b", SPANISH.empty),
        ("\ud800", SPANISH.empty),
        ("x" * 100_000, SPANISH.too_long(4000)),
        ("ho\u200bla", "¡Hola! ¿En qué te ayudo?"),
        ("\u202ehola\u202c", "¡Hola! ¿En qué te ayudo?"),
        ("hola \ud83d", "¡Hola! ¿En qué te ayudo?"),
        ("❤", "¡Gracias!"),
        ("😀😀😀", SPANISH.unknown),
        ("مرحبا، كم السعر؟", SPANISH.unknown),
        ("'; DROP TABLE tecnobot.chat; --", SPANISH.unknown),
    ],
)
async def test_nonsense_gets_an_answer_or_a_clear_refusal(text: str, answer: str) -> None:
    run = Run()
    assert await run.answers(inbound(text)) == [answer]
    assert not run.failures


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_any_text_gets_exactly_one_answer_and_no_error(text: str) -> None:
    async def scenario() -> None:
        run = Run(model=Model("respuesta"))
        assert len(await run.answers(inbound(text))) == 1
        assert not run.failures

    asyncio.run(scenario())


@asynccontextmanager
async def running(run: Run) -> AsyncIterator[Tasks]:
    async with Tasks("test") as tasks:
        task = tasks.start(run.bot.run(), "run")
        yield tasks
        run.bot.stop()
        await task


async def test_stop_finishes_what_was_accepted() -> None:
    gate = asyncio.Event()

    class SlowModel(Model):
        async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
            await gate.wait()
            return Completion("listo", "fake")

    run = Run(model=SlowModel())
    async with Tasks("test") as tasks:
        task = tasks.start(run.bot.run(), "run")
        run.transport.deliver(inbound("espera"))
        while not run.transport.acknowledged:
            await asyncio.sleep(0)
        run.bot.stop()
        gate.set()
        await task
    assert [message.text for message in run.transport.sent] == ["listo"]


async def test_stop_gives_up_what_does_not_finish_in_time(caplog: pytest.LogCaptureFixture) -> None:
    class HungModel(Model):
        async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
            await asyncio.Event().wait()
            raise AssertionError

    run = Run(model=HungModel(), drain_s=0.01)
    async with running(run):
        run.transport.deliver(inbound("espera"))
        while not run.transport.acknowledged:
            await asyncio.sleep(0)
    assert "stopped with 1 messages unanswered and 0 unsent" in caplog.text


async def test_a_link_that_failed_for_good_ends_the_run_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    run.transport.open_errors.append(TransportError("pair again", reason="logged_out", retryable=False))
    with pytest.raises(TransportError, match="pair again"):
        await run.bot.run()
    assert "background task" not in caplog.text  # it is told once, by whoever ran the bot


async def test_the_application_speaks_first() -> None:
    run = Run()
    async with running(run):
        assert await run.bot.send(ANA, "Tu pedido llegó.", key="order-1")
        assert not await run.bot.send(ANA, "Tu pedido llegó.", key="order-1")
        await run.transport.wait_sent(1)
        with pytest.raises(ValueError, match="empty"):
            await run.bot.send(ANA, " ", key="order-2")
    assert [message.text for message in run.transport.sent] == ["Tu pedido llegó."]


async def test_a_person_can_be_exported_and_forgotten() -> None:
    run = Run(conversations=MemoryConversations())
    await run.answers(inbound("hola"))
    exported = await run.bot.export_chat(ANA)
    assert exported["chat"] == "ana"
    assert len(exported["history"]) == 2  # type: ignore[arg-type]
    assert await run.bot.delete_chat(ANA) == 2
    assert (await run.bot.export_chat(ANA))["history"] == []


async def test_typing_is_shown_while_an_answer_is_made() -> None:
    run = Run()
    await run.answers(inbound("hola"))
    assert run.transport.typing == [(ANA, True), (ANA, False)]


async def test_a_database_that_is_away_for_a_moment_costs_nothing_but_time() -> None:
    class Flaky(MemoryConversations):
        failures = 2

        async def load(self, chat: ChatId, limit: int) -> object:  # type: ignore[override]
            if self.failures:
                self.failures -= 1
                raise StoreError("away", retryable=True)
            return await super().load(chat, limit)

    run = Run(conversations=Flaky(), rate_limiter=RateLimiter(1, 60))
    assert await run.answers(inbound("hola")) == ["¡Hola! ¿En qué te ayudo?"]
    assert not run.failures


class Describing(Model):
    """Tells what it would ask, so that its answers can be kept."""

    def __init__(self, *answers: str | Exception, temperature: float = 0.0) -> None:
        super().__init__(*answers)
        self.temperature = temperature

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        return replace(await super().complete(messages), finish_reason="stop")

    def describe(self, messages: Sequence[ChatMessage]) -> Mapping[str, object]:
        rows = [{"role": message.role, "content": message.content} for message in messages]
        return {"model": "fake", "temperature": self.temperature, "messages": rows}


LUIS = ChatId("luis")


async def test_the_same_question_of_one_chat_is_asked_once_and_never_shared_with_another() -> None:
    model = Describing("para ana", "para luis")
    run = Run(model=model, cache=HybridCache(), conversations=Amnesia())
    mine = "¿llegó mi pedido 555 123 4567?"
    said = await run.answers(inbound(mine, 1), inbound(mine, 2), inbound(mine, 1, chat=LUIS))
    assert sorted(said) == ["para ana", "para ana", "para luis"]
    assert len(model.asked) == 2


async def test_a_first_question_that_anybody_could_ask_is_asked_once_for_everybody() -> None:
    model = Describing("sí, en efectivo")
    run = Run(model=model, cache=HybridCache(), conversations=Amnesia())
    said = await run.answers(inbound("¿aceptan efectivo?"), inbound("¿aceptan efectivo?", chat=LUIS))
    assert said == ["sí, en efectivo"] * 2
    assert len(model.asked) == 1


async def test_a_first_question_with_the_name_of_who_asks_is_theirs_and_goes_with_them() -> None:
    model = Describing("uno", "dos")
    run = Run(model=model, cache=HybridCache(), conversations=Amnesia())
    asked = [
        replace(inbound("¿tienen pan para noemí?", chat=ChatId(chat)), sender_name=name)
        for chat, name in (("1", "Noemí Ruiz"), ("2", "Noemi"))
    ]
    assert sorted(await run.answers(*asked)) == ["dos", "uno"]


@pytest.mark.parametrize(
    ("temperature", "n_asked"),
    [(0.0, 1), (0.3, 1), (None, 2), (1.0, 2)],
)
async def test_the_openai_model_is_asked_once_at_a_low_temperature_and_each_time_without(
    temperature: float | None, n_asked: int
) -> None:
    steps = [Step(text=f"sí, {number}") for number in range(2)]
    async with FakeOpenAI(*steps) as server, OpenAIChat("m", base_url=server.url, temperature=temperature) as model:
        run = Run(model=model, cache=HybridCache(), conversations=Amnesia(), drain_s=60.0)  # the SDK takes a while
        said = await run.answers(inbound("¿aceptan efectivo?"), inbound("¿aceptan efectivo?", chat=LUIS))
        assert (len(said), len(set(said)), len(server.requests)) == (2, n_asked, n_asked)


@pytest.mark.parametrize("model", [Model("uno", "dos"), Describing("uno", "dos", temperature=1.0)])
async def test_a_request_that_is_unknown_or_sampled_is_asked_each_time(model: Model) -> None:
    run = Run(model=model, cache=HybridCache(), conversations=Amnesia())
    assert await run.answers(inbound("¿y?", 1), inbound("¿y?", 2)) == ["uno", "dos"]


async def test_forgetting_a_person_forgets_what_was_answered_to_them() -> None:
    model = Describing("antes", "después")
    run = Run(model=model, cache=HybridCache(), conversations=Amnesia())
    mine = "¿llegó mi pedido 555 123 4567?"
    running = asyncio.create_task(run.bot.run())
    run.transport.deliver(inbound(mine, 1))
    await run.transport.wait_sent(1)
    await run.bot.delete_chat(ANA)
    run.transport.deliver(inbound(mine, 2))
    await run.transport.wait_sent(2)
    run.bot.stop()
    await running
    assert [message.text for message in run.transport.sent] == ["antes", "después"]


class Amnesia(MemoryConversations):
    """Remembers nothing, so that the same question makes the same request."""

    async def record(self, turns: Sequence[Turn]) -> None:
        """Forget."""


class Unreachable(MemoryDelivery):
    """A store that is away: opening and accepting fail, as often as they are tried."""

    def __init__(self, *, opens: bool) -> None:
        super().__init__(MemoryConversations())
        self.opens = opens
        self.tried = asyncio.Event()

    async def __aenter__(self) -> "Unreachable":
        if not self.opens:
            self.tried.set()
            raise StoreError("away", retryable=True)
        return self

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        self.tried.set()
        raise StoreError("away", retryable=True)


@pytest.mark.parametrize("opens", [False, True])
async def test_stop_does_not_wait_for_a_store_that_is_away(opens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tecnobot_core.bot.stopping.STOP_WAITING_S", 0.0)
    store = Unreachable(opens=opens)
    run = Run(store=store)
    run.transport.deliver(inbound("hola"))
    async with Tasks("test") as tasks:
        task = tasks.start(run.bot.run(), "run")
        await store.tried.wait()
        run.bot.stop()
        await task
    assert run.transport.acknowledged == []


async def test_a_bot_that_was_stopped_before_it_ran_returns_at_once() -> None:
    run = Run()
    run.bot.stop()
    await run.bot.run()
    assert run.transport.opens == 0


async def test_a_bot_runs_once() -> None:
    run = Run()
    async with running(run):
        await asyncio.sleep(0)
        with pytest.raises(LifecycleError, match="runs once"):
            await run.bot.run()


async def test_a_typing_sign_that_fails_or_hangs_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tecnobot_core.delivery.clearance.SIGN_TIMEOUT_S", 0.01)
    run = Run()

    async def broken(chat: ChatId, typing: bool) -> None:
        if typing:
            raise RuntimeError("no sign")
        await asyncio.Event().wait()

    run.transport.set_typing = broken  # type: ignore[method-assign]
    assert await run.answers(inbound("hola", 1), inbound("hola", 2)) == ["¡Hola! ¿En qué te ayudo?"] * 2


async def test_the_apology_is_made_again_when_it_could_not_be_stored() -> None:
    apologies, message = Apologies(SPANISH), inbound("a")
    first, again = (apologies.turn(message) for _ in range(2))
    assert first.outgoing == again.outgoing != ()
    assert apologies.turn(inbound("b", 2)).outgoing == ()


def from_lid(id: str, text: str, *aliases: str) -> InboundMessage:
    known = tuple(ChatId(alias) for alias in aliases)
    return InboundMessage(id=id, chat=ChatId("777@lid"), sent_at=0.0, text=text, aliases=known)


async def test_one_person_under_several_addresses_is_one_chat_and_is_answered_where_they_wrote() -> None:
    conversations = MemoryConversations()
    run = Run(conversations=conversations, rate_limiter=RateLimiter(2, 60))
    async with running(run):
        for message in (
            from_lid("1", "hola"),
            from_lid("2", "hola", "5215512345678@s.whatsapp.net"),
            InboundMessage(id="3", chat=ChatId("525512345678@s.whatsapp.net"), sent_at=0.0, text="hola"),
            InboundMessage(id="4", chat=ChatId("5215512345678@s.whatsapp.net"), sent_at=0.0, text="hola"),
        ):
            before = len(run.turns)
            run.transport.deliver(message)
            await run.transport.wait_sent(before + 1)
            while len(run.turns) == before or run.bot.statistics().unsent:
                await asyncio.sleep(0)
        assert {turn.chat.reveal() for turn in run.turns[1:]} == {"+525512345678"}
        exported = await run.bot.export_chat(ChatId("5215512345678"))
        assert len(exported["history"]) == 6  # type: ignore[arg-type]
        assert run.turns[3].answered_by == "rate_limit"
    assert [message.chat.reveal() for message in run.transport.sent] == [
        "777@lid",
        "777@lid",
        "525512345678@s.whatsapp.net",
        "5215512345678@s.whatsapp.net",
    ]


async def test_a_person_is_blacklisted_under_every_form_of_the_number() -> None:
    run = Run(blacklist=[ChatId("525512345678")])
    assert await run.answers(InboundMessage(id="1", chat=ChatId("5215512345678"), sent_at=0.0, text="hola")) == []
    assert run.turns[0].answered_by == "access_list"


def old(id: str, text: str, *, from_me: bool = False) -> InboundMessage:
    return InboundMessage(id=id, chat=ChatId("ana"), sent_at=time.time() - 3600, text=text, from_me=from_me)


async def test_a_backlog_is_answered_once_and_the_model_sees_what_was_asked_before() -> None:
    model = Model("de 9 a 18")
    run = Run(model=model)
    messages = [old("1", "¿siguen ahí?"), old("2", "yo te aviso", from_me=True), old("3", "¿a qué hora abren mañana?")]
    assert await run.answers(*messages) == ["de 9 a 18"]
    rows = [(row.role, row.content) for row in model.asked[0] if row.role != "system"]
    asked = [("user", "¿siguen ahí?"), ("assistant", "yo te aviso"), ("user", "¿a qué hora abren mañana?")]
    assert rows == asked
    assert [(row.role, row.content) for row in run.turns[0].history] == [*asked, ("assistant", "de 9 a 18")]
    assert run.turns[0].inbound == ("1", "2", "3")


async def test_a_backlog_can_be_apologised_for() -> None:
    run = Run(apologises_for_delay=True)
    assert await run.answers(old("1", "hola"), old("2", "hola?")) == [SPANISH.late]
    assert [row.content for row in run.turns[0].history] == ["hola", "hola?", SPANISH.late]


async def test_a_bot_with_a_pace_takes_its_time_and_says_everything() -> None:
    run = Run(pacing=Pacing(per_chat_gap_s=0.01, rate_per_s=1000, typing_chars_per_s=10_000, max_typing_s=0.01))
    assert await run.answers(inbound("hola", 1), inbound("hola", 2)) == ["¡Hola! ¿En qué te ayudo?"] * 2
    assert run.transport.typing.count((run.turns[0].chat, True)) >= 2
