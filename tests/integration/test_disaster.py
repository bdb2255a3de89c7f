"""Two owners, a frozen one, a database that is killed, cut off or slow: every turn once, in order."""

import asyncio
import random
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.delivery import Delivery, TurnContext, TurnPolicy
from tecnobot_core.events import EventBus
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Turn
from tecnobot_core.testing import FaultyProxy
from tests.crash.checks import bot_process, conversation, ends_by_itself, eventually, everything_agrees, finishes
from tests.crash.phones import Phones

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def phones_for(messages: Sequence[tuple[str, str]]) -> AsyncIterator[Phones]:
    with tempfile.TemporaryDirectory() as folder:
        async with Phones(Path(folder) / "phones", messages) as phones:
            yield phones


async def has_answered(phones: Phones, number: int) -> None:
    await eventually(lambda: len(phones.keys) >= number)


async def overlap(dsn: str, messages: list[tuple[str, str]], owners: int) -> None:
    """Each owner is busy when the next one starts, and ends because of it."""
    async with phones_for(messages) as phones, AsyncExitStack() as running:
        bot = await running.enter_async_context(bot_process(dsn, phones, 0))
        for number in range(1, owners):
            await has_answered(phones, len(messages) * number // (owners + 1))
            newer = await running.enter_async_context(bot_process(dsn, phones, number))
            await ends_by_itself(bot)
            bot = newer
        await finishes(bot, phones, dsn)
        # A newer one's link closes an older one's, which may take it back once before it knows.
        await everything_agrees(dsn, phones, messages, cuts=3 * (owners - 1))


async def test_the_old_owner_stands_down_and_ends_while_the_new_one_goes_on(database_url: str) -> None:
    await overlap(database_url, conversation(chats=20, each=100), owners=2)


@pytest.mark.slow
async def test_twelve_owners_one_after_the_other_while_messages_flow(database_url: str) -> None:
    await overlap(database_url, conversation(chats=40, each=300), owners=12)


async def freeze(dsn: str, messages: list[tuple[str, str]], wake_before_the_end: bool) -> None:
    """The first owner sleeps through its succession."""
    async with phones_for(messages) as phones, bot_process(dsn, phones, 0) as frozen:
        await has_answered(phones, len(messages) // 4)
        frozen.send_signal(signal.SIGSTOP)
        async with bot_process(dsn, phones, 1) as second:
            if wake_before_the_end:
                await has_answered(phones, len(messages) // 2)
                frozen.send_signal(signal.SIGCONT)
                await ends_by_itself(frozen)
                await finishes(second, phones, dsn)
            else:
                await finishes(second, phones, dsn)
                frozen.send_signal(signal.SIGCONT)
                await ends_by_itself(frozen)
        await everything_agrees(dsn, phones, messages, cuts=3)


@pytest.mark.parametrize("wake_before_the_end", [True, False])
async def test_a_frozen_owner_that_wakes_does_nothing_twice_and_ends(
    database_url: str, wake_before_the_end: bool
) -> None:
    await freeze(database_url, conversation(chats=20, each=100), wake_before_the_end)


def kill_cluster(pid: int) -> None:
    """End the server *pid* and its processes as a power cut would."""
    server = psutil.Process(pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def power_cuts(directory: Path, messages: list[tuple[str, str]], cuts: int, seed: int) -> None:
    chance = random.Random(seed)
    async with phones_for(messages) as phones, AsyncExitStack() as servers:
        server = await servers.enter_async_context(EmbeddedPostgres(directory))
        async with bot_process(server.dsn, phones, seed) as bot:
            for cut in range(cuts):
                await has_answered(phones, len(messages) * (cut + 1) // (cuts + 2))
                kill_cluster(server.pid)
                await asyncio.sleep(chance.random())  # how long it is away is what is being varied
                server = await servers.enter_async_context(EmbeddedPostgres(directory))
            await finishes(bot, phones, server.dsn)
        # The bot lived on, so it knows what it sent.
        await everything_agrees(server.dsn, phones, messages, cuts=0)


async def test_messages_flow_on_after_postgresql_was_killed(tmp_path: Path) -> None:
    await power_cuts(tmp_path / "postgres", conversation(chats=20, each=100), cuts=2, seed=1)


@pytest.mark.slow
async def test_messages_flow_on_after_postgresql_was_killed_15_times(tmp_path: Path) -> None:
    await power_cuts(tmp_path / "postgres", conversation(chats=40, each=300), cuts=15, seed=2)


@asynccontextmanager
async def behind_a_proxy(dsn: str) -> AsyncIterator[tuple[FaultyProxy, str]]:
    """A proxy before the database, and the address through it."""
    folder, port = (parse_qs(urlsplit(dsn).query)[name][0] for name in ("host", "port"))
    async with FaultyProxy(Path(folder) / f".s.PGSQL.{port}") as proxy:
        parts = urlsplit(dsn)
        user = f"{parts.username}@{proxy.host}:{proxy.port}"
        yield proxy, parts._replace(netloc=user, query="sslmode=disable").geturl()


async def cut_often(proxy: FaultyProxy, chance: random.Random) -> None:
    for _ in range(5):
        proxy.cut()
        await asyncio.sleep(chance.random() * 0.2)


async def refuse_for_a_while(proxy: FaultyProxy, chance: random.Random) -> None:
    await proxy.refuse()
    proxy.cut()
    await asyncio.sleep(2)
    await proxy.listen()


async def lose_answers(proxy: FaultyProxy, chance: random.Random) -> None:
    for _ in range(5):
        proxy.lose_answers = True
        await asyncio.sleep(chance.random() * 0.1)
        proxy.lose_answers = False
        await asyncio.sleep(chance.random() * 0.3)


async def be_slow(proxy: FaultyProxy, chance: random.Random) -> None:
    proxy.delay_s = 0.05
    await asyncio.sleep(1)
    proxy.cut()
    proxy.delay_s = 0.0


async def be_silent(proxy: FaultyProxy, chance: random.Random) -> None:
    proxy.stalled = True
    await asyncio.sleep(20)  # longer than the bot waits for an answer
    proxy.stalled = False


Fault = Callable[[FaultyProxy, random.Random], Awaitable[None]]


async def trouble(dsn: str, messages: list[tuple[str, str]], fault: Fault, times: int) -> None:
    chance = random.Random(times)
    async with phones_for(messages) as phones, behind_a_proxy(dsn) as (proxy, address):
        async with bot_process(address, phones, 0) as bot:
            for number in range(times):
                await has_answered(phones, len(messages) * (number + 1) // (times + 2))
                await fault(proxy, chance)
            await finishes(bot, phones, dsn)
        await everything_agrees(dsn, phones, messages, cuts=0)


@pytest.mark.parametrize("fault", [cut_often, refuse_for_a_while, lose_answers, be_slow])
async def test_a_way_to_the_database_that_fails_loses_and_doubles_nothing(database_url: str, fault: Fault) -> None:
    await trouble(database_url, conversation(chats=20, each=75), fault, times=1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [cut_often, refuse_for_a_while, lose_answers, be_slow, be_silent])
async def test_a_way_to_the_database_that_often_fails_loses_and_doubles_nothing(
    database_url: str, fault: Fault
) -> None:
    await trouble(database_url, conversation(chats=40, each=300), fault, times=2 if fault is be_silent else 8)


class Shop:
    """A Delivery over the store of *database* that echoes, with what it sent and when."""

    def __init__(self, database: Database, **options: int) -> None:
        self.sent: defaultdict[str, list[str]] = defaultdict(list)
        self.sent_at: list[float] = []
        self.most_loaded = 0
        self.store = PostgresDelivery(database, "shop")
        self.delivery = Delivery(
            self.store,
            handle=self._echo,
            fail=_never,
            send=self._send,
            wait_ready=_ready,
            events=EventBus(),
            policy=TurnPolicy(collapse_after_s=0),
            **options,  # type: ignore[arg-type]
        )

    async def _echo(self, context: TurnContext) -> Turn:
        self.most_loaded = max(self.most_loaded, self.delivery.statistics().waiting)
        return echo(context.message)

    async def _send(self, message: OutboundMessage) -> None:
        self.sent[message.chat.reveal()].append(message.key)
        self.sent_at.append(time.perf_counter())


def echo(message: InboundMessage) -> Turn:
    return Turn(
        chat=message.chat,
        inbound=(message.id,),
        outcome="answered",
        answered_by="echo",
        history=(ChatMessage("user", message.text),),
        outgoing=(OutboundMessage(chat=message.chat, key=f"{message.id}/0", text=message.text),),
    )


def _never(message: InboundMessage, error: Exception) -> Turn:
    raise error


async def _ready() -> None:
    """The link is always there."""


def inbound(chat: str, id: str) -> InboundMessage:
    return InboundMessage(id=id, chat=ChatId(chat), sent_at=0.0, text=id)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        yield database


async def test_what_comes_three_times_and_shuffled_is_answered_once_as_it_came_first(database: Database) -> None:
    messages = [inbound(chat, id) for chat, id in conversation(chats=20, each=20)] * 3
    random.Random(5).shuffle(messages)
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for message in dict.fromkeys(messages):
        expected[message.chat.reveal()].append(message.id)
    shop = Shop(database)
    async with shop.delivery:
        for start in range(0, len(messages), 37):
            await shop.delivery.accept(messages[start : start + 37])
        assert await shop.delivery.drain(60)
        assert shop.sent == {chat: [f"{id}/0" for id in ids] for chat, ids in expected.items()}
        statistics = shop.delivery.statistics()
        assert (statistics.accepted, statistics.duplicates, statistics.committed) == (400, 800, 400)
    conversations = PostgresConversations(database, "shop")
    for chat, ids in expected.items():
        history = (await conversations.load(ChatId(chat), 99)).history
        assert [row.content for row in history] == ids


async def accepted_by_an_earlier_process(database: Database, messages: Sequence[InboundMessage]) -> None:
    async with PostgresDelivery(database, "shop") as earlier:
        for start in range(0, len(messages), 500):
            await earlier.accept(messages[start : start + 500])


async def test_ten_thousand_that_wait_are_answered_in_order_and_the_first_of_them_soon(database: Database) -> None:
    waiting = conversation(chats=500, each=20)
    await accepted_by_an_earlier_process(database, [inbound(chat, id) for chat, id in waiting])
    shop = Shop(database, max_loaded=1000)
    began = time.perf_counter()
    async with shop.delivery:
        more = [(f"chat-{chat}", f"new{chat}") for chat in range(500)]
        await shop.delivery.accept([inbound(chat, id) for chat, id in more])
        assert await shop.delivery.drain(120)
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for chat, id in (*waiting, *more):
        expected[chat].append(f"{id}/0")
    assert shop.sent == expected
    assert shop.sent_at[0] - began < 2
    assert shop.most_loaded <= 1000


async def test_ten_thousand_that_are_to_be_sent_go_out_in_order_and_the_first_of_them_soon(database: Database) -> None:
    to_send = conversation(chats=500, each=20)
    posts = [OutboundMessage(chat=ChatId(chat), key=id, text=id) for chat, id in to_send]
    async with PostgresDelivery(database, "shop") as earlier:
        await earlier.post(posts)
    shop = Shop(database)
    began = time.perf_counter()
    async with shop.delivery:
        assert await shop.delivery.drain(120)
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for chat, id in to_send:
        expected[chat].append(id)
    assert shop.sent == expected
    assert shop.sent_at[0] - began < 2
