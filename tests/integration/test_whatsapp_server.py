"""The project's own WhatsApp server, with real clients."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.whatsapp_server import trust, xeddsa
from tests.whatsapp_server.customer import ClientError, Customer
from tests.whatsapp_server.faults import Fault, Modes
from tests.whatsapp_server.nodes import LID, Jid, Node, Token, decode, encode
from tests.whatsapp_server.protobuf import Fields, field
from tests.whatsapp_server.ratchet import RatchetSteps
from tests.whatsapp_server.seeding import seed_device
from tests.whatsapp_server.server import WhatsAppServer

BOT, ANA = "5511900000001", "5511988887777"
DEADLINE_S = 30

Starting = Callable[..., Awaitable[Customer]]

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_neonize = pytest.mark.skipif(bool(trust.missing()), reason=trust.missing() or "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WhatsAppServer]:
    if reason := trust.missing():
        pytest.skip(reason)
    async with WhatsAppServer(tmp_path_factory.mktemp("server")) as server:
        yield server
        assert server.log.read_text() == ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(
    server: WhatsAppServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Customer, Customer]]:
    folder = tmp_path_factory.mktemp("clients")
    bot, ana = Customer(server, "bot", BOT, folder, device=7), Customer(server, "ana", ANA, folder, device=3)
    try:
        await asyncio.gather(bot.start(), ana.start())
        yield bot, ana
    finally:
        await asyncio.gather(bot.stop(), ana.stop())


@pytest_asyncio.fixture(loop_scope="module")
async def pair(server: WhatsAppServer, clients: tuple[Customer, Customer]) -> tuple[Customer, Customer]:
    """The bot and Ana, connected, with nothing left of earlier tests."""
    await server.clear_modes()
    await eventually(server, both_online)
    for client in clients:
        client.forget()
    return clients


@pytest_asyncio.fixture(loop_scope="module")
async def start(server: WhatsAppServer, tmp_path: Path) -> AsyncIterator[Starting]:
    """Starts another client, which is stopped after the test."""
    await server.clear_modes()
    others: list[Customer] = []

    async def start(name: str, number: str, *, connect: bool = True, paired: bool = True, folder: str = "") -> Customer:
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        others.append(Customer(server, name, number, directory, paired=paired))
        await others[-1].start(connect=connect)
        return others[-1]

    try:
        yield start
    finally:
        await asyncio.gather(*(other.stop() for other in others))


def text_of(client: Customer) -> list[str]:
    return [event["text"] for event in client.events if event["event"] == "MessageEv"]


def both_online(devices: dict[str, dict[str, int]]) -> bool:
    return bool(devices[f"{BOT}:7"]["online"] and devices[f"{ANA}:3"]["online"])


def nothing_queued(devices: dict[str, dict[str, int]]) -> bool:
    return devices[f"{BOT}:7"]["queued"] == 0


async def eventually(server: WhatsAppServer, is_so: Callable[[dict[str, dict[str, int]]], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so(await server.devices()):
            await asyncio.sleep(0.01)


async def counted(server: WhatsAppServer, name: str, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await server.statistics()).get(name, 0) < count:
            await asyncio.sleep(0.01)


async def cut_and_come_back(server: WhatsAppServer, client: Customer) -> None:
    await server.cut(client.name)
    await client.wait_for("DisconnectedEv", timeout_s=DEADLINE_S)
    await client.wait_for("ConnectedEv", timeout_s=DEADLINE_S)


class TestConversation:
    async def test_a_text_arrives_with_both_addresses_of_who_wrote_it(self, pair: tuple[Customer, Customer]) -> None:
        bot, ana = pair
        message_id = await ana.say("hola", to=BOT)
        message = await bot.next_message(DEADLINE_S)
        assert (message["id"], message["text"], message["from_me"]) == (message_id, "hola", False)
        assert message["chat"] == f"10{ANA}@lid"
        assert (message["sender"], message["sender_alias"]) == (f"10{ANA}:3@lid", f"{ANA}:3@s.whatsapp.net")
        await bot.say("buenas", to=message["chat"])
        assert (await ana.next_message(DEADLINE_S))["text"] == "buenas"

    async def test_an_alternating_conversation_is_complete_in_order_and_reuses_no_ratchet_step(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        before = (await server.statistics())["counters_reused"]
        await bot.echo()
        for number in range(20):
            await ana.say(f"{number}", to=BOT)
            assert (await ana.next_message(DEADLINE_S))["text"] == f"echo: {number}"
        await bot.echo(on=False)
        assert text_of(bot) == [f"{number}" for number in range(20)]
        assert (await server.statistics())["counters_reused"] == before

    async def test_a_voice_note_and_an_image_arrive_as_they_were_sent(self, pair: tuple[Customer, Customer]) -> None:
        bot, ana = pair
        voice, image = bytes(range(256)) * 100, b"\xff\xd8 no real image"
        await ana.send_voice(voice, to=BOT, seconds=3)
        message = await bot.next_message(DEADLINE_S)
        assert message["message"]["audioMessage"]["seconds"] == 3
        assert await bot.download(message["id"]) == voice
        await bot.send_image(image, to=ANA, caption="un arroz")
        message = await ana.next_message(DEADLINE_S)
        assert message["message"]["imageMessage"]["caption"] == "un arroz"
        assert await ana.download(message["id"]) == image

    async def test_any_message_can_be_sent(self, pair: tuple[Customer, Customer]) -> None:
        bot, ana = pair
        await ana.send({"locationMessage": {"degreesLatitude": 1.5, "degreesLongitude": -2.5}}, to=BOT)
        message = await bot.next_message(DEADLINE_S)
        assert message["message"]["locationMessage"] == {"degreesLatitude": 1.5, "degreesLongitude": -2.5}

    async def test_receipts_tell_delivered_read_and_played(self, pair: tuple[Customer, Customer]) -> None:
        bot, ana = pair
        message_id = await ana.say("¿lo leíste?", to=BOT)
        await bot.next_message(DEADLINE_S)
        await bot.mark(message_id)
        await bot.mark(message_id, played=True)
        receipts = await ana.wait_for("ReceiptEv", lambda event: event["type"] in ("READ", "PLAYED"), count=2)
        assert [(receipt["type"], receipt["ids"]) for receipt in receipts] == [
            ("READ", [message_id]),
            ("PLAYED", [message_id]),
        ]

    async def test_typing_recording_and_presence_are_seen(self, pair: tuple[Customer, Customer]) -> None:
        bot, ana = pair
        await asyncio.gather(bot.show(available=True), ana.show(available=True))
        await bot.watch(ANA)
        await bot.ping()
        await ana.type(BOT)
        await ana.type(BOT, on=False)
        await ana.type(BOT, recording=True)
        typing = await bot.wait_for("ChatPresenceEv", count=3, timeout_s=DEADLINE_S)
        seen = {(event["composing"], event["recording"]) for event in typing}
        assert seen == {(True, False), (False, False), (True, True)}
        await ana.show(available=False)
        await bot.wait_for("PresenceEv", lambda event: ANA in event["detail"], timeout_s=DEADLINE_S)

    async def test_what_the_owner_writes_on_the_phone_reaches_the_bot_as_from_me(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer], start: Starting
    ) -> None:
        bot, ana = pair
        await ana.say("antes", to=BOT)
        await bot.next_message(DEADLINE_S)
        phone = await start("phone", BOT)
        await phone.say("yo sigo", to=ANA)
        seen = await bot.next_message(DEADLINE_S)
        assert (seen["text"], seen["from_me"], seen["chat"]) == ("yo sigo", True, f"10{ANA}@lid")
        assert seen["recipient_alias"] == f"{ANA}@s.whatsapp.net"
        assert (await ana.next_message(DEADLINE_S))["text"] == "yo sigo"
        await bot.say("del bot", to=ANA)
        assert (await phone.next_message(DEADLINE_S))["from_me"]
        await ana.say("todavía al bot solo", to=BOT)  # with the list of devices that she has
        await ana.say("a los dos", to=BOT)
        assert [(await phone.next_message(DEADLINE_S))["text"]] == ["a los dos"]
        answered = {(passage["device"], passage["tag"], passage["type"]) for passage in await server.trace()}
        assert (f"{BOT}:7", "ack", "account_sync") in answered  # it was told of the new device

    async def test_a_number_that_nobody_has_is_refused(self, pair: tuple[Customer, Customer]) -> None:
        with pytest.raises(ClientError, match="no LID found"):
            await pair[0].say("¿hola?", to="5511900009999")

    async def test_addresses_are_written_as_the_mode_says(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("ana", addressing="phone")
        await ana.say("por teléfono", to=BOT)
        message = await bot.next_message(DEADLINE_S)
        await server.set_mode("ana", addressing=None)
        assert (message["chat"], message["sender_alias"]) == (f"{ANA}@s.whatsapp.net", f"10{ANA}:3@lid")


class TestTrouble:
    async def test_messages_to_a_client_without_a_link_wait_for_it_in_order(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("bot", proxy="refuse")
        await server.cut("bot")
        await bot.wait_for("DisconnectedEv", timeout_s=DEADLINE_S)
        for number in range(5):
            await ana.say(f"{number}", to=BOT)
        device = (await server.devices())[f"{BOT}:7"]
        assert (device["online"], device["queued"]) == (False, 5)
        await server.set_mode("bot", proxy=None)
        await bot.wait_for("MessageEv", count=5, timeout_s=DEADLINE_S)
        await eventually(server, nothing_queued)
        assert text_of(bot) == [f"{number}" for number in range(5)]

    @pytest.mark.parametrize("fault", ["rst", "close", "streamerr 515", "streamerr 503"])
    async def test_a_client_comes_back_from(
        self, fault: str, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        assert await server.fault("bot", fault) == 1
        await bot.wait_for("ConnectedEv", timeout_s=DEADLINE_S)
        await ana.say("¿sigues?", to=BOT)
        await bot.next_message(DEADLINE_S)

    async def test_a_half_open_link_keeps_messages_for_the_next_one(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.fault("bot", "mute")
        pinging = asyncio.create_task(bot.ping())
        await ana.say("¿me oyes?", to=BOT)
        await cut_and_come_back(server, ana)  # so much time an answer has had as well
        assert not pinging.done()
        assert text_of(bot) == []
        await cut_and_come_back(server, bot)
        await asyncio.gather(pinging, return_exceptions=True)
        assert (await bot.next_message(DEADLINE_S))["text"] == "¿me oyes?"

    async def test_a_black_hole_holds_bytes_until_it_opens(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("bot", blackhole="on")
        answer = asyncio.create_task(bot.ping())
        await ana.say("¿y ahora?", to=BOT)
        assert not answer.done()
        await server.set_mode("bot", blackhole=None)
        await answer
        await bot.next_message(DEADLINE_S)

    async def test_a_message_without_its_receipt_comes_again_after_a_reconnect_and_is_handled_once(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("bot", noreceipt="on")
        receipts = (await server.statistics())["receipts"]
        message_id = await ana.say("una vez", to=BOT)
        await bot.next_message(DEADLINE_S)
        await counted(server, "receipts", receipts + 1)
        await server.set_mode("bot", noreceipt=None)
        await cut_and_come_back(server, bot)
        await eventually(server, nothing_queued)
        again = [passage["id"] for passage in await server.trace() if passage["way"] == "again"]
        assert message_id in again
        await ana.say("otra", to=BOT)
        await bot.next_message(DEADLINE_S)
        assert text_of(bot) == ["una vez", "otra"]

    async def test_a_send_without_its_ack_is_repeated_after_a_cut_and_handled_once(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("ana", noack="on")
        saying = asyncio.create_task(ana.say("¿llegó?", to=BOT))
        await bot.next_message(DEADLINE_S)
        assert not saying.done()
        await server.set_mode("ana", noack=None)
        await server.cut("ana")
        await saying
        await ana.say("sí", to=BOT)
        await bot.next_message(DEADLINE_S)
        assert text_of(bot) == ["¿llegó?", "sí"]

    async def test_a_message_that_comes_twice_is_handled_once(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("ana", deliver="twice")
        twice = await ana.say("doble", to=BOT)
        await server.set_mode("ana", deliver=None)
        await ana.say("simple", to=BOT)
        await bot.wait_for("MessageEv", count=2, timeout_s=DEADLINE_S)
        assert text_of(bot) == ["doble", "simple"]
        sent = [(passage["id"], passage["device"]) for passage in await server.trace() if passage["way"] == "out"]
        assert sent.count((twice, f"{BOT}:7")) == 2

    async def test_a_damaged_message_is_asked_for_again_and_handled_once(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("ana", deliver="corrupt")
        message_id = await ana.say("dañado", to=BOT)
        message = await bot.next_message(DEADLINE_S)
        assert (message["id"], message["text"]) == (message_id, "dañado")
        assert "retry" in {passage["type"] for passage in await server.trace() if passage["id"] == message_id}

    async def test_a_dropped_message_never_arrives(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await server.set_mode("ana", deliver="drop")
        await ana.say("perdido", to=BOT)
        await server.set_mode("ana", deliver=None)
        await ana.say("llega", to=BOT)
        assert (await bot.next_message(DEADLINE_S))["text"] == "llega"

    async def test_media_that_is_gone_and_an_upload_that_is_refused_are_errors(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await ana.send_voice(b"voice", to=BOT)
        message = await bot.next_message(DEADLINE_S)
        await server.set_mode("bot", media="404", upload="403")
        with pytest.raises(ClientError, match="404"):
            await bot.download(message["id"])
        with pytest.raises(ClientError, match="403"):
            await bot.send_voice(b"answer", to=ANA)
        await server.set_mode("bot", media=None, upload=None)
        assert await bot.download(message["id"]) == b"voice"

    async def test_media_that_hangs_is_freed_by_a_cut(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await ana.send_voice(b"voice", to=BOT)
        message = await bot.next_message(DEADLINE_S)
        asked = (await server.statistics()).get("media_get", 0)
        await server.set_mode("bot", media="hang")
        downloading = asyncio.create_task(bot.download(message["id"]))
        await counted(server, "media_get", asked + 1)
        assert not downloading.done()
        await server.set_mode("bot", media=None)
        await server.cut("bot")
        assert await downloading == b"voice"

    async def test_a_killed_client_goes_on_with_its_session(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        await ana.kill()
        await bot.say("mientras no estabas", to=ANA)
        await ana.start()
        assert (await ana.next_message(DEADLINE_S))["text"] == "mientras no estabas"

    async def test_the_server_goes_on_while_the_loop_of_the_test_stands_still(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        saying = asyncio.create_task(ana.say_many("m", 50, to=BOT))
        await bot.next_message(DEADLINE_S)
        began = time.time()
        time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still
        ended = time.time()
        await saying
        await bot.wait_for("MessageEv", count=50, timeout_s=DEADLINE_S)
        assert any(began < passage["at"] < ended for passage in await server.trace(began))


class TestComing:
    """What can happen to a client before it is connected."""

    async def test_a_new_client_is_shown_codes_and_can_leave(self, start: Starting) -> None:
        new = await start("new", "5511900000003", connect=False, paired=False)
        (code,) = await new.wait_for("QR", timeout_s=DEADLINE_S)
        assert "2@REFERENCE0," in code["data"]
        assert len(await new.pair_by_code("5511900000003")) == len("ABCD-EFGH")

    async def test_a_client_that_is_refused_by_the_proxy_says_so(self, server: WhatsAppServer, start: Starting) -> None:
        await server.set_mode("late", proxy="refuse")
        late = await start("late", "5511900000004", connect=False)
        (ended,) = await late.wait_for("Ended", timeout_s=DEADLINE_S)
        assert "Bad Gateway" in ended["detail"]

    async def test_a_login_without_an_answer_lasts_until_a_cut(
        self, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        logins = (await server.statistics())["logins"]
        await server.set_mode("bot", on_connect="once mute")
        await server.cut("bot")
        await counted(server, "logins", logins + 1)
        await cut_and_come_back(server, ana)  # so much time the bot has had as well
        assert not [event for event in bot.events if event["event"] == "ConnectedEv"]
        await server.cut("bot")
        await bot.wait_for("ConnectedEv", timeout_s=DEADLINE_S)

    async def test_a_removed_device_is_logged_out_and_a_replaced_one_is_told(
        self, server: WhatsAppServer, start: Starting
    ) -> None:
        gone = await start("gone", "5511900000005")
        await server.fault("gone", "replaced")
        await gone.wait_for("StreamReplacedEv", timeout_s=DEADLINE_S)
        await gone.stop()
        await gone.start()
        await server.fault("gone", "removed")
        await gone.wait_for("LoggedOutEv", timeout_s=DEADLINE_S)

    @pytest.mark.parametrize("hanging", ["proxy", "upgrade", pytest.param("handshake", marks=pytest.mark.slow)])
    async def test_a_client_that_is_left_waiting_gives_up_or_comes_in_after_a_cut(
        self, hanging: str, server: WhatsAppServer, pair: tuple[Customer, Customer]
    ) -> None:
        bot, ana = pair
        counter = {"proxy": "connections", "upgrade": "upgrades", "handshake": "websockets"}[hanging]
        before = (await server.statistics())[counter]
        await server.set_mode("bot", **{hanging: "hang"})
        await server.cut("bot")
        await counted(server, counter, before + 1)
        await cut_and_come_back(server, ana)  # so much time the bot has had as well
        assert not [event for event in bot.events if event["event"] == "ConnectedEv"]
        await server.set_mode("bot", **{hanging: None})
        assert await server.cut("bot") == 1
        await bot.wait_for("ConnectedEv", timeout_s=DEADLINE_S)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "event"),
        [
            ("failure 401", "LoggedOutEv"),
            ("failure 402 101 3600", "TemporaryBanEv"),
            ("failure 403", "LoggedOutEv"),
            ("failure 405", "ClientOutdatedEv"),
            ("failure 409", "ConnectFailureEv"),
            ("failure 503", "ConnectedEv"),
            ("streamerr 999", "StreamErrorEv"),
        ],
    )
    async def test_what_a_client_says_of_a_refused_login(
        self, fault: str, event: str, server: WhatsAppServer, start: Starting
    ) -> None:
        for attempt in range(5):  # neonize may miss it: see link.py
            await server.set_mode("refused", on_connect=f"once {fault}")
            refused = await start("refused", f"551190000010{attempt}", connect=False, folder=f"{attempt}")
            with suppress(TimeoutError):
                await refused.wait_for(event, timeout_s=DEADLINE_S / 3)
                return
            await refused.stop()
        pytest.fail(f"no {event}")

    @pytest.mark.slow
    @pytest.mark.parametrize("reason", [413, 414])
    async def test_two_reasons_end_the_process_of_the_library(
        self, reason: int, server: WhatsAppServer, start: Starting
    ) -> None:
        await server.set_mode("aborted", on_connect=f"once failure {reason}")
        aborted = await start("aborted", "5511900000007", connect=False)
        assert await aborted.ended() == -signal.SIGABRT

    @pytest.mark.slow
    async def test_a_code_that_nobody_scans_expires(self, start: Starting) -> None:
        """One code for a minute, five for 20 s each: neonize's own times."""
        new = await start("unseen", "5511900000008", connect=False, paired=False)
        codes = await new.wait_for("QR", count=6, timeout_s=170)
        assert len({code["data"] for code in codes}) == 6


