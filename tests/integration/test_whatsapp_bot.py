"""The whole example over WhatsApp: real customers, the real library, the project's own server on loopback."""

import asyncio
import json
import random
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tecnobot_core.adapters.neonize import locking
from tecnobot_core.testing import FakeOpenAI, Step
from tests.example_process import WhatsAppExample
from tests.make_audio import AudioFiles, session_files
from tests.whatsapp_server import trust
from tests.whatsapp_server.customer import Customer
from tests.whatsapp_server.server import WhatsAppServer

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(trust.missing() is not None, reason=str(trust.missing())),
]
audio_files = pytest.fixture(scope="session")(session_files)

BOT, ANA = "5511900000001", "5511988887777"
ECHOES = 120
PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


def flow(id: str, keyword: str, step: str) -> str:
    """A flow of one step, as TOML."""
    steps = step if step.startswith("{") else f"{{ say = {step} }}"
    return f'\n[[flow]]\nid = "{id}"\nkeywords = ["{keyword}"]\nsteps = [{steps}]\n'


class Town:
    """The server, and who is on it."""

    def __init__(self, server: WhatsAppServer, directory: Path, database_url: str) -> None:
        self.server = server
        self.directory = directory
        self.database_url = database_url
        photo = directory / "shop.jpg"
        photo.write_bytes(PHOTO)
        media = f'{{ kind = "image", address = "{photo}" }}'
        self.flows = [flow("foto", "foto de la tienda", f'{{ say = "Así se ve la tienda", media = {media} }}')]
        # Questions of which each has an answer of its own.
        self.flows += [flow(f"eco{n}", f"eco {n}", f'"respuesta {n}"') for n in range(ECHOES)]

    def example(self, **options: Any) -> WhatsAppExample:
        hurry = {"RATE_LIMIT_MAX_MESSAGES": "1000", "RECONNECT_BASE_MS": "200"}
        options = {"DATABASE_URL": self.database_url, "SECRET_KEY": "k" * 40, **hurry, **options}
        return WhatsAppExample(self.server, self.directory, more="".join(self.flows), **options)

    def ana(self) -> Customer:
        return Customer(self.server, "ana", ANA, self.directory, device=3)

    def phone(self) -> Customer:
        """The bot's own account, on the phone."""
        return Customer(self.server, "phone", BOT, self.directory, device=0)


@pytest.fixture
async def town(tmp_path: Path, database_url: str) -> AsyncIterator[Town]:
    async with WhatsAppServer(tmp_path) as server:
        yield Town(server, tmp_path, database_url)


async def answers(customer: Customer, count: int, timeout_s: float = 20) -> list[str]:
    """The texts of the next *count* messages."""
    return [(await customer.next_message(timeout_s))["text"] for _ in range(count)]


