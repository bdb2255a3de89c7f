"""The chat page in a real browser, with a scripted bot behind it."""

import re

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tecnobot_core.adapters.web import WebServer
from tecnobot_core.events import TurnCommitted
from tecnobot_core.messages import ChatId, OutboundMessage, Turn

from .conftest import ScriptedBot

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TOKEN = "a-token-of-the-tests"


def column(page: Page, name: str = "Chat 1") -> Locator:
    return page.get_by_role("region", name=name)


async def say(chat: Locator, text: str) -> None:
    box = chat.get_by_role("textbox", name="Message")
    await box.fill(text)
    await box.press("Enter")


def bubbles(chat: Locator, role: str) -> Locator:
    return chat.locator(f".bubble.{role} .text")


async def test_a_message_is_answered_and_its_way_is_shown(page: Page, complaints: list[str]) -> None:
    chat = column(page)
    await say(chat, "When do you open?")
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: When do you open?"])
    panel = page.get_by_role("complementary", name="What the bot did")
    card = panel.get_by_role("listitem").filter(has_text="When do you open?")
    await expect(card.locator(".badge")).to_have_text("answered")
    await expect(card.locator(".summary")).to_have_text("Flow · 12 ms")
    await expect(card.locator(".stage")).to_have_text(["Admit", "Understand", "Keyword", "Model"])
    await expect(card.locator(".ms")).to_have_text(["0.03 ms", "0.01 ms", "1.6 ms", "0 ms"])
    await expect(chat.get_by_role("img", name="Handled")).to_be_visible()
    assert complaints == []


async def test_a_reload_finds_the_conversation_again(page: Page) -> None:
    await say(column(page), "hello")
    await expect(bubbles(column(page), "assistant")).to_have_text(["You said: hello"])
    await page.reload()
    await expect(bubbles(column(page), "user")).to_have_text(["hello"])
    await expect(bubbles(column(page), "assistant")).to_have_text(["You said: hello"])


async def test_a_reload_while_the_bot_thinks_keeps_the_question_and_shows_it_once(page: Page, bot: ScriptedBot) -> None:
    bot.hold = True
    await say(column(page), "a hard one")
    await expect(column(page).get_by_role("img", name="Delivered")).to_be_visible()
    await page.reload()
    await expect(bubbles(column(page), "user")).to_have_text(["a hard one"])
    await expect(column(page).locator(".typing")).to_be_visible()
    bot.release()
    await expect(bubbles(column(page), "assistant")).to_have_text(["You said: a hard one"])
    await expect(column(page).locator(".typing")).to_be_hidden()
    await expect(bubbles(column(page), "user")).to_have_text(["a hard one"])


async def test_chats_beside_each_other_stay_apart_and_in_order(page: Page, bot: ScriptedBot) -> None:
    await page.get_by_role("button", name="Add chat").click()
    first, second = column(page, "Chat 1"), column(page, "Chat 2")
    bot.hold = True
    await say(first, "slow")
    await expect(first.get_by_role("img", name="Delivered")).to_be_visible()
    bot.hold = False
    for number in range(5):
        await say(second, f"b{number}")
    await expect(bubbles(second, "assistant")).to_have_text([f"You said: b{number}" for number in range(5)])
    await expect(bubbles(first, "assistant")).to_have_count(0)
    bot.release()
    await expect(bubbles(first, "assistant")).to_have_text(["You said: slow"])
    assert len({message.chat for message in bot.received}) == 2
    await expect(page.locator("#panel-chat")).to_have_text("Chat 2")
    await first.get_by_role("textbox", name="Message").focus()
    await expect(page.locator("#panel .said")).to_have_text(["slow"])


async def test_typing_is_shown_until_the_answer_comes(page: Page, bot: ScriptedBot) -> None:
    bot.hold = True
    await say(column(page), "think")
    await expect(column(page).get_by_role("status").filter(has_text="TecnoBot is typing…")).to_be_attached()
    await expect(column(page).locator(".typing")).to_be_visible()
    bot.release()
    await expect(column(page).locator(".typing")).to_be_hidden()


