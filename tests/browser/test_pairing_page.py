"""The pairing page in a real browser."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tecnobot_core.adapters.web import WebPairing, WebServer
from tecnobot_core.adapters.web.qr import draw_qr
from tecnobot_core.events import Connected, ConnectionFailed, EventBus, PairingEnded, PairingOffered

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TOKEN = "a-token-of-the-tests"
DATA = "2@what-a-phone-would-scan,key,identity,more=="


@pytest_asyncio.fixture(loop_scope="session")
async def events() -> EventBus:
    return EventBus()


@pytest_asyncio.fixture(loop_scope="session")
async def pairing_server(events: EventBus) -> AsyncIterator[WebServer]:
    pairing = WebPairing()
    pairing.watch(events)
    async with WebServer(chat=None, metrics={}, ready=lambda: (), pairing=pairing, token=TOKEN, port=0) as server:
        yield server


async def test_a_code_is_drawn_replaced_and_gone_when_the_phone_is_linked(
    context: BrowserContext, pairing_server: WebServer, events: EventBus, complaints: list[str]
) -> None:
    page = await context.new_page()
    await page.goto(f"{pairing_server.url}/pairing#token={TOKEN}")
    status, drawn = page.get_by_role("status"), page.locator("#qr path")
    await expect(status).to_have_text("Waiting for a code…")
    assert TOKEN not in page.url
    for data in (DATA, DATA + "next"):
        events.publish(PairingOffered("qr", data, time.time() + 20))
        await expect(drawn).to_have_attribute("d", draw_qr(data).path)
    await expect(page.get_by_role("img", name="QR")).to_be_visible()
    events.publish(PairingOffered("code", "ABCD-1234", time.time() + 160))
    await expect(page.locator("#code strong")).to_have_text("ABCD-1234")
    events.publish(PairingEnded(paired=True))
    await expect(status).to_have_text("The phone is linked. There is nothing to do here.")
    await expect(page.get_by_role("img", name="QR")).to_be_hidden()
    content = await page.content()
    assert draw_qr(DATA + "next").path not in content
    assert "ABCD-1234" not in content
    assert complaints == []


async def test_the_page_asks_for_the_token_and_says_when_it_is_wrong(
    context: BrowserContext, pairing_server: WebServer, events: EventBus
) -> None:
    page = await context.new_page()
    await page.goto(f"{pairing_server.url}/pairing")
    field, status = page.get_by_label("Token"), page.get_by_role("status")
    await field.fill("wrong")
    await field.press("Enter")
    await expect(status).to_have_text("That is not the token.")
    events.publish(Connected(0.0))
    await field.fill(TOKEN)
    await field.press("Enter")
    await expect(status).to_have_text("The phone is linked. There is nothing to do here.")
    await expect(field).to_be_hidden()


async def test_what_the_owner_should_do_is_said_in_spanish(
    browser: Browser, pairing_server: WebServer, events: EventBus
) -> None:
    async with await browser.new_context(locale="es-CO") as context:
        page = await context.new_page()
        await page.goto(f"{pairing_server.url}/pairing#token={TOKEN}")
        await expect(page.get_by_role("status")).to_have_text("Esperando un código…")
        events.publish(ConnectionFailed("logged_out", "401", "the account removed this device: pair it again"))
        await expect(page.locator("#detail")).to_have_text("La cuenta quitó este dispositivo: vincúlalo otra vez.")
        events.publish(ConnectionFailed("new_reason", "418", "look at the phone"))
        await expect(page.locator("#detail")).to_have_text("look at the phone")
