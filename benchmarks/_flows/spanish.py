"""Whether a keyword is found however it is typed, and only then; on keywords and sentences that people wrote."""

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from benchmarks._report import Report
from tecnobot_core.adapters.regular_expressions import Re2Set
from tecnobot_core.flows import Flow, Keyword, MatchIndex, Suggestions
from tecnobot_core.flows.triggers import TriggerKind

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "data" / "demo_shop.toml"
EXPECTED = ROOT / "tests" / "data" / "matches_es.toml"


def report_spanish(report: Report) -> None:
    """Recall over spellings, hits on sentences that mean nothing to the bot, and guesses."""
    shop, talk = _shop(), _talk(tomllib.loads(EXPECTED.read_text("utf-8"))["flows"])
    found, total = 0, 0
    for flows in (shop, talk):
        index = MatchIndex(flows, engine=Re2Set)
        for typed, wanted in _typed(flows):
            match = index.find(typed)
            total += 1
            found += match is not None and match.matched == wanted.text
    report.add(f"{total:,} spellings of exact and word keywords", 100 * found / total, "%", "100", found == total)

    expected = tomllib.loads(EXPECTED.read_text("utf-8"))["corpus"]
    sentences = _sentences()
    index = MatchIndex(talk, engine=Re2Set, suggestions=Suggestions())
    given = {said: match.flow.id for said in sentences if (match := index.find(said)) is not None}
    wanted_of = {said: id for id, texts in expected.items() if id != "nothing" for said in _meant(texts, sentences)}
    right = sum(wanted_of.get(said) == id for said, id in given.items())
    report.add(f"real sentences ({len(sentences)}), precision", 100 * right / len(given), "%")
    report.add(f"real sentences ({len(wanted_of)} that start a flow), recall", 100 * right / len(wanted_of), "%")

    unrelated = [said for said in sentences if MatchIndex(shop, engine=Re2Set).find(said) is None]
    shop_index = MatchIndex(shop, engine=Re2Set, suggestions=Suggestions())
    guessed = sum(shop_index.suggest(said) is not None for said in unrelated)
    share = 100 * guessed / len(unrelated)
    report.add(f"{len(unrelated)} unrelated messages, guessed at", share, "%", "at most 1", share <= 1)
    hits = sum(shop_index.suggest(said) is None and shop_index.find(said) is not None for said in unrelated)
    report.add("unrelated messages, answered with suggestions off", hits, "", "0", hits == 0)


def _typed(flows: list[Flow]) -> Iterator[tuple[str, Keyword]]:
    """Spellings of each keyword, and the keyword."""
    for flow in flows:
        for keyword in flow.keywords:
            if keyword.kind in ("exact", "word"):
                text = keyword.text
                bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
                # An emoji behind words means nothing; behind another symbol it makes another text.
                more = [f"{text} 🙂"] if text.replace(" ", "").isalnum() else []
                for typed in (text, text.upper(), bare, f"  {text}!!", f"¿{text.capitalize()}?", _drawn(text), *more):
                    yield typed, keyword


def _drawn(text: str) -> str:
    """The last vowel drawn out: "holaaa"."""
    return text + text[-1] * 3 if text[-1] in "aeiou" else text


def _meant(texts: list[str], sentences: list[str]) -> Iterator[str]:
    for text in texts:
        yield next(said for said in sentences if said == text or (text[-1:] == "…" and said.startswith(text[:-1])))


def _sentences() -> list[str]:
    import chatterbot_corpus  # noqa: PLC0415  # only here

    folder = Path(chatterbot_corpus.__file__).parent / "data" / "spanish"
    files = [yaml.safe_load(file.read_text("utf-8")) for file in sorted(folder.glob("*.yml"))]
    said = (" ".join(str(said).split()) for file in files for exchange in file["conversations"] for said in exchange)
    return list(dict.fromkeys(said))


def _talk(flows: Mapping[str, Mapping[str, Any]]) -> list[Flow]:
    return [
        Flow.from_stored(
            id, [text for kind in get_args(TriggerKind) for text in given.get(kind, [])], {"say": ["…"], **given}
        )
        for id, given in flows.items()
    ]


def _shop() -> list[Flow]:
    rows = tomllib.loads(SHOP.read_text("utf-8"))["flow"]
    fields = ("say", "steps", "event", "interrupts", *get_args(TriggerKind))
    return [
        Flow.from_stored(row["id"], row["keywords"], {name: row[name] for name in fields if name in row})
        for row in rows
    ]