class TestParts:
    async def test_what_is_no_mode_no_value_and_no_fault_is_said(self) -> None:
        modes = Modes()
        with pytest.raises(ValueError, match="'porxy' is no mode; the modes are proxy, "):
            modes.set("porxy", "refuse")
        with pytest.raises(ValueError, match="proxy cannot be 'no'; it is refuse"):
            modes.set("proxy", "no")
        with pytest.raises(ValueError, match="'explode' is no fault; it is one of: failure"):
            modes.set("on_connect", "once explode")
        with pytest.raises(ValueError, match="'failure' is no fault"):
            Fault.parse("failure")

    async def test_a_clients_mode_goes_before_everyones(self) -> None:
        modes = Modes()
        modes.set("media", "404")
        modes.set("media", "500", "bot")
        assert (modes.get("media", "bot"), modes.get("media", "ana")) == ("500", "404")
        modes.set("media", "", "bot")
        assert modes.get("media", "bot") == "404"

    async def test_a_command_of_the_handle_that_fails_raises(self, server: WhatsAppServer) -> None:
        with pytest.raises(ValueError, match="is no mode"):
            await server.set_mode(porxy="refuse")
        with pytest.raises(ValueError, match="is no fault"):
            await server.fault("bot", "explode")
        assert await server.fault("nobody", "mute") == await server.cut("nobody") == 0

    async def test_a_signature_is_valid_under_the_keys_edwards_form(self) -> None:
        for _ in range(4):  # both signs of the point
            key = X25519PrivateKey.generate()
            signature = bytearray(xeddsa.sign(key.private_bytes_raw(), b"message"))
            u, p = int.from_bytes(key.public_key().public_bytes_raw(), "little"), 2**255 - 19
            y = (u - 1) * pow(u + 1, -1, p) % p
            edwards = (y | (signature[63] >> 7) << 255).to_bytes(32, "little")
            signature[63] &= 0x7F
            Ed25519PublicKey.from_public_bytes(edwards).verify(bytes(signature), b"message")

    async def test_a_node_is_decoded_as_it_was_encoded_also_with_words_that_nobody_knows(self) -> None:
        unknown = Token.of(b"\xd4")
        attributes: dict[str, str | Jid] = {"to": Jid("12", LID, 7), "from": Jid("12"), unknown: unknown}
        node = Node("iq", attributes, [Node(unknown, {}, b"x" * 1000), Node.of("empty")])
        assert decode(encode(node)) == node
        assert b"\xd4\xd4" in encode(decode(encode(node)))

    async def test_packed_digits_and_words_of_the_table_are_read(self) -> None:
        assert decode(b"\xf8\x03\x19\x08\xff\x82\x12\x3f") == Node("iq", {"id": "123"})
        assert decode(b"\xf8\x01\xec\x18") == Node("passive")

    @pytest.mark.parametrize("data", [b"\xf8\x03\x19", b"\x19", b"\xf8\x01\xfc\x09x"])
    async def test_what_is_no_node_is_an_error(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="node"):
            decode(data)

    async def test_fields_of_protobuf_are_read_by_number_and_type(self) -> None:
        fields = Fields.parse(field(1, 300) + field(2, b"text") + field(1, 5))
        assert (fields.number(1), fields.bytes(2), fields.number(9)) == (300, b"text", 0)
        with pytest.raises(ValueError, match="field 1 is 300, not bytes"):
            fields.bytes(1)
        with pytest.raises(ValueError, match="cut short"):
            Fields.parse(field(2, b"text")[:-1])

    async def test_a_ratchet_step_is_reused_when_it_comes_twice_from_one_sender(self) -> None:
        steps = RatchetSteps()
        message = Node.of("enc", b"\x33" + field(1, b"key") + field(2, 4) + bytes(8), type="msg")
        first = Node.of("enc", b"\x33" + field(4, b"\x33" + field(1, b"key") + field(2, 4) + bytes(8)), type="pkmsg")
        assert not steps.is_reused("a", "b", message)
        assert not steps.is_reused("b", "a", message)
        assert steps.is_reused("a", "b", first)
        assert not steps.is_reused("a", "b", Node.of("enc", b"no message of Signal"))

    @needs_neonize
    async def test_a_session_is_not_written_over(self, tmp_path: Path) -> None:
        (tmp_path / "bot.db").touch()
        with pytest.raises(FileExistsError, match="is a session already"):
            seed_device(tmp_path / "bot.db", BOT, 7, "Bot")

    async def test_trust_is_installed_in_a_process_of_neonize_only(self) -> None:
        with pytest.raises(ValueError, match="a root key is 32 bytes, not 5"):
            trust.install(b"short")
        with pytest.raises(LookupError, match="found 0 times"):
            trust.install(bytes(32))
