"""Whatever is killed whenever: every turn once, in order, and nothing lost in silence."""

import asyncio
import random
import sys
import tempfile
from pathlib import Path

import pytest

from tests.crash import due
from tests.crash.checks import (
    ROOT,
    bot_process,
    conversation,
    ends_by_itself,
    everything_agrees,
    everything_was_told,
    finishes,
)
from tests.crash.phones import Phones

pytestmark = pytest.mark.postgres


async def kill_again_and_again(dsn: str, phones: Phones, kills: int, seed: int) -> None:
    """Kill the bot at random moments after it connected, then let the last one finish and stop in order."""
    chance = random.Random(seed)
    for number in range(kills):
        async with bot_process(dsn, phones, number):
            await asyncio.sleep(chance.random() * 0.15)  # the moment of the kill is what is being varied
    async with bot_process(dsn, phones, kills) as bot:
        await finishes(bot, phones, dsn)


async def crash(dsn: str, kills: int, chats: int, each: int, seed: int) -> None:
    messages = conversation(chats, each)
    with tempfile.TemporaryDirectory() as folder:
        async with Phones(Path(folder) / "phones", messages) as phones:
            await kill_again_and_again(dsn, phones, kills, seed)
            await everything_agrees(dsn, phones, messages, cuts=kills)


async def test_20_kills_of_the_bot_lose_and_double_nothing(database_url: str) -> None:
    await crash(database_url, kills=20, chats=20, each=100, seed=1)


async def test_kills_and_a_clock_that_jumps_by_an_hour_lose_and_double_nothing(database_url: str) -> None:
    messages, chance = conversation(chats=20, each=60), random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        async with Phones(Path(folder) / "phones", messages) as phones:
            for number in range(6):
                async with bot_process(database_url, phones, number, clock="jumps"):
                    await asyncio.sleep(chance.random() * 0.15)  # the moment of the kill is what is being varied
            async with bot_process(database_url, phones, 6, clock="jumps") as bot:
                await finishes(bot, phones, database_url)
            n_answers = await everything_was_told(database_url, phones, messages, cuts=6)
    assert n_answers < len(messages)  # an hour ahead, what waits looks like what an outage left


async def kill_what_is_due(dsn: str, kills: int, chats: int, seed: int) -> None:
    chance = random.Random(seed)
    await due.fill(dsn, chats, seed)
    for number in range(kills + 1):
        command = (sys.executable, "-m", "tests.crash.due", dsn)
        bot = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        assert bot.stdout is not None
        try:
            assert await bot.stdout.readline() == b"ready\n"
            if number < kills:
                await asyncio.sleep(chance.random() * 0.5)  # the moment of the kill is what is being varied
                assert bot.returncode is None, "everything was done before the last kill"
            else:
                await ends_by_itself(bot, timeout_s=120)
        finally:
            if bot.returncode is None:
                bot.kill()
                await bot.wait()
    await due.check(dsn, chats)


async def test_kills_lose_and_double_nothing_that_is_due(database_url: str) -> None:
    await kill_what_is_due(database_url, kills=6, chats=400, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
async def test_many_kills_lose_and_double_nothing_that_is_due(database_url: str, seed: int) -> None:
    await kill_what_is_due(database_url, kills=40, chats=3000, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
async def test_200_kills_of_the_bot_lose_and_double_nothing(database_url: str, seed: int) -> None:
    await crash(database_url, kills=50, chats=40, each=150, seed=seed)
