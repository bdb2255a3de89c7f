"""Files that pages upload: what is taken, where it is kept, when it goes; and the memory that the page shows."""

import asyncio
import hashlib
import os
import shutil
import stat
import threading
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.adapters.web.app import web_app
from tecnobot_core.adapters.web.chat import WebChat
from tecnobot_core.adapters.web.feed import MIB
from tecnobot_core.adapters.web.guard import Guard
from tecnobot_core.adapters.web.media_route import MediaRoute
from tecnobot_core.adapters.web.memory_history import MemoryHistory
from tecnobot_core.adapters.web.sniffing import image_type, is_text
from tecnobot_core.adapters.web.upload_disk import create
from tecnobot_core.adapters.web.uploads import MAX_BYTES, SWEEP_EVERY_S, UploadError, Uploads, owner_of
from tecnobot_core.connection.ports import FetchesMedia
from tecnobot_core.errors import TransportError
from tecnobot_core.events import EventBus
from tecnobot_core.messages import MediaReference
from tecnobot_core.testing import FakeClock
from tests.test_web import ANA, TOKEN, Listener, Reply, ask, events_of, guarded, serve, stream, turn, until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
OGG = b"OggS\x00\x02" + bytes(range(256)) * 40
OWNER = owner_of("ana", "m1")
OCTETS = {"content-type": "application/octet-stream"}


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def kept(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


async def listening(directory: Path, **how: Any) -> tuple[WebChat, Listener]:
    """A chat that takes files, with a bot that acknowledges and tells of its turns by ``events``."""
    chat = WebChat(uploads=Uploads(directory), **how)
    listener = Listener(chat)
    await chat.open(listener)
    return chat, listener


async def upload(app: Any, raw: bytes, query: str = "chat=ana&id=m1&kind=voice", **headers: str) -> Reply:
    return await ask(app, f"/chat/media?{query}", raw=raw, method="POST", headers={**OCTETS, **headers})


# What is taken.


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF87a\x01\x00", "image/gif"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        (b"<html><img src=x>", None),
        (b"%PDF-1.7", None),
        (b"BM", None),
        (b"\x89PN", None),
    ],
)
def test_an_image_is_known_by_its_first_bytes(head: bytes, mime: str | None) -> None:
    assert image_type(head) == mime


@pytest.mark.parametrize(
    "head",
    [
        b"<!doctype html><script>alert(1)</script>",
        b"\xef\xbb\xbf<html>",
        "\ufeff<html>".encode("utf-16-le"),
        b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\r\nfile /etc/passwd\r\n",
        "¿Qué horario tienen? ".encode() * 40,
        ("日" * 400).encode(),
    ],
)
def test_text_is_no_recording(head: bytes) -> None:
    assert is_text(head)


@pytest.mark.parametrize(
    "head",
    [
        OGG,
        b"\x1a\x45\xdf\xa3\x01",
        b"ID3\x03\x00",
        b"#!AMR\n" + b"<" * 600,
        b"\xff\xfb\x90",
        b"RIFF\x10\x00\x00\x00WAVE",
        bytes(9),
    ],
)
def test_what_may_be_a_recording_is_left_to_those_who_listen(head: bytes) -> None:
    assert not is_text(head)


# Where it is kept.


async def test_an_upload_is_kept_whole_and_private(directory: Path) -> None:
    uploads = Uploads(directory)
    media = await uploads.store(OWNER, "image", pieces(PNG[:3], PNG[3:]), file_name="shop.png")
    assert (media.kind, media.mime, media.size_bytes, media.file_name) == ("image", "image/png", len(PNG), "shop.png")
    assert media.sha256 == hashlib.sha256(PNG).hexdigest()
    path = uploads.path_of(media)
    assert path.read_bytes() == PNG
    assert (mode_of(directory), mode_of(path)) == (0o700, 0o600)
    assert "ana" not in path.name
    assert "shop" not in path.name