async def test_buttons_and_numbered_choices_answer_when_pressed(page: Page, bot: ScriptedBot) -> None:
    bot.replies["menu"] = ("Choose:\n1. *Prices*\n2) Opening hours\nor write.", ("Call me",))
    chat = column(page)
    await say(chat, "menu")
    await chat.get_by_role("button", name="2 Opening hours").click()
    await expect(bubbles(chat, "user")).to_have_text(["menu", "2"])
    await chat.get_by_role("button", name="Call me").focus()
    await page.keyboard.press("Enter")
    await expect(bubbles(chat, "user")).to_have_text(["menu", "2", "Call me"])
    await expect(bubbles(chat, "assistant").first.locator("strong")).to_have_text("Prices")


async def test_marks_and_links_are_shown_as_whatsapp_shows_them(page: Page, bot: ScriptedBot) -> None:
    said = "*bold* _italic_ ~old~ `code` snake_case_name 2*3* 4 https://example.com/a_b_c."
    bot.replies["format"] = (said, ())
    await say(column(page), "format")
    shown = bubbles(column(page), "assistant")
    elements = "element => [...element.children].map((child) => `${child.localName} ${child.textContent}`)"
    assert await shown.evaluate(elements) == [
        "strong bold",
        "em italic",
        "s old",
        "code code",
        "a https://example.com/a_b_c",
    ]
    await expect(shown.get_by_role("link")).to_have_attribute("rel", "noopener noreferrer nofollow")


async def test_a_message_survives_a_bot_that_does_not_listen(page: Page, bot: ScriptedBot) -> None:
    await bot.chat.close()
    bot.chat._acknowledge_within_s = 0.05
    chat = column(page)
    await say(chat, "are you there?")
    await say(chat, "hello?")
    await expect(chat.get_by_role("img", name="Not sent yet, trying again")).to_have_count(1)
    await page.reload()
    await expect(bubbles(chat, "user")).to_have_text(["are you there?", "hello?"])
    await bot.start()
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: are you there?", "You said: hello?"])
    assert [message.text for message in bot.received] == ["are you there?", "hello?"]


async def test_messages_written_in_haste_are_sent_one_after_the_other(page: Page, bot: ScriptedBot) -> None:
    posts: list[object] = []
    page.on("request", lambda request: posts.append(request.post_data_json) if request.method == "POST" else None)
    await bot.chat.close()
    chat = column(page)
    for text in ("one", "two", "three"):
        await say(chat, text)
    await expect(chat.get_by_role("img", name="Sending")).to_have_count(3)
    assert len(posts) == 1
    await bot.start()
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: one", "You said: two", "You said: three"])
    assert [message.text for message in bot.received] == ["one", "two", "three"]
    assert len(posts) == 3


async def test_a_lost_server_is_said_and_what_was_missed_comes_when_it_is_back(
    context: BrowserContext, bot: ScriptedBot
) -> None:
    page = await context.new_page()
    async with WebServer(chat=bot.chat, metrics={}, ready=lambda: (), port=0) as server:
        port = int(server.url.rpartition(":")[2])
        await page.goto(server.url)
        await say(column(page), "one")
        await expect(bubbles(column(page), "assistant")).to_have_text(["You said: one"])
    await expect(page.get_by_text("Reconnecting…")).to_be_visible()
    await say(column(page), "two")
    await bot.chat.send(OutboundMessage(chat=bot.received[0].chat, key="news", text="We are open again"))
    async with WebServer(chat=bot.chat, metrics={}, ready=lambda: (), port=port):
        await page.evaluate("dispatchEvent(new Event('online'))")
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        expected = ["You said: one", "We are open again", "You said: two"]
        await expect(bubbles(column(page), "assistant")).to_have_text(expected)
        # What was shown before was not built anew: it still knows what became of its messages.
        await expect(column(page).get_by_role("button", name=re.compile("Show what the bot did"))).to_have_count(2)


async def test_no_network_is_said(page: Page, context: BrowserContext) -> None:
    await context.set_offline(True)
    await expect(page.get_by_text("Offline")).to_be_visible()
    await context.set_offline(False)
    await expect(page.get_by_text("Connected", exact=True)).to_be_visible()


