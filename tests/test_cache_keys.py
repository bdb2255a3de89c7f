"""Keys: the same for what means the same, different for everything else, and never shared between scopes."""

import asyncio
import enum
import random
import unicodedata
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core import ChatId, HybridCache
from tecnobot_core.cache import answer_scope, is_cacheable_request, is_storable_answer, request_key
from tecnobot_core.cache.canonical import digest_of
from tecnobot_core.cache.keys import STATEFUL_FIELDS, TRANSPORT_FIELDS
from tecnobot_core.cache.scopes import KeySpace, scoped_key
from tecnobot_core.completion import Completion
from tecnobot_core.testing import FakeClock
from tecnobot_core.testing.tier import FakeTier, SharedStore

REQUEST: dict[str, Any] = {
    "model": "m-1",
    "base_url": "https://models.example/v1",
    "messages": [
        {"role": "system", "content": "Sé amable. Abrimos a las 9."},
        {"role": "user", "content": "¿Abren hoy?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "hours"}}]},
        {"role": "tool", "content": "sí", "tool_call_id": "c1"},
    ],
    "temperature": 0.2,
    "top_p": 1,
    "seed": 7,
    "max_completion_tokens": 500,
    "stop": ["\n\n"],
    "tools": [{"type": "function", "function": {"name": "hours", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "auto",
    "response_format": {"type": "json_object"},
    "logit_bias": {"50256": -100},
    "frequency_penalty": 0.0,
    "user": "u-1",
    "reasoning_effort": "low",
    "a_field_that_comes_next_year": True,
}  # fmt: skip


def reordered(value: Any) -> Any:
    """The same with the fields of every level the other way round."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def respelled(value: Any) -> Any:
    """The same with other types of numbers and another form of Unicode."""
    if isinstance(value, dict):
        return {key: respelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(respelled(item) for item in value)
    if isinstance(value, str):
        return unicodedata.normalize("NFD", value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(value) if isinstance(value, int) else int(value) if value.is_integer() else value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that is no container."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in places(item, (*path, key))] or [path]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in places(item, (*path, index))] or [path]
    return [path]


def changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    if not path:
        return change(value)
    if isinstance(value, dict):
        return {key: changed(item, path[1:], change) if key == path[0] else item for key, item in value.items()}
    return [changed(item, path[1:], change) if index == path[0] else item for index, item in enumerate(value)]


def another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 0.125
    return f"{value}." if isinstance(value, str) else "something"


def test_the_order_and_the_spelling_of_a_request_do_not_change_its_key() -> None:
    assert request_key(reordered(REQUEST)) == request_key(REQUEST)
    assert request_key(respelled(REQUEST)) == request_key(REQUEST)
    assert request_key(REQUEST | dict.fromkeys(TRANSPORT_FIELDS, "x")) == request_key(REQUEST)


def test_every_field_alone_changes_the_key() -> None:
    everywhere = places(REQUEST)
    keys = {request_key(changed(REQUEST, path, another)) for path in everywhere}
    keys |= {request_key(changed(REQUEST, path, lambda _: None)) for path in everywhere if path != ("model",)}
    without = {request_key({k: v for k, v in REQUEST.items() if k != name}) for name in REQUEST if name != "model"}
    assert len(keys | without | {request_key(REQUEST)}) == 2 * len(everywhere) - 1 + len(REQUEST) - 1 + 1


def test_messages_in_another_order_are_another_request() -> None:
    assert request_key(REQUEST | {"messages": REQUEST["messages"][::-1]}) != request_key(REQUEST)


def test_a_request_names_its_model() -> None:
    with pytest.raises(ValueError, match="name the model"):
        request_key({"messages": []})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, str) and isinstance(b, str):
        return unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        normal = [{unicodedata.normalize("NFC", key): item for key, item in x.items()} for x in (a, b)]
        return normal[0].keys() == normal[1].keys() and all(same(normal[0][key], normal[1][key]) for key in normal[0])
    return type(a) not in (str, list, dict) and type(b) not in (str, list, dict) and bool(a == b)


@given(JSON, JSON)
def test_values_have_one_digest_exactly_when_they_are_the_same(a: Any, b: Any) -> None:
    assert (digest_of(a) == digest_of(b)) == same(a, b)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Point:
    x: float
    y: float


def test_what_python_has_beside_json_has_a_digest_too() -> None:
    values: list[Any] = [
        b"a", "a", ["a"], {"a": None}, {"a"}, Colour.RED, Colour.BLUE, Point(1, 2), Point(2, 1), Decimal("1.5"), 1.5,
        datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1), Path("a"), 1, True, "1", None, "", [], {}, [[]], [None],
        ["ab", "c"], ["a", "bc"], ["", "a"], ["sa"],
    ]  # fmt: skip
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of({3, 1, 2}) == digest_of({2, 3, 1})
    assert digest_of(Point(1, 2)) == digest_of(Point(1.0, 2.0))
    with pytest.raises(TypeError, match=r"the value\['a'\]\[1\] is a object, which has no stable spelling"):
        digest_of({"a": [1, object()]})


@pytest.mark.parametrize(
    ("fields", "is_cacheable"),
    [
        ({}, False),
        ({"temperature": 0.3}, True),
        ({"temperature": 0}, True),
        ({"temperature": 0.31}, False),
        ({"temperature": 1.5, "seed": 0}, True),
        *(({"temperature": 0, name: "x"}, False) for name in STATEFUL_FIELDS),
        ({"temperature": 0, "store": False}, True),
    ],
)
def test_what_may_be_answered_with_the_same_words(fields: Mapping[str, object], is_cacheable: bool) -> None:
    assert is_cacheable_request({"model": "m", **fields}) is is_cacheable
    is_stateful = any(fields.get(name) for name in STATEFUL_FIELDS)
    assert is_cacheable_request({"model": "m", **fields}, sampled=True) is not is_stateful


@pytest.mark.parametrize(
    ("text", "finish_reason", "is_storable"),
    [
        ("Sí.", "stop", True),
        ("Sí.", "", False),
        ("Sí. Y ade", "length", False),
        ("", "stop", False),
        (" \n", "stop", False),
        ("No puedo.", "content_filter", False),
        ("Un momento", "tool_calls", False),
    ],
)
def test_only_whole_answers_are_stored(text: str, finish_reason: str, is_storable: bool) -> None:
    assert is_storable_answer(Completion(text, "m", finish_reason=finish_reason)) is is_storable


def test_an_answer_that_refuses_or_asks_for_a_tool_is_not_stored() -> None:
    @dataclass
    class Answer:
        text: str = "Sí."
        finish_reason: str = "stop"
        refusal: str | None = None
        tool_calls: tuple[str, ...] = ()

    assert is_storable_answer(Answer())
    assert not is_storable_answer(Answer(refusal="no"))
    assert not is_storable_answer(Answer(tool_calls=("pay",)))


PROMPT = "Eres la asistente de Tienda Sol. Vendemos Samsung y la pantalla 4090. Abrimos a las 9:00."
FIRST = [{"role": "system", "content": PROMPT}, {"role": "user", "content": "¿Abren los lunes?"}]


def first(question: str) -> dict[str, Any]:
    return {"messages": [FIRST[0], {"role": "user", "content": question}]}


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [*FIRST, {"role": "assistant", "content": "Sí"}, {"role": "user", "content": "¿Y el lunes?"}]},
        {"messages": [{"role": "system", "content": "Hablas con Ána."}, FIRST[1]]},
        {"messages": [{"role": "system", "content": "Es el lunes 3, 10:42."}, FIRST[1]]},
        {"messages": [{"role": "system", "content": "Su teléfono: 34600."}, FIRST[1]]},
        first("¿Tiene pan la señora ana?"),
        first("¿hay algo de parte de josé?"),
        {"messages": [FIRST[0], {"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [FIRST[0], {"role": "user", "content": "hola", "name": "x"}]},
        {"messages": FIRST, "tools": [{"type": "function"}]},
        {"messages": FIRST, "user": "u-1"},
        {"messages": [FIRST[0]]},
        {"messages": FIRST[::-1]},
        {"messages": "¿Abren los lunes?"},
        {},
    ],
)
def test_what_is_about_somebody_belongs_to_them(request_: Mapping[str, Any]) -> None:
    user = "34600@s.example"
    assert answer_scope(request_, user=user, name="Ana José", personal=("10:42", "")) == ("reply", user)


ABOUT_A_PERSON = (
    "Soy Ana Pérez, ¿a qué hora es mi cita?", "Me llamo Luis y debo 1.200 €", "MI NOMBRE ES ANA", "¿es para mí?",
    "te escribe ana", "me cobraron dos veces", "tengo diabetes, ¿puedo comer pan?", "I’m ana, any bread?",
    "where is my order?", "this is ana", "eu sou o paulo", "onde está o meu pedido?", "estou grávida, posso?",
    "je m'appelle luc", "ich heiße anna", "我叫王芳", "меня зовут аня",
)  # fmt: skip
NAMES_SOMEBODY = (
    "Ana Pérez aquí, ¿tienen pan?", "¿tienen pan? Gracias, Ana", "Hola\u00a0Ana, ¿tienen pan?",
    "¿hacen envíos a Madrid?", "¿tienen pan?\nsaludos (Ana)", f"Hola{' ' * 20}Ana",
)  # fmt: skip
ABOUT_AN_ACCOUNT = (
    "el correo es a@b.example", "¿dónde está el pedido 004-512-77?", "el número es +34 600 00 00 00", "@ana, ¿abren?",
    "¿dónde está el pedido 1234?", "pedido nº 7", "order #7", "the booking under A7", "matrícula 1234 ABC", "X12ABC?",
    "algo por 20 euros", "R$ 50 dá?", "por $5", "mil pesos", "1.200 €", "£3 off",
)  # fmt: skip
ABOUT_A_MOMENT = (
    "¿Están abiertos ahora?", "¿Abren hoy?", "¿y mañana?", "¿están abiertos?", "¿ESTÁ CERRADO?", "¿abren este lunes?",
    "¿qué hora es?", "¿ya abrieron?", "are you open?", "is the shop still open", "open today?", "and tomorrow?",
    "what time is it", "abre hoje?", "e amanhã?", "vocês estão abertos agora?", "ouvert aujourd'hui?", "heute offen?",
)  # fmt: skip


@pytest.mark.parametrize("question", [*ABOUT_A_PERSON, *NAMES_SOMEBODY, *ABOUT_AN_ACCOUNT, *ABOUT_A_MOMENT])
def test_what_sounds_like_one_person_or_one_moment_belongs_to_who_asked(question: str) -> None:
    assert answer_scope(first(question), user="555") == ("reply", "555")


@pytest.mark.parametrize(
    "question",
    [
        "¿Abren los lunes?", "¿Cuál es el horario?", "¿Me pueden decir el horario?", "Hola, ¿venden Samsung?",
        "Quiero saber cuánto cuesta la 4090", "¿hay iPhone 15?", "¿Abren a las 21:00?", "¿Atienden 24/7?",
        "TIENEN PAN?",
        "¿Están abiertos los domingos?", "¿Cuánto dura la semana santa?", "¿Qué me recomiendan?", "Soya, ¿tienen?",
        "How do I return a product?", "Are you open on Mondays?", "Where can I park?", "Qual é o horário?",
        "Vocês entregam em casa?", "¿Tienen pan? ¿Y leche? Un saludo.\nGracias 🙏",
    ],
)  # fmt: skip
def test_what_anybody_could_ask_first_is_for_everybody(question: str) -> None:
    assert answer_scope(first(question), user="555@s.example", name="Ana 🌸 de X") == ("faq", None)


@pytest.mark.parametrize("name", ["", ".", "🌸", "An"])
def test_a_name_of_signs_or_of_two_letters_is_not_found_within_words(name: str) -> None:
    assert answer_scope(first("¿Tienen pan? ¿Y manzanas?"), user="555", name=name) == ("faq", None)


def test_a_name_is_found_as_it_is_spelled_in_any_letters() -> None:
    for name, question in (
        ("LUÍS", "pan para luis"),
        ("王芳", "pan 王芳"),
        ("Li", "pan para li"),
        ("Ana Paz", "¿y paz?"),
    ):
        assert answer_scope(first(question), user="555", name=name) == ("reply", "555")
    in_prompt = {"messages": [{"role": "system", "content": "您好王芳女士"}, FIRST[1]]}
    assert answer_scope(in_prompt, user="555", name="王芳") == ("reply", "555")
    assert answer_scope(in_prompt, user="555", name="王明") == ("faq", None)


@given(st.text(), st.text())
def test_no_question_and_no_name_is_too_odd(question: str, name: str) -> None:
    assert answer_scope(first(question), user="555", name=name)[0] in ("faq", "reply")
    assert answer_scope(first(f"soy {question}"), user="555", name=name)[0] == "reply"


PIECES = ("a", "b", "|", "\0", "1", "2", ":", "-", "ana", "reply", "")


@given(*(st.lists(st.sampled_from(PIECES)).map("".join) for _ in range(4)), st.booleans(), st.booleans())
def test_no_scope_and_key_are_joined_into_another(a: str, b: str, c: str, d: str, no_a: bool, no_c: bool) -> None:
    space = KeySpace(bytes(16))
    first, second = (None if no_a else a, b), (None if no_c else c, d)
    prefix = space.policy_prefix("reply")
    assert (scoped_key(prefix, *first) == scoped_key(prefix, *second)) == (first == second)
    assert (space.digest("key", a, b) == space.digest("key", c, d)) == ((a, b) == (c, d))


def test_a_key_that_is_spelled_like_a_scope_is_not_one() -> None:
    assert scoped_key("p", None, "3\0anak") != scoped_key("p", "ana", "k")


def test_digests_depend_on_the_secret_and_the_namespace() -> None:
    spaces = [KeySpace(bytes(16)), KeySpace(bytes(15) + b"1"), KeySpace(bytes(16), "shop")]
    assert len({space.scope_tag("34600000000") for space in spaces}) == 3
    with pytest.raises(ValueError, match="16 to 64 bytes, not 3"):
        KeySpace(b"abc")


def test_a_chat_is_a_scope_by_its_whole_id_and_not_as_it_prints() -> None:
    chats = [ChatId("34600000000@s.whatsapp.net"), ChatId("34600000001@s.whatsapp.net")]
    space = KeySpace(bytes(16))
    assert space.scope_tag(chats[0]) == space.scope_tag("34600000000@s.whatsapp.net")
    assert str.__str__(chats[0]) in scoped_key("p", chats[0], "k")


USERS = ["ana", "Ana", "an", "a|na", "ana|", "\0ana", "3:ana", "", "b", "1\0a", "a\0"]
TENANTS = ["shop", "sho", "shop:", None]
PROMPTS, MODELS = ["Sé amable.", "Sé amable", "Sé breve."], ["m", "m-1", "m-"]
QUESTIONS, TOOLS = ["¿Abren?", "¿abren?", "ana", "hola", "|", "a b"], [[], [{"name": "pay"}], [{"name": "pay "}]]
POLICIES = ("reply", "faq", "transcript", "default", "profile", "answer")
PEOPLE = ["Ana Pérez", "Luis", "王芳", "Noé"]
TOLD = ["Soy {}, ¿tienen pan?", "pan para {}", "¿debe {} 20 €?", "¿tienen pan?", "¿abren ahora?", "¿tienen pan? {}"]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_hundred_thousand_requests_of_many_people_never_cross_a_scope(is_stored: bool) -> None:
    """Over users, tenants, prompts, models and tools that look alike, every answer is that of the same request.

    Where the request itself decides the policy, no answer to a question that holds a name is for all.
    """
    choose = random.Random(6).choice
    store = SharedStore(FakeClock(1e9))

    async def ask(caches: list[HybridCache]) -> bool:
        tenant, user, policy = choose(caches), choose(USERS), choose(POLICIES)
        request = {"model": choose(MODELS), "tools": choose(TOOLS), "prompt": choose(PROMPTS), "q": choose(QUESTIONS)}
        scope = user if policy in ("reply", "profile", "answer") else None
        if scope == "":
            return True
        if policy == "answer":
            name, told = choose(PEOPLE), choose(TOLD)
            del request["tools"]
            request["messages"] = [{"role": "user", "content": told.format(choose((name, name.upper(), name.lower())))}]
            policy, scope = answer_scope(request, user=user, name=name)
            assert policy == "reply" or told == "¿tienen pan?"
        question = str(request["q"])
        key = choose((request_key(request), question))
        expected = [caches.index(tenant), policy, scope, request if key != question else key]

        async def load() -> object:
            return expected

        return bool(await tenant.get_or_load(key, load, policy=policy, scope=scope) == expected)

    async def main() -> dict[str, float]:
        async with AsyncExitStack() as opened:
            caches = [
                HybridCache(
                    (64 if is_stored else 4096) * 1024,
                    FakeTier(store) if is_stored else None,
                    secret=bytes(16),
                    namespace=name,
                    clock=FakeClock(),
                )
                for name in TENANTS
            ]
            for cache in caches:
                await opened.enter_async_context(cache)
            assert [await ask(caches) for _ in range(100_000)].count(False) == 0
            names = ("memory_hits", "store_hits")
            return {name: sum(cache.statistics()[f"reply.{name}"] for cache in caches) for name in names}

    hits = asyncio.run(main())
    assert hits["store_hits" if is_stored else "memory_hits"] > 5_000