def test_a_directory_that_others_could_enter_is_closed_to_them(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    asyncio.run(Uploads(directory).open())
    assert mode_of(directory) == 0o700


async def test_a_file_is_never_whole_in_memory(directory: Path) -> None:
    uploads = Uploads(directory)
    await uploads.open()
    tracemalloc.start()
    try:

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(MAX_BYTES["voice"] // 65_536):
                yield bytes(65_536)

        media = await uploads.store(OWNER, "voice", chunks())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert media.size_bytes == 25 * MIB
    assert peak_bytes < 2 * MIB


@pytest.mark.parametrize(
    ("kind", "chunks", "status", "sentence"),
    [
        ("voice", (), 400, "empty"),
        ("image", (), 400, "empty"),
        ("voice", (b"<html>",), 415, "text, not a recording"),
        ("image", (b"<svg>",), 415, "wanted is PNG, JPEG, WebP or GIF"),
        ("image", (OGG,), 415, "not an image"),
        ("image", (PNG, *[bytes(MIB)] * 8), 413, "an image may have 8 MiB"),
        ("voice", (OGG, *[bytes(MIB)] * 25), 413, "a recording may have 25 MiB"),
    ],
)
async def test_what_cannot_be_taken_is_said_and_leaves_nothing(
    directory: Path, kind: Any, chunks: Sequence[bytes], status: int, sentence: str
) -> None:
    uploads = Uploads(directory)
    with pytest.raises(UploadError, match=sentence) as caught:
        await uploads.store(OWNER, kind, pieces(*chunks))
    assert (caught.value.status, caught.value.retryable) == (status, False)
    assert kept(directory) == []
    assert uploads.used_bytes == 0
    assert uploads.discard([OWNER]) is None


async def test_beyond_the_budget_nothing_is_taken_until_something_is_done(directory: Path) -> None:
    uploads = Uploads(directory, max_bytes=20_000)
    await uploads.store(OWNER, "voice", pieces(OGG))
    other = owner_of("ana", "m2")
    with pytest.raises(UploadError, match="no room") as caught:
        await uploads.store(other, "voice", pieces(OGG))
    assert (caught.value.status, caught.value.retryable) == (507, True)
    assert uploads.used_bytes == len(OGG)
    assert len(kept(directory)) == 1
    done = uploads.discard([OWNER])
    assert done is not None
    await done
    assert uploads.used_bytes == 0
    await uploads.store(other, "voice", pieces(OGG))


async def test_many_small_files_use_up_the_budget_too(directory: Path) -> None:
    uploads = Uploads(directory, max_bytes=3 * 4096)
    for number in range(3):
        await uploads.store(owner_of("ana", str(number)), "voice", pieces(b"\x00"))
    with pytest.raises(UploadError, match="no room"):
        await uploads.store(OWNER, "voice", pieces(b"\x00"))


async def test_a_disk_that_is_nearly_full_is_left_some_room(directory: Path) -> None:
    free = [100 * MIB, 64 * MIB]
    uploads = Uploads(directory, free_bytes=lambda _: free[0])
    await uploads.store(OWNER, "voice", pieces(OGG))
    free.pop(0)
    with pytest.raises(UploadError, match="disk is nearly full") as caught:
        await uploads.store(OWNER, "voice", pieces(OGG))
    assert (caught.value.status, caught.value.retryable) == (507, True)
    assert len(kept(directory)) == 1


async def test_a_disk_that_fails_is_a_refusal_and_does_not_stop_the_chat(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A file where the directory should be.
    chat, listener = await listening(Path(__file__))
    assert "uploads cannot be kept" in caplog.text
    assert await chat.receive("ana", "m0", "hola")
    reply = await upload(guarded(chat), OGG)
    assert reply.status == 507
    assert "cannot be kept" in reply.json["error"]
    assert len(listener.messages) == 1
    await chat.close()


async def test_a_cancelled_upload_leaves_nothing(directory: Path) -> None:
    uploads = Uploads(directory)
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield OGG * 100
        arrived.set()
        await asyncio.Event().wait()

    storing = asyncio.create_task(uploads.store(OWNER, "voice", endless()))
    await arrived.wait()
    assert kept(directory)[0].endswith(".part")
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert kept(directory) == []
    assert uploads.used_bytes == 0


async def test_a_directory_that_was_removed_is_made_again_and_what_was_in_it_is_forgotten(directory: Path) -> None:
    uploads = Uploads(directory)
    lost = await uploads.store(OWNER, "voice", pieces(OGG))
    for _ in range(2):
        shutil.rmtree(directory)
        await uploads.sweep()
        media = await uploads.store(owner_of("ana", "m2"), "voice", pieces(OGG))
        assert uploads.path_of(media).read_bytes() == OGG
        assert uploads.used_bytes == len(OGG)
        assert uploads.stored(OWNER) is None
        assert mode_of(directory) == 0o700
    with pytest.raises(TransportError, match="not kept any more"):
        uploads.path_of(lost)


async def test_an_upload_whose_directory_is_removed_is_refused_and_the_next_one_is_taken(directory: Path) -> None:
    uploads = Uploads(directory)

    async def removing() -> AsyncIterator[bytes]:
        yield OGG * 100
        shutil.rmtree(directory)
        yield OGG

    with pytest.raises(UploadError, match="cannot be kept") as caught:
        await uploads.store(OWNER, "voice", removing())
    assert (caught.value.status, uploads.used_bytes) == (507, 0)
    assert (await uploads.store(OWNER, "voice", pieces(OGG))).size_bytes == len(OGG)


async def test_an_upload_that_is_cancelled_while_its_file_is_made_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, made = threading.Event(), threading.Event(), list[IO[bytes]]()

    def slow(path: Path) -> IO[bytes]:
        begun.set()
        assert go_on.wait(10)
        made.append(create(path))
        return made[0]

    monkeypatch.setattr("tecnobot_core.adapters.web.uploads.create", slow)
    uploads = Uploads(directory)
    storing = asyncio.create_task(uploads.store(OWNER, "voice", pieces(OGG)))
    async with asyncio.timeout(10):
        while not begun.is_set():
            await asyncio.sleep(0)
    for _ in range(2):
        storing.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert made[0].closed
    assert (kept(directory), uploads.used_bytes) == ([], 0)


async def test_a_new_process_finds_what_the_killed_one_kept_and_lets_it_go(directory: Path) -> None:
    media = await Uploads(directory).store(OWNER, "voice", pieces(OGG))
    uploads = Uploads(directory)
    await uploads.open()
    assert uploads.used_bytes == len(OGG)
    assert uploads.path_of(media).read_bytes() == OGG
    done = uploads.discard([OWNER])
    assert done is not None
    await done
    assert kept(directory) == []


def test_unfinished_files_of_killed_processes_go_and_nothing_else_does(directory: Path) -> None:
    directory.mkdir()
    clock = FakeClock(1_000_000.0)
    for name, age_s in (("0" * 32, 601), ("1" * 32, 1)):
        path = directory / f"{name}-{OWNER}.part"
        path.write_bytes(b"x")
        os.utime(path, (clock.now - age_s, clock.now - age_s))
    (directory / "mine.part").write_bytes(b"x")
    os.utime(directory / "mine.part", (0, 0))
    asyncio.run(Uploads(directory, clock=clock).open())
    assert kept(directory) == [f"{'1' * 32}-{OWNER}.part", "mine.part"]


async def test_what_nobody_asked_for_is_swept_after_its_time_at_opening_and_every_hour(directory: Path) -> None:
    clock = FakeClock(1_000_000.0)

    async def hour(seconds: float) -> None:
        clock.now += seconds
        if len(slept) == 25:
            raise asyncio.CancelledError
        slept.append(seconds)

    slept: list[float] = []
    uploads = Uploads(directory, clock=clock, sleep=hour)
    old = await uploads.store(OWNER, "voice", pieces(OGG))
    clock.now += SWEEP_EVERY_S
    await uploads.store(owner_of("ana", "m2"), "voice", pieces(OGG))
    clock.now += -SWEEP_EVERY_S
    with pytest.raises(asyncio.CancelledError):
        await uploads.run()
    assert slept == [SWEEP_EVERY_S] * 25
    assert len(kept(directory)) == 1
    with pytest.raises(TransportError) as caught:
        uploads.path_of(old)
    assert not caught.value.retryable
    await Uploads(directory, clock=clock).open()
    assert kept(directory) == []


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "/etc/passwd", "mine", f"{'0' * 32}-{'0' * 32}"])
async def test_only_uploads_can_be_fetched(directory: Path, address: str) -> None:
    uploads = Uploads(directory)
    await uploads.open()
    (directory / "mine").write_text("x")
    with pytest.raises(TransportError):
        uploads.path_of(MediaReference(kind="voice", address=address))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["store", "refused", "discard", "age"]), st.integers(0, 3)), max_size=12))