async def test_an_answer_that_was_stored_before_it_was_sent_is_shown_once(page: Page, bot: ScriptedBot) -> None:
    await say(column(page), "hello")
    await expect(bubbles(column(page), "assistant")).to_have_count(1)
    await page.reload()
    await expect(bubbles(column(page), "assistant")).to_have_count(1)
    chat = bot.received[0].chat
    await bot.chat.send(OutboundMessage(chat=chat, key="late", text="You said: hello", buttons=("Thanks",)))
    await expect(column(page).get_by_role("button", name="Thanks")).to_be_visible()
    await expect(bubbles(column(page), "assistant")).to_have_count(1)
    await bot.chat.send(OutboundMessage(chat=chat, key="again", text="You said: hello"))
    await expect(bubbles(column(page), "assistant")).to_have_count(2)


async def test_a_turn_of_a_message_the_page_never_saw_brings_its_conversation(page: Page, bot: ScriptedBot) -> None:
    await say(column(page), "hello")
    await expect(bubbles(column(page), "assistant")).to_have_count(1)
    chat = bot.received[0].chat
    bot.conversations[chat].append(bot.conversations[chat][0])
    bot.events.publish(TurnCommitted(Turn(chat=chat, inbound=("x",), outcome="skipped", answered_by="echo"), 0.001))
    await expect(bubbles(column(page), "user")).to_have_text(["hello", "hello"])


async def test_a_second_tab_sees_the_same_chat_live(page: Page, context: BrowserContext, server: WebServer) -> None:
    other = await context.new_page()
    await other.goto(server.url)
    await other.get_by_text("Connected", exact=True).wait_for()
    await say(column(page), "from one tab")
    await expect(bubbles(column(other), "user")).to_have_text(["from one tab"])
    await expect(bubbles(column(other), "assistant")).to_have_text(["You said: from one tab"])
    await page.get_by_role("button", name="Add chat").click()
    await expect(column(other, "Chat 2")).to_be_visible()


async def test_the_keyboard_is_enough(page: Page, bot: ScriptedBot) -> None:
    box = column(page).get_by_role("textbox", name="Message")
    await expect(box).to_be_focused()
    await page.keyboard.type("two")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("lines")
    await page.keyboard.press("Enter")
    await expect(bubbles(column(page), "user")).to_have_text(["two\nlines"])
    await expect(box).to_have_value("")
    name = column(page).get_by_role("textbox", name="Name of this chat")
    await name.focus()
    await page.keyboard.type("Ana")
    await page.keyboard.press("Escape")
    await expect(name).to_have_value("Chat 1")
    await name.fill("Ana López")
    await page.keyboard.press("Enter")
    await page.reload()
    await expect(column(page, "Ana López")).to_be_visible()
    await page.keyboard.press("Tab")
    focus = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focus == "solid"


async def test_a_chat_is_removed_after_a_second_press(page: Page) -> None:
    await page.get_by_role("button", name="Add chat").click()
    remove = column(page, "Chat 2").get_by_role("button", name="Remove this chat from the page")
    await remove.click()
    await expect(column(page, "Chat 2")).to_be_visible()
    await remove.click()
    await expect(column(page, "Chat 2")).to_have_count(0)
    await page.reload()
    await expect(page.locator(".column")).to_have_count(1)


async def test_the_language_changes_on_request_and_stays(page: Page) -> None:
    await page.get_by_role("button", name="Cambiar a español").click()
    await expect(page.get_by_role("button", name="Añadir chat")).to_be_visible()
    await expect(page.get_by_text("Conectado")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("textbox", name="Mensaje")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "es"


async def test_a_spanish_browser_gets_the_page_in_spanish(browser: Browser, server: WebServer) -> None:
    page = await browser.new_page(locale="es-AR")
    await page.goto(server.url)
    await expect(page.get_by_role("button", name="Añadir chat")).to_be_visible()
    await page.close()


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)><script>alert(1)</script>",
        "مرحبا بالعالم",
        "bell\x07 null-ish\x01 zero\u200bwidth",
        "😀👨‍👩‍👧‍👦",
        "'; DROP TABLE flows; --",
    ],
)
async def test_any_text_is_shown_as_it_is(page: Page, bot: ScriptedBot, complaints: list[str], text: str) -> None:
    await say(column(page), text)
    shown = bubbles(column(page), "assistant").first
    await expect(shown).to_be_visible()
    assert await shown.evaluate("element => element.textContent") == f"You said: {text}"
    assert await shown.evaluate("element => element.children.length") == 0
    assert bot.received[0].text == text
    assert complaints == []


