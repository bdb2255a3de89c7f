"""TecnoBot, whole: every part, wired. Each line can be replaced; the comments say by what.

scripts/run                          a web chat page on this machine
scripts/run --whatsapp               WhatsApp; the first start shows a QR code, or with --pair-code NUMBER a code
scripts/run chat                     in the terminal
scripts/run replay FILE [--me NAME]  a WhatsApp chat export, or a text file of one message a line
"""

import argparse
import asyncio
import math
import os
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from tecnobot_core import (
    AudioPreprocessor,
    Bot,
    ConnectionManager,
    EventBus,
    FlowRepository,
    HistoryWindow,
    HybridCache,
    Knowledge,
    MemoryManager,
    RateLimiter,
    Settings,
    TecnobotError,
    TemporaryFiles,
    configure_logging,
)
from tecnobot_core.adapters.chat_export import ChatExport, ReplayTransport
from tecnobot_core.adapters.console import ConsoleTransport
from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres
from tecnobot_core.adapters.ffmpeg import FfmpegEngine
from tecnobot_core.adapters.neonize import WhatsAppTransport
from tecnobot_core.adapters.phone_numbers import phone_parser
from tecnobot_core.adapters.postgres import (
    Database,
    PostgresAliases,
    PostgresChatbots,
    PostgresConversations,
    PostgresDelivery,
    PostgresFlowStore,
    PostgresKnowledge,
    StoredChatbot,
    migrate,
)
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.adapters.postgres.sessions import session_copies
from tecnobot_core.adapters.regular_expressions import Re2Set
from tecnobot_core.adapters.web import Uploads, WebChat, WebPairing, WebServer
from tecnobot_core.audio import Clip, max_clip_s_of
from tecnobot_core.bot import Attachments, ChatbotProfile, Hearing
from tecnobot_core.cache import policies_with
from tecnobot_core.completion import ChatModel
from tecnobot_core.config import secret_key
from tecnobot_core.connection import FetchesMedia, Transport
from tecnobot_core.delivery import AddressBook, TurnPolicy
from tecnobot_core.errors import TransportError
from tecnobot_core.events import Connected, Connecting, PairingOffered, ReconnectScheduled
from tecnobot_core.flows import Flow
from tecnobot_core.knowledge import Passage
from tecnobot_core.memory import Priority, read_peak_rss_bytes
from tecnobot_core.messages import ChatId, ChatMessage, Turn
from tecnobot_core.tasks import stop_signals
from tecnobot_core.testing import ReplayReport

Transcriber = Callable[[Clip], Awaitable[str]]

MIB = 1024 * 1024
RECYCLED = 75  # "try again later" of sysexits.h
DEMO = Path(__file__).parent / "data" / "demo_shop.toml"

# Over WhatsApp a chat must have been quiet for so long before anything is sent to it: where a send and a message cross,
# the library loses one of them now and then.
SETTLE_S = 0.5
# A bot that was replaced notices it within five seconds, finishes, and leaves its session.
HELD_S = 20.0
# Longer recordings are refused with a polite answer; an hour and a half takes a small machine minutes to hear.
MAX_RECORDING_S = 5400.0


