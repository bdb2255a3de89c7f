"""The gateway process when the library hangs, the disk is full, or somebody says what cannot be used."""

import asyncio
import logging
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.neonize.child.binding import Definitions, package_folder
from tecnobot_core.adapters.neonize.child.lanes import MAX_LEFT_BEHIND
from tecnobot_core.adapters.neonize.child.process import _answer
from tecnobot_core.adapters.neonize.child.sending import Sending
from tecnobot_core.adapters.neonize.child.spool import Spool
from tecnobot_core.connection.ports import DisconnectReason
from tecnobot_core.errors import TransportError
from tecnobot_core.events import MessageMissed
from tecnobot_core.messages import ChatId, MediaReference, OutboundMessage
from tests.test_neonize_gateway import Heard, Make, act, frame, making, outbound, process

PICTURE = MediaReference(kind="image", address="file:///picture.jpg")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with making(tmp_path) as make:
        yield make


@pytest.fixture
async def transport(make: Make) -> WhatsAppTransport:
    return make()


def picture(key: str, text: str = "") -> OutboundMessage:
    return OutboundMessage(chat=ChatId("a@lid"), key=key, text=text, media=PICTURE)


async def sent_keys(transport: WhatsAppTransport) -> list[str]:
    return [request["key"] for request in (await transport._request("sent"))["sent"]]


# A library that does not return


async def test_an_upload_that_hangs_holds_up_neither_texts_nor_the_next_attachment(make: Make) -> None:
    transport, heard = make(send_timeout_s=1.0, watch_s=0.05, hang_s=1), Heard()
    await transport.open(heard)
    hanging = asyncio.create_task(transport.send(picture("stuck", "wait:60")))
    await transport.send(outbound("text"))
    with pytest.raises(TransportError, match="no answer to send"):
        await hanging
    assert await transport.outcome("stuck") == "no"  # it never began, so it may be sent again
    await transport.send(picture("next"))
    assert not heard.losses
    assert await sent_keys(transport) == ["text", "next"]


async def test_a_fetch_that_hangs_does_not_hold_up_the_next(make: Make) -> None:
    transport, heard = make(watch_s=0.05, hang_s=1), Heard()
    await transport.open(heard)
    for _ in range(MAX_LEFT_BEHIND):
        with pytest.raises(TransportError, match="no answer"):
            await transport._request("fake", hang_s=60, timeout_s=0.5)
        await transport._request("fake")
    assert not heard.losses
    with pytest.raises(TransportError, match="no answer"):
        await transport._request("fake", hang_s=60, timeout_s=0.5)
    await heard.until(lambda heard: bool(heard.losses))  # too many to go on like this
    assert "does not return from fake" in heard.losses[0].detail


async def test_a_text_that_hangs_is_a_lost_link(make: Make) -> None:
    transport, heard = make(send_timeout_s=0.5, watch_s=0.05, hang_s=1), Heard()
    await transport.open(heard)
    with pytest.raises(TransportError) as failure:
        await transport.send(outbound("stuck", "wait:60"))
    assert failure.value.sent == "maybe"
    await heard.until(lambda heard: bool(heard.losses))
    assert (heard.losses[0].reason, heard.losses[0].retryable) == (DisconnectReason.PUMP_DEAD, True)
    await transport.open(heard)
    assert await transport.outcome("stuck") == "no"
    await transport.send(outbound("stuck"))


async def test_what_waited_too_long_behind_another_is_not_sent_afterwards(make: Make) -> None:
    transport = make(send_timeout_s=0.3, watch_s=60)
    await transport.open(Heard())
    first = asyncio.create_task(transport.send(outbound("first", "wait:1")))
    await asyncio.sleep(0)
    with pytest.raises(TransportError, match="no answer"):
        await transport.send(outbound("second"))
    with pytest.raises(TransportError, match="no answer"):
        await first
    transport._send_timeout_s = 30
    await transport.send(outbound("third"))
    assert await sent_keys(transport) == ["first", "third"]
    assert await transport.outcome("second") == "no"


# What is known of a send


async def test_a_send_to_a_process_that_is_gone_did_not_happen(transport: WhatsAppTransport) -> None:
    heard = Heard()
    await transport.open(heard)
    process(transport).kill()
    await heard.until(lambda heard: bool(heard.losses))
    with pytest.raises(TransportError) as failure:
        await transport.send(outbound("k"))
    assert (failure.value.sent, failure.value.retryable) == ("no", True)


