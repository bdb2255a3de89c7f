"""Triggers: each kind of keyword, what wins over what, guesses at typing mistakes, and real Spanish sentences."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.adapters.regular_expressions import Re2Set
from tecnobot_core.errors import FlowError
from tecnobot_core.flows import Flow, FlowMatch, Keyword, MatchIndex
from tecnobot_core.flows.matching import MAX_CHARS, MAX_PATTERN_SUBJECT_CHARS
from tecnobot_core.flows.model import FlowEvent, TriggerKind
from tecnobot_core.flows.suggestions import Suggestions, is_one_mistake
from tecnobot_core.flows.triggers import MAX_KEYWORD_CHARS, MAX_PATTERN_CHARS

EXPECTED: dict[str, Any] = tomllib.loads((Path(__file__).parent / "data" / "matches_es.toml").read_text("utf-8"))
SHOP = Path(__file__).parents[1] / "examples" / "data" / "demo_shop.toml"


class Literals:
    """A RegexEngine for texts without special characters; refuses look-ahead, as linear engines do."""

    def __init__(self, patterns: Sequence[str]) -> None:
        if any("(?=" in pattern for pattern in patterns):
            raise FlowError("invalid perl operator: (?=")
        self.patterns = patterns

    def first(self, text: str) -> int | None:
        return next((number for number, one in enumerate(self.patterns) if one in text), None)


def index(*flows: Flow) -> MatchIndex:
    return MatchIndex((flow.say("…") for flow in flows), engine=Literals)


def found(index: MatchIndex, text: str) -> str | None:
    match = index.find(text)
    return match.flow.id if match else None


# Kinds


def test_a_prefix_is_found_only_at_the_beginning_and_by_whole_words() -> None:
    flows = index(Flow("buy").on("quiero comprar", kind="prefix"))
    assert found(flows, "¡Quiero COMPRAR una tele!") == "buy"
    assert found(flows, "quiero comprar") == "buy"
    assert found(flows, "hoy quiero comprar") is None
    assert found(flows, "quiero comprarlo") is None
    assert found(flows, "quiero") is None


def test_letters_are_found_inside_of_words() -> None:
    flows = index(Flow("sad").on("trist", kind="contains"))
    assert found(flows, "¡Qué TRÍSTEZA!") == "sad"
    assert found(flows, "entristecer") == "sad"
    assert found(flows, "tris te") is None
    assert found(flows, "") is None


def test_letters_may_span_words() -> None:
    assert found(index(Flow("f").on("nta o", kind="contains")), "cuánta, otra vez") == "f"


def test_letters_of_any_length_are_found() -> None:
    flows = index(Flow("two").on("ñu", kind="contains"), Flow("many").on("supercalifragil", kind="contains"))
    assert found(flows, "un ñu") == "two"
    assert found(flows, "¡supercalifragilístico!") == "many"


def test_letters_at_the_end_of_a_message_count_only_as_long_as_they_are() -> None:
    texts = ("abc", "bcdx", "abcde")
    assert found(index(*(Flow(text).on(text, kind="contains") for text in texts)), "bcdx abc") == "bcdx"


def test_an_expression_sees_the_message_as_it_was_written() -> None:
    flows = index(Flow("mail").on("@Example.com", kind="regex"))
    assert found(flows, "soy ana@Example.com") == "mail"
    assert found(flows, "soy ana example com") is None


def test_of_a_long_message_only_the_beginning_is_given_to_expressions() -> None:
    flows = index(Flow("f").on("@", kind="regex"))
    assert found(flows, "x" * (MAX_PATTERN_SUBJECT_CHARS - 1) + "@") == "f"
    assert found(flows, "x" * MAX_PATTERN_SUBJECT_CHARS + "@") is None


@pytest.mark.parametrize("kind", get_args(TriggerKind))
def test_what_was_found_is_told_as_its_owner_wrote_it(kind: TriggerKind) -> None:
    text = "Envío" if kind == "regex" else "¡Envíooo a  casa!"
    match = index(Flow("f").on("otra cosa", text, kind=kind)).find("¡Envíooo a  casa!")
    assert match is not None
    assert (match.matched, match.suggested) == (text, False)


@pytest.mark.parametrize("name", get_args(FlowEvent))
def test_every_typed_event_can_start_a_flow(name: FlowEvent) -> None:
    match = index(Flow("f", event=name)).event(name)
    assert match is not None
    assert match.flow.id == "f"


# Order


def test_keywords_that_differ_only_in_symbols_are_told_apart_when_they_are_the_message() -> None:
    flows = index(
        Flow("c").on("C"), Flow("c++", priority=1).on("C++"), Flow("hot").on("pizza 🌶️"), Flow("pizza").on("pizza")
    )
    assert [found(flows, text) for text in ("c", "C++", "pizza", "Pizza 🌶")] == ["c", "c++", "pizza", "hot"]
    assert found(flows, "quiero c++") == "c++"  # inside of a sentence symbols do not count: priority decides


def test_of_two_that_are_the_message_to_the_last_symbol_the_exact_one_wins() -> None:
    flows = index(Flow("word", priority=1).on("C++"), Flow("exact").on("C++", kind="exact"), Flow("c").on("C"))
    assert found(flows, "C++") == "exact"


def test_each_kind_gives_way_to_the_more_specific_one() -> None:
    kinds: tuple[TriggerKind, ...] = ("exact", "word", "prefix", "contains", "regex")
    flows = [Flow(kind, priority=number).on("precio", kind=kind) for number, kind in enumerate(kinds)]
    for number, kind in enumerate(kinds):
        assert found(index(*flows[number:]), "precio") == kind
    assert found(index(*flows), "precio bajo") == "word"
    assert found(index(*flows[2:]), "precio bajo") == "prefix"
    assert found(index(*flows[2:]), "el precio bajo") == "contains"


@pytest.mark.parametrize("kind", ["prefix", "contains"])
def test_the_longest_wins_whatever_the_priority(kind: TriggerKind) -> None:
    flows = index(Flow("short", priority=9).on("una", kind=kind), Flow("long").on("una tele", kind=kind))
    assert found(flows, "una tele grande") == "long"


@pytest.mark.parametrize("kind", get_args(TriggerKind))
def test_priority_and_then_the_id_decide_between_equals(kind: TriggerKind) -> None:
    flows = [Flow(id, priority=priority).on("hola", kind=kind) for id, priority in (("b", 0), ("a", 0), ("z", 1))]
    assert found(index(*flows), "hola") == "z"
    assert found(index(*flows[:2]), "hola") == "a"


def test_a_later_run_of_fewer_words_does_not_win_by_priority() -> None:
    flows = index(Flow("short", priority=9).on("tele nueva"), Flow("long").on("compro una tele"))
    assert found(flows, "compro una tele nueva") == "long"


words = st.lists(st.sampled_from(["sol", "sola", "la", "mar", "c", "c++"]), min_size=1, max_size=4).map(" ".join)
kinds = st.sampled_from(get_args(TriggerKind))
keywords = st.builds(Keyword, words, kinds).filter(lambda one: one.kind != "contains" or one.text not in ("c", "c++"))
some_flows = st.lists(
    st.builds(
        Flow,
        st.sampled_from("abcdef"),
        st.lists(keywords, min_size=1, max_size=3).map(tuple),
        priority=st.integers(0, 1),
        interrupts=st.booleans(),
    ),
    unique_by=lambda flow: flow.id,
)


def _order(keyword: Keyword, message: str, ambiguous: set[str]) -> tuple[int, int] | None:
    """How specific a keyword is that fits, smallest first: the rules of MatchIndex, read word for word."""
    text, said = keyword.text.replace("+", ""), message.replace("+", "")
    if keyword.kind in ("exact", "word") and keyword.text == message and text in ambiguous:
        return (0 if keyword.kind == "exact" else 1), 0
    fits = {
        "exact": text == said,
        "word": f" {text} " in f" {said} ",
        "prefix": f"{said} ".startswith(f"{text} "),
        "contains": text in said,
        "regex": keyword.text in message,
    }
    if not fits[keyword.kind]:
        return None
    length = {"word": text.count(" ") + 1, "prefix": text.count(" ") + 1, "contains": len(text)}.get(keyword.kind, 0)
    return ["exact", "word", "prefix", "contains", "regex"].index(keyword.kind) + 2, -length


def _by_looking_at_every_flow(flows: Iterable[Flow], message: str) -> str | None:
    whole = {k.text for flow in flows for k in flow.keywords if k.kind in ("exact", "word")}
    folded = [text.replace("+", "") for text in whole]
    ambiguous = {text for text in folded if folded.count(text) > 1}
    fitting = [
        (*order, -flow.priority, flow.id)
        for flow in flows
        for keyword in flow.keywords
        if (order := _order(keyword, message, ambiguous)) is not None
    ]
    return min(fitting)[-1] if fitting else None


@given(some_flows, words)
def test_the_index_finds_what_looking_at_every_flow_finds(flows: list[Flow], message: str) -> None:
    assert found(MatchIndex(flows, engine=Literals), message) == _by_looking_at_every_flow(flows, message)


@given(some_flows, words)
def test_only_what_may_interrupt_is_found_inside_of_a_flow(flows: list[Flow], message: str) -> None:
    match = MatchIndex(flows, engine=Literals).find(message, interrupting_only=True)
    assert (match.flow.id if match else None) == _by_looking_at_every_flow([f for f in flows if f.interrupts], message)


@given(
    st.lists(st.text(st.characters(exclude_categories=()), max_size=12)), st.text(st.characters(exclude_categories=()))
)
def test_no_keyword_and_no_message_break_matching(texts: list[str], message: str) -> None:
    flows = [Flow(f"{kind}{n}").on(text, kind=kind) for kind in get_args(TriggerKind) for n, text in enumerate(texts)]
    index = MatchIndex(filter(_is_sound, (flow.say("x") for flow in flows)), engine=Literals, suggestions=Suggestions())
    index.find(message)
    index.suggest(message)


def _is_sound(flow: Flow) -> bool:
    try:
        flow.check()
    except FlowError:
        return False
    return True


def test_a_message_of_any_length_is_cut_before_it_is_searched() -> None:
    flows = index(Flow("f").on("xyz", kind="contains"))
    assert found(flows, "xyz " + "a " * MAX_CHARS) == "f"
    assert found(flows, "a " * MAX_CHARS + "xyz") is None


# Expressions that cannot be served

SOUND = Flow("sound").on("hola").say("…")
PATTERN = Flow("pattern").on("hola", "pre.io", kind="regex").say("…")
REFUSED = Flow("refused").on("ok").on("x(?=y)", kind="regex").say("…")


def test_without_an_engine_flows_with_expressions_are_left_out_and_say_what_to_install() -> None:
    index = MatchIndex([PATTERN, SOUND])
    (problem,) = index.broken
    assert isinstance(problem, FlowError)
    assert str(problem).startswith("flow 'pattern': ")
    assert "pip install 'tecnobot-core[flows]'" in str(problem)
    assert list(index) == [SOUND]
    assert found(index, "hola") == "sound"


def test_a_refused_expression_leaves_out_its_flow_and_says_why() -> None:
    index = MatchIndex([PATTERN, REFUSED, SOUND], engine=Literals)
    assert [str(error) for error in index.broken] == ["flow 'refused': regex 'x(?=y)': invalid perl operator: (?="]
    assert [flow.id for flow in index] == ["pattern", "sound"]
    assert found(index, "ok") is None
    assert found(index, "un pre.io") == "pattern"


def test_a_flow_is_got_by_its_id() -> None:
    flows = index(*(Flow(id).on(id) for id in ("m", "a", "z")))
    assert [flow.id if (flow := flows.get(id)) else None for id in ("a", "m", "z", "b", "")] == [*"amz", None, None]


# The definition and its stored form


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        (Flow("f", (Keyword("x", "fuzzy"),)), "'fuzzy' is unknown; use word, exact, prefix, contains, regex"),  # type: ignore[arg-type]
        (Flow("f").on("¡a!", kind="contains"), "nearly everywhere"),
        (Flow("f").on("👍👎", kind="contains"), "no letters"),
        (Flow("f").on("👍", kind="prefix"), "no letters"),
        (Flow("f").on(" ", kind="regex"), "empty"),
        (Flow("f").on("x" * (MAX_KEYWORD_CHARS + 1), kind="prefix"), "at most 200"),
        (Flow("f").on("x" * (MAX_PATTERN_CHARS + 1), kind="regex"), "at most 512"),
        (Flow("f", event="voice", interrupts=True), "interrupts, but has no keywords"),
    ],
)
def test_a_trigger_that_cannot_be_served_is_refused(flow: Flow, problem: str) -> None:
    with pytest.raises(FlowError, match=f"'f': .*{problem}"):
        flow.say("x").check()


@pytest.mark.parametrize("response", [{"regex": "x"}, {"prefix": [1]}, {"interrupts": 1}, {"fuzzy": []}])
def test_a_malformed_stored_trigger_names_its_field(response: dict[str, object]) -> None:
    with pytest.raises(FlowError, match=f"'f'.*{next(iter(response))}"):
        Flow.from_stored("f", ["x"], {"say": ["x"], **response})


@given(st.lists(keywords, min_size=1, unique=True), st.booleans())
def test_the_stored_form_keeps_every_kind(keywords: list[Keyword], interrupts: bool) -> None:
    flow = Flow("f", tuple(keywords), interrupts=interrupts).say("x")
    again = Flow.from_stored("f", [keyword.text for keyword in keywords], flow.response())
    assert set(again.keywords) == set(keywords)
    assert len(again.keywords) == len(keywords)
    assert again.interrupts == interrupts


def test_words_need_no_field_and_rows_without_new_fields_stay_readable() -> None:
    assert set(Flow("f").on("hola").say("x").response()) == {"steps"}
    old = Flow.from_stored("f", ["hola", "adiós"], {"say": ["x"], "exact": ["hola", "gone"]})
    assert old.keywords == (Keyword("hola", "exact"), Keyword("adiós", "word"))
    assert not old.interrupts


# Guesses


def guess(flows: Iterable[Flow], text: str, **limits: int) -> FlowMatch | None:
    return MatchIndex([flow.say("…") for flow in flows], suggestions=Suggestions(**limits)).suggest(text)


@pytest.mark.parametrize(
    ("typed", "is_one"),
    [
        ("precoi", True),
        ("presio", True),
        ("precioo", True),
        ("prcio", True),
        ("recio", True),
        ("preci", True),
        ("xprecio", True),
        ("precio", False),
        ("preesio", False),
        ("precoia", False),
        ("rpeciox", False),
        ("iprece", False),
        ("", False),
    ],
)
def test_one_mistake_is_a_letter_wrong_missing_too_much_or_swapped(typed: str, is_one: bool) -> None:
    assert is_one_mistake(typed, "precio") is is_one
    assert is_one_mistake("precio", typed) is is_one


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_mistake_is_a_string_alignment_distance_of_one(one: str, other: str) -> None:
    assert is_one_mistake(one, other) == (_alignment_distance(one, other) == 1)


def _alignment_distance(one: str, other: str) -> int:
    rows = [[i + j if not i or not j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 2 : j][::-1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


def test_a_guess_is_marked_and_names_the_keyword() -> None:
    match = guess([Flow("price").on("Precio")], "¿el PRESIO?")
    assert match is not None
    assert (match.flow.id, match.matched, match.suggested) == ("price", "Precio", True)


def test_nothing_is_guessed_unless_wanted() -> None:
    assert MatchIndex([Flow("price").on("precio").say("…")]).suggest("presio") is None


def test_short_words_long_messages_and_big_bots_are_not_guessed_at() -> None:
    flows = [Flow("hi").on("hola"), Flow("price").on("precio")]
    assert guess(flows, "cola") is None
    assert guess(flows, "cola", min_letters=4) is not None
    assert guess(flows, "cual es el presio") is None
    assert guess(flows, "cual es el presio", max_words=4) is not None
    assert guess(flows, "presio", max_keywords=1) is None


def test_a_word_that_is_right_is_not_corrected() -> None:
    assert guess([Flow("a").on("costo alto"), Flow("b").on("corto")], "costo") is None


def test_an_exact_keyword_is_guessed_only_from_the_whole_message() -> None:
    flows = [Flow("price").on("precio", kind="exact")]
    assert guess(flows, "presio") is not None
    assert guess(flows, "el presio") is None


def test_the_longest_keyword_is_guessed_and_then_the_better_flow() -> None:
    long, first, last = Flow("long").on("precio total"), Flow("a").on("precio"), Flow("z", priority=1).on("precia")
    for flows, wanted in (([first, last, long], "long"), ([first, last], "z")):
        match = guess(flows, "precit total")
        assert match is not None
        assert match.flow.id == wanted


# Real Spanish

# What keywords cannot tell apart: a thank that goes to God, and "que eres" from "¿qué eres?" without its accent.
HARD = {
    "Bien,gracias a Dios",
    "Vaya, veo que eres muy listo. ¿Cómo me has pillado?",
    "¿Es cierto que eres un programa informático?",
}


def _corpus() -> list[str]:
    import chatterbot_corpus

    folder = Path(chatterbot_corpus.__file__).parent / "data" / "spanish"
    files = [yaml.safe_load(file.read_text("utf-8")) for file in sorted(folder.glob("*.yml"))]
    said = (" ".join(str(said).split()) for file in files for exchange in file["conversations"] for said in exchange)
    return list(dict.fromkeys(said))


def _bot() -> list[Flow]:
    return [
        Flow.from_stored(
            id, [text for kind in get_args(TriggerKind) for text in given.get(kind, [])], {"say": ["…"], **given}
        )
        for id, given in EXPECTED["flows"].items()
    ]


def _shop() -> list[Flow]:
    rows = tomllib.loads(SHOP.read_text("utf-8"))["flow"]
    fields = ("say", "steps", "event", "interrupts", *get_args(TriggerKind))
    return [
        Flow.from_stored(row["id"], row["keywords"], {name: row[name] for name in fields if name in row})
        for row in rows
    ]


def _wanted(lists: Mapping[str, list[str]], sentences: Sequence[str]) -> dict[str, str]:
    """By sentence, the flow that is expected."""
    wanted: dict[str, str] = {}
    for id, texts in lists.items():
        for text in texts:
            fitting = [said for said in sentences if said == text or (text[-1:] == "…" and said.startswith(text[:-1]))]
            assert len(fitting) == 1, f"{text!r} stands for {len(fitting)} sentences"
            assert wanted.setdefault(fitting[0], id) == id, f"{text!r} is listed twice"
    return {said: id for said, id in wanted.items() if id != "nothing"}


def test_real_sentences_start_what_a_person_expects(capsys: pytest.CaptureFixture[str]) -> None:
    sentences, index = _corpus(), MatchIndex(_bot(), engine=Re2Set)
    wanted = _wanted(EXPECTED["corpus"], sentences)
    given = {said: id for said in sentences if (id := found(index, said)) is not None}
    right = sum(wanted.get(said) == id for said, id in given.items())
    precision, recall = right / len(given), right / len(wanted)
    with capsys.disabled():
        print(f"\n{len(sentences)} sentences, {len(wanted)} start a flow: {precision=:.1%} {recall=:.1%}")  # noqa: T201
    assert index.broken == ()
    assert [(said, id, given.get(said)) for said, id in wanted.items() if given.get(said) != id] == []
    assert set(given) - set(wanted) == HARD


@pytest.mark.parametrize(("id", "text"), [(id, text) for id, texts in EXPECTED["written"].items() for text in texts])
def test_other_ways_to_write_it_are_the_same_and_what_looks_alike_is_not(id: str, text: str) -> None:
    assert (found(MatchIndex(_bot(), engine=Re2Set), text) or "nothing") == id


def test_the_table_holds_what_it_promises() -> None:
    assert sum(map(len, EXPECTED["corpus"].values())) >= 150
    assert sum(map(len, EXPECTED["typos"].values())) >= 60


def test_typing_mistakes_are_guessed_and_unrelated_messages_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    shop, bot = (MatchIndex(flows, engine=Re2Set, suggestions=Suggestions()) for flows in (_shop(), _bot()))
    typos = [(text, id) for id, texts in EXPECTED["typos"].items() for text in texts]
    guessed = [(text, id, match.flow.id if (match := shop.suggest(text)) else None) for text, id in typos]
    missed = [row for row in guessed if row[1] != row[2]]
    unrelated = [(said, index) for said in _corpus() for index in (shop, bot) if index.find(said) is None]
    short = [row for row in unrelated if len(row[0].split()) <= Suggestions().max_words]
    wrong = [(said, match.flow.id) for said, index in unrelated if (match := index.suggest(said)) is not None]
    with capsys.disabled():
        rate = 1 - len(missed) / len(typos)
        print(f"\n{rate:.1%} of {len(typos)} mistakes guessed right; not: {missed}")  # noqa: T201
        print(f"{len(unrelated)} unrelated messages, {len(short)} short; guessed at: {wrong}")  # noqa: T201
    assert [text for text, _ in typos if shop.find(text) is not None] == []
    assert len(missed) <= len(typos) * 0.1
    assert len(wrong) <= len(short) * 0.01
