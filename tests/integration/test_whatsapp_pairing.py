"""Joining an account and leaving it: the real library, and the project's own server, which also plays the phone."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.neonize.child import link_events
from tecnobot_core.adapters.neonize.qr import draw_qr
from tecnobot_core.adapters.neonize.session import Session
from tecnobot_core.connection import ConnectionManager
from tecnobot_core.connection.ports import DisconnectReason
from tecnobot_core.errors import LoggedOutError, TransportError
from tecnobot_core.events import (
    Connected,
    Connecting,
    ConnectionFailed,
    Disconnected,
    Event,
    PairingEnded,
    PairingOffered,
    ReconnectScheduled,
    SessionSaved,
)
from tecnobot_core.messages import InboundMessage, OutboundMessage
from tests.example_process import WhatsAppExample, environment
from tests.whatsapp_server import launch, trust, xeddsa
from tests.whatsapp_server.camera import read_qr
from tests.whatsapp_server.customer import Customer
from tests.whatsapp_server.phone import Entry, MistypedError, Phone, Scanned
from tests.whatsapp_server.server import WhatsAppServer

needs_neonize = pytest.mark.skipif(trust.missing() is not None, reason=str(trust.missing()))

BOT, ANA = "5511900000001", "5511988887777"
DEVICE = f"{BOT}:1"
JID = f"{BOT}:1@s.whatsapp.net"


class Bot:
    """A connection of an account that nobody has joined yet, and what it told."""

    def __init__(self, server: WhatsAppServer, directory: Path, **options: Any) -> None:
        self.server = server
        self.told: list[Event] = []
        self.directory = directory
        self._more = asyncio.Event()
        self.transport = WhatsAppTransport(
            directory / "whatsapp",
            proxy=server.proxy_url("bot"),
            certificates=Path(server.environment()["SSL_CERT_FILE"]),
            before_connecting=trust.write_hook(directory, server.trust_root),
            **options,
        )
        self.manager = ConnectionManager(self.transport, base_delay_s=0.05, max_attempts=3, show_presence=False)
        self.manager.events.on(Event, self._hear)

    def _hear(self, event: Event) -> None:
        self.told.append(event)
        self._more.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def first(self, kind: type[Event], count: int = 1) -> Any:
        """The event of that *kind*, or the one of that number."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    def all(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.told if type(event) is kind]

    def story(self) -> list[str]:
        """What happened, in a word each."""
        kinds = (Connecting, PairingOffered, PairingEnded, Connected, Disconnected, ConnectionFailed)
        return [type(event).__name__ for event in self.told if isinstance(event, kinds)]

    async def offer(self, kind: str = "qr", count: int = 1) -> PairingOffered:
        def offers() -> list[PairingOffered]:
            return [each for each in self.told if isinstance(each, PairingOffered) and each.kind == kind]

        await self.until(lambda: len(offers()) >= count)
        return offers()[count - 1]

    async def join(self) -> None:
        """Be scanned by the phone, to the end."""
        async with self.manager:
            await self.server.scan(BOT, (await self.offer()).data)
            await self.connected()

    async def connected(self) -> None:
        async with asyncio.timeout(20):
            await self.manager.wait_connected()

    async def answer_next(self, text: str) -> InboundMessage:
        async with asyncio.timeout(20):
            (message,) = await self.manager.receive()
            await self.manager.acknowledge([message.id])
            await self.manager.send(OutboundMessage(chat=message.chat, key=f"to {message.id}", text=text))
        return message

    async def accounts(self) -> list[str]:
        session = Session(self.directory / "whatsapp")
        return [*(await session.condition(session.path)).accounts]

    async def quarantined(self) -> list[str]:
        """The accounts of what was put aside."""
        session = Session(self.directory / "whatsapp")
        files = [
            path for path in (session.directory / "quarantine").iterdir() if not path.name.endswith(("wal", "shm"))
        ]
        return [account for path in files for account in (await session.condition(path)).accounts]