async def test_what_never_began_was_not_sent_unless_the_spool_is_another(
    transport: WhatsAppTransport, tmp_path: Path
) -> None:
    await transport.open(Heard())
    hanging = asyncio.create_task(transport.send(outbound("k", "wait:60")))
    while "k" not in transport._asked:
        await asyncio.sleep(0)
    process(transport).kill()
    with pytest.raises(TransportError, match="ended during send"):
        await hanging
    await transport.open(Heard())
    assert await transport.outcome("k") == "no"
    assert await transport.outcome("never asked for") is None
    await transport.close()
    (tmp_path / "whatsapp" / "spool").unlink()
    await transport.open(Heard())
    assert await transport.outcome("k") is None


async def test_a_damaged_spool_does_not_tell_what_was_not_sent(
    transport: WhatsAppTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await transport.open(Heard())
    await transport.send(outbound("k1"))
    await transport.send(outbound("k2"))
    await transport.close()
    spool = tmp_path / "whatsapp" / "spool"
    spool.write_bytes(spool.read_bytes().replace(b'"k1"', b'"kI"'))  # without the checksum
    with caplog.at_level(logging.WARNING):
        await transport.open(Heard())
    assert "were damaged" in caplog.text
    assert await transport.outcome("k2") == "sent"
    assert await transport.outcome("k1") is None  # what became of it stood in the damaged part


async def test_a_text_that_no_frame_can_hold_is_refused(transport: WhatsAppTransport) -> None:
    await transport.open(Heard())
    with pytest.raises(TransportError, match="too long for WhatsApp") as failure:
        await transport.send(outbound("k", "x" * 5_000_000))
    assert (failure.value.sent, failure.value.retryable) == ("no", False)
    await transport.send(outbound("k"))


@pytest.mark.parametrize(
    "request_",
    [
        {"chat": "a:b@lid"},
        {"chat": "5:99999999999@lid"},
        {"text": "half \ud800"},
        {"media": {"kind": "image"}},
    ],
)
def test_what_cannot_be_built_was_not_sent(request_: dict[str, Any], tmp_path: Path) -> None:
    definitions: Any = Definitions(package_folder())

    class Client:
        library, uuid = definitions, b"x"

        def require_ready(self) -> None: ...

    class Link:
        do = Sending(Client(), Spool(tmp_path / "spool"), max_upload_bytes=1000).send  # type: ignore[arg-type]

    whole = {"do": "send", "key": "k", "chat": "1@lid", "text": "hola", "media": None, "reply_to": None, **request_}
    error = _answer(Link, whole)["error"]  # type: ignore[arg-type]
    assert (error["sent"], error["retryable"]) == ("no", False)


# A disk that takes nothing


async def test_a_full_disk_ends_no_process_and_nothing_is_sent(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    transport, heard = make(watch_s=0.05), Heard()
    await transport.open(heard)
    await act(transport, messages=[frame(1)])
    await heard.until(heard.has(1))
    size = transport._spool.stat().st_size
    pid = process(transport).pid
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    with pytest.raises(TransportError, match="spool cannot be written") as failure:
        await transport.send(outbound("k"))
    assert (failure.value.sent, failure.value.retryable) == ("no", True)
    with caplog.at_level(logging.WARNING):
        await transport.acknowledge(["m1"])
        assert await sent_keys(transport) == []
    assert "spool cannot be written" in caplog.text
    await act(transport, messages=[frame(2)])
    await heard.until(lambda heard: MessageMissed(ChatId("a@lid"), "m2") in heard.events)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    await transport.send(outbound("k"))
    assert not heard.losses
    assert process(transport).pid == pid


# What cannot be used


@pytest.mark.parametrize("said", [{"type": "message"}, {"type": "lost"}, {"type": "alive"}, {"type": "answer"}])
async def test_a_process_that_says_nonsense_is_a_lost_link(transport: WhatsAppTransport, said: dict[str, Any]) -> None:
    heard = Heard()
    await transport.open(heard)
    with pytest.raises(TransportError):
        await act(transport, say=[said], hang_s=60)
    await heard.until(lambda heard: bool(heard.losses))
    assert "cannot be used" in heard.losses[0].detail
    await transport.close()


async def test_a_message_that_no_frame_can_hold_is_missed_and_hides_none_behind_it(
    transport: WhatsAppTransport, tmp_path: Path
) -> None:
    (tmp_path / "whatsapp").mkdir(mode=0o700)
    spool = Spool(tmp_path / "whatsapp" / "spool")
    spool.add(frame(1, text="\x01" * 700_000))
    spool.add(frame(2))
    spool.close()
    heard = Heard()
    await transport.open(heard)
    await heard.until(heard.has(1))
    assert heard.texts == ["text 2"]
    assert MessageMissed(ChatId("a@lid"), "m1") in heard.events
    assert not heard.losses
