"""Finding the flow of a message, by number of flows, beside the loop over all keywords that bots usually have."""

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks._report import Report
from tecnobot_core.flows import Flow, MatchIndex

REQUIRES: list[str] = []
SIZES = (20, 5_000, 50_000)
ROUNDS = 15
MESSAGES = 1_000
LOOP_MESSAGES = 20  # the loop takes milliseconds for each when there are many flows

CHUNK = 20
SYLLABLES = [consonant + vowel for consonant in "bcdfgjlmnprstv" for vowel in "aeiou"]
SMALL_TALK = "quiero ver el la los de por favor me puede decir cual es necesito saber como hago para un una mi hoy y"


@dataclass(frozen=True)
class Corpus:
    """Flows, and messages of which it is known whether they hold a keyword."""

    flows: list[Flow]
    asking: list[str]
    unrelated: list[str]


def make_corpus(n_flows: int, seed: int = 7) -> Corpus:
    """One to three keywords a flow, of one to three words; four in ten messages are a keyword, as people type it."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(3, 5))) for _ in range(6_000)]
    flows = [
        Flow(f"flow-{n}")
        .on(*(" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))))
        .say("…")
        for n in range(n_flows)
    ]
    asking = [_ask(rng, rng.choice(rng.choice(flows).keywords).text) for _ in range(MESSAGES)]
    return Corpus(
        flows, asking, [" ".join(rng.sample(SMALL_TALK.split(), rng.randint(3, 8))) for _ in range(MESSAGES // 5)]
    )


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


def _build(flows: Sequence[Flow]) -> tuple[float, float]:
    """Milliseconds to build an index, and its bytes for each keyword."""
    began = time.perf_counter()
    MatchIndex(flows)
    took_ms = (time.perf_counter() - began) * 1e3
    tracemalloc.start()
    index = MatchIndex(flows)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return took_ms, held / sum(len(flow.keywords) for flow in index)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 and name each goal that is missed")
    arguments = parser.parse_args(argv)

    corpora = {size: make_corpus(size) for size in SIZES}
    indexes = {size: MatchIndex(corpus.flows) for size, corpus in corpora.items()}
    ours = us_a_message({s: index.find for s, index in indexes.items()}, {s: c.asking for s, c in corpora.items()})
    loops = us_a_message(
        {size: naive_loop(corpus.flows) for size, corpus in corpora.items()},
        {size: corpus.asking[:LOOP_MESSAGES] for size, corpus in corpora.items()},
    )

    report = Report("matching")
    for size in SIZES:
        goal, ok = ("at most 10", ours[size] <= 10) if size <= 5_000 else ("", None)
        report.add(f"{size:,} flows", ours[size], "µs a message", goal, ok)
        report.add(f"{size:,} flows, the loop", loops[size] / ours[size], "times ours")
    for size in SIZES[1:]:
        ratio = ours[size] / ours[SIZES[0]]
        report.add(f"{size:,} flows against {SIZES[0]}", ratio, "times", "at most 1.5", ratio <= 1.5)
    missed = sum(indexes[size].find(text) is None for size, corpus in corpora.items() for text in corpus.asking)
    report.add("messages with a keyword that found nothing", missed, "", "0", missed == 0)
    wrong = sum(indexes[size].find(text) is not None for size, corpus in corpora.items() for text in corpus.unrelated)
    report.add("messages without a keyword that found one", wrong, "", "0", wrong == 0)
    build_ms, bytes_a_keyword = _build(corpora[SIZES[-1]].flows)
    report.add(f"building the index, {SIZES[-1]:,} flows", build_ms, "ms")
    report.add("memory of the index", bytes_a_keyword, "B a keyword")
    return report.finish(arguments.check)


if __name__ == "__main__":
    sys.exit(main())
