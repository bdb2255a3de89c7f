"""Finding the flow of a message, by number of flows and kind of keyword, beside the loop over all keywords."""

import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks._report import Report
from tecnobot_core.adapters.regular_expressions import Re2Set
from tecnobot_core.flows import Flow, MatchIndex
from tecnobot_core.flows.model import TriggerKind
from tecnobot_core.flows.suggestions import Suggestions

SIZES = (20, 5_000, 50_000)
BOTS, FLOWS_OF_A_BOT = 1_000, 100
MIB = 1 << 20
ROUNDS = 15
MESSAGES = 1_000
LOOP_MESSAGES = 20  # the loop takes milliseconds for each when there are many flows

CHUNK = 20
SYLLABLES = [consonant + vowel for consonant in "bcdfgjlmnprstv" for vowel in "aeiou"]
# Expressions that take other engines, or an automaton without limits, seconds to hours.
BOMBS = (
    *(r"^(a+)+$", r"(a|aa)+$", r"(a|a?)+$", r"(a*)*b", r"(x+x+)+y", r"(.*a){20}", r"([a-zA-Z]+)*$", r"(a?){500}a{500}"),
    *(r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(\p{Latin}+\s?)+[0-9]$", r".*.*.*.*.*=.*", r"(.|\s)*?q.{500}w", r"^(\d+)*x$"),
    *(r"(a|b)*a(a|b){15}", r"(a|b)*a(a|b){60}", r"(a|b)*a(a|b){400}c", r"(?:.*,){1,100}P", r"(\w+\s*){1,50}#"),
    *(r".*a.{100}", r"a.{100}b", r"a.{300}a.{300}b", r"[^x]{100}y", r"[^x]{1000}y", r"[a-q][^u-z]{13}x"),
    *(r"(a?){300}a{300}", r"(x+x+){100}y", r"^([a-z0-9]+\.?)*@$", r"(\s|\n|.)+\?$"),
)
SMALL_TALK = "quiero ver el la los de por favor me puede decir cual es necesito saber como hago para un una mi hoy y"


@dataclass(frozen=True)
class Corpus:
    """Flows, and messages of which it is known whether they hold a keyword."""

    flows: list[Flow]
    asking: list[str]
    unrelated: list[str]


def make_corpus(n_flows: int, seed: int = 7, kind: TriggerKind = "word") -> Corpus:
    """One to three keywords a flow, of one to three words, half of them with a capital and an accent.

    Four in ten messages are a keyword, as people type it.
    """
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(3, 5))) for _ in range(6_000)]
    flows = [
        Flow(f"flow-{n}").on(*(_write(rng, words) for _ in range(rng.randint(1, 3))), kind=kind).say("…")
        for n in range(n_flows)
    ]
    asking = [_ask(rng, rng.choice(rng.choice(flows).keywords).text) for _ in range(MESSAGES)]
    return Corpus(
        flows, asking, [" ".join(rng.sample(SMALL_TALK.split(), rng.randint(3, 8))) for _ in range(MESSAGES // 5)]
    )


def _write(rng: random.Random, words: list[str]) -> str:
    keyword = " ".join(rng.choices(words, k=rng.randint(1, 3)))
    return keyword if rng.random() < 0.5 else keyword.capitalize().replace("a", "á", 1)


def _ask(rng: random.Random, keyword: str) -> str:
    typed = keyword.capitalize().replace("o", "ó", rng.randint(0, 1)) + rng.choice(["", "!", "?", "…", " 🙂"])
    if rng.random() < 0.4:
        return typed
    talk = SMALL_TALK.split()
    return f"{' '.join(rng.sample(talk, rng.randint(2, 6)))} {typed} {' '.join(rng.sample(talk, 2))}"


def naive_loop(flows: Sequence[Flow]) -> Callable[[str], Flow | None]:
    """The peer: the first flow one of whose keywords is somewhere in the message, in small letters."""
    keywords = [(keyword.text.lower(), flow) for flow in flows for keyword in flow.keywords]

    def find(text: str) -> Flow | None:
        lowered = text.lower()
        return next((flow for keyword, flow in keywords if keyword in lowered), None)

    return find


def _seconds(find: Callable[[str], object], messages: Sequence[str]) -> float:
    began = time.perf_counter()
    for message in messages:
        find(message)
    return time.perf_counter() - began


def us_a_message(finders: dict[int, Callable[[str], object]], messages: dict[int, list[str]]) -> dict[int, float]:
    """Microseconds a message, by size.

    Of each few messages the fastest of ROUNDS counts, and sizes take turns, so that what else the machine does falls
    out.
    """
    chunks = {size: [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)] for size, texts in messages.items()}
    fastest = {size: [float("inf")] * len(chunks[size]) for size in finders}
    for _ in range(ROUNDS):
        for size, find in finders.items():
            fastest[size] = [
                min(best, _seconds(find, chunk)) for best, chunk in zip(fastest[size], chunks[size], strict=True)
            ]
    return {size: sum(fastest[size]) / len(messages[size]) * 1e6 for size in finders}


def us_of_each(find: Callable[[str], object], messages: Sequence[str]) -> list[float]:
    """Microseconds of each message, the fastest of ROUNDS, in ascending order."""
    rounds = [[_seconds(find, (message,)) for message in messages] for _ in range(ROUNDS)]
    return sorted(min(times) * 1e6 for times in zip(*rounds, strict=True))


def ms_of_bombs() -> tuple[float, int]:
    """The longest that any of BOMBS takes on any message, the fastest of three times, and how many are served."""
    rng = random.Random(7)
    alphabets = ("a", "ab", "x", "ñ", "a,", "abcdefghijklmnopq ", "añ€🙂", "".join(map(chr, range(0x4E00, 0x5E00))))
    messages = ["".join(rng.choices(alphabet, k=2_000)) for alphabet in alphabets]
    worst, served = 0.0, 0
    for bomb in BOMBS:
        flow = Flow("bomb").on(bomb, kind="regex").say("…")
        for message in messages:
            # A new index each time: an automaton remembers what it has seen.
            indexes = [MatchIndex([flow], engine=Re2Set) for _ in range(3)]
            worst = max(worst, min(_seconds(index.find, (message,)) for index in indexes))
        served += len(indexes[0])
    return worst * 1e3, served


def _held(build: Callable[[], object]) -> tuple[float, int]:
    """Milliseconds to build something, and the bytes it holds."""
    began = time.perf_counter()
    build()
    took_ms = (time.perf_counter() - began) * 1e3
    tracemalloc.start()
    built = build()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del built
    return took_ms, held


def report_matching(report: Report) -> None:
    """Time, truth and memory of the index."""
    corpora = {size: make_corpus(size) for size in SIZES}
    indexes = {size: MatchIndex(corpus.flows) for size, corpus in corpora.items()}
    ours = us_a_message({s: index.find for s, index in indexes.items()}, {s: c.asking for s, c in corpora.items()})
    loops = us_a_message(
        {size: naive_loop(corpus.flows) for size, corpus in corpora.items()},
        {size: corpus.asking[:LOOP_MESSAGES] for size, corpus in corpora.items()},
    )
    for size in SIZES:
        report.add(f"{size:,} flows", ours[size], "µs a message")
        report.add(f"{size:,} flows, the loop", loops[size] / ours[size], "times ours")
    for size in SIZES[1:]:
        ratio = ours[size] / ours[SIZES[0]]
        report.add(f"{size:,} flows against {SIZES[0]}", ratio, "times", "at most 1.5", ratio <= 1.5)
    missed = sum(indexes[size].find(text) is None for size, corpus in corpora.items() for text in corpus.asking)
    report.add("messages with a keyword that found nothing", missed, "", "0", missed == 0)
    wrong = sum(indexes[size].find(text) is not None for size, corpus in corpora.items() for text in corpus.unrelated)
    report.add("messages without a keyword that found one", wrong, "", "0", wrong == 0)
    _report_spread(report, indexes, corpora)
    _report_kinds(report)
    _report_memory(report, corpora[SIZES[-1]].flows)


def _report_spread(report: Report, indexes: dict[int, MatchIndex], corpora: dict[int, Corpus]) -> None:
    for size in SIZES[1:]:
        times = us_of_each(indexes[size].find, corpora[size].asking)
        for name, part, limit in (("p50", 0.5, 15), ("p99", 0.99, 100)):
            value = times[int(len(times) * part)]
            report.add(f"{size:,} flows, {name}", value, "µs", f"at most {limit}", value <= limit)


def _report_kinds(report: Report) -> None:
    kinds: tuple[tuple[TriggerKind, float], ...] = (("prefix", 1.5), ("contains", 3.0))
    for kind, limit in kinds:
        corpora = {size: make_corpus(size, kind=kind) for size in SIZES[:2]}
        finders: dict[int, Callable[[str], object]] = {s: MatchIndex(c.flows).find for s, c in corpora.items()}
        took = us_a_message(finders, dict.fromkeys(corpora, corpora[SIZES[1]].asking))
        ratio = took[SIZES[1]] / took[SIZES[0]]
        report.add(f"{kind}, {SIZES[1]:,} flows", took[SIZES[1]], "µs a message")
        report.add(f"{kind}, {SIZES[1]:,} flows against {SIZES[0]}", ratio, "times", f"at most {limit}", ratio <= limit)
    words = make_corpus(1_000).flows
    patterns = [Flow(f.id).on(*(rf"\b{k.text}(s|es)?\b" for k in f.keywords), kind="regex").say("…") for f in words]
    messages = make_corpus(1_000).asking
    report.add(
        "regex, 1,000 flows", us_a_message({1: MatchIndex(patterns, engine=Re2Set).find}, {1: messages})[1], "µs"
    )
    ms, served = ms_of_bombs()
    report.add(f"the worst of {len(BOMBS)} bombs, {served} of them served", ms, "ms", "at most 5", ms <= 5)
    few = MatchIndex(make_corpus(400).flows, suggestions=Suggestions())
    typos = [f"{flow.keywords[0].text.split()[0]}x" for flow in make_corpus(400, seed=8).flows]
    report.add("guessing at a typing mistake, 400 flows", us_a_message({1: few.suggest}, {1: typos})[1], "µs")


def _report_memory(report: Report, flows: Sequence[Flow]) -> None:
    build_ms, _ = _held(lambda: MatchIndex(flows))
    report.add(f"building the index, {len(flows):,} flows", build_ms, "ms")
    half = flows[: len(flows) // 2]
    n_keywords = sum(len(flow.keywords) for flow in half)
    bytes_a_keyword = _held(lambda: MatchIndex(half))[1] / n_keywords
    report.add(
        f"index of {n_keywords:,} keywords", bytes_a_keyword, "B a keyword", "at most 100", bytes_a_keyword <= 100
    )
    bots = [flows[at : at + FLOWS_OF_A_BOT] for at in range(0, len(flows), FLOWS_OF_A_BOT)]
    held_mib = _held(lambda: [MatchIndex(bots[n % len(bots)]) for n in range(BOTS)])[1] / MIB
    report.add(f"{BOTS:,} chatbots of {FLOWS_OF_A_BOT} flows", held_mib, "MiB", "at most 20", held_mib <= 20)
