"""Flows that ask, in a whole bot: each message one step further, wherever the process was stopped."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tecnobot_core import Bot, ChatId, ConnectionManager, Flow, FlowRepository, InboundMessage, MediaReference
from tecnobot_core.bot import SPANISH
from tecnobot_core.delivery import Conversations, MemoryConversations
from tecnobot_core.events import EventBus, TurnCommitted
from tecnobot_core.flows import FlowContext, MemoryFlowStore
from tecnobot_core.flows.steps import Ask, Choice, Do, End, Finish, Goto, Jump, Media, Menu, Repeat, Send, When
from tecnobot_core.messages import Turn
from tecnobot_core.testing import FakeTransport
from tests.live_bot import LiveBot

ANA = ChatId("ana")


class Server:
    """What the Do steps act on."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, dict[str, Any]]] = []
        self.fails = False

    async def save(self, context: FlowContext) -> Repeat | None:
        if self.fails:
            raise RuntimeError("the server is away")
        if context.variables["name"] == "nadie":
            return Repeat("¿De verdad? Dime tu nombre.")
        self.saved.append((context.idempotency_key, dict(context.variables)))
        context.send("guardado ✔")
        return None


REGISTER = (
    Flow("registro")
    .on("registro")
    .then(
        Send(text="Vamos a registrarte."),
        Ask(id="name", text="¿Cómo te llamas?", into="name", limits={"min": 2}, retry="Ese nombre es muy corto."),
        Ask(
            text="¿Cuántos años tienes, {name}?",
            into="age",
            type="integer",
            limits={"min": 0, "max": 120},
            retry="¿Edad?",
        ),
        When(
            condition="age >= 18",
            then=(Send(text="Adelante."),),
            otherwise=(Finish(text="Tienes que ser mayor de edad."),),
        ),
        Menu(
            text="¿Cómo pagas?",
            choices=(
                Choice(label="Efectivo", steps=(Send(text="En caja."),)),
                Choice(label="Tarjeta", keywords=("crédito",), steps=(Ask(text="¿Qué banco?", into="bank"),)),
            ),
            unknown="Elige una de las dos.",
        ),
        Do(function="save"),
        Send(text="Listo, {name}."),
    )
)
CANCEL = Flow("cancelar", interrupts=True).on("cancelar").say("Cancelado.")
HOURS = Flow("horario").on("horario").say("De 9 a 18.")


async def talk(
    *messages: str | InboundMessage,
    flows: Sequence[Flow] = (REGISTER, CANCEL, HOURS),
    conversations: Conversations | None = None,
    server: Server | None = None,
    begin: int = 0,
) -> list[Turn]:
    """One life of a bot, in which Ana sends *messages*; its turns."""
    turns: list[Turn] = []
    events = EventBus()
    events.on(TurnCommitted, lambda event: turns.append(event.turn))
    given = [
        InboundMessage(id=f"m{n}", chat=ANA, sent_at=2_000_000_000.0 + n, text=message)
        if isinstance(message, str)
        else message
        for n, message in enumerate(messages, begin)
    ]
    functions: dict[str, Callable[..., Any]] = {"save": (server or Server()).save}
    bot = Bot(
        ConnectionManager(FakeTransport(given, ends=True)),
        flows=FlowRepository(MemoryFlowStore(flows), "bot"),
        conversations=conversations,
        functions=functions,
        events=events,
    )
    await bot.run()
    return turns


def said(turns: Sequence[Turn]) -> list[list[str]]:
    return [[message.text for message in turn.outgoing] for turn in turns]


CARD = ["registro", "A", "Ana", "veinte", "20", "oro", "crédito", "Banorte"]
TRANSCRIPT = [
    ["Vamos a registrarte.", "¿Cómo te llamas?"],
    ["Ese nombre es muy corto."],
    ["¿Cuántos años tienes, Ana?"],
    ["¿Edad?"],
    ["Adelante.", "¿Cómo pagas?"],
    ["Elige una de las dos."],
    ["¿Qué banco?"],
    ["guardado ✔", "Listo, Ana."],
]