async def test_half_a_surrogate_pair_reaches_the_bot_and_comes_back(page: Page, bot: ScriptedBot) -> None:
    await column(page).get_by_role("textbox", name="Message").evaluate("box => { box.value = 'a\\ud800b' }")
    await page.keyboard.press("Enter")
    shown = bubbles(column(page), "assistant")
    await expect(shown).to_have_count(1)
    assert bot.received[0].text == "a\ud800b"
    assert await shown.evaluate("element => element.textContent === 'You said: a\\ud800b'")


async def test_a_hundred_thousand_characters_are_sent_and_folded(page: Page, bot: ScriptedBot) -> None:
    chat = column(page)
    await chat.get_by_role("textbox", name="Message").evaluate("box => { box.value = '日'.repeat(100_000) }")
    await page.keyboard.press("Enter")
    await expect(bubbles(chat, "assistant")).to_have_count(1)
    assert bot.received[0].text == "日" * 100_000
    await chat.get_by_role("button", name="Show all 100,000 characters").click()
    assert await bubbles(chat, "user").evaluate("element => element.textContent.length") == 100_000


async def test_a_message_that_is_too_big_is_said_to_be_and_stops_nobody(page: Page, bot: ScriptedBot) -> None:
    chat = column(page)
    await chat.get_by_role("textbox", name="Message").evaluate("box => { box.value = '日'.repeat(400_000) }")
    await page.keyboard.press("Enter")
    await expect(chat.get_by_role("img", name="Not sent: the bot does not take this message")).to_be_visible()
    await say(chat, "short")
    await expect(bubbles(chat, "assistant")).to_have_text(["You said: short"])


async def test_a_phone_shows_one_chat_and_the_panel_over_it(page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.get_by_role("button", name="Add chat").click()
    await expect(column(page, "Chat 1")).to_be_hidden()
    await say(column(page, "Chat 2"), "hello")
    outcome = column(page, "Chat 2").get_by_role("button", name=re.compile("Show what the bot did"))
    await outcome.click()
    panel = page.get_by_role("complementary", name="What the bot did")
    await expect(panel).to_be_visible()
    hidden = column(page, "Chat 2").get_by_role("textbox", name="Message")
    await hidden.focus()
    await expect(hidden).not_to_be_focused()
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await expect(outcome).to_be_focused()
    await page.get_by_role("navigation", name="Chats").get_by_role("button", name="Chat 1").click()
    await expect(column(page, "Chat 1")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_a_token_is_asked_for_kept_in_the_tab_and_taken_from_the_address(
    context: BrowserContext, bot: ScriptedBot
) -> None:
    page = await context.new_page()
    async with WebServer(chat=bot.chat, metrics={}, ready=lambda: (), port=0, token=TOKEN) as server:
        await page.goto(server.url)
        await page.get_by_role("textbox", name="Token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        await page.get_by_role("textbox", name="Token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await say(column(page), "hello")
        await expect(bubbles(column(page), "assistant")).to_have_text(["You said: hello"])
        await page.reload()
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        guest = await context.new_page()
        await guest.goto(f"{server.url}/#token={TOKEN}")
        await expect(guest.get_by_text("Connected", exact=True)).to_be_visible()
        assert TOKEN not in guest.url
        assert await guest.evaluate("localStorage.getItem('tecnobot.token')") is None


async def test_what_the_bot_says_first_appears_in_its_chat(page: Page, bot: ScriptedBot) -> None:
    name = await page.evaluate("JSON.parse(localStorage.getItem('tecnobot.chats'))[0].id")
    await bot.chat.send(OutboundMessage(chat=ChatId(f"web:{name}"), key="k", text="Your order has arrived"))
    await expect(bubbles(column(page), "assistant")).to_have_text(["Your order has arrived"])