class TecnoBot:
    """The parts that every way of running shares, opened in *stack*."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.stack = stack
        self.shop = tomllib.loads(DEMO.read_text("utf-8"))
        # Or another row of tecnobot.chatbot: a database holds many, each with flows and settings of its own.
        self.chatbot_id: str = self.shop["shop"]["id"]
        self.events = EventBus()
        self.exit_code = 0
        self.failure: TecnobotError | None = None
        self.audio: AudioPreprocessor | None = None
        self.hearing: Hearing | None = None

    def fail(self, bot: Bot, error: TecnobotError) -> None:
        """End, and let *error* be what is told at the end."""
        self.failure = error
        bot.stop()

    def recycle(self, bot: Bot) -> None:
        """Finish what was accepted, and have whoever supervises this process start it anew."""
        self.exit_code = RECYCLED
        bot.stop()

    async def open(self) -> None:
        """Database, schema, demo business."""
        url = await self._database_url()
        # A connection of its own, closed afterwards: setting up makes it three times as big as answering does.
        async with Database(url, min_size=1, max_size=1) as setting_up:
            await migrate(setting_up)
            await self._load_demo_if_empty(setting_up)
        settings = self.settings
        self.database = await self.stack.enter_async_context(
            Database(url, min_size=settings.db_pool_min, max_size=settings.db_pool_max, idle_s=settings.db_pool_idle_s)
        )
        # What the owner decides: prompt, opening hours, who is heard, … in tecnobot.chatbot.settings.
        chatbot = await PostgresChatbots(self.database).load(self.chatbot_id)
        self.profile = ChatbotProfile.read(chatbot.settings, chatbot.language)
        # Or MemoryConversations(): forgets at the end, needs no database.
        self.conversations = PostgresConversations(self.database, self.chatbot_id)
        # Or AddressBook(): which addresses are one person is learned again after a restart.
        self.addresses = AddressBook(PostgresAliases(self.database, self.chatbot_id))
        # Or MemoryFlowStore([...]) with flows written in Python.
        self.flow_store = PostgresFlowStore(self.database)
        # Or anything with `search(question, limit)`.
        self.knowledge_store = PostgresKnowledge(self.database, self.chatbot_id, self.shop["shop"]["language"])
        self.model = await self._model()
        self.transcriber = await self._transcriber()
        # Or another directory on a disk: on tmpfs files are memory.
        self.files = await self.stack.enter_async_context(
            TemporaryFiles(settings.data_dir / "temporary", on_failure=self.events.task_failed)
        )
        self.cache = await self.stack.enter_async_context(self._cache())

    def bot(
        self,
        transport: Transport,
        *,
        durable: bool,
        drain_s: float = 2.0,
        policy: TurnPolicy | None = None,
        settle_s: float = 0.0,
        show_presence: bool = True,
    ) -> Bot:
        """A bot over *transport*. Everything but the connection may be left out.

        *durable*: what was accepted and is not answered outlives a kill, and this process takes the chatbot over.
        """
        settings = self.settings
        # Or ConnectionManager(transport): every number has a default.
        self.connection = ConnectionManager(
            transport,
            base_delay_s=settings.reconnect_base_s,
            max_delay_s=settings.reconnect_max_s,
            max_attempts=settings.reconnect_max_attempts,
            heartbeat_s=settings.heartbeat_s,
            save_session_s=settings.session_save_s,
            show_presence=show_presence,
            events=self.events,
        )
        # Or None below: nothing watches, and the kernel ends what grows too big.
        self.memory = MemoryManager(
            settings.memory_limit_bytes,
            warning=settings.memory_warning,
            critical=settings.memory_critical,
            recycle_after_s=settings.memory_recycle_s,
            events=self.events,
        )
        self.memory.register("files", self.files.release, priority=Priority.FILES)
        return Bot(
            self.connection,
            # Or None: model and knowledge answer everything. Or without an engine: no regular expressions.
            flows=FlowRepository(
                self.flow_store,
                self.chatbot_id,
                events=self.events,
                engine=Re2Set,
                suggestions=self.profile.suggestions(),
            ),
            # The country of a number without one, in answers to questions. Or None: numbers need their "+".
            parse_phone=phone_parser(self.profile.country) if self.profile.country else None,
            # Or Knowledge(store, min_coverage=…): how much of a question a paragraph must hold.
            knowledge=Knowledge(self.knowledge_store),
            model=self.model,
            # Or None: people are asked to write. Or any callable that makes words of a MediaReference.
            hearing=self._hearing(transport),
            conversations=self.conversations,
            addresses=self.addresses,
            # Or Pacing(): writes as slowly as a person, which WhatsApp likes better.
            pacing=None,
            settle_s=settle_s,
            # Or None, or MemoryDelivery(conversations, …): forgets what was not answered when the process ends.
            store=self._delivery() if durable else None,
            # Or HistoryWindow(max_tokens=…): as much as a budget of tokens holds.
            window=HistoryWindow(settings.max_chat_history),
            # Or None: everybody is heard. Or mode="cooldown": silence after the limit, until the window is over.
            rate_limiter=RateLimiter(
                settings.rate_limit_max_messages,
                settings.rate_limit_cooldown_s,
                max_overall=20 * settings.rate_limit_max_messages,  # a flood from many numbers at once
            ),
            memory=self.memory,
            # Or None: the model is asked each time. Or HybridCache(): in memory only.
            cache=self.cache,
            events=self.events,
            drain_s=drain_s,
            # Or each by itself: prompt=…, texts=Texts(…), policy=TurnPolicy(quiet_s=1.5), opening_hours=…, …
            **self.profile.bot_options() | ({} if policy is None else {"policy": policy}),
        )

    async def history(self, chat: ChatId) -> Sequence[ChatMessage]:
        """What a page that is loaded again shows."""
        return (await self.conversations.load(chat, 100)).history

    def audio_statistics(self) -> Mapping[str, object]:
        """What recordings cost; empty where nobody hears them."""
        if self.audio is None or self.hearing is None:
            return {}
        return {"waiting": self.audio.waiting, **asdict(self.hearing.statistics())}

    def _hearing(self, transport: Transport) -> Hearing | None:
        if self.transcriber is None or not isinstance(transport, FetchesMedia):
            return None
        settings = self.settings
        self.audio = AudioPreprocessor(
            # Or None: what needs no conversion is heard all the same.
            FfmpegEngine(settings.ffmpeg_path, on_started=self.memory.register_child),
            max_upload_bytes=settings.audio_max_bytes,
            max_clip_s=max_clip_s_of(settings.transcription_model),
            max_duration_s=MAX_RECORDING_S,
            temporary_files=self.files,
            reserve=self.memory.reserve,
        )
        self.hearing = Hearing(
            # Or max_bytes=…, where larger ones should be fetched.
            Attachments(transport, self.files, reserve=self.memory.reserve).fetched,
            self.transcriber,
            audio=self.audio,
            cache=self.cache,
            reserve=self.memory.reserve,
            # Or timeout_s=…, timeout_for_a_second=…: how long the words of a recording are waited for.
            max_duration_s=MAX_RECORDING_S,
        )
        return self.hearing

    def _delivery(self) -> PostgresDelivery:
        return PostgresDelivery(self.database, self.chatbot_id, write_window_s=self.settings.write_window_s)

    def _cache(self) -> HybridCache:
        return HybridCache(
            self.settings.cache_max_bytes,
            # Without a model there is nothing that other processes could use.
            None if self.model is None else PostgresTier(self.database),
            policies=policies_with(self.settings.cache_ttl_s),
            secret=secret_key(self.settings),
            namespace=self.chatbot_id,
            events=self.events,
        )

    async def _model(self) -> ChatModel | None:
        # Or anything with `complete(messages)`. Without a model, flows and knowledge answer.
        if not self.settings.openai_model:
            return None
        from tecnobot_core.adapters.openai import OpenAIChat  # noqa: PLC0415  # the extra is needed only here

        model = OpenAIChat(
            self.settings.openai_model,
            api_key=self.settings.openai_api_key.reveal(),
            base_url=self.settings.openai_base_url,
            # Unset: the server's own, usually 1, and then no answer is cached. Not low by default: models that reason
            # refuse a request that names a temperature.
            temperature=self.settings.openai_temperature,
        )
        return await self.stack.enter_async_context(model)

    async def _transcriber(self) -> Transcriber | None:
        # Or anything that makes words of a Clip.
        if not self.settings.transcription_model:
            return None
        from tecnobot_core.adapters.openai import OpenAITranscriber  # noqa: PLC0415  # the extra is needed only here

        transcriber = OpenAITranscriber(
            self.settings.transcription_model,
            api_key=self.settings.openai_api_key.reveal(),
            base_url=self.settings.openai_base_url,
            language=self.profile.language,
        )
        return await self.stack.enter_async_context(transcriber)

    async def _database_url(self) -> str:
        if url := self.settings.database_url.reveal():
            return url
        server = EmbeddedPostgres(self.settings.data_dir / "postgres", bin_dir=self.settings.postgres_bin_dir)
        return (await self.stack.enter_async_context(server)).dsn

    async def _load_demo_if_empty(self, database: Database) -> None:
        shop = self.shop["shop"]
        chatbots = PostgresChatbots(database)
        if self.chatbot_id not in {chatbot.id for chatbot in await chatbots.list()}:
            names = ("prompt", "country", "timezone", "suggestions")
            settings = {name: shop[name] for name in names}
            await chatbots.put(StoredChatbot(self.chatbot_id, shop["name"], shop["language"], settings))
        flow_store = PostgresFlowStore(database)
        if not (await flow_store.load(self.chatbot_id))[0]:
            for row in self.shop["flow"]:
                response = {name: row[name] for name in ("say", "steps", "event", "exact", "interrupts") if name in row}
                flow = Flow.from_stored(row["id"], row["keywords"], response, row.get("priority", 0))
                await flow_store.put(self.chatbot_id, flow)
        knowledge = PostgresKnowledge(database, self.chatbot_id, shop["language"])
        if not await knowledge.count():
            await knowledge.replace([Passage(row["title"], row["text"]) for row in self.shop["knowledge"]])


async def serve(app: TecnoBot) -> None:
    """The web chat page, until a signal."""
    # Or without uploads: the page takes text alone.
    page = WebChat(app.history, uploads=Uploads(app.settings.data_dir / "uploads"))
    page.watch(app.events)
    bot = app.bot(page, durable=True)
    async with web_server(app, bot, chat=page) as server, stop_signals(bot.stop):
        print(f"TecnoBot answers at {server.url}/  (Ctrl-C ends it)", flush=True)
        await bot.run()


async def serve_whatsapp(app: TecnoBot, *, pair_code: str, show_presence: bool) -> None:
    """WhatsApp, with metrics and health on the web server, until a signal."""
    settings = app.settings
    transport = WhatsAppTransport(
        settings.data_dir / "whatsapp",
        session_url=settings.whatsapp_session_url.reveal() or None,
        # Or None: who loses the disk pairs again.
        copies=session_copies(settings, app.database, app.chatbot_id),
        on_started=lambda pid: app.memory.register_child(pid),
    )
    bot = app.bot(transport, durable=True, settle_s=SETTLE_S, show_presence=show_presence)
    app.events.on(Connected, lambda event: print("WhatsApp is connected", flush=True))
    watch_pairing(app, transport, pair_code)
    watch_for_another(app, bot)
    pairing = WebPairing()
    pairing.watch(app.events)
    process = {"whatsapp": lambda: {"process_bytes": transport.rss_bytes, "spooled": transport.spooled}}
    async with web_server(app, bot, pairing=pairing, metrics=process) as server, stop_signals(bot.stop):
        print(f"TecnoBot connects to WhatsApp; health and metrics at {server.url}/  (Ctrl-C ends it)", flush=True)
        await bot.run()
    if app.failure is not None:
        raise app.failure


def watch_pairing(app: TecnoBot, transport: WhatsAppTransport, pair_code: str) -> None:
    """Show what joins the account: QR codes, or where there is a number in *pair_code* a code for it."""
    number, draws = pair_code, not pair_code

    def begin(connecting: Connecting) -> None:
        nonlocal number
        number = pair_code  # a code belongs to one connection

    async def pair(offer: PairingOffered) -> None:
        nonlocal number, draws
        if offer.kind == "code":
            print(f"Enter {offer.data} on the phone: Linked devices, Link with phone number.", flush=True)
            return
        if number and not draws:
            asked, number = number, ""
            try:
                await transport.pair_by_code(asked)
            except TransportError as error:
                print(f"there is no code for {asked}: {error}", flush=True)
                draws = True
        if draws:
            print_qr(offer.data)

    app.events.on(Connecting, begin)
    app.events.on(PairingOffered, pair)


def watch_for_another(app: TecnoBot, bot: Bot) -> None:
    """End when another process has the session, and does not leave it."""

    held_since = math.inf

    def leave_to_other(scheduled: ReconnectScheduled) -> None:
        nonlocal held_since
        why = app.connection.status().last_error.removeprefix("unknown: ")
        if "another process has" not in why:
            held_since = math.inf
            return
        held_since = min(held_since, time.monotonic())
        if time.monotonic() - held_since >= HELD_S:
            app.fail(bot, TransportError(f"{why}: end that one first, or set another DATA_DIR"))

    app.events.on(ReconnectScheduled, leave_to_other)


def print_qr(data: str) -> None:
    """A code of half blocks, which a terminal and a log show alike."""
    import segno  # noqa: PLC0415  # comes with the extra, which is needed only here

    print("Scan with the phone: Linked devices, Link a device.")
    segno.make(data, error="l").terminal(compact=True)
    sys.stdout.flush()


def web_server(
    app: TecnoBot,
    bot: Bot,
    *,
    chat: WebChat | None = None,
    pairing: WebPairing | None = None,
    metrics: Mapping[str, Callable[[], object]] = MappingProxyType({}),
) -> WebServer:
    """Metrics, health and, where there are, the chat page and the pairing page."""
    settings = app.settings
    app.memory.on("recycle", lambda event: app.recycle(bot))

    def not_ready() -> Sequence[str]:
        reasons = []
        if (state := app.connection.status().state) != "connected":
            reasons.append(f"the connection is {state}")
        if (outage_s := bot.outage_s or app.database.outage_s) is not None:
            reasons.append(f"the database has not answered for {outage_s:.0f} s")
        return reasons

    return WebServer(
        chat=chat,
        pairing=pairing,
        metrics={
            "memory": lambda: app.memory.statistics(),
            "connection": lambda: app.connection.status(),
            "files": lambda: app.files.statistics(),
            "audio": app.audio_statistics,
            **metrics,
        },
        ready=not_ready,
        send=lambda chat, text, key: bot.send(chat, text, key=key),
        host=settings.web_host,
        port=settings.web_port,
        token=settings.web_token.reveal(),
        metrics_token=settings.metrics_token.reveal(),
    )


async def chat(app: TecnoBot) -> None:
    """The terminal, until the end of the input, when what was asked is still answered; or until a signal."""
    bot = app.bot(ConsoleTransport(), durable=False, drain_s=60)
    print(f"{app.shop['shop']['name']}: escribe un mensaje (Ctrl-D termina)")
    await bot.run()


async def replay(app: TecnoBot, file: Path, me: str | None) -> None:
    """A conversation file through the bot; prints each answer and what became of all messages."""
    export = ChatExport.open(file, me=me)
    # Chats of their own, which are removed at the end: a replay leaves the real ones as they are.
    prefix = f"replay:{file.name}:"
    transport = ReplayTransport(export, prefix=prefix)
    # Messages of long ago are answered one by one, not as what is left of an outage.
    bot = app.bot(transport, durable=False, drain_s=600, policy=TurnPolicy(collapse_after_s=0))
    chats: set[ChatId] = set()
    task = _this_task()
    with tqdm(total=transport.total, unit=" messages") as bar:

        def show(turn: Turn) -> None:
            chats.add(turn.chat)
            asked = turn.history[0].content if turn.history else "…"
            answers = " / ".join(message.text for message in turn.outgoing) or turn.outcome
            try:
                tqdm.write(f"{turn.chat.reveal().removeprefix(prefix)}: {asked}\n  [{turn.answered_by}] {answers}")
            except BrokenPipeError:  # whoever reads, such as head, has seen enough
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the end of the process
                task.cancel()
            bar.update(len(turn.inbound))

        report = ReplayReport(app.events, on_turn=show)
        try:
            await bot.run()  # until the end of the file; a signal cancels it
        finally:
            for address in chats:
                await bot.delete_chat(address)
    found = report.summary()
    print(f"\nmessages      {found.messages} in {found.chats} chats, {export.report.unreadable_lines} lines unreadable")
    for line_number, line in export.report.unreadable:
        print(f"  line {line_number}: {line}")
    print("answered by   " + ", ".join(f"{by} {count}" for by, count in found.by.items()))
    print(f"lost          {found.lost}\nout of order  {found.out_of_order}")
    print(f"time          p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms")
    print(f"peak RSS      {read_peak_rss_bytes() / MIB:.0f} MiB")


async def run(arguments: argparse.Namespace) -> int:
    """Open the parts, run, and close whatever was opened; the exit code."""
    settings = Settings.from_env()
    with configure_logging(settings):
        async with stop_signals(_this_task().cancel), AsyncExitStack() as stack:
            app = TecnoBot(settings, stack)
            await app.open()
            match arguments.command:
                case "chat":
                    await chat(app)
                case "replay":
                    await replay(app, arguments.file, arguments.me)
                case _ if arguments.whatsapp:
                    await serve_whatsapp(app, pair_code=arguments.pair_code, show_presence=not arguments.no_presence)
                case _:
                    await serve(app)
            return app.exit_code


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


def main() -> int:
    """Read the command line; errors that the user can mend are one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whatsapp", action="store_true", help="answer on WhatsApp instead of the web page")
    parser.add_argument("--pair-code", metavar="NUMBER", default="", help="pair by a code for the phone of this number")
    parser.add_argument("--no-presence", action="store_true", help="do not show as online, which mutes the phone")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("chat", help="talk in the terminal")
    replaying = commands.add_parser("replay", help="feed a conversation file through the bot")
    replaying.add_argument("file", type=Path)
    replaying.add_argument("--me", help="the sender who was the business")
    arguments = parser.parse_args()
    if not arguments.whatsapp and (arguments.pair_code or arguments.no_presence):
        parser.error("--pair-code and --no-presence belong to --whatsapp")
    if arguments.whatsapp and arguments.command:
        parser.error(f"--whatsapp is not for {arguments.command}")
    try:
        return asyncio.run(run(arguments))
    except (TecnobotError, OSError) as error:
        print(f"tecnobot: {error}", file=sys.stderr)
        return 2
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130


if __name__ == "__main__":
    sys.exit(main())