class Town:
    """The server, and who is on it."""

    def __init__(self, server: WhatsAppServer, directory: Path) -> None:
        self.server = server
        self.directory = directory

    def bot(self, **options: Any) -> Bot:
        return Bot(self.server, self.directory, **options)

    def ana(self) -> Customer:
        return Customer(self.server, "ana", ANA, self.directory, device=3)

    async def joining(self, index: int = -1) -> tuple[str, str]:
        """How far a client is that was offered to join, as the phone and the server see it."""
        told = (await self.server.pairings())[index]
        return told["state"], told["detail"]

    async def until_joining(self, state: str, index: int = -1) -> None:
        async with asyncio.timeout(20):
            while (await self.joining(index))[0] != state:
                await asyncio.sleep(0.02)

    async def count(self, name: str) -> int:
        return (await self.server.statistics()).get(name, 0)

    def command(self, *arguments: str) -> "Command":
        return Command(self.server, self.directory, *arguments)


class Command:
    """``tecnobot whatsapp …`` as a process."""

    def __init__(self, server: WhatsAppServer, directory: Path, *arguments: str) -> None:
        self.said: list[str] = []
        self.complained = ""
        self._arguments = arguments
        self._settings = {
            "proxy": server.proxy_url("bot"),
            "certificates": server.environment()["SSL_CERT_FILE"],
            "before_connecting": str(trust.write_hook(directory, server.trust_root)),
        }
        self._environment = environment(directory)

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *launch.command("tests.whatsapp_server.command", json.dumps(self._settings), "whatsapp", *self._arguments),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def hear(self, *, until: str) -> list[str]:
        """The lines up to the one that holds *until*."""
        begin = len(self.said)
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            while not self.said[begin:] or until not in self.said[-1]:
                line = await self._process.stdout.readline()
                assert line, self.said
                self.said.append(line.decode().rstrip("\n"))
        return self.said[begin:]

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            said, complained = await self._process.communicate()
        self.said += said.decode().splitlines()
        self.complained = complained.decode()
        assert self._process.returncode is not None
        return self._process.returncode

    async def run(self) -> int:
        await self.start()
        return await self.ended()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with WhatsAppServer(tmp_path) as server:
        yield Town(server, tmp_path)
        assert server.log.read_text() == ""


# By QR code