async def test_a_form_is_filled_in_step_by_step() -> None:
    server = Server()
    turns = await talk(*CARD, server=server)
    assert said(turns) == TRANSCRIPT
    assert [turn.answered_by for turn in turns] == ["flow"] * 8
    assert turns[-1].position is None
    ((key, variables),) = server.saved
    assert key.startswith("m7")
    assert variables == {"name": "Ana", "age": 20, "bank": "Banorte"}


async def test_a_bot_that_is_restarted_after_every_message_says_the_same() -> None:
    conversations, server, transcript = MemoryConversations(), Server(), []
    for number, text in enumerate(CARD):
        transcript += said(await talk(text, conversations=conversations, server=server, begin=number))
    assert transcript == TRANSCRIPT
    assert len(server.saved) == 1


async def test_a_menu_is_answered_by_number_and_shows_its_choices() -> None:
    turns = await talk("registro", "Ana", "20", "1")
    assert turns[2].outgoing[-1].buttons == ("Efectivo", "Tarjeta")
    assert said(turns)[-1] == ["En caja.", "guardado ✔", "Listo, Ana."]


async def test_a_keyword_is_an_answer_while_a_flow_asks_unless_its_flow_interrupts() -> None:
    turns = await talk("registro", "horario", "cancelar", "horario")
    assert said(turns) == [TRANSCRIPT[0], ["¿Cuántos años tienes, horario?"], ["Cancelado."], ["De 9 a 18."]]


async def test_a_function_can_ask_again_and_one_that_fails_leaves_the_conversation_where_it_was() -> None:
    server, conversations = Server(), MemoryConversations()
    assert said(await talk("registro", "nadie", "20", conversations=conversations, server=server))[-1][0] == "Adelante."
    server.fails = True
    turns = await talk("1", conversations=conversations, server=server, begin=3)
    assert (turns[0].outcome, said(turns)) == ("failed", [[SPANISH.apology]])
    server.fails = False
    assert said(await talk("1", conversations=conversations, server=server, begin=4)) == [
        ["En caja.", "¿De verdad? Dime tu nombre."]
    ]


async def test_a_function_speaks_at_once_and_once_however_often_it_is_called() -> None:
    told: list[bool] = []

    async def slow(context: FlowContext) -> None:
        told.append(await context.send_now("un momento…", key="wait"))
        told.append(await context.send_now("un momento…", key="wait"))
        raise RuntimeError("the server is away")

    transport = FakeTransport([InboundMessage(id="m", chat=ANA, sent_at=0.0, text="pagar")], ends=True)
    flows = FlowRepository(MemoryFlowStore([Flow("pagar").on("pagar").then(Do(function="slow"))]), "bot")
    await Bot(ConnectionManager(transport), flows=flows, functions={"slow": slow}).run()
    assert told == [True, False]
    assert [message.text for message in transport.sent] == ["un momento…", SPANISH.apology]


async def test_an_answer_that_was_sent_before_the_question_is_none() -> None:
    start = InboundMessage(id="1", chat=ANA, sent_at=2_000_000_000.0, text="registro")
    early = InboundMessage(id="2", chat=ANA, sent_at=1.0, text="hola?")
    turns = await talk(start, early)
    assert said(turns) == [TRANSCRIPT[0], []]
    assert turns[1].position == turns[0].position
    assert turns[1].outcome == "answered"


async def test_files_are_answers_and_attachments_are_sent() -> None:
    upload = (
        Flow("subir")
        .on("subir")
        .then(
            Ask(
                text="Manda tu identificación.",
                into="file",
                type="file",
                limits={"kinds": ["image"]},
                retry="Una foto.",
            ),
            Send(text="Tu recibo", media=Media("document", "https://example.com/r.pdf", "recibo.pdf")),
        )
    )
    media = MediaReference(kind="image", address="a", mime="image/jpeg", key=b"secret")
    photo = InboundMessage(id="p", chat=ANA, sent_at=2_000_000_000.0, kind="image", media=media)
    turns = await talk("subir", "no quiero", photo, flows=[upload])
    assert said(turns) == [["Manda tu identificación."], ["Una foto."], ["Tu recibo"]]
    sent = turns[2].outgoing[0].media
    assert sent is not None
    assert (sent.kind, sent.address, sent.file_name) == ("document", "https://example.com/r.pdf", "recibo.pdf")


