"""Whatever is killed whenever: every turn once, in order, and nothing lost in silence."""

import asyncio
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.crash.phones import Phones

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.postgres


@asynccontextmanager
async def bot_process(dsn: str, phones: Phones, seed: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot, connected; killed at the end if it still runs."""
    connections = phones.connections
    command = (sys.executable, "-m", "tests.crash.bot", dsn, str(phones.path), str(seed))
    bot = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        async with asyncio.timeout(60):
            while phones.connections == connections:
                await asyncio.sleep(0.001)
        yield bot
    finally:
        if bot.returncode is None:
            bot.kill()
            await bot.wait()


async def kill_again_and_again(dsn: str, phones: Phones, kills: int, seed: int) -> None:
    """Kill the bot at random moments after it connected, then let the last one finish and stop in order."""
    chance = random.Random(seed)
    for number in range(kills):
        async with bot_process(dsn, phones, number):
            await asyncio.sleep(chance.random() * 0.15)  # the moment of the kill is what is being varied
    async with bot_process(dsn, phones, kills) as bot:
        async with asyncio.timeout(120):
            while not (phones.all_acknowledged and await is_settled(dsn)):
                await asyncio.sleep(0.05)
        bot.terminate()
        async with asyncio.timeout(20):
            assert await bot.wait() == 0


async def is_settled(dsn: str) -> bool:
    """Whether nothing waits in the database."""
    connection = await asyncpg.connect(dsn)
    try:
        open_rows = await connection.fetchval(
            "SELECT (SELECT count(*) FROM tecnobot.inbox)"
            " + (SELECT count(*) FROM tecnobot.outbox WHERE state IN ('waiting', 'taken'))"
        )
        return bool(open_rows == 0)
    finally:
        await connection.close()


async def histories(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, list[str]]:
    rows = await connection.fetch(
        "SELECT phone_number, content FROM tecnobot.chat_history AS said JOIN tecnobot.chat ON chat.id = chat_id"
        " ORDER BY said.id"
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row["phone_number"]].append(row["content"])
    return dict(found)


async def everything_agrees(dsn: str, phones: Phones, messages: list[tuple[str, str]], kills: int) -> None:
    by_chat: defaultdict[str, list[str]] = defaultdict(list)
    for chat, id in messages:
        by_chat[chat].append(id)
    assert len(phones.keys) == len(set(phones.keys)), "a message was sent twice"
    for chat, ids in by_chat.items():
        order = [id for id in ids if f"{id}/0" in phones.sent[chat]]
        assert phones.sent[chat] == [f"{id}/0" for id in order], "answers are out of order"
    missing = {f"{id}/0" for _, id in messages} - set(phones.keys)
    connection = await asyncpg.connect(dsn)
    try:
        expected = {chat: [t for id in ids for t in (f"¿{id}?", f"answer to ¿{id}?")] for chat, ids in by_chat.items()}
        assert await histories(connection) == expected, "a turn was lost, done twice or out of order"
        assert await connection.fetchval("SELECT count(*) FROM tecnobot.inbox") == 0
        states = {row["key"]: row["state"] for row in await connection.fetch("SELECT key, state FROM tecnobot.outbox")}
        assert set(states) == {f"{id}/0" for _, id in messages}
        assert set(states.values()) <= {"sent", "uncertain"}
        uncertain = {key for key, state in states.items() if state == "uncertain"}
        assert missing <= uncertain, "a message was lost in silence"
        # At most what was being sent at once can be uncertain after a kill.
        assert len(uncertain) <= 64 * kills
    finally:
        await connection.close()


def conversation(chats: int, each: int) -> list[tuple[str, str]]:
    """(chat, message id), chats taking turns."""
    return [(f"chat-{chat}", f"m{chat}-{number}") for number in range(each) for chat in range(chats)]


async def crash(dsn: str, kills: int, chats: int, each: int, seed: int) -> None:
    messages = conversation(chats, each)
    with tempfile.TemporaryDirectory() as folder:
        async with Phones(Path(folder) / "phones", messages) as phones:
            await kill_again_and_again(dsn, phones, kills, seed)
            await everything_agrees(dsn, phones, messages, kills)


async def test_20_kills_of_the_bot_lose_and_double_nothing(database_url: str) -> None:
    await crash(database_url, kills=20, chats=20, each=100, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
async def test_200_kills_of_the_bot_lose_and_double_nothing(database_url: str, seed: int) -> None:
    await crash(database_url, kills=50, chats=40, each=150, seed=seed)
