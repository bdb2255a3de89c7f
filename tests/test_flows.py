"""Flows: one form of texts, matching, and a repository that stays right while its store changes or fails."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.errors import FlowError, LifecycleError, StoreError
from tecnobot_core.events import EventBus, FlowsLoaded
from tecnobot_core.flows import Flow, FlowRepository, Keyword, MatchIndex, MemoryFlowStore, fold
from tecnobot_core.flows.folding import fold_letters
from tecnobot_core.flows.matching import MAX_CHARS, MAX_WORDS

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
spanish = st.text("abcdefghijklmnñopqrstuvwxyzáéíóúü ¿?¡!,.👍")


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("  INFORMACION ", "información"),
        ("¿Cuánto   cuesta?", "cuanto cuesta"),
        ("holaaaa!!", "Hola"),
        ("ho\u200bla\u202e", "hola"),
        ("cafe\u0301", "café"),
        ("ＰＲＥＣＩＯ", "precio"),
        ("İSTANBUL", "istanbul"),
        ("STRASSE", "straße"),
        ("mi-pedido_nº", "mi pedido no"),
        ("hola 👋🏽", "hola"),
        ("👍🏽👍🏽", "👍"),
        ("❤️", "❤"),
        ("🤷🏽‍♀️", "🤷"),
        ("???", "?"),
    ],
)
def test_what_people_type_and_what_owners_write_meet(typed: str, written: str) -> None:
    assert fold(typed) == fold(written) != ""


@pytest.mark.parametrize(
    ("one", "other"), [("1000", "10"), ("hola", "ola"), ("👍", "👎"), ("llave", "lave"), ("नमस्ते", "नमसत")]
)
def test_what_means_something_else_stays_apart(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize("text", ["", "   ", "\u200b\ufe0f", "\n\t"])
def test_a_text_that_nobody_sees_is_empty(text: str) -> None:
    assert fold(text) == ""


@pytest.mark.parametrize(
    ("typed", "written"), [("C++", "c++"), ("Olá  👋🏽", "ola 👋"), ("¿HOLAAA?", "¿hola?"), ("pizza 🌶️", "pizza 🌶")]
)
def test_symbols_can_be_kept(typed: str, written: str) -> None:
    assert fold_letters(typed) == written == fold_letters(written)


@given(any_text)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(spanish)
def test_capitals_make_no_difference(text: str) -> None:
    assert fold(text.upper()) == fold(text)


def index(*flows: Flow) -> MatchIndex:
    return MatchIndex(flow.say("…") for flow in flows)


def found(index: MatchIndex, text: str) -> str | None:
    match = index.find(text)
    return match.flow.id if match else None


def test_a_keyword_is_found_inside_a_sentence() -> None:
    match = index(Flow("envio").on("Envío")).find("¿cuanto cuesta el ENVIO a casa?")
    assert match is not None
    assert (match.flow.id, match.matched) == ("envio", "Envío")


@pytest.mark.parametrize("text", ["solicitud", "el sol", "de soles", "sol el", ""])
def test_only_whole_words_in_their_order_match(text: str) -> None:
    assert found(index(Flow("sun").on("sol de")), text) is None


def test_an_exact_keyword_wants_the_whole_message() -> None:
    flows = index(Flow("yes").on("sí", kind="exact"))
    assert found(flows, "Si!") == "yes"
    assert found(flows, "si quiero") is None


def test_a_keyword_of_many_words_is_found_inside_a_sentence() -> None:
    flows = index(Flow("person").on("quiero hablar con una persona de verdad"))
    assert found(flows, "oye, quiero hablar con una persona de verdad ya") == "person"
    assert found(flows, "quiero hablar con una persona") is None


def test_a_symbol_can_be_a_keyword() -> None:
    flows = index(Flow("thanks").on("👍"), Flow("help").on("?"))
    assert found(flows, " 👍🏿👍🏿 ") == "thanks"
    assert found(flows, "???") == "help"
    assert found(flows, "👎") is None


def test_exact_wins_over_words_whatever_the_priority() -> None:
    words = Flow("words", priority=9).on("precio envio")
    assert found(index(words, Flow("exact").on("precio envío", kind="exact")), "precio envio") == "exact"


def test_more_words_win_over_a_higher_priority() -> None:
    flows = index(Flow("short", priority=9).on("envío"), Flow("long").on("gastos de envío"))
    assert found(flows, "y los gastos de envío?") == "long"


def test_priority_wins_among_equals_and_then_the_smaller_id() -> None:
    flows = index(Flow("c", priority=1).on("tres"), Flow("b").on("dos"), Flow("a").on("uno"))
    assert found(flows, "uno dos tres") == "c"
    assert found(flows, "dos uno") == "a"
    assert found(index(Flow("b").on("x"), Flow("a").on("x"), Flow("z", priority=1).on("x")), "x") == "z"


def test_the_end_of_a_long_message_is_not_looked_at() -> None:
    flows = index(Flow("greeting").on("hola").on("bla " * MAX_WORDS, kind="exact"))
    assert found(flows, "bla " * (MAX_WORDS - 1) + "hola") == "greeting"
    assert found(flows, "bla " * MAX_WORDS + "hola") is None
    assert found(flows, "bla " * MAX_WORDS) == "greeting"


def test_a_word_that_the_limit_cuts_in_two_is_not_taken_for_a_keyword() -> None:
    beginning = "x" * (MAX_CHARS - 5)
    assert found(index(Flow("greeting").on("hola")), beginning + " holanda") is None
    assert found(index(Flow("greeting").on("hola")), beginning + " hola") == "greeting"


def test_events_start_flows() -> None:
    flows = index(
        Flow("voice", event="voice"), Flow("hello", event="welcome"), Flow("first", event="welcome", priority=1)
    )
    assert [match.flow.id for name in ("voice", "welcome", "image") if (match := flows.event(name))] == [
        "voice",
        "first",
    ]


@given(any_text)
def test_no_message_breaks_matching(text: str) -> None:
    index(Flow("greeting").on("hola", "👍")).find(text)


words = st.lists(st.sampled_from(["uno", "dos", "tres"]), min_size=1, max_size=4).map(" ".join)
keywords = st.builds(Keyword, words, st.sampled_from(["word", "exact"]))
some_flows = st.lists(
    st.builds(
        Flow,
        st.sampled_from("abcdef"),
        st.lists(keywords, min_size=1, max_size=3).map(tuple),
        priority=st.integers(0, 1),
    ),
    unique_by=lambda flow: flow.id,
)


@given(some_flows, words)
def test_the_index_finds_what_looking_at_every_flow_finds(flows: list[Flow], message: str) -> None:
    assert found(MatchIndex(flows), message) == _by_looking_at_every_flow(flows, message)


def _by_looking_at_every_flow(flows: Iterable[Flow], message: str) -> str | None:
    fitting = [
        (keyword.kind != "exact", -keyword.text.count(" "), -flow.priority, flow.id)
        for flow in flows
        for keyword in flow.keywords
        if (keyword.text == message if keyword.kind == "exact" else f" {keyword.text} " in f" {message} ")
    ]
    return min(fitting)[-1] if fitting else None


# The repository


class ShakyStore(MemoryFlowStore):
    """A store that can be down, and counts how often all flows are read."""

    down = False
    loads = 0

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        self.loads += 1
        return await super().load(chatbot_id)

    async def version(self, chatbot_id: str) -> int:
        if self.down:
            raise StoreError("the store is down", retryable=True)
        return await super().version(chatbot_id)


GREETING = Flow("greeting").on("hola").say("¡Hola!")
PRICE = Flow("price").on("precio").say("5 €")


async def loaded(store: MemoryFlowStore) -> FlowRepository:
    repository = FlowRepository(store, "shop")
    await repository.load()
    return repository


async def test_matching_before_loading_says_what_to_do() -> None:
    with pytest.raises(LifecycleError, match="load"):
        FlowRepository(MemoryFlowStore(), "shop").match("hola")


async def test_a_loaded_repository_matches_and_tells_its_flows() -> None:
    repository = await loaded(MemoryFlowStore([GREETING, PRICE]))
    match = repository.match("hola")
    assert match is not None
    assert match.flow == GREETING == repository.get("greeting")
    assert [flow.id for flow in repository] == ["greeting", "price"]
    assert len(repository) == 2


async def test_an_added_flow_is_served_at_once() -> None:
    repository = await loaded(MemoryFlowStore())
    await repository.add(GREETING)
    assert repository.match("hola") is not None


async def test_adding_refuses_an_id_that_is_taken() -> None:
    repository = await loaded(MemoryFlowStore([GREETING]))
    with pytest.raises(FlowError, match=r"'greeting'.*already"):
        await repository.add(Flow("greeting").on("buenas").say("Buenas"))
    assert repository.get("greeting") == GREETING


async def test_replacing_takes_the_place_of_the_old_flow() -> None:
    repository = await loaded(MemoryFlowStore([GREETING]))
    await repository.replace(Flow("greeting").on("buenas").say("Buenas"))
    assert repository.match("hola") is None
    assert repository.match("buenas") is not None


async def test_a_removed_flow_is_served_no_more() -> None:
    repository = await loaded(MemoryFlowStore([GREETING, PRICE]))
    assert await repository.remove(GREETING)
    assert not await repository.remove("greeting")
    assert repository.match("hola") is None


@pytest.mark.parametrize("change", ["add", "replace"])
async def test_a_wrong_flow_never_reaches_the_store(change: str) -> None:
    store = MemoryFlowStore()
    repository = await loaded(store)
    with pytest.raises(FlowError, match="says nothing"):
        await getattr(repository, change)(Flow("mute").on("hola"))
    assert await store.version("shop") == 0


async def test_a_refresh_loads_only_what_changed() -> None:
    store = ShakyStore([GREETING])
    repository = await loaded(store)
    assert not await repository.refresh()
    assert store.loads == 1
    await store.put("shop", PRICE)  # somebody else
    assert await repository.refresh()
    assert repository.match("precio") is not None


async def test_a_store_that_is_down_leaves_the_last_flows_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store = ShakyStore([GREETING])
    repository = await loaded(store)
    store.down = True
    assert [await repository.refresh() for _ in range(3)] == [False] * 3
    assert repository.match("hola") is not None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    store.down = False
    await store.put("shop", PRICE)
    assert await repository.refresh()


async def test_loading_from_a_store_that_is_down_raises() -> None:
    store = ShakyStore()
    store.down = True
    with pytest.raises(StoreError):
        await FlowRepository(store, "shop").load()


async def test_a_broken_flow_is_left_out_logged_and_published(caplog: pytest.LogCaptureFixture) -> None:
    events, published = EventBus(), list[FlowsLoaded]()
    events.on(FlowsLoaded, published.append)
    repository = FlowRepository(MemoryFlowStore([GREETING, Flow("mute").on("adiós")]), "shop", events=events)
    await repository.load()
    assert repository.match("hola") is not None
    assert repository.match("adiós") is None
    assert published == [FlowsLoaded("shop", flows=1, broken=1)]
    assert "'mute'" in caplog.text


class TellingStore(ShakyStore):
    """A store that tells of changes, and whose loads take a second each, on its clock."""

    def __init__(self, flows: Iterable[Flow] = ()) -> None:
        super().__init__(flows)
        self.now_s = 0.0
        self.changed = asyncio.Event()
        self.slept: list[float] = []

    def changes(self, chatbot_id: str) -> AbstractAsyncContextManager[asyncio.Event]:
        return nullcontext(self.changed)

    def clock(self) -> float:
        return self.now_s

    async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
        result = await super().load(chatbot_id)
        self.now_s += 1.0
        return result

    async def put(self, chatbot_id: str, flow: Flow) -> None:
        await super().put(chatbot_id, flow)
        self.changed.set()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds == 30.0:  # the poll interval, which never ends here
            await asyncio.Event().wait()


@asynccontextmanager
async def watched(store: TellingStore) -> AsyncIterator[FlowRepository]:
    repository = FlowRepository(store, "shop", clock=store.clock, sleep=store.sleep)
    await repository.load()
    watching = asyncio.create_task(repository.watch())
    try:
        await _until(lambda: 30.0 in store.slept)
        yield repository
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_change_that_is_told_is_served_before_the_next_poll() -> None:
    store = TellingStore([GREETING])
    async with watched(store) as repository:
        await store.put("shop", PRICE)
        await _until(lambda: repository.match("precio") is not None)


async def test_many_changes_in_a_row_are_few_loads() -> None:
    store = TellingStore([GREETING])
    resting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        store.slept.append(seconds)
        await resting.wait()

    store.sleep = sleep  # type: ignore[method-assign]
    async with watched(store) as repository:
        for number in range(1_000):
            await store.put("shop", Flow(f"flow{number}").on("x").say("x"))
            await asyncio.sleep(0)
        assert store.loads == 2  # at the start, and for the first change: then it rests for as long as that took
        assert store.slept == [30.0, 1.0]
        resting.set()
        await _until(lambda: len(repository) == 1_001)
        assert store.loads == 3


async def test_watching_refreshes_in_the_given_rhythm() -> None:
    store, slept = ShakyStore([GREETING]), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await store.put("shop", Flow(f"flow{len(slept)}").on("x").say("x"))
        if len(slept) == 3:
            raise asyncio.CancelledError

    repository = FlowRepository(store, "shop", poll_s=7.0, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await repository.watch()
    assert slept == [7.0, 7.0, 7.0]
    assert len(repository) == 3  # the third change came after the last refresh


async def test_a_slow_old_answer_does_not_replace_a_newer_one() -> None:
    class SlowAtFirst(ShakyStore):
        answer = asyncio.Event()

        async def load(self, chatbot_id: str) -> tuple[list[Flow], list[FlowError]]:
            result = await super().load(chatbot_id)
            if self.loads == 1:
                await self.answer.wait()
            return result

    store = SlowAtFirst([GREETING])
    repository = FlowRepository(store, "shop")
    slow = asyncio.create_task(repository.load())
    await asyncio.sleep(0)
    await store.put("shop", PRICE)
    fresh = asyncio.create_task(repository.load())
    await asyncio.sleep(0)
    store.answer.set()
    await asyncio.gather(slow, fresh)
    assert len(repository) == 2


async def test_thousands_of_flows_are_arranged_beside_the_event_loop() -> None:
    many = [Flow(f"flow{number}").on(f"word{number}").say("…") for number in range(3_000)]
    threads: set[int] = set()

    class Engine:
        """Notes which thread compiles."""

        def __init__(self, patterns: Sequence[str]) -> None:
            threads.add(threading.get_ident())

        def first(self, text: str) -> int | None:
            return None

    store = MemoryFlowStore([*many, Flow("expression").on("x+", kind="regex").say("…")])
    repository = FlowRepository(store, "shop", engine=Engine)
    await repository.load()
    assert repository.match("word2999") is not None
    assert threads
    assert threading.get_ident() not in threads


# The stored form


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        ([], "object"),
        ({"say": "hola"}, "list"),
        ({"say": [3]}, "step 1"),
        ({"say": [{"text": "x", "buttons": [1]}]}, "buttons"),
        ({"say": ["x"], "code": "1+1"}, "'code' is unknown"),
        ({"say": ["x"], "exact": "hola"}, "exact"),
        ({"say": ["x"], "event": "earthquake"}, "earthquake"),
        ({"say": ["x"], "event": ["voice"]}, "unknown"),
        ({"say": []}, "says nothing"),
    ],
)
def test_a_malformed_stored_flow_says_what_is_wrong(response: object, problem: str) -> None:
    with pytest.raises(FlowError, match=f"'f'.*{problem}"):
        Flow.from_stored("f", ["hola"], response)


@pytest.mark.parametrize(
    "flow", [Flow("").on("x"), Flow("a\x00b").on("x"), Flow("f").on("\u200b"), Flow("f").on("x" * 201)]
)
def test_a_flow_that_cannot_be_started_is_refused(flow: Flow) -> None:
    with pytest.raises(FlowError):
        flow.say("x").check()


@given(some_flows)
def test_the_stored_form_keeps_everything(flows: list[Flow]) -> None:
    for flow in flows:
        once = tuple({keyword.text: keyword for keyword in flow.keywords}.values())
        said = Flow(flow.id, once, "voice", priority=flow.priority).say("x", "one", "two").say("y")
        texts = [keyword.text for keyword in said.keywords]
        assert Flow.from_stored(said.id, texts, said.response(), said.priority) == said


def test_a_keyword_of_both_kinds_is_stored_as_the_wider_one() -> None:
    flow = Flow("f").on("hola", kind="exact").on("hola").say("x")
    again = Flow.from_stored("f", ["hola", "hola"], flow.response())
    assert found(MatchIndex([again]), "ah, hola") == "f"