def get(url: str, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def test_a_customer_talks_with_the_shop(town: Town, audio_files: AudioFiles) -> None:
    """Text, voice note, image, the small signs, the owner on the phone, a clean stop."""
    note = audio_files.make("opus").read_bytes()
    async with FakeOpenAI(Step(text="¿Cuánto cuesta el envío?")) as openai:
        hearing = {"TRANSCRIPTION_MODEL": "whisper-1", "OPENAI_BASE_URL": openai.url}
        bot = town.example(settle_s=0.3, **hearing)
        await bot.seed(BOT)
        async with bot, town.ana() as ana:
            await bot.connect()
            await ana.show(available=True)

            asked_at = time.time()
            question = await ana.say("¿horario?", BOT)
            answer = await ana.next_message(20)
            assert "10:00" in answer["text"]
            assert answer["at"] - asked_at > 0.3  # the chat has settled
            assert "available" in await presences(town)
            await ana.wait_for("ReceiptEv", lambda event: event["type"] == "READ" and event["ids"] == [question])
            await ana.wait_for("ChatPresenceEv", lambda event: bool(event["composing"]))

            await ana.send_voice(note, BOT)
            assert "envío" in (await answers(ana, 1))[0]
            assert note in openai.requests[0].body

            await ana.say("foto de la tienda", BOT)
            photo = await ana.next_message()
            assert photo["message"]["imageMessage"]["caption"] == "Así se ve la tienda"
            assert await ana.download(photo["id"]) == PHOTO

            status, metrics = await asyncio.to_thread(get, f"{bot.url}v1/metrics")
            assert (status, metrics["connection"]["state"]) == (200, "connected")
            assert metrics["memory"]["children_bytes"] > 0
            assert (await asyncio.to_thread(get, f"{bot.url}readyz"))[0] == 200

            async with town.phone() as phone:
                await phone.say("yo me encargo", ANA)
                assert await answers(ana, 1) == ["yo me encargo"]
                unread = await ana.say("hola", BOT)
                await bot.until(lambda: [unread] in [turn["inbound"] for turn in bot.events("TurnCommitted")])
            assert bot.events("TurnCommitted")[-1]["by"] == "handoff"
            assert await bot.end() == 0
            assert not [
                e for e in ana.events if e["event"] == "ReceiptEv" and e["type"] == "READ" and unread in e["ids"]
            ]
            assert bot.log.read_text() == ""


async def test_who_is_not_paired_is_offered_a_code_and_is_not_ready(town: Town) -> None:
    async with town.example(WEB_TOKEN="t" * 20) as bot:
        await bot.start("--pair-code", f"+{BOT}")
        await bot.until(lambda: any(line.startswith("Enter ") for line in bot.said))
        code = next(line for line in bot.said if line.startswith("Enter ")).split()[1]
        assert len(code) == 9
        status, ready = await asyncio.to_thread(get, f"{bot.url}readyz")
        assert (status, ready["reasons"]) == (503, ["the connection is pairing"])
        assert (await asyncio.to_thread(get, f"{bot.url}healthz"))[0] == 200
        assert (await asyncio.to_thread(get, f"{bot.url}v1/pairing"))[0] == 401
        status, page = await asyncio.to_thread(get, f"{bot.url}v1/pairing", "t" * 20)
        assert (status, page["state"], page["code"]) == (200, "offered", code)
        began = time.monotonic()
        assert await bot.end() == 0
        assert time.monotonic() - began < 10


def drawn(bot: WhatsAppExample) -> int:
    """Lines of QR codes."""
    return len([line for line in bot.said if "█" in line])


@pytest.mark.slow
async def test_qr_codes_are_drawn_where_there_is_no_code(town: Town) -> None:
    async with town.example() as bot:
        await bot.start()
        await bot.until(lambda: drawn(bot) > 20)
        assert await bot.end() == 0
        bot.said.clear()
        await bot.start("--pair-code", "123")
        await bot.until(lambda: drawn(bot) > 20)
        assert "a phone number has 7 to 15 digits" in next(line for line in bot.said if line.startswith("there is no"))


@pytest.mark.slow
async def test_a_gateway_that_ends_while_it_pairs_offers_another_code(town: Town) -> None:
    async with town.example() as bot:
        await bot.start("--pair-code", BOT)
        await bot.until(lambda: len([line for line in bot.said if line.startswith("Enter ")]) == 1)
        bot.gateway.kill()
        await bot.until(lambda: len([line for line in bot.said if line.startswith("Enter ")]) == 2)
        assert drawn(bot) == 0


async def presences(town: Town) -> set[str]:
    """What the bot told of its presence."""
    return {node["type"] for node in await town.server.trace() if node["tag"] == "presence" and BOT in node["device"]}


@pytest.mark.slow
async def test_a_bot_that_may_not_mute_the_phone_does_not_show_as_online(town: Town) -> None:
    bot = town.example()
    await bot.seed(BOT)
    async with bot, town.ana() as ana:
        await bot.connect("--no-presence")
        await ask(ana, range(1))
        await bot.until(lambda: len(heard(ana)) == 1)
        assert "available" not in await presences(town)


def told_at_the_end(bot: WhatsAppExample) -> str:
    line = bot.log.read_text().splitlines()[-1]
    assert line.startswith("tecnobot: ")
    return line


@pytest.mark.slow
async def test_what_must_be_mended_is_told_in_one_line(town: Town) -> None:
    bot = town.example(held_s=0.1, RECONNECT_BASE_MS="20")
    await bot.seed(BOT)
    async with bot:
        with locking.alone(bot.data_dir / "whatsapp"):
            await bot.start()
            assert await bot.ended() == 2
        assert "another process has" in told_at_the_end(bot)
        assert "end that one first" in told_at_the_end(bot)

        await town.server.set_mode("bot", on_connect="failure 401")
        await bot.start()
        assert await bot.ended() == 2
        assert "pair it again" in told_at_the_end(bot)

        bot.wanted_neonize = "9.9.9"
        await bot.start()
        assert await bot.ended() == 2
        assert "pip install 'tecnobot-core[whatsapp]'" in told_at_the_end(bot)


async def ask(ana: Customer, numbers: range, gap_s: float = 0.0) -> dict[str, str]:
    """Ask these questions; the answer that each wants, by the id of the question."""
    asked = {}
    for number in numbers:
        asked[await ana.say(f"eco {number}", BOT)] = f"respuesta {number}"
        await asyncio.sleep(gap_s)  # a person's pace is what is being varied
    return asked


def heard(ana: Customer) -> list[str]:
    return [event["text"] for event in ana.events if event["event"] == "MessageEv" and not event["from_me"]]


@pytest.mark.slow
async def test_questions_asked_while_the_link_is_cut_or_the_bot_is_away_are_all_answered(town: Town) -> None:
    bot = town.example()
    await bot.seed(BOT)
    async with bot, town.ana() as ana:
        await bot.connect()
        wanted = list((await ask(ana, range(1))).values())
        await bot.until(lambda: heard(ana) == wanted)

        await town.server.set_mode("bot", proxy="refuse")
        assert await town.server.cut("bot") >= 1
        wanted += (await ask(ana, range(1, 6))).values()
        await town.server.set_mode("bot", proxy=None)
        await bot.until(lambda: len(heard(ana)) >= len(wanted))
        assert heard(ana) == wanted

        assert await bot.end() == 0
        wanted += (await ask(ana, range(6, 10))).values()
        await bot.connect()
        await bot.until(lambda: len(heard(ana)) >= len(wanted))
        assert heard(ana) == wanted
        assert len(bot.events("Disconnected")) == len(bot.events("Connected")) - 1


@pytest.mark.slow
async def test_what_is_asked_around_kills_is_answered_once_or_announced(town: Town) -> None:
    """Kills of the bot, of its gateway process, and of both, while questions and answers are on their way."""
    bot = town.example(settle_s=0.1)
    chance = random.Random(5)
    await bot.seed(BOT)
    async with bot, town.ana() as ana:
        await bot.connect()
        asked = await ask(ana, range(1))
        await bot.until(lambda: len(heard(ana)) == 1)
        for number in range(6):
            asking = asyncio.create_task(ask(ana, range(1 + 5 * number, 6 + 5 * number), 0.04))
            await asyncio.sleep(0.1 + chance.random() * 0.3)  # the moment of the kill is what is being varied
            if number % 3:
                bot.gateway.kill()
            if number % 3 != 1:
                assert await bot.end(signal.SIGKILL) == -signal.SIGKILL
                await bot.connect()
            asked |= await asking
            asked |= await ask(ana, range(60 + number, 61 + number))
            found = await ends(town, asked)
        assert await bot.end() == 0
        counts = Counter(heard(ana))
        assert not [text for text, count in counts.items() if count > 1 and text.startswith("respuesta")]
        lost = {id for id, answer in asked.items() if answer not in counts and found[id] in ("sent", "taken")}
        assert len(lost) <= (await town.server.statistics()).get("counters_reused", 0)


@pytest.mark.slow
async def test_a_question_that_the_library_lost_is_asked_for_again(town: Town) -> None:
    """Kills of the gateway process in the moment in which a question arrives."""
    bot = town.example(RECONNECT_MAX_MS="400")
    chance = random.Random(3)
    await bot.seed(BOT)
    async with bot, town.ana() as ana:
        await bot.connect()
        asked = await ask(ana, range(1))
        await bot.until(lambda: len(heard(ana)) == 1)
        for number in range(1, 13):
            asked |= await ask(ana, range(number, number + 1))
            await asyncio.sleep(chance.random() * 0.012)  # the moment of the kill is what is being varied
            bot.gateway.kill()
            await bot.until(lambda: len(bot.events("Disconnected")) == len(bot.events("Connected")))
            await bot.until(lambda: len(bot.events("Disconnected")) < len(bot.events("Connected")))
        missed = [id for id, end in (await ends(town, asked)).items() if end == "missed"]
        assert sorted(missed) == sorted(event["message_id"] for event in bot.events("MessageMissed"))
        said = {event["key"] for event in bot.events("MessageSent")} & {f"missed/{id}/0" for id in missed}
        # What asks may itself be caught by the next kill, and is then told as uncertain.
        wanted = len(said) - (await town.server.statistics()).get("counters_reused", 0)
        await bot.until(lambda: len([text for text in heard(ana) if "¿Me lo repites?" in text]) >= wanted)


async def ends(town: Town, asked: Collection[str]) -> dict[str, str]:
    """What became of each question, once something became of all: "missed", or the state of the answer.

    As the database has it: the last events of a process that is killed are told to nobody.
    """
    connection = await asyncpg.connect(town.database_url)
    try:
        async with asyncio.timeout(30):
            while True:
                rows = await connection.fetch("SELECT key, state FROM tecnobot.outbox WHERE state <> 'waiting'")
                found = dict(map(_end, rows))
                if set(asked) <= found.keys():
                    return found
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


def _end(row: asyncpg.Record) -> tuple[str, str]:
    kind, _, rest = row["key"].partition("/")
    return (rest.partition("/")[0], "missed") if kind == "missed" else (kind, row["state"])


@pytest.mark.slow
async def test_a_second_bot_takes_over_from_the_first(town: Town) -> None:
    first, second = town.example(), town.example()
    await first.seed(BOT)
    async with first, second, town.ana() as ana:
        await first.connect()
        await ask(ana, range(1))
        await first.until(lambda: len(heard(ana)) == 1)
        await second.connect()
        assert await first.ended() == 0
        await ask(ana, range(1, 2))
        await second.until(lambda: heard(ana) == ["respuesta 0", "respuesta 1"])


@pytest.mark.slow
async def test_a_machine_without_files_takes_the_account_from_the_database(town: Town) -> None:
    bot = town.example()
    await bot.seed(BOT)
    async with bot, town.ana() as ana:
        await bot.connect()
        await ask(ana, range(1))
        await bot.until(lambda: len(heard(ana)) == 1)
        assert await bot.end() == 0
        shutil.rmtree(bot.data_dir)
        await bot.connect()
        await ask(ana, range(1, 2))
        await bot.until(lambda: heard(ana) == ["respuesta 0", "respuesta 1"])
