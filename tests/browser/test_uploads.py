"""Images, recordings and the memory panel of the chat page, in a real browser."""

import asyncio
import io
import math
import re
import struct
import wave
import zlib
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, FilePayload, Locator, Page, expect

from tecnobot_core.adapters.web import WebChat, WebServer

from .conftest import ScriptedBot
from .test_chat_page import TOKEN, bubbles, column, say

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def png(width: int, height: int) -> bytes:
    rows = b"".join(
        b"\x00" + bytes((x * 255 // width, y * 255 // height, 180)[c] for x in range(width) for c in range(3))
        for y in range(height)
    )
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def wav(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(n / 3))) for n in range(int(8000 * seconds))))
    return file.getvalue()


IMAGE = png(320, 200)
RECORDING = wav(1.5)


def payload(name: str, mime: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": mime, "buffer": data}


async def attach(chat: Locator, *files: FilePayload) -> None:
    await chat.locator("[type=file]").set_input_files(list(files))


async def test_an_image_is_shown_sent_and_answered(page: Page, bot: ScriptedBot, complaints: list[str]) -> None:
    chat = column(page)
    await attach(chat, payload("tienda.png", "image/png", IMAGE))
    shown = chat.get_by_role("img", name="Image: tienda.png")
    await expect(shown).to_be_visible()
    assert await shown.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [
        320,
        200,
    ]
    await expect(bubbles(chat, "assistant")).to_have_text([f"You said: image of {len(IMAGE)} bytes"])
    await expect(chat.get_by_role("img", name="Handled")).to_be_visible()
    await expect(chat.get_by_role("progressbar")).to_have_count(0)
    ((media, data),) = bot.files
    assert data == IMAGE
    assert (media.kind, media.mime, media.file_name) == ("image", "image/png", "tienda.png")
    await expect(page.locator("#panel .said")).to_have_text(["Image"])
    assert complaints == []


async def test_an_image_that_takes_its_room_late_does_not_push_the_end_out_of_sight(page: Page) -> None:
    chat = column(page)
    await attach(chat, *(payload(f"{n}.png", "image/png", png(300, 900)) for n in range(3)))
    await expect(bubbles(chat, "assistant")).to_have_count(3)
    await attach(chat, payload("empty.wav", "audio/wav", b""))
    await expect(chat.get_by_role("alert")).to_be_visible()
    await expect(bubbles(chat, "assistant").last).to_be_in_viewport(ratio=1)
    await expect(chat.get_by_role("button", name="Go to the newest message")).to_be_hidden()


async def test_a_recording_can_be_chosen_and_played(page: Page, bot: ScriptedBot, complaints: list[str]) -> None:
    chat = column(page)
    await attach(chat, payload("nota.wav", "audio/wav", RECORDING))
    player = chat.locator("audio")
    await expect(player).to_be_visible()
    await expect(bubbles(chat, "assistant")).to_have_text([f"You said: voice of {len(RECORDING)} bytes"])
    wait = "audio => audio.duration || new Promise((done) => { audio.onloadedmetadata = () => done(audio.duration) })"
    assert await player.evaluate(wait) == pytest.approx(1.5)
    assert bot.files[0][1] == RECORDING
    assert complaints == []


async def test_several_files_and_words_arrive_in_order(page: Page, bot: ScriptedBot) -> None:
    chat = column(page)
    await attach(chat, payload("a.png", "image/png", IMAGE), payload("b.wav", "audio/wav", RECORDING))
    await say(chat, "and words")
    await expect(bubbles(chat, "assistant")).to_have_count(3)
    assert [message.kind for message in bot.received] == ["image", "voice", "text"]


async def test_the_microphone_records_a_voice_note_with_the_keyboard_alone(
    page: Page, bot: ScriptedBot, complaints: list[str]
) -> None:
    chat = column(page)
    await chat.get_by_role("button", name="Record a voice note").focus()
    await page.keyboard.press("Enter")
    await expect(chat.get_by_role("button", name="Send the recording")).to_be_focused()
    await expect(chat.get_by_role("timer")).to_have_text("0:01")
    await expect(chat.get_by_role("textbox", name="Message")).to_be_hidden()
    await page.keyboard.press("Enter")
    await expect(bubbles(chat, "assistant")).to_have_text([re.compile(r"You said: voice of \d+ bytes")])
    ((media, data),) = bot.files
    assert data[:4] in (b"OggS", b"\x1a\x45\xdf\xa3")
    assert re.fullmatch(r"recording\.(ogg|webm)", media.file_name)
    await expect(chat.locator("audio")).to_be_visible()
    await expect(chat.get_by_role("textbox", name="Message")).to_be_focused()
    assert complaints == []


async def test_a_recording_can_be_thrown_away(page: Page, bot: ScriptedBot) -> None:
    chat = column(page)
    for discard in ("Escape", "button"):
        await chat.get_by_role("button", name="Record a voice note").click()
        await expect(chat.get_by_role("timer")).to_be_visible()
        if discard == "Escape":
            await page.keyboard.press("Escape")
        else:
            await chat.get_by_role("button", name="Discard the recording").click()
        await expect(chat.get_by_role("textbox", name="Message")).to_be_focused()
    await say(chat, "only words")
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: only words"])
    assert [message.kind for message in bot.received] == ["text"]


async def test_no_microphone_is_said(page: Page) -> None:
    await page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no')) }")
    chat = column(page)
    await chat.get_by_role("button", name="Record a voice note").click()
    await expect(chat.get_by_role("alert")).to_have_text("There is no microphone, or this page may not use it.")
    await expect(chat.get_by_role("textbox", name="Message")).to_be_visible()


async def test_what_is_too_big_or_empty_is_said_before_it_is_sent(page: Page, tmp_path: Path) -> None:
    chat = column(page)
    big = tmp_path / "big.png"
    await asyncio.to_thread(big.write_bytes, bytes(8 * 2**20 + 1))
    await chat.locator("[type=file]").set_input_files(big)  # by its path: bytes would take seconds to get there
    await expect(chat.get_by_role("alert")).to_have_text("big.png has 8.1 MB; an image may have 8 MB.")
    await attach(chat, payload("empty.wav", "audio/wav", b""))
    await expect(chat.get_by_role("alert")).to_have_text("empty.wav is empty.")
    await attach(chat, payload("a.png", "image/png", IMAGE))
    await expect(chat.get_by_role("alert")).to_have_count(0)
    await expect(bubbles(chat, "assistant")).to_have_count(1)


async def test_what_the_server_refuses_is_said_and_stops_nobody(page: Page, bot: ScriptedBot) -> None:
    chat = column(page)
    await attach(chat, payload("song.mp3", "audio/mpeg", b"<html>" * 500_000))
    await expect(chat.get_by_role("img", name="Not sent: this kind of file is not taken")).to_be_visible()
    await say(chat, "words")
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: words"])
    assert [message.kind for message in bot.received] == ["text"]


async def test_an_upload_survives_a_bot_that_does_not_listen(page: Page, bot: ScriptedBot) -> None:
    await bot.chat.close()
    bot.chat._acknowledge_within_s = 0.05
    chat = column(page)
    await attach(chat, payload("nota.wav", "audio/wav", RECORDING))
    await expect(chat.get_by_role("img", name="Not sent yet, trying again")).to_have_count(1)
    await bot.start()
    await expect(bubbles(chat, "assistant")).to_have_text([f"You said: voice of {len(RECORDING)} bytes"])
    assert len(bot.files) == 1


async def test_progress_is_shown_while_a_file_leaves(page: Page, context: BrowserContext, bot: ScriptedBot) -> None:
    session = await context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", slow)
    chat = column(page)
    await attach(chat, payload("nota.wav", "audio/wav", RECORDING + bytes(600_000)))
    bar = chat.get_by_role("progressbar", name="Uploading")
    await expect(bar).to_be_visible()
    watch = """bar => new Promise((done) => {
        const look = () => bar.value > 0.1 && bar.value < 1 ? done(true) : setTimeout(look, 10);
        look();
    })"""
    assert await bar.evaluate(watch)
    await expect(bar).to_be_hidden()
    await expect(bubbles(chat, "assistant")).to_have_count(1)


async def test_another_tab_and_a_reload_say_what_was_sent(
    page: Page, context: BrowserContext, server: WebServer, bot: ScriptedBot
) -> None:
    other = await context.new_page()
    await other.goto(server.url)
    await other.get_by_text("Connected", exact=True).wait_for()
    bot.hold = True
    await attach(column(page), payload("nota.wav", "audio/wav", RECORDING))
    await expect(bubbles(column(other), "user")).to_have_text(["[Voice note: nota.wav]"])
    await expect(column(page).get_by_role("img", name="Delivered")).to_be_visible()
    await page.reload()
    await expect(bubbles(column(page), "user")).to_have_text(["[Voice note: nota.wav]"])
    bot.release()
    await expect(bubbles(column(page), "assistant")).to_have_text([f"You said: voice of {len(RECORDING)} bytes"])


async def test_uploads_carry_the_token(context: BrowserContext, bot: ScriptedBot, complaints: list[str]) -> None:
    page = await context.new_page()
    async with WebServer(chat=bot.chat, metrics={}, ready=lambda: (), port=0, token=TOKEN) as server:
        await page.goto(f"{server.url}/#token={TOKEN}")
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        await attach(column(page), payload("a.png", "image/png", IMAGE))
        await expect(bubbles(column(page), "assistant")).to_have_count(1)
        assert complaints == []


async def test_a_server_that_takes_no_files_offers_none(context: BrowserContext) -> None:
    page = await context.new_page()
    async with WebServer(chat=WebChat(), metrics={}, ready=lambda: (), port=0) as server:
        await page.goto(server.url)
        await expect(column(page).get_by_role("button", name="Send")).to_be_visible()
        await expect(column(page).get_by_role("button", name="Attach an image or a recording")).to_have_count(0)
        await expect(column(page).get_by_role("button", name="Record a voice note")).to_have_count(0)


async def test_a_phone_has_room_for_all_of_it(page: Page) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    chat = column(page)
    await attach(chat, payload("a.png", "image/png", png(900, 500)), payload("b.wav", "audio/wav", RECORDING))
    await expect(bubbles(chat, "assistant")).to_have_count(2)
    for name in ("Attach an image or a recording", "Record a voice note", "Send"):
        box = await chat.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= 320 - box["width"]
        assert box["width"] >= 36
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    assert await chat.locator(".view").evaluate("view => view.scrollWidth <= view.clientWidth")


async def test_the_page_speaks_portuguese_after_spanish(page: Page) -> None:
    await page.get_by_role("button", name="Cambiar a español").click()
    await expect(column(page).get_by_role("button", name="Grabar una nota de voz")).to_be_visible()
    await page.get_by_role("button", name="Mudar para português").click()
    await expect(column(page).get_by_role("button", name="Gravar uma mensagem de voz")).to_be_visible()
    size = "([key, text]) => `${key} ${typeof text === 'object' ? Object.keys(text).sort() : ''}`"
    languages = f"Object.values(TEXTS).map((texts) => Object.entries(texts).map({size}).sort().join())"
    script = (await page.locator("script[type=module]").text_content() or "").partition("let language")[0]
    kinds = await page.evaluate(f"(() => {{ {script} return {languages}; }})()")
    assert len(kinds) == 3
    assert len(set(kinds)) == 1
    await page.get_by_role("button", name="Switch to English").click()
    await expect(page.get_by_role("button", name="Add chat")).to_be_visible()


async def test_the_panel_shows_memory_and_follows_it(
    context: BrowserContext, bot: ScriptedBot, complaints: list[str]
) -> None:
    reading: dict[str, object] = {"level": "normal", "used_bytes": 84 * 2**20, "limit_bytes": 512 * 2**20}
    page = await context.new_page()
    await page.clock.install()
    async with WebServer(chat=bot.chat, metrics={"memory": lambda: reading}, ready=lambda: (), port=0) as server:
        await page.goto(server.url)
        memory = page.get_by_role("region", name="Memory of the bot")
        await expect(memory.locator(".badge")).to_have_text("normal")
        await expect(memory).to_contain_text("84 of 512 MiB · 16%")
        reading.update(level="critical", used_bytes=480 * 2**20)
        await page.clock.run_for(5000)
        await expect(memory.locator(".badge")).to_have_text("critical")
        await expect(memory).to_contain_text("480 of 512 MiB · 94%")
        lately = memory.get_by_role("img", name=re.compile(r"Memory in the last \d+ min: between 84 and 480 MiB"))
        await expect(lately).to_be_visible()
        points = (await lately.locator("polyline").get_attribute("points") or "").split()
        assert points[-1] == "240,4.4"
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "memory" in request.url else None)
        await page.get_by_role("button", name="Close").click()
        await page.clock.run_for(20_000)
        assert asked == []
        assert complaints == []
