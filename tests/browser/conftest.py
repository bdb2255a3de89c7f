"""Chromium, a web server with a chat page, and a small scripted bot behind it."""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tecnobot_core.adapters.web import Uploads, WebChat, WebServer
from tecnobot_core.connection.ports import TransportEvent
from tecnobot_core.events import DuplicateIgnored, EventBus, TurnCommitted
from tecnobot_core.messages import (
    ChatId,
    ChatMessage,
    InboundMessage,
    MediaReference,
    OutboundMessage,
    Outcome,
    TraceStep,
    Turn,
)

CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A microphone that beeps, and nobody who must be asked.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class ScriptedBot:
    """Journals, types, answers from ``replies`` or by repeating, and tells what it did; one lane per chat.

    To a file it answers with its size, as fetched from the chat.
    While ``hold`` is set nothing is answered; while ``deaf`` is set nothing is even acknowledged.
    """

    def __init__(self, uploads: Uploads | None = None) -> None:
        self.chat = WebChat(self.history, uploads=uploads)
        self.events = EventBus()
        self.chat.watch(self.events)
        self.replies: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.received: list[InboundMessage] = []
        self.files: list[tuple[MediaReference, bytes]] = []
        self.conversations: defaultdict[ChatId, list[ChatMessage]] = defaultdict(list)
        self.hold = False
        self.deaf = False
        self._accepted: set[str] = set()
        self._lanes: defaultdict[ChatId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[InboundMessage] = []

    async def history(self, chat: ChatId) -> Sequence[ChatMessage]:
        return tuple(self.conversations[chat])

    async def start(self) -> None:
        await self.chat.open(self.take)

    async def stop(self) -> None:
        await self.chat.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.events.aclose()

    def take(self, event: TransportEvent) -> None:
        if isinstance(event, InboundMessage):
            self._run(self._accept(event))

    def release(self) -> None:
        """Answer what was held."""
        self.hold = False
        held, self._held = self._held, []
        for message in held:
            self._run(self._answer(message))

    async def _accept(self, message: InboundMessage) -> None:
        if self.deaf:
            return
        async with self._lanes[message.chat]:
            await self.chat.acknowledge([message.id])
            if message.id in self._accepted:
                self.events.publish(DuplicateIgnored(message.chat, message.id))
                return
            self._accepted.add(message.id)
            self.received.append(message)
            await self.chat.set_typing(message.chat, True)
            if self.hold:
                self._held.append(message)
            else:
                await self._answer(message)

    async def _answer(self, message: InboundMessage) -> None:
        said = message.text
        if message.media is not None:
            async with self.chat.fetch(message.media) as path:
                data = await asyncio.to_thread(path.read_bytes)
            self.files.append((message.media, data))
            said = f"{message.kind} of {len(data)} bytes"
        text, buttons = self.replies.get(said, (f"You said: {said}", ()))
        reply = OutboundMessage(chat=message.chat, key=f"{message.id}/0", text=text, buttons=buttons)
        rows = (ChatMessage("user", said), ChatMessage("assistant", text))
        turn = Turn(
            chat=message.chat,
            inbound=(message.id,),
            outcome=self.outcomes.get(message.text, "answered"),
            answered_by="flow",
            history=rows,
            outgoing=(reply,),
            trace=(
                TraceStep("admit", "within the limit", 0.03),
                TraceStep("understand", "text", 0.01),
                TraceStep("keyword", "matched “opening hours” by keyword", 1.6),
                TraceStep("model", "not needed", 0.0),
            ),
        )
        self.conversations[message.chat] += rows
        self.events.publish(TurnCommitted(turn, 0.0124))
        await self.chat.send(reply)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium on this machine; Debian has it as the package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def bot(tmp_path: Path) -> AsyncIterator[ScriptedBot]:
    bot = ScriptedBot(Uploads(tmp_path / "uploads"))
    await bot.start()
    yield bot
    await bot.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def server(bot: ScriptedBot) -> AsyncIterator[WebServer]:
    async with WebServer(chat=bot.chat, metrics={}, ready=lambda: (), port=0) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(locale="en-US", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def complaints(context: BrowserContext) -> list[str]:
    """What the browser complained about, in any page of the context: script errors, policy violations, failed loads."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    return complaints


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, server: WebServer, complaints: list[str]) -> Page:
    """The chat page, connected."""
    page = await context.new_page()
    await page.goto(server.url)
    await page.get_by_text("Connected", exact=True).wait_for()
    return page