async def test_a_conversation_goes_on_where_its_flow_was_changed_and_ends_where_it_is_gone() -> None:
    conversations = MemoryConversations()
    await talk("registro", conversations=conversations)
    changed = (
        Flow("registro")
        .on("registro")
        .then(Ask(id="name", text="¿Nombre?", into="name"), Send(text="Gracias, {name}."))
    )
    assert said(await talk("Ana", flows=[changed], conversations=conversations, begin=1)) == [["Gracias, Ana."]]
    await talk("registro", flows=[changed], conversations=conversations, begin=2)
    turns = await talk("horario", flows=[HOURS], conversations=conversations, begin=3)
    assert (said(turns), turns[0].position) == ([["De 9 a 18."]], None)


async def test_a_welcome_that_asks_comes_after_the_answer_and_waits() -> None:
    welcome = Flow("bienvenida", event="welcome").then(
        Ask(text="¿Cómo te llamas?", into="name"), Send(text="{name} 👋")
    )
    turns = await talk("¿qué tal?", "Ana", flows=[welcome])
    assert said(turns) == [["¿Cómo te llamas?"], ["Ana 👋"]]


async def test_flows_go_on_in_other_flows_and_end_when_told() -> None:
    one = Flow("uno").on("uno").then(Send(text="1"), Jump(to=Goto(flow="dos", step="b")))
    two = (
        Flow("dos").on("dos").then(Send(text="a"), Send(id="b", text="b"), Finish(text="adiós"), Send(id="c", text="c"))
    )
    assert said(await talk("uno", flows=[one, two])) == [["1", "b", "adiós"]]


async def test_a_question_gives_up_after_its_retries() -> None:
    flow = (
        Flow("edad")
        .on("edad")
        .then(
            Ask(
                text="¿Edad?",
                into="age",
                type="integer",
                retry="Un número.",
                max_retries=1,
                on_failure=End("Otro día."),
            )
        )
    )
    assert said(await talk("edad", "x", "y", "z", flows=[flow, HOURS]))[:3] == [
        ["¿Edad?"],
        ["Un número."],
        ["Otro día."],
    ]


async def test_a_question_whose_time_is_over_is_answered_no_more() -> None:
    over = Goto(flow="sin hacer")
    asks = Flow("cita").on("cita").ask("¿Qué día?", into="day", timeout_s=60, on_timeout=over)
    undone = Flow("sin hacer").on("sin hacer").say("Tu cita quedó sin hacer.")
    async with LiveBot([asks, undone, HOURS]).running() as live:
        assert await live.says("cita") == ["¿Qué día?"]
        await live.clock.advance(61)
        assert await live.says("horario") == ["Tu cita quedó sin hacer.", "De 9 a 18."]


async def test_a_question_is_given_up_though_nobody_writes_and_after_a_reminder() -> None:
    asks = (
        Flow("cita")
        .on("cita")
        .ask("¿Qué día?", into="day", remind_s=60, reminder="¿Sigues ahí?", timeout_s=120, on_timeout=End("Otro día."))
    )
    async with LiveBot([asks]).running() as live:
        await live.says("cita")
        assert await live.passes(59) == []
        assert await live.passes(1) == ["¿Sigues ahí?"]
        assert await live.passes(59) == []
        assert await live.passes(1) == ["Otro día."]
        assert await live.passes(600) == []


@pytest.mark.postgres
async def test_a_conversation_in_postgresql_outlives_each_process(database_url: str) -> None:
    from tecnobot_core.adapters.postgres import Database, PostgresConversations, ensure_chatbot, migrate

    server, transcript = Server(), []
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "bot")
        for number, text in enumerate(CARD):
            conversations = PostgresConversations(database, "bot")
            transcript += said(await talk(text, conversations=conversations, server=server, begin=number))
            await asyncio.sleep(0)
    assert transcript == TRANSCRIPT
