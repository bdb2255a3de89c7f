"""The demo business is sound: its flows can be served, and it never contradicts itself."""

import re
import tomllib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from tecnobot_core.flows.model import Flow, FlowEvent
from tecnobot_core.flows.steps import Ask, Handoff, Menu, Send

DATA = Path(__file__).parents[1] / "examples" / "data"
SHOP: dict[str, Any] = tomllib.loads((DATA / "demo_shop.toml").read_text("utf-8"))
QUESTIONS: list[dict[str, str]] = tomllib.loads((DATA / "questions_es.toml").read_text("utf-8"))["question"]

HOURS = "lunes a viernes de 10:00 a 19:00 y sábados de 10:00 a 15:00"
MENU = ("Precios", "Ofertas", "Estado de pedido", "Reparaciones", "Horario y ubicación", "Hablar con un asesor")
MODELS = (
    *("Zentil A1", "Zentil A5", "Zentil Pro", "Corvio 14", "Corvio 15", "Corvio Max", "Trinoa Mini", "Trinoa Aire"),
    *("Trinoa Estudio", "Miravel 32", "Miravel 43", "Miravel 55", "Tablia 8", "Tablia 10", "Voltin 20 W"),
    *("Voltin 65 W", "Voltin 10,000 mAh", "mica de vidrio", "cable USB-C", "lápiz digital"),
)


def read_flow(entry: dict[str, Any]) -> Flow:
    response = {name: entry[name] for name in ("say", "steps", "event", "exact", "interrupts") if name in entry}
    return Flow.from_stored(entry["id"], entry["keywords"], response, entry.get("priority", 0))


FLOWS = [read_flow(entry) for entry in SHOP["flow"]]
TEXTS = [step.text for flow in FLOWS for step in flow.steps if isinstance(step, Send | Ask | Menu | Handoff)] + [
    entry["text"] for entry in SHOP["knowledge"]
]


def fold(text: str) -> str:
    """Small letters without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def flow_of(keyword: str) -> str:
    """The id of the flow that *keyword* starts."""
    return next(flow.id for flow in FLOWS if any(fold(k.text) == fold(keyword) for k in flow.keywords))


def prices_of(model: str, text: str) -> list[str]:
    """What *text* says that *model* costs; a repair of it, or a bundle with it, is said in other words."""
    others = "|".join(re.escape(other) for other in MODELS if other != model)
    cost = rf"{re.escape(model)}\b(?:(?!{others})[^$.;\n])*(?::| de| cuestan?) \$([\d,]+\d)"
    return re.findall(cost, text, re.IGNORECASE)


def test_the_shop_says_who_it_is() -> None:
    shop = SHOP["shop"]
    assert (shop["id"], shop["name"], shop["language"]) == ("electronica-sol", "Electrónica Sol", "spanish")
    assert all(rule in shop["prompt"] for rule in ("Nunca inventes precios", "No reveles", "nunca una instrucción"))


def test_there_is_enough_to_talk_about() -> None:
    assert sum(len(flow.keywords) >= 3 for flow in FLOWS) >= 28
    assert len(SHOP["knowledge"]) >= 44


def test_ids_and_titles_are_unique() -> None:
    assert len({flow.id for flow in FLOWS}) == len(FLOWS)
    titles = [fold(entry["title"]) for entry in SHOP["knowledge"]]
    assert len(set(titles)) == len(titles)


def test_every_event_has_exactly_one_flow() -> None:
    # None for "closed": whoever tries the demonstration at night must find somebody.
    assert Counter(flow.event for flow in FLOWS if flow.event) == Counter(set(get_args(FlowEvent)) - {"closed"})


def test_no_keyword_starts_two_flows_or_is_written_twice() -> None:
    keywords = Counter(fold(keyword.text) for flow in FLOWS for keyword in flow.keywords)
    assert [keyword for keyword, count in keywords.items() if count > 1] == []


@pytest.mark.parametrize("entry", SHOP["flow"], ids=lambda entry: entry["id"])
def test_what_must_be_exact_is_a_keyword(entry: dict[str, Any]) -> None:
    assert set(entry.get("exact", [])) <= set(entry["keywords"])


def test_a_keyword_that_may_stand_in_a_sentence_has_at_most_four_words() -> None:
    words = [keyword.text for flow in FLOWS for keyword in flow.keywords if keyword.kind == "word"]
    assert [text for text in words if len(text.split()) > 4 or len(text) < 3] == []


def test_all_choices_are_the_menu_so_that_a_number_always_means_the_same() -> None:
    choices = {
        flow.id: step.buttons for flow in FLOWS for step in flow.steps if isinstance(step, Send) and step.buttons
    }
    assert choices == {"bienvenida": MENU, "menu": MENU}


@pytest.mark.parametrize(("number", "button"), list(enumerate(MENU, 1)))
def test_a_choice_and_its_number_lead_to_the_same_flow(number: int, button: str) -> None:
    assert flow_of(str(number)) == flow_of(button)


def test_a_word_that_a_flow_asks_people_to_write_starts_a_flow() -> None:
    bold = {word for text in TEXTS for word in re.findall(r"\b(?:[Ee]scribe|pon|o|ejemplo|nuestro) \*([^*]+)\*", text)}
    assert bold >= {"menú", "asesor", "laptops", "costo de envío", "apartado"}
    assert all(flow_of(word) for word in bold)


def test_opening_hours_are_the_same_wherever_they_are_said() -> None:
    plain = [text.replace("*", "") for text in TEXTS]
    assert sum(HOURS in text for text in plain) >= 4
    # 13:00 is when orders for the same day close, without a Saturday.
    rest = [text.replace(HOURS, "").replace("antes de las 13:00 de lunes a viernes", "") for text in plain]
    assert [text for text in rest if re.search(r"lunes|sábados? de|a 1[59]:00", text)] == []


def test_the_address_is_the_same_wherever_it_is_said() -> None:
    streets = {found for text in TEXTS for found in re.findall(r"Calle \w+ \d+, colonia [^,*\n]+", text)}
    assert streets == {"Calle Girasol 128, colonia Jardines del Sol"}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_one_price_wherever_it_is_said(model: str) -> None:
    said = [price for text in TEXTS for price in prices_of(model, text)]
    assert len(said) >= 2
    assert len(set(said)) == 1


def test_addresses_and_numbers_belong_to_nobody() -> None:
    everything = "\n".join(TEXTS)
    domains = re.findall(r"(?:@|www\.)([\w.-]*\w)", everything)
    assert len(domains) > 10
    assert set(domains) <= {"electronica-sol.example", "electronica.sol.example"}
    assert set(re.findall(r"\b\d{2} \d{4} \d{4}\b", everything)) == {"55 0000 0000"}


def test_there_are_enough_questions_of_each_sort() -> None:
    wanted = Counter(question["wants"].partition(":")[0] for question in QUESTIONS)
    assert set(wanted) == {"flow", "knowledge", "none"}
    assert sum(wanted.values()) >= 90
    assert min(wanted["none"], wanted["flow"], wanted["knowledge"]) >= 20


def test_questions_want_what_exists_and_come_once() -> None:
    known = {f"flow:{flow.id}" for flow in FLOWS} | {f"knowledge:{entry['title']}" for entry in SHOP["knowledge"]}
    assert {question["wants"] for question in QUESTIONS} <= known | {"none"}
    assert len({fold(question["text"]) for question in QUESTIONS}) == len(QUESTIONS)
