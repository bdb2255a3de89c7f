"""The example in a real browser: real bot, real database, real page."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.example_process import serving

pytestmark = [pytest.mark.browser, pytest.mark.postgres, pytest.mark.asyncio(loop_scope="session")]


async def say(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Mensaje")
    await box.fill(text)
    await box.press("Enter")


def answers(page: Page) -> Locator:
    return page.locator(".bubble.assistant .text")


async def test_the_shop_answers_shows_its_way_and_remembers(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    # Starting and stopping a process blocks; the browser's loop must go on meanwhile.
    service = serving(folder)
    _, url = await asyncio.to_thread(service.__enter__)
    context = await browser.new_context(locale="es-MX", viewport={"width": 1280, "height": 800})
    try:
        page = await context.new_page()
        await page.goto(url)

        await say(page, "¡Hooola!")
        await expect(answers(page).first).to_contain_text("Qué gusto saludarte")
        panel = page.get_by_role("complementary", name="Qué hizo el bot")
        card = panel.get_by_role("listitem").filter(has_text="¡Hooola!")
        await expect(card.locator(".badge")).to_have_text("respondido")
        await expect(card.locator(".stage")).to_have_text(["Admitir", "Recordar", "Entender", "Palabra clave"])
        details = ["admitido", "0 mensajes", "texto, 8 caracteres", "saludo: hola"]
        await expect(card.locator(".detail")).to_have_text(details)

        await say(page, "menú")
        await page.get_by_role("button", name="Precios", exact=True).last.click()
        await expect(answers(page).last).to_contain_text("$")

        await say(page, "se me cayó el teléfono al agua")
        knowing = panel.get_by_role("listitem").filter(has_text="se me cayó")
        await expect(knowing.locator(".summary")).to_contain_text("Conocimiento")

        said = await answers(page).all_inner_texts()
        await page.reload()
        await expect(answers(page)).to_have_count(len(said))
        assert await answers(page).all_inner_texts() == said
    finally:
        await context.close()
        await asyncio.to_thread(service.__exit__, None, None, None)
