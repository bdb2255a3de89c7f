"""What is started to be ended, and what must be true at the end."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.crash.phones import Phones

ROOT = Path(__file__).parents[2]
MAX_SENDING = 64  # what a Bot sends at once


@asynccontextmanager
async def bot_process(
    database: str | Path,
    phones: Phones,
    seed: int,
    chatbot: str = "crash",
    log: int | None = None,
    clock: str = "steady",
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot, connected; killed at the end if it still runs.

    *database* is an address or a private server's folder; *log* is an open file for what it says, by its number.
    """
    connections = phones.connections
    command = (sys.executable, "-m", "tests.crash.bot", str(database), str(phones.path), str(seed), chatbot, clock)
    bot = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=log)
    try:
        async with asyncio.timeout(60):
            while phones.connections == connections:
                await asyncio.sleep(0.001)
        yield bot
    finally:
        if bot.returncode is None:
            bot.kill()
            await bot.wait()


async def eventually(is_so: Callable[[], Awaitable[bool] | bool], timeout_s: float = 60) -> None:
    """Return when *is_so*; TimeoutError when it is not within *timeout_s*."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)


async def ends_by_itself(bot: asyncio.subprocess.Process, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        assert await bot.wait() == 0


async def finishes(bot: asyncio.subprocess.Process, phones: Phones, dsn: str, timeout_s: float = 120) -> None:
    """Let *bot* do all that there is, and stop in order."""

    async def is_done() -> bool:
        return phones.all_acknowledged and await is_settled(dsn)

    await eventually(is_done, timeout_s)
    bot.terminate()
    await ends_by_itself(bot)


async def is_settled(dsn: str) -> bool:
    """Whether nothing waits in the database; no while that cannot be asked."""
    try:
        connection = await asyncpg.connect(dsn)
        try:
            open_rows = await connection.fetchval(
                "SELECT (SELECT count(*) FROM tecnobot.inbox)"
                " + (SELECT count(*) FROM tecnobot.outbox WHERE state IN ('waiting', 'taken'))"
            )
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
        return False
    return bool(open_rows == 0)


async def histories(connection: "asyncpg.Connection[asyncpg.Record]", chatbot: str) -> dict[str, list[str]]:
    rows = await connection.fetch(
        "SELECT phone_number, content FROM tecnobot.chat_history AS said JOIN tecnobot.chat ON chat.id = chat_id"
        " WHERE chatbot_id = $1 ORDER BY said.id",
        chatbot,
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row["phone_number"]].append(row["content"])
    return dict(found)


async def everything_agrees(
    dsn: str, phones: Phones, messages: list[tuple[str, str]], cuts: int, chatbot: str = "crash"
) -> None:
    """Inbox, outbox, history and phones tell the same story, after *cuts* moments in which sends may have been lost."""
    by_chat: defaultdict[str, list[str]] = defaultdict(list)
    for chat, id in messages:
        by_chat[chat].append(id)
    assert len(phones.keys) == len(set(phones.keys)), "a message was sent twice"
    for chat, ids in by_chat.items():
        order = [id for id in ids if f"{id}/0" in phones.sent[chat]]
        # In a long outage the chats are told that it takes a while.
        answers = [key for key in phones.sent[chat] if not key.endswith("/away")]
        assert answers == [f"{id}/0" for id in order], "answers are out of order"
    missing = {f"{id}/0" for _, id in messages} - set(phones.keys)
    connection = await asyncpg.connect(dsn)
    try:
        expected = {chat: [t for id in ids for t in (f"¿{id}?", f"answer to ¿{id}?")] for chat, ids in by_chat.items()}
        assert await histories(connection, chatbot) == expected, "a turn was lost, done twice or out of order"
        assert await connection.fetchval("SELECT count(*) FROM tecnobot.inbox WHERE chatbot_id = $1", chatbot) == 0
        entries = await connection.fetch("SELECT key, state FROM tecnobot.outbox WHERE chatbot_id = $1", chatbot)
        states = {entry["key"]: entry["state"] for entry in entries}
        assert set(states) == {f"{id}/0" for _, id in messages}
        assert set(states.values()) <= {"sent", "uncertain"}
        uncertain = {key for key, state in states.items() if state == "uncertain"}
        assert missing <= uncertain, "a message was lost in silence"
        assert len(uncertain) <= MAX_SENDING * cuts, "more is uncertain than was being sent"
    finally:
        await connection.close()


async def everything_was_told(dsn: str, phones: Phones, messages: list[tuple[str, str]], cuts: int) -> int:
    """As ``everything_agrees``, where a backlog may get one answer for all; returns how many answers there are."""
    by_chat: defaultdict[str, list[str]] = defaultdict(list)
    for chat, id in messages:
        by_chat[chat].append(id)
    connection = await asyncpg.connect(dsn)
    try:
        rows = await histories(connection, "crash")
        asked = {chat: [row for row in said if row.startswith("¿")] for chat, said in rows.items()}
        for chat, ids in by_chat.items():
            assert asked.get(chat) == [f"¿{id}?" for id in ids], f"lost, doubled or not in order in {chat}"
        # Each answer is to the question right before it, and has the key of that one.
        answers = {
            chat: [_answered(said, n) for n in range(len(said)) if said[n].startswith("a")]
            for chat, said in rows.items()
        }
        entries = await connection.fetch("SELECT key, state FROM tecnobot.outbox WHERE chatbot_id = 'crash'")
        states = {entry["key"]: entry["state"] for entry in entries}
        assert set(states) == {key for keys in answers.values() for key in keys}
        uncertain = {key for key, state in states.items() if state == "uncertain"}
        assert set(states.values()) <= {"sent", "uncertain"}
        assert len(uncertain) <= MAX_SENDING * cuts, "more is uncertain than was being sent"
        for chat, keys in answers.items():
            arrived = phones.sent[chat]
            assert arrived == [key for key in keys if key in set(arrived)], "sent twice or not in order"
            assert set(keys) - set(arrived) <= uncertain, "a message was lost in silence"
        return len(states)
    finally:
        await connection.close()


def _answered(said: list[str], number: int) -> str:
    question = said[number - 1]
    assert said[number] == f"answer to {question}"
    return f"{question.strip('¿?')}/0"


def conversation(chats: int, each: int) -> list[tuple[str, str]]:
    """(chat, message id), chats taking turns."""
    return [(f"chat-{chat}", f"m{chat}-{number}") for number in range(each) for chat in range(chats)]