def test_what_is_counted_is_what_is_kept(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("uploads")
    clock = FakeClock(1_000_000.0)
    uploads = Uploads(directory, max_bytes=30_000, keep_s=10, clock=clock)

    async def run() -> None:
        for step, number in steps:
            owner = owner_of("ana", str(number))
            if step == "age":
                clock.now += 6
                await uploads.sweep()
            elif step == "discard" and (done := uploads.discard([owner])) is not None:
                await done
            elif step in ("store", "refused"):
                data = bytes(5000 * (number + 1)) if step == "store" else b"text"
                with suppress(UploadError):
                    await uploads.store(owner, "voice", pieces(data))
            sizes = [max(path.stat().st_size, 4096) for path in directory.iterdir()]
            assert uploads.used_bytes == sum(sizes) <= 30_000

    asyncio.run(run())


# The walk of an upload.


async def test_an_upload_reaches_the_bot_and_its_file_stays_until_the_turn_is_done(directory: Path) -> None:
    chat, listener = await listening(directory, clock=lambda: 5.0)
    events = EventBus()
    chat.watch(events)
    reply = await upload(guarded(chat), OGG, "chat=ana&id=m1&kind=voice&name=C:\\notes\\hola%00.ogg")
    assert (reply.status, reply.json) == (202, {"status": "accepted"})
    (message,) = listener.messages
    assert (message.id, message.chat, message.kind, message.text, message.sent_at) == ("m1", ANA, "voice", "", 5.0)
    assert message.media is not None
    assert (message.media.file_name, message.media.size_bytes) == ("hola.ogg", len(OGG))
    async with chat.fetch(message.media) as path:
        assert path.read_bytes() == OGG
    events.publish(turn(inbound=("m0",)))
    events.publish(turn(inbound=("m1",), chat=type(ANA)("web:luis")))
    await events.drain()
    assert path.exists()
    events.publish(turn(inbound=("m0", "m1")))
    await events.drain()
    assert kept(directory) == []
    with pytest.raises(TransportError) as caught:
        await chat.fetch(message.media).__aenter__()
    assert not caught.value.retryable
    await chat.close()


async def test_the_chat_is_a_transport_that_fetches_media(directory: Path, tmp_path: Path) -> None:
    chat, listener = await listening(directory)
    assert isinstance(chat, FetchesMedia)
    await upload(guarded(chat), OGG)
    media = listener.messages[0].media
    assert media is not None
    assert await chat.fetch_media(media, tmp_path / "copy", max_bytes=len(OGG)) == len(OGG)
    assert (tmp_path / "copy").read_bytes() == OGG
    with pytest.raises(TransportError, match="more than 5") as caught:
        await chat.fetch_media(media, tmp_path / "other", max_bytes=5)
    assert not caught.value.retryable
    assert not (tmp_path / "other").exists()
    with pytest.raises(TransportError, match="keeps no files"):
        await WebChat().fetch(media).__aenter__()
    await chat.close()


async def test_an_upload_that_is_not_acknowledged_is_sent_again_and_kept_and_delivered_once(directory: Path) -> None:
    chat = WebChat(uploads=Uploads(directory), acknowledge_within_s=0.01)
    await chat.open(listener := Listener())
    for _ in range(2):
        reply = await upload(guarded(chat), OGG)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert len(listener.messages) == len(kept(directory)) == 1
    await chat.close()
    await chat.open(again := Listener())
    assert again.messages == listener.messages
    await chat.close()


async def test_an_upload_whose_turn_was_done_already_is_accepted_and_not_kept_again(directory: Path) -> None:
    chat, listener = await listening(directory)
    events = EventBus()
    chat.watch(events)
    await upload(guarded(chat), OGG)
    events.publish(turn(inbound=("m1",)))
    await events.drain()
    assert (await upload(guarded(chat), OGG)).status == 202
    assert kept(directory) == []
    assert len(listener.messages) == 1
    await chat.close()


async def test_a_page_that_did_not_send_it_is_told_of_what_kind_it_is(directory: Path) -> None:
    chat, _ = await listening(directory, clock=lambda: 5.0)
    chat.watch(EventBus())
    await upload(guarded(chat), PNG, "chat=ana&id=m1&kind=image&name=shop.png")
    shown = {"id": "m1", "at": 5.0, "text": "", "media": ["image", "shop.png"]}
    assert await events_of(chat) == [{"chat": "ana", "type": "message", "role": "user", **shown}]
    assert (await ask(guarded(chat), "/chat/history?chat=ana")).json["unanswered"] == [shown]
    await chat.close()


async def test_a_chat_that_is_closed_while_it_opens_delivers_nothing(directory: Path) -> None:
    chat = WebChat(uploads=Uploads(directory))
    listener = Listener()
    opening = asyncio.create_task(chat.open(listener))
    await asyncio.sleep(0)
    await chat.close()
    await opening
    assert listener.told == []
    with pytest.raises(TransportError):
        await chat.ping()


# The route.


@pytest.mark.parametrize(
    "query",
    [
        "",
        "chat=ana&id=m1",
        "chat=ana&id=m1&kind=video",
        "chat=an%20a&id=m1&kind=voice",
        "chat=ana&id=..%2F..%2Fx&kind=voice",
        f"chat=ana&id={'i' * 65}&kind=voice",
    ],
)
async def test_a_malformed_upload_is_a_bad_request_that_says_what_is_wanted(directory: Path, query: str) -> None:
    chat = WebChat(uploads=Uploads(directory))
    reply = await upload(guarded(chat), OGG, query)
    assert reply.status == 400
    assert "wanted" in reply.json["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"origin": "http://localhost:8000"}, 202),
        ({"origin": "https://evil.example"}, 403),
        ({"content-type": ""}, 415),
        ({"content-type": "application/json"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": ""}, 401),
    ],
)
async def test_only_the_page_of_this_server_may_upload(directory: Path, headers: dict[str, str], status: int) -> None:
    chat, _ = await listening(directory)
    reply = await upload(guarded(chat, token=TOKEN), OGG, **{"authorization": f"Bearer {TOKEN}", **headers})
    assert reply.status == status
    await chat.close()


async def test_octets_are_no_message() -> None:
    assert (await ask(guarded(), "/chat/messages", raw=b"{}", headers=OCTETS)).status == 415


async def test_what_is_declared_too_big_is_refused_before_it_comes(directory: Path) -> None:
    chat = WebChat(uploads=Uploads(directory))
    for kind, limit in MAX_BYTES.items():
        declared = {"content-length": str(limit + 1)}
        reply = await upload(guarded(chat), b"x", f"chat=ana&id=m1&kind={kind}", **declared)
        assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert kept(directory) == []


async def answer_of(chat: WebChat, incoming: list[dict[str, Any]], *, idle_s: float = 5.0) -> Reply:
    """The answer to an upload whose body comes as *incoming*, then nothing."""
    from starlette.requests import Request

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    query = b"chat=ana&id=m1&kind=voice"
    scope = {"type": "http", "method": "POST", "path": "/chat/media", "query_string": query, "headers": []}
    response = await MediaRoute(chat, idle_s=idle_s).post(Request(scope, receive))
    return Reply(response.status_code, dict(response.headers), bytes(response.body))


def chunk(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_page_that_goes_away_while_it_uploads_leaves_nothing(directory: Path) -> None:
    chat, listener = await listening(directory)
    await answer_of(chat, [chunk(OGG * 50), {"type": "http.disconnect"}])
    assert kept(directory) == []
    assert listener.messages == []
    await chat.close()


async def test_an_upload_that_stands_still_is_given_up(directory: Path) -> None:
    chat, _ = await listening(directory)
    reply = await answer_of(chat, [chunk(OGG * 50)], idle_s=0.01)
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert kept(directory) == []
    await chat.close()


async def test_a_refused_upload_is_read_to_its_end_but_not_beyond_the_limit(directory: Path) -> None:
    chat, _ = await listening(directory)
    rest = [chunk(b"<html>" * 50_000), chunk(bytes(MIB)), chunk(b"", more=False)]
    reply = await answer_of(chat, rest)
    assert (reply.status, "connection" in reply.headers, rest) == (415, False, [])
    endless = [chunk(b"<html>" * 50_000), *[chunk(bytes(MIB))] * 30]
    reply = await answer_of(chat, endless)
    assert (reply.status, reply.headers["connection"]) == (415, "close")
    assert len(endless) == 5
    await chat.close()


async def test_a_browser_that_still_sends_hears_why_it_is_refused_and_goes_on(directory: Path) -> None:
    chat, _ = await listening(directory)
    async with serve(chat) as server, stream(server, "/healthz") as connection:
        await connection.body()
        head = "POST /chat/media?chat=ana&id=m1&kind=voice HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
        head += "Content-Type: application/octet-stream\r\n\r\n"
        for data, status in ((b"<html>" * 500_000, b"415"), (OGG, b"202")):
            connection.writer.write(head.format(len(data)).encode() + data)
            await connection.writer.drain()
            assert (await connection.line(b"HTTP/1.1 "))[:3] == status
            await connection.body()
    await chat.close()


async def test_stopping_in_the_middle_of_an_upload_leaves_nothing(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chat, _ = await listening(directory)
    async with serve(chat) as server, stream(server, "/healthz") as connection:
        await connection.body()
        head = "POST /chat/media?chat=ana&id=m1&kind=voice HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n"
        connection.writer.write(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + OGG * 50)
        await until(lambda: bool(kept(directory)))
        await server.aclose()
        await until(lambda: not kept(directory))
    assert not [record for record in caplog.records if record.exc_info]
    await chat.close()


async def test_only_a_page_that_takes_files_may_show_them_and_listen(directory: Path) -> None:
    plain, taking = await ask(guarded(), "/"), await ask(guarded(WebChat(uploads=Uploads(directory))), "/")
    assert "blob:" not in plain.headers["content-security-policy"]
    assert plain.headers["permissions-policy"] == "camera=(), geolocation=(), microphone=()"
    assert b"data-max-voice-bytes=" not in plain.body
    policy = taking.headers["content-security-policy"]
    assert "img-src 'self' data: blob:; media-src blob:; base-uri 'none'" in policy
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert taking.headers["permissions-policy"] == "camera=(), geolocation=(), microphone=(self)"
    assert b'data-max-voice-bytes="26214400" data-max-image-bytes="8388608"' in taking.body
    assert (await upload(guarded(), OGG)).status == 404


# The memory that the page shows.


def reading(used_bytes: int) -> dict[str, object]:
    return {"level": "normal", "used_bytes": used_bytes, "limit_bytes": 100, "peak_bytes": 99}


def test_the_history_of_memory_holds_the_last_readings() -> None:
    clock = FakeClock(10.0)
    used = iter(range(100))
    history = MemoryHistory(lambda: reading(next(used)), keep=3, clock=clock)
    for _ in range(5):
        history.sample()
        clock.now += 5
    assert history.value() == {
        "level": "normal",
        "used_bytes": 5,
        "limit_bytes": 100,
        "history": ((20.0, 2), (25.0, 3), (30.0, 4)),
    }


def test_memory_that_cannot_be_read_is_absent_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> object:
        raise OSError("gone")

    history = MemoryHistory(broken)
    for _ in range(3):
        history.sample()
    assert history.value() is None
    assert caplog.text.count("memory cannot be read") == 1
    assert MemoryHistory(lambda: {"rss_bytes": 1}).value() is None
    assert MemoryHistory(lambda: 5).value() is None


async def test_the_page_asks_for_memory_with_its_token() -> None:
    app = web_app(WebChat(), {}, lambda: (), memory=MemoryHistory(lambda: reading(5)))
    shown = {"level": "normal", "used_bytes": 5, "limit_bytes": 100, "history": []}
    assert (await ask(app, "/chat/memory")).json == {"memory": shown}
    assert (await ask(Guard(app, token=TOKEN, hosts=None), "/chat/memory")).status == 401
    assert (await ask(web_app(WebChat(), {}, lambda: ()), "/chat/memory")).json == {"memory": None}


async def test_a_server_keeps_the_history_of_memory_while_it_is_open() -> None:
    taken: list[int] = []

    def read() -> object:
        taken.append(1)
        return reading(len(taken))

    async with serve(WebChat(), metrics={"memory": read}) as server:
        await until(lambda: bool(taken))
        async with stream(server, "/chat/memory") as answer:
            memory = (await answer.body())["memory"]
    assert [used for _, used in memory["history"]] == [1]
    assert memory["used_bytes"] == 2
