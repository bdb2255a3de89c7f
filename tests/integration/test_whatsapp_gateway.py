"""The gateway with the real library, against the project's own WhatsApp server on loopback."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.connection.ports import DisconnectReason, Liveness, Lost, Opened, Recovered, TransportEvent
from tecnobot_core.errors import TransportError
from tecnobot_core.events import MessageMissed, PairingEnded, PairingOffered
from tecnobot_core.messages import InboundMessage, MediaReference, OutboundMessage
from tests.whatsapp_server import trust
from tests.whatsapp_server.customer import Customer
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

pytestmark = pytest.mark.skipif(trust.missing() is not None, reason=str(trust.missing()))

BOT, ANA = "5511900000001", "5511988887777"
MIB = 1024 * 1024


class Stage:
    """The server, the bot's transport, and what that told."""

    def __init__(self, server: WhatsAppServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.events: list[TransportEvent] = []
        self._more = asyncio.Event()
        self._hook = trust.write_hook(directory, server.trust_root)
        self.bot = self.transport()

    def transport(self, **options: Any) -> WhatsAppTransport:
        return WhatsAppTransport(
            self.directory / "whatsapp",
            proxy=self.server.proxy_url("bot"),
            certificates=Path(self.server.environment()["SSL_CERT_FILE"]),
            before_connecting=self._hook,
            **options,
        )

    def customer(self) -> Customer:
        return Customer(self.server, "ana", ANA, self.directory, device=3)

    async def seed(self) -> None:
        """Let the bot be paired already."""
        self.bot.session.prepare()
        await asyncio.to_thread(seed_device, self.bot.session.path, BOT, 7, "Bot")

    async def open(self) -> None:
        """Open, and wait until it is."""
        begin = len(self.events)
        await self.bot.open(self.hear)
        await self.until(lambda: any(isinstance(event, Opened) for event in self.events[begin:]))

    def hear(self, event: TransportEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def lost(self, timeout_s: float = 20) -> Lost:
        await self.until(lambda: any(isinstance(event, Lost) for event in self.events), timeout_s)
        return next(event for event in self.events if isinstance(event, Lost))

    async def message(self, text: str) -> InboundMessage:
        await self.until(lambda: text in self.texts)
        return next(message for message in self.messages if message.text == text)

    @property
    def messages(self) -> list[InboundMessage]:
        return [event for event in self.events if isinstance(event, InboundMessage)]

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    @property
    def missed(self) -> set[str]:
        return {event.message_id for event in self.events if isinstance(event, MessageMissed)}

    @property
    def process(self) -> psutil.Process:
        assert self.bot._gateway is not None
        return psutil.Process(self.bot._gateway.pid)


def answer(message: InboundMessage, text: str = "buenas", **more: Any) -> OutboundMessage:
    return OutboundMessage(chat=message.chat, key=f"answer to {message.id} {text}", text=text, **more)


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    """A stage whose bot nobody has paired."""
    async with WhatsAppServer(directory) as server:
        stage = Stage(server, directory)
        yield stage
        await stage.bot.close()


@pytest.fixture
async def empty_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def stage(empty_stage: Stage) -> Stage:
    await empty_stage.seed()
    return empty_stage


async def test_a_question_is_answered_with_all_the_signs_of_a_conversation(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        await ana.show(available=True)
        question = await ana.say("hola", BOT)
        message = await stage.message("hola")
        assert (message.id, message.chat, message.aliases) == (question, f"10{ANA}@lid", (f"{ANA}@s.whatsapp.net",))
        assert abs(message.sent_at - time.time()) < 60
        await stage.bot.acknowledge([message.id])
        await stage.bot.set_presence(True)
        await stage.bot.mark_read([message])
        await ana.wait_for("ReceiptEv", lambda event: event["type"] == "READ" and event["ids"] == [question])
        await stage.bot.set_typing(message.chat, True)
        await ana.wait_for("ChatPresenceEv", lambda event: bool(event["composing"]))
        await stage.bot.send(answer(message, reply_to=message.id))
        got = await ana.next_message()
        context = got["message"]["extendedTextMessage"]["contextInfo"]
        assert (got["text"], context["stanzaID"], context["quotedMessage"]) == (
            "buenas",
            question,
            {"conversation": "hola"},
        )
        await stage.bot.ping()
        # Somebody who never wrote is reached by number.
        await stage.bot.send(OutboundMessage(chat=type(message.chat)(f"+{ANA}"), key="first", text="por número"))
        assert (await ana.next_message())["text"] == "por número"
        assert stage.process.memory_info().rss < 100 * MIB


async def test_attachments_come_and_go_byte_for_byte(stage: Stage, tmp_path: Path) -> None:
    voice, photo = os.urandom(24_000), os.urandom(50_000)
    await stage.open()
    async with stage.customer() as ana:
        await ana.send_voice(voice, BOT, seconds=7)
        await stage.until(lambda: bool(stage.messages))
        message = stage.messages[0]
        assert message.media is not None
        assert (message.kind, message.media.duration_s, message.media.size_bytes) == ("voice", 7.0, len(voice))
        target = tmp_path / "voice.ogg"
        with pytest.raises(TransportError, match="at most 1000 are fetched") as failure:
            await stage.bot.fetch_media(message.media, target, max_bytes=1000)
        assert (failure.value.retryable, target.exists()) == (False, False)
        assert await stage.bot.fetch_media(message.media, target, max_bytes=MIB) == len(voice)
        assert target.read_bytes() == voice
        # As it was journaled; another process may fetch it later.
        await stage.bot.close()
        await stage.open()
        target.unlink()
        assert await stage.bot.fetch_media(message.media, target, max_bytes=MIB) == len(voice)
        assert target.read_bytes() == voice

        (tmp_path / "photo.jpg").write_bytes(photo)
        for kind, caption in (("image", "mira"), ("voice", ""), ("document", "la lista")):
            media = MediaReference(kind=kind, address=str(tmp_path / "photo.jpg"), file_name="photo.jpg", duration_s=3)  # type: ignore[arg-type]
            await stage.bot.send(answer(message, caption, media=media))
            got = await ana.next_message()
            assert await ana.download(got["id"]) == photo
            name = {"image": "imageMessage", "voice": "audioMessage", "document": "documentMessage"}[kind]
            content = got["message"][name] if name in got["message"] else next(iter(got["message"].values()))
            if kind == "voice":
                assert (content["PTT"], content["seconds"]) == (True, 3)
            else:
                assert caption in str(got["message"])

        missing = MediaReference(kind="image", address=str(tmp_path / "nothing.jpg"))
        with pytest.raises(TransportError, match=r"nothing\.jpg is no file") as failure:
            await stage.bot.send(answer(message, "x", media=missing))
        assert (failure.value.sent, failure.value.retryable) == ("no", False)

        await stage.server.set_mode(media="404")
        with pytest.raises(TransportError, match="404") as failure:
            await stage.bot.fetch_media(message.media, target, max_bytes=MIB)
        assert not failure.value.retryable


@pytest.mark.slow
async def test_what_the_owner_writes_on_the_phone_is_from_me(stage: Stage) -> None:
    await stage.open()
    phone = Customer(stage.server, "phone", BOT, stage.directory, device=0)
    async with stage.customer() as ana, phone:
        await phone.say("yo me encargo", ANA)
        message = await stage.message("yo me encargo")
        assert (message.from_me, message.chat) == (True, f"10{ANA}@lid")
        await stage.bot.send(answer(message))  # the bot's own come back to nobody but the customer
        await ana.wait_for("MessageEv", lambda event: event["text"] == "buenas")
        assert stage.texts == ["yo me encargo"]


async def test_a_restart_loses_nothing_and_repeats_only_what_was_not_acknowledged(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        for text in ("uno", "dos"):
            await ana.say(text, BOT)
        await stage.bot.acknowledge([(await stage.message("uno")).id])
        await stage.message("dos")
        await stage.bot.close()
        for text in ("tres", "cuatro"):
            await ana.say(text, BOT)
        stage.events.clear()
        await stage.open()
        await stage.message("cuatro")
        assert stage.texts == ["dos", "tres", "cuatro"]


@pytest.mark.slow
async def test_messages_that_were_acknowledged_to_the_server_survive_a_kill_with_the_bot_blocked(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        await ana.say("hola", BOT)
        await stage.bot.acknowledge([(await stage.message("hola")).id])
        # The bot's loop hears nothing of these: it does not run between here and the kill.
        spool = stage.bot.session.directory / "spool"
        before = spool.stat().st_size
        writing = asyncio.create_task(asyncio.to_thread(_wait_for_growth, spool, before))
        stage.bot._sink = None  # nobody listens
        for number in range(3):
            await ana.say(f"m{number}", BOT)
        await writing
        async with asyncio.timeout(10):
            while (await stage.server.devices())[f"{BOT}:7"]["queued"]:
                await asyncio.sleep(0.01)
        stage.process.kill()
        stage.events.clear()
        await stage.open()
        await stage.message("m2")
        assert stage.texts == ["m0", "m1", "m2"]


def _wait_for_growth(path: Path, size: int) -> None:
    while path.stat().st_size == size:
        time.sleep(0.005)


async def test_a_short_cut_heals_by_itself(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        await ana.say("antes", BOT)
        await stage.message("antes")
        assert await stage.server.cut("bot") >= 1
        await stage.until(lambda: any(isinstance(event, Recovered) for event in stage.events))
        lost = await stage.lost()
        assert (lost.reason, lost.heals) == (DisconnectReason.NETWORK, True)
        await ana.say("después", BOT)
        await stage.message("después")
        assert stage.texts == ["antes", "después"]


REFUSALS = [
    ("failure 402 101 3600", DisconnectReason.BANNED, False),
    ("failure 405", DisconnectReason.OUTDATED, False),
    ("failure 400", DisconnectReason.AUTH_FAILED, False),
    ("failure 501", DisconnectReason.SERVER_ERROR, True),
    ("failure 418", DisconnectReason.PUMP_DEAD, True),  # the library cannot say this one, and goes silent
    ("failure 414", DisconnectReason.PUMP_DEAD, True),  # the library aborts its process
    ("failure 401", DisconnectReason.LOGGED_OUT, False),  # the last: the library forgets the device
]


async def test_a_refused_login_is_told_with_its_reason(stage: Stage) -> None:
    for fault, reason, retryable in REFUSALS:
        await stage.server.set_mode("bot", on_connect=f"once {fault}")
        stage.events.clear()
        await stage.bot.open(stage.hear)
        lost = await stage.lost()
        assert (lost.reason, lost.retryable) == (reason, retryable), fault
        assert lost.retry_after_s == (3600 if reason is DisconnectReason.BANNED else None)
        if retryable:
            await stage.open()


@pytest.mark.slow
async def test_a_session_that_is_opened_elsewhere_is_told(stage: Stage) -> None:
    await stage.open()
    await stage.server.fault("bot", "replaced")
    lost = await stage.lost()
    assert (lost.reason, lost.retryable, lost.heals) == (DisconnectReason.REPLACED, False, False)


@pytest.mark.slow
async def test_a_device_that_the_owner_removed_is_told(stage: Stage) -> None:
    await stage.open()
    await stage.server.fault("bot", "removed")
    assert (await stage.lost()).reason == DisconnectReason.LOGGED_OUT


@pytest.mark.slow
async def test_what_cannot_be_reached_or_opened_is_told_apart(stage: Stage) -> None:
    await stage.server.set_mode("bot", proxy="refuse")
    await stage.bot.open(stage.hear)
    assert (await stage.lost()).reason == DisconnectReason.NETWORK
    await stage.bot.close()
    await stage.server.set_mode("bot", proxy=None, upgrade="503")
    stage.events.clear()
    await stage.bot.open(stage.hear)
    assert (await stage.lost()).retryable
    await stage.bot.close()
    await stage.server.set_mode("bot", upgrade=None)

    stage.bot.session.path.write_bytes(b"garbage" * 1000)
    with pytest.raises(TransportError, match="not a database") as failure:
        await stage.bot.open(stage.hear)
    assert failure.value.reason == "store_error"


async def test_media_that_hang_hold_up_neither_texts_nor_other_media(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(os.urandom(5_000))
    await stage.open()
    async with stage.customer() as ana:
        await ana.send_voice(os.urandom(3_000), BOT, seconds=1)
        await stage.until(lambda: bool(stage.messages))
        message = stage.messages[0]
        assert message.media is not None
        media = MediaReference(kind="image", address=str(tmp_path / "photo.jpg"))
        stage.bot._send_timeout_s = stage.bot._fetch_timeout_s = 2.0
        await stage.server.set_mode(upload="hang", media="hang")
        with pytest.raises(TransportError, match="no answer to fetch"):
            await stage.bot.fetch_media(message.media, tmp_path / "note.ogg", max_bytes=MIB)
        picture = answer(message, "mira", media=media)
        with pytest.raises(TransportError, match="no answer to send"):
            await stage.bot.send(picture)
        assert await stage.bot.outcome(picture.key) == "no"
        await stage.bot.send(OutboundMessage(chat=message.chat, key="text", text="sigo aquí"))
        assert (await ana.next_message())["text"] == "sigo aquí"
        await stage.server.set_mode(upload=None, media=None)
        stage.bot._send_timeout_s = stage.bot._fetch_timeout_s = 20.0
        assert await stage.bot.fetch_media(message.media, tmp_path / "again.ogg", max_bytes=MIB) == 3_000
        await stage.bot.send(picture)
        assert "mira" in str((await ana.next_message())["message"])
    assert not [event for event in stage.events if isinstance(event, Lost)]


@pytest.mark.slow
async def test_closing_is_bounded_while_the_server_never_answers(stage: Stage) -> None:
    for modes in ({"upgrade": "hang"}, {"proxy": "hang"}, {"handshake": "hang"}):
        await stage.server.set_mode("bot", **modes)
        await stage.bot.open(stage.hear)
        process = stage.process
        async with asyncio.timeout(6):
            await stage.bot.close()
        assert not process.is_running()
        await stage.server.set_mode("bot", **dict.fromkeys(modes))


@pytest.mark.slow
async def test_a_send_without_an_acknowledgement_may_have_happened(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        await ana.say("hola", BOT)
        message = await stage.message("hola")
        await stage.server.set_mode("bot", noack="on")
        stage.bot._send_timeout_s = 0.5
        with pytest.raises(TransportError, match="no answer to send") as failure:
            await stage.bot.send(answer(message))
        assert failure.value.sent == "maybe"
        await stage.bot.close()
        await stage.open()
        assert await stage.bot.outcome(answer(message).key) == "maybe"


async def test_a_code_and_qr_codes_are_offered_where_nobody_is_paired(empty_stage: Stage) -> None:
    stage = empty_stage
    await stage.bot.open(stage.hear)
    await stage.until(lambda: any(isinstance(event, PairingOffered) for event in stage.events))
    offer = next(event for event in stage.events if isinstance(event, PairingOffered))
    assert offer.kind == "qr"
    assert len(offer.data) > 100
    assert 50 < offer.expires_at - time.time() < 61
    await stage.bot.pair_by_code(f"+{BOT}")
    code = next(event for event in stage.events if isinstance(event, PairingOffered) and event.kind == "code")
    assert len(code.data) == 9
    async with asyncio.timeout(6):
        await stage.bot.close()
    assert not any(isinstance(event, PairingEnded) for event in stage.events)


async def test_a_cut_during_pairing_is_a_cut_and_codes_are_offered_again(empty_stage: Stage) -> None:
    stage = empty_stage
    await stage.bot.open(stage.hear)
    await stage.until(lambda: any(isinstance(event, PairingOffered) for event in stage.events))
    assert await stage.server.cut("bot")
    loss = await stage.lost()
    assert (loss.reason, loss.retryable) == (DisconnectReason.NETWORK, True)
    await asyncio.sleep(0.3)  # whatever else it says
    assert all(event.reason == DisconnectReason.NETWORK for event in stage.events if isinstance(event, Lost))
    assert not any(isinstance(event, PairingEnded) for event in stage.events)
    stage.events.clear()
    await stage.bot.open(stage.hear)
    await stage.until(lambda: any(isinstance(event, PairingOffered) for event in stage.events))


async def test_a_session_in_postgresql_is_paired_there_logs_in_and_leaves_no_file(
    empty_stage: Stage, database_url: str, tmp_path: Path
) -> None:
    stage = empty_stage
    stage.bot = stage.transport(session_url=database_url)
    await stage.bot.open(stage.hear)
    await stage.until(lambda: any(isinstance(event, PairingOffered) for event in stage.events))
    await stage.bot.close()
    await _move_account(tmp_path / "seeded.db", database_url)
    await stage.open()
    async with stage.customer() as ana:
        await ana.say("¿abren hoy?", BOT)
        question = await stage.message("¿abren hoy?")
        await stage.bot.send(answer(question))
        assert (await ana.next_message())["text"] == "buenas"
    assert await stage.bot.save_session() is None
    await stage.bot.close()
    assert not [path for path in (tmp_path / "whatsapp").rglob("*") if path.name.startswith("session")]


async def _move_account(seeded: Path, database_url: str) -> None:
    """Put the account of a new file into the tables that the library has made in the database."""
    await asyncio.to_thread(seed_device, seeded, BOT, 7, "Bot")
    with contextlib.closing(sqlite3.connect(seeded)) as file:
        file.row_factory = sqlite3.Row
        (device,) = file.execute("SELECT * FROM whatsmeow_device")
    connection = await asyncpg.connect(database_url)
    try:
        kinds = await connection.fetch(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'whatsmeow_device'"
        )
        is_truth = {kind["column_name"]: kind["data_type"] == "boolean" for kind in kinds}
        names = [name for name in device.keys() if device[name] is not None]  # noqa: SIM118
        values = [bool(device[name]) if is_truth[name] else device[name] for name in names]
        places = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        await connection.execute(f"INSERT INTO whatsmeow_device ({', '.join(names)}) VALUES ({places})", *values)
    finally:
        await connection.close()


async def test_a_damaged_session_is_restored_and_logs_in(stage: Stage) -> None:
    await stage.open()
    assert await stage.bot.save_session()
    async with stage.customer() as ana:
        await ana.say("hola", BOT)
        await stage.bot.acknowledge([(await stage.message("hola")).id])
        assert await stage.bot.save_session()
        await stage.bot.close()
        stage.bot.session.path.write_bytes(os.urandom(100_000))
        with pytest.raises(TransportError):
            await stage.bot.open(stage.hear)
        assert await stage.bot.restore_session() is not None
        await stage.open()
        await ana.say("sigues ahí", BOT)
        await stage.message("sigues ahí")


@pytest.mark.slow
async def test_copies_taken_while_messages_pour_in_are_all_whole(stage: Stage) -> None:
    await stage.open()
    async with stage.customer() as ana:
        pouring = asyncio.create_task(ana.say_many("m", 150, BOT))
        saved = 0
        while not pouring.done():
            saved += bool(await stage.bot.save_session())  # raises when a copy is not whole
        assert saved
        await stage.message("m149")
        assert stage.texts == [f"m{number}" for number in range(150)]


@pytest.mark.slow
async def test_a_half_open_link_is_told(stage: Stage) -> None:
    await stage.open()
    await stage.server.fault("bot", "mute")
    await stage.until(lambda: Liveness(ok=False) in stage.events, timeout_s=45)
    stage.bot._request_timeout_s = 1
    with pytest.raises(TransportError):
        await stage.bot.ping()


@pytest.mark.slow
async def test_kills_around_the_arrival_of_messages_lose_nothing_in_silence(stage: Stage) -> None:
    # 40 here; the benchmark does 100.
    await stage.open()
    async with stage.customer() as ana:
        await ana.say("hola", BOT)
        await stage.message("hola")
        sent: list[str] = []
        for number in range(40):
            sent.append(await ana.say(f"k{number}", BOT))
            await asyncio.sleep(random.uniform(0, 0.015))
            stage.process.send_signal(signal.SIGKILL)
            await stage.bot.close()
            await stage.open()
            await ana.say(f"after {number}", BOT)
            await stage.message(f"after {number}")
            await stage.bot.acknowledge([message.id for message in stage.messages])
        handled = {message.id for message in stage.messages}
        # What was not sent again is told a moment after the server has sent what it had.
        await stage.until(lambda: set(sent) <= handled | stage.missed)
        assert not handled & stage.missed
