"""The owner's paragraphs, found by full-text search."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tecnobot_core.adapters.postgres import Database, PostgresKnowledge, ensure_chatbot, migrate
from tecnobot_core.errors import ConfigurationError, StoreError
from tecnobot_core.knowledge import Passage

pytestmark = pytest.mark.postgres

SHIPPING = Passage("Envíos", "El envío cuesta 5 euros y tarda dos días laborables.")
RETURNS = Passage("Devoluciones", "Tienes treinta días para las devoluciones; en la tienda son gratis.")
WARRANTY = Passage("Garantía", "Todos los productos tienen tres años de garantía.")
HOURS = Passage("Horario", "La tienda abre de lunes a viernes, de 9 a 20 horas.")
REPAIRS = Passage("Reparación", "Reparamos móviles y portátiles en la tienda; tarda de dos a cinco días.")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        yield database


@pytest.fixture
async def knowledge(database: Database) -> PostgresKnowledge:
    knowledge = PostgresKnowledge(database, "shop")
    await knowledge.replace([SHIPPING, RETURNS, WARRANTY, HOURS, REPAIRS])
    return knowledge


async def titles(knowledge: PostgresKnowledge, question: str) -> list[str]:
    return [passage.title for passage in await knowledge.search(question, 9)]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("¿Cuánto cuesta el envío?", "Envíos"),
        ("cuanto cuestan los envios", "Envíos"),
        ("GARANTIA", "Garantía"),
        ("garantía", "Garantía"),
        ("garanti\u0301a", "Garantía"),
        ("devolución", "Devoluciones"),
        ("devolucion", "Devoluciones"),
        ("reparaciones", "Reparación"),
        ("a qué hora es el horario de la tienda", "Horario"),
        ("💥¿garantía?💥", "Garantía"),
        ("hola, buenas tardes, quisiera saber si tienen garantía por favor", "Garantía"),
    ],
)
async def test_a_question_finds_its_paragraph(knowledge: PostgresKnowledge, question: str, title: str) -> None:
    assert (await titles(knowledge, question))[0] == title


@pytest.mark.parametrize(
    "question",
    [
        "",
        "de la que",
        "¿Y para qué?",
        "hola, gracias",
        "buenas tardes",
        "jirafas",
        "👍",
        "'; --",
        "\x00\ud800",
        "&|!()",
    ],
)
async def test_a_question_without_a_shared_word_finds_nothing(knowledge: PostgresKnowledge, question: str) -> None:
    assert await knowledge.search(question, 5) == []


@pytest.mark.parametrize(
    ("question", "coverage"), [("¿Dónde están?", []), ("donde estan", []), ("¿y cuándo será?", []), ("té", [1.0])]
)
async def test_an_accent_can_make_a_word_meaningful_or_not(
    knowledge: PostgresKnowledge, question: str, coverage: list[float]
) -> None:
    await knowledge.replace([Passage("Tiendas", "Donde quieras, las tiendas están cerca; será un té excelente.")])
    assert [passage.coverage for passage in await knowledge.search(question, 5)] == coverage


async def test_coverage_is_the_share_of_the_words_that_are_held(knowledge: PostgresKnowledge) -> None:
    coverage = {
        question: (await knowledge.search(question, 1))[0].coverage for question in ("garantía", "garantía jirafa")
    }
    assert coverage == {"garantía": pytest.approx(1), "garantía jirafa": pytest.approx(0.5)}


async def test_rarer_words_weigh_more(knowledge: PostgresKnowledge) -> None:
    best, *others = await knowledge.search("garantía de la tienda", 5)
    assert best.title == "Garantía"
    assert best.coverage > 0.5 > max(passage.coverage for passage in others)


async def test_a_word_counts_once_however_it_is_written(knowledge: PostgresKnowledge) -> None:
    (found,) = await knowledge.search("garantía garantía jirafa", 5)
    assert found.coverage == pytest.approx(0.5)


async def test_the_limit_is_kept_and_the_whole_paragraph_comes_back(knowledge: PostgresKnowledge) -> None:
    found = await knowledge.search("días", 1)
    assert len(found) == 1
    assert Passage(found[0].title, found[0].text) in (SHIPPING, RETURNS, REPAIRS)


async def test_replacing_leaves_only_the_new_paragraphs(knowledge: PostgresKnowledge) -> None:
    await knowledge.replace([WARRANTY])
    assert await knowledge.count() == 1
    assert await titles(knowledge, "envío") == []


async def test_a_replacement_that_fails_changes_nothing(database: Database, knowledge: PostgresKnowledge) -> None:
    with pytest.raises(StoreError):
        await knowledge.replace([HOURS, Passage("Demasiado", " ".join(map(str, range(300_000))))])
    assert await knowledge.count() == 5


async def test_replacements_at_the_same_time_do_not_mix(knowledge: PostgresKnowledge) -> None:
    await asyncio.gather(*(knowledge.replace([SHIPPING] * (n + 1)) for n in range(8)))
    titles = [passage.title for passage in await knowledge.search("envío", 99)]
    assert len(titles) == await knowledge.count() <= 8


async def test_odd_texts_can_be_stored(knowledge: PostgresKnowledge) -> None:
    await knowledge.replace([Passage("a\x00", "garantía \ud800 '\\ & | :*")])
    assert await titles(knowledge, "garantía") == ["a\ufffd"]


async def test_chatbots_do_not_see_each_other(database: Database, knowledge: PostgresKnowledge) -> None:
    await ensure_chatbot(database, "bakery")
    bakery = PostgresKnowledge(database, "bakery")
    await bakery.replace([Passage("Pan", "El pan tiene garantía de un día.")])
    assert await titles(knowledge, "garantía") == ["Garantía"]
    assert await titles(bakery, "garantía") == ["Pan"]


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("portuguese", "Aceitamos devoluções em trinta dias.", "boa tarde, quero fazer uma devolucao"),
        ("english", "Returns are accepted for thirty days.", "hello, can I return it?"),
    ],
)
async def test_each_language_has_its_stems(database: Database, language: str, text: str, question: str) -> None:
    knowledge = PostgresKnowledge(database, "shop", language)  # type: ignore[arg-type]
    await knowledge.replace([Passage("x", text)])
    assert [passage.coverage for passage in await knowledge.search(question, 1)] == [pytest.approx(1)]


def test_an_unknown_language_is_refused_with_those_that_there_are(database: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"klingon.*spanish, portuguese, english"):
        PostgresKnowledge(database, "shop", "klingon")  # type: ignore[arg-type]


async def test_ensuring_a_chatbot_twice_takes_the_new_name(database: Database) -> None:
    await ensure_chatbot(database, "shop", name="The \x00 shop", language="english")
    row = await database.fetchrow("SELECT name, language FROM tecnobot.chatbot WHERE id = 'shop'")
    assert row is not None
    assert tuple(row) == ("The \ufffd shop", "english")