@needs_neonize
async def test_who_scans_the_code_gives_the_bot_an_account_that_it_keeps(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        offer = await bot.offer()
        assert 50 < offer.expires_at - time.time() < 61
        assert await town.server.scan(BOT, offer.data) == DEVICE
        await bot.connected()
        assert bot.story() == ["Connecting", "PairingOffered", "PairingEnded", "Connected"]
        assert bot.all(PairingEnded) == [PairingEnded(paired=True)]
        # The phone's signature was good for the device, and the device's for the phone.
        assert await town.joining() == ("joined", "")
        async with town.ana() as ana:
            await ana.say("¿abren hoy?", BOT)
            assert (await bot.answer_next("a las diez")).text == "¿abren hoy?"
            assert (await ana.next_message())["text"] == "a las diez"
    assert await bot.accounts() == [JID]
    assert bot.all(SessionSaved)

    again = town.bot()
    async with again.manager:
        await again.connected()
        async with town.ana() as ana:
            await ana.say("¿y mañana?", BOT)
            assert (await again.answer_next("también")).text == "¿y mañana?"
            assert (await ana.next_message())["text"] == "también"
    assert again.story() == ["Connecting", "Connected", "Disconnected"]
    assert await town.count("pairing_offers") == 1


@needs_neonize
@pytest.mark.parametrize(
    ("forged", "said", "told"),
    [("secret", "hmac-mismatch", "invalid device identity HMAC"), ("signature", "signature-mismatch", "signature")],
)
async def test_a_confirmation_that_is_not_of_the_phone_is_refused_and_told(
    town: Town, forged: str, said: str, told: str
) -> None:
    bot = town.bot()
    async with bot.manager:
        await town.server.scan(BOT, (await bot.offer()).data, forged=forged)
        with pytest.raises(TransportError, match=f"start again with a new code.*{told}") as failure:
            await bot.connected()
        assert (failure.value.reason, failure.value.retryable) == ("pairing_failed", False)
        failed = await bot.first(ConnectionFailed)
        assert failed.reason == DisconnectReason.PAIRING_FAILED
        assert told in failed.detail
        assert bot.story() == ["Connecting", "PairingOffered", "PairingEnded", "ConnectionFailed"]
        (ended,) = bot.all(PairingEnded)
        assert isinstance(ended, PairingEnded)
        assert (ended.paired, told in ended.detail) == (False, True)
    assert await town.joining() == ("refused", said)
    assert (await town.count("logins"), await town.count("websockets")) == (0, 1)
    assert await bot.accounts() == []

    again = town.bot()
    await again.join()  # nothing is left of it
    assert await again.accounts() == [f"{BOT}:1@s.whatsapp.net"]


@needs_neonize
async def test_a_version_that_the_server_refuses_while_it_pairs_is_told_as_that(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        await bot.offer()
        await town.server.fault("bot", "failure 405")
        with pytest.raises(TransportError, match="upgrade the package"):
            await bot.connected()
    assert [event.reason for event in bot.told if isinstance(event, ConnectionFailed)] == ["outdated"]
    assert [event.paired for event in bot.told if isinstance(event, PairingEnded)] == [False]


@needs_neonize
async def test_a_device_that_the_phone_removes_at_once_is_logged_out(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        offer = await bot.offer()
        await town.server.set_mode("bot", on_connect="once failure 401")
        await town.server.scan(BOT, offer.data)
        with pytest.raises(LoggedOutError, match="pair it again"):
            await bot.connected()
    assert bot.story() == ["Connecting", "PairingOffered", "PairingEnded", "ConnectionFailed"]
    assert bot.all(PairingEnded) == [PairingEnded(paired=True)]


@needs_neonize
async def test_who_cannot_connect_anew_right_after_the_pairing_does_so_soon(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        offer = await bot.offer()
        await town.server.set_mode("bot", proxy="refuse")
        await town.server.scan(BOT, offer.data)
        await bot.first(ReconnectScheduled)
        await town.server.set_mode("bot", proxy=None)
        await bot.connected()  # the library has given up, and would say nothing for ever
    assert bot.story() == ["Connecting", "PairingOffered", "PairingEnded", "Connecting", "Connected", "Disconnected"]
    assert await bot.accounts() == [JID]


@needs_neonize
@pytest.mark.slow
async def test_a_session_in_postgresql_is_joined_and_kept_there(town: Town, database_url: str) -> None:
    await town.bot(session_url=database_url).join()
    again = town.bot(session_url=database_url)
    async with again.manager:
        await again.connected()
        async with town.ana() as ana:
            await ana.say("hola", BOT)
            await again.answer_next("buenas")
            assert (await ana.next_message())["text"] == "buenas"
    assert "PairingOffered" not in again.story()
    assert not [path for path in town.directory.rglob("session*") if path.is_file()]


# By code


@needs_neonize
async def test_who_types_the_code_on_the_phone_gives_the_bot_an_account(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        await bot.offer()
        await bot.transport.pair_by_code(f"+{BOT}")
        code = (await bot.offer("code")).data
        wrong = ("3" if code[0] == "2" else "2") + code[1:]

        await town.server.enter(BOT, wrong)
        await town.until_joining("mistyped")
        assert bot.manager.status().state == "pairing"
        assert await town.count("logins") == 0

        await town.server.enter(BOT, code)
        await bot.connected()
        assert await town.joining() == ("joined", "")
        story = [word for word in bot.story() if word != "PairingOffered"]
        assert story == ["Connecting", "PairingEnded", "Connected"]
        assert bot.all(PairingEnded) == [PairingEnded(paired=True)]
        async with town.ana() as ana:
            await ana.say("hola", BOT)
            await bot.answer_next("buenas")
            assert (await ana.next_message())["text"] == "buenas"
    assert await bot.accounts() == [JID]

    again = town.bot()
    async with again.manager:
        await again.connected()
    assert "PairingOffered" not in again.story()


# Leaving


@needs_neonize
async def test_a_device_that_the_phone_removes_puts_its_session_aside_and_dials_no_more(town: Town) -> None:
    bot = town.bot()
    async with bot.manager:
        await town.server.scan(BOT, (await bot.offer()).data)
        await bot.connected()
        assert await bot.transport.save_session()
        await town.server.unlink(DEVICE)
        failed = await bot.first(ConnectionFailed)
        assert failed.reason == "logged_out"
        assert bot.all(Disconnected) == [Disconnected("logged_out", will_reconnect=False)]
        with pytest.raises(LoggedOutError, match="pair it again"):
            await bot.connected()
        status = bot.manager.status()
        assert (status.state, status.next_attempt_in_s, status.opens) == ("failed", None, 1)
    assert JID in await bot.quarantined()
    assert not (town.directory / "whatsapp" / "session.db").exists()
    assert await town.server.devices() == {}

    again = town.bot()
    async with again.manager:
        # It is a new device to the phone, and nothing of the old one is used.
        assert await town.server.scan(BOT, (await again.offer()).data) == f"{BOT}:2"
        await again.connected()


@needs_neonize
async def test_logging_out_tells_the_server_and_leaves_nobody_joined(town: Town) -> None:
    await town.bot().join()
    command = town.command("logout", "--yes")
    assert await command.run() == 0, command.complained
    assert command.said[-1] == "left; what was kept of the session is put aside"
    assert ("remove-companion-device", DEVICE) in {(n["tag"], n["device"]) for n in await town.server.trace()}
    assert await town.server.devices() == {}
    assert JID in await town.bot().quarantined()
    status = town.command("status")
    assert await status.run() == 1
    assert any("nobody is joined" in line for line in status.said)


@needs_neonize
@pytest.mark.slow
async def test_logging_out_of_an_account_that_removed_the_device_meanwhile_says_so(town: Town) -> None:
    await town.bot().join()
    await town.server.unlink(DEVICE)
    command = town.command("logout", "--yes")
    assert await command.run() == 0, command.complained
    assert "had removed this device already" in command.said[-1]
    assert JID in await town.bot().quarantined()
    status = town.command("status")
    assert await status.run() == 1


# The command, and the whole example


@needs_neonize
@pytest.mark.slow
async def test_the_command_draws_codes_that_a_phone_reads_and_ends_when_it_has_joined(town: Town) -> None:
    pairing = town.command("pair")
    await pairing.start()
    (text,) = read_qr(await pairing.hear(until="valid for"))
    assert await town.server.scan(BOT, text) == DEVICE
    assert await pairing.ended() == 0, pairing.complained
    assert pairing.said[-1] == f"joined: +{BOT}, device 1"
    assert pairing.complained == ""

    status = town.command("status", "--json")
    assert await status.run() == 0
    told = json.loads("\n".join(status.said))
    assert (told["well"], told["running"], told["session"]["accounts"]) == (True, False, [JID])
    assert told["copies"][0]["accounts"] == [JID]
    again = town.command("pair")
    assert await again.run() == 1
    assert f"joined already: +{BOT}, device 1" in again.complained
    assert await town.count("pairing_offers") == 1


@needs_neonize
@pytest.mark.slow
async def test_the_command_shows_a_code_and_ends_when_it_was_typed_on_the_phone(town: Town) -> None:
    pairing = town.command("pair", "--code", f"+{BOT}")
    await pairing.start()
    line = (await pairing.hear(until="Link with phone number"))[-1]
    found = re.search(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}$", line)
    assert found is not None, line
    await town.server.enter(BOT, found[0])
    assert await pairing.ended() == 0, pairing.complained
    assert pairing.said[-1] == f"joined: +{BOT}, device 1"


@needs_neonize
@pytest.mark.slow
async def test_the_command_says_in_one_line_that_a_pairing_was_not_valid(town: Town) -> None:
    pairing = town.command("pair")
    await pairing.start()
    (text,) = read_qr(await pairing.hear(until="valid for"))
    await town.server.scan(BOT, text, forged="secret")
    assert await pairing.ended() == 2
    assert pairing.complained.startswith("tecnobot: the pairing is not valid, start again with a new code")
    assert pairing.complained.count("\n") == 1
    assert await town.count("logins") == 0


@needs_neonize
@pytest.mark.slow
@pytest.mark.postgres
async def test_the_example_that_is_scanned_answers_and_needs_no_code_again(town: Town, database_url: str) -> None:
    async with WhatsAppExample(town.server, town.directory, DATABASE_URL=database_url, SECRET_KEY="k" * 40) as bot:
        await bot.start()
        await bot.until(lambda: len(read_qr(bot.said)) == 1 and not bot.said[-1].startswith(("█", " ")))
        await town.server.scan(BOT, read_qr(bot.said)[0])
        await bot.until(lambda: "WhatsApp is connected" in bot.said)
        async with town.ana() as ana:
            await ana.say("¿horario?", BOT)
            assert "10:00" in (await ana.next_message(20))["text"]
            assert await bot.end() == 0
            bot.said.clear()
            await bot.connect()
            assert read_qr(bot.said) == []
            await ana.say("¿horario?", BOT)
            assert "10:00" in (await ana.next_message(20))["text"]


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        ("timeout", "pairing_timeout", "nobody confirmed"),
        ("error", "pairing_failed", "start again with a new code (invalid HMAC)"),
        ("passkey-request", "pairing_failed", "a passkey"),
        ("err-unexpected-state", "pairing_failed", "refused"),
        ("err-client-outdated", "outdated", "this version"),
        ("something new", "pairing_failed", "something new"),
    ],
)
def test_every_end_without_an_account_is_told_with_its_reason(status: str, reason: str, told: str) -> None:
    error = link_events.pairing_error(b"\n\x20Failed to pair device: invalid HMAC\x12\x05ERROR\x1a\x06Client")
    ended, lost = link_events.login_status(status, error=error)
    assert (ended["ok"], ended["reason"], told in ended["detail"]) == (False, reason, True)
    assert (lost["reason"], lost["retryable"]) == (reason, False)


def test_lines_of_the_log_that_are_about_something_else_tell_nothing() -> None:
    assert link_events.pairing_error(b"Failed to pair") == ""
    assert not list(link_events.read_log(b"Got 515 code, reconnecting..."))


# What the phone of these tests is made of


def test_the_camera_reads_what_is_drawn() -> None:
    texts = [f"https://wa.me/settings/linked_devices#2@{'aZ9/+=,'[n % 7] * n}" for n in (0, 40, 190, 230, 400)]
    drawn = [line for text in texts for line in ["Scan this:", *draw_qr(text).splitlines(), "valid for 60 s"]]
    assert read_qr(drawn) == texts


def test_a_signature_holds_for_its_key_and_message_only() -> None:
    phone = Phone()
    signature = xeddsa.sign(phone.key.private_bytes_raw(), b"message")
    assert xeddsa.verify(phone.public_key, b"message", signature)
    assert not xeddsa.verify(phone.public_key, b"massage", signature)
    assert not xeddsa.verify(Phone().public_key, b"message", signature)
    assert not xeddsa.verify(phone.public_key, b"message", signature[:-1])


def test_what_is_no_offer_is_not_scanned() -> None:
    for text in ("https://example.com", "2@ref,AAAA,AAAA,AAAA", "2@ref,???,AAAA,AAAA"):
        with pytest.raises(ValueError, match=r"no offer|32 bytes|base64"):
            Scanned.read(text)


def test_a_bundle_is_opened_with_the_same_code_only() -> None:
    phone = Phone()
    entry = Entry(phone, "ABCD-1234", bytes(48) + Phone().public_key)
    with pytest.raises(MistypedError):
        entry.finish(bytes(32 + 12 + 96 + 16), Phone().public_key)
