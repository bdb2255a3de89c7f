"""Many chatbots on one database, each with its own."""

import asyncio
from contextlib import suppress

import pytest

from tecnobot_core import Bot, ChatId, ConnectionManager, Flow, FlowRepository, InboundMessage, Knowledge
from tecnobot_core.adapters.postgres import (
    PostgresAliases,
    PostgresChatbots,
    PostgresConversations,
    PostgresDelivery,
    PostgresFlowStore,
    PostgresKnowledge,
    StoredChatbot,
)
from tecnobot_core.bot import ChatbotProfile
from tecnobot_core.delivery.addresses import Sighting
from tecnobot_core.errors import ConfigurationError, StoreError
from tecnobot_core.knowledge import Passage
from tecnobot_core.messages import ChatMessage, FormRecord, OutboundMessage, Position, Turn
from tecnobot_core.testing import FakeTransport
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres
ANA = ChatId("+525512345678")


async def test_a_chatbot_comes_back_as_it_was_put(database: CountingDatabase) -> None:
    chatbots = PostgresChatbots(database)
    cafe = StoredChatbot("cafe", "Café", "spanish", {"prompt": "Eres Luna.", "blocked": ["+52*"]})
    await chatbots.put(cafe)
    await chatbots.put(cafe)
    assert await chatbots.load("cafe") == cafe
    assert [chatbot.id for chatbot in await chatbots.list()] == ["bakery", "cafe", "shop"]


async def test_an_unknown_chatbot_names_the_known_ones(database: CountingDatabase) -> None:
    with pytest.raises(StoreError, match="there are: bakery, shop"):
        await PostgresChatbots(database).load("sopas")


async def test_settings_of_one_chatbot_that_are_wrong_leave_the_others(database: CountingDatabase) -> None:
    chatbots = PostgresChatbots(database)
    await chatbots.put(StoredChatbot("bad", settings={"promt": "x"}))
    with pytest.raises(ConfigurationError, match="did you mean 'prompt'"):
        ChatbotProfile.read((await chatbots.load("bad")).settings)
    assert ChatbotProfile.read((await chatbots.load("shop")).settings) == ChatbotProfile()


@pytest.mark.parametrize(
    "settings", ["[]", '"x"', "null", "1", "[" * 3000 + "]" * 3000, f'{{"quiet_seconds": 1{"0" * 5000}}}']
)
async def test_settings_that_nobody_can_read_leave_the_others(database: CountingDatabase, settings: str) -> None:
    await database.execute("UPDATE tecnobot.chatbot SET settings = $1::text::jsonb WHERE id = 'bakery'", settings)
    bakery, shop = await PostgresChatbots(database).list()
    with pytest.raises(ConfigurationError, match="object"):
        ChatbotProfile.read(bakery.settings)
    assert ChatbotProfile.read(shop.settings) == ChatbotProfile()


async def test_two_bots_on_one_database_share_nothing(database: CountingDatabase) -> None:
    chatbots, store = PostgresChatbots(database), PostgresFlowStore(database)
    transports = {}
    bots = []
    for name in ("shop", "bakery"):
        await chatbots.put(StoredChatbot(name, settings={"blocked": ["+34*"] if name == "shop" else []}))
        await store.put(
            name, Flow("hello").on("hola").say(f"Aquí {name}.").ask("¿Tu nombre?", into="name").say("{name}!")
        )
        await PostgresKnowledge(database, name, "spanish").replace([Passage("Envío", f"El envío de {name} es gratis.")])
        transports[name] = FakeTransport()
        profile = ChatbotProfile.read((await chatbots.load(name)).settings)
        bots.append(
            Bot(
                ConnectionManager(transports[name]),
                flows=FlowRepository(store, name),
                knowledge=Knowledge(PostgresKnowledge(database, name, "spanish")),
                conversations=PostgresConversations(database, name),
                store=PostgresDelivery(database, name),
                **profile.bot_options(),
            )
        )
    running = [asyncio.create_task(bot.run()) for bot in bots]
    for name, transport in transports.items():
        for number, text in enumerate(["hola", "Ana" if name == "shop" else "Eva", "envío gratis"]):
            transport.deliver(InboundMessage(id=f"m{number}", chat=ANA, sent_at=2e9 + number, text=text))
        transport.deliver(InboundMessage(id="es", chat=ChatId("+34600111222"), sent_at=2e9, text="hola"))
    async with asyncio.timeout(20):
        await transports["shop"].wait_sent(4)
        await transports["bakery"].wait_sent(6)
    for bot in bots:
        bot.stop()
    await asyncio.gather(*running)
    said = {name: [m.text for m in transport.sent if m.chat == ANA] for name, transport in transports.items()}
    assert said["shop"] == ["Aquí shop.", "¿Tu nombre?", "Ana!", "El envío de shop es gratis."]
    assert said["bakery"] == ["Aquí bakery.", "¿Tu nombre?", "Eva!", "El envío de bakery es gratis."]


async def test_nothing_of_a_removed_chatbot_is_left_in_any_table(database: CountingDatabase) -> None:
    turn = Turn(
        chat=ANA,
        inbound=("a",),
        outcome="answered",
        answered_by="test",
        history=(ChatMessage("user", "hola"),),
        position=Position("f", "s", kind="ask", expires_at=2e9),
        outgoing=(OutboundMessage(chat=ANA, key="a/0", text="buenas"),),
        records=(FormRecord(form="registro", values={"name": "Ana"}, submitted_at=1.0),),
    )
    for name in ("shop", "bakery"):
        await PostgresFlowStore(database).put(name, Flow("hello").on("hola").say("…"))
        await PostgresKnowledge(database, name).replace([Passage("t", "b", 1.0)])
        lid = Sighting(alias=ChatId("1@lid"), chat=ANA, wrote=True)
        await PostgresAliases(database, name).learn([lid])
        async with PostgresDelivery(database, name) as store:
            await store.accept([InboundMessage(id=id, chat=ANA, sent_at=1.0, text="hola") for id in ("a", "b")])
            await store.commit([turn])
    before = await counts(database)
    assert len(before) >= 14
    assert await PostgresChatbots(database).remove("shop")
    assert not await PostgresChatbots(database).remove("shop")
    after = await counts(database)
    assert {name: n for name, n in after.items() if n * 2 != before[name]} == {}


async def counts(database: CountingDatabase) -> dict[str, int]:
    """How many rows each table has that belongs to chatbots, as far as it has any."""
    tables = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'tecnobot'::regnamespace AND relkind = 'r'"
    )
    names = [row["relname"] for row in tables if row["relname"] != "migration"]
    found = {name: await database.fetchval(f"SELECT count(*) FROM tecnobot.{name}") for name in names}
    return {name: n for name, n in found.items() if n}


async def test_a_running_bot_whose_chatbot_is_removed_stops(database: CountingDatabase) -> None:
    transport = FakeTransport()
    bot = Bot(ConnectionManager(transport), store=PostgresDelivery(database, "shop"))
    running = asyncio.create_task(bot.run())
    transport.deliver(InboundMessage(id="a", chat=ANA, sent_at=2e9, text="hola"))
    await transport.wait_sent(1)
    assert await PostgresChatbots(database).remove("shop")
    transport.deliver(InboundMessage(id="b", chat=ANA, sent_at=2e9, text="hola"))
    async with asyncio.timeout(20):
        with suppress(StoreError):
            await running
    assert len(transport.sent) == 1
