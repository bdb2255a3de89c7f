"""Decorated functions: asked once for equal arguments, and never given the answers of another."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tecnobot_core import ChatId, ConfigurationError, HybridCache
from tecnobot_core.cache.decorating import remembering

CACHE = HybridCache()
CALLS: list[Any] = []


@pytest.fixture(autouse=True)
async def _forget() -> None:
    CALLS.clear()
    await CACHE.clear()


@CACHE.cached(policy="transcript", tags=("menu",))
async def price(item: str, *, size: float = 1, options: Any = None) -> int:
    CALLS.append((item, size))
    return len(CALLS)


async def chat_of(user: str, *_: Any) -> str:
    return f"chat of {user}"


@CACHE.cached(policy="reply", scope=chat_of, key=lambda user, text: text)
async def answer(user: str, text: str) -> str:
    """Answers."""
    CALLS.append((user, text))
    return f"{text}, {user}"


@CACHE.cached()
async def factorial(n: int) -> int:
    CALLS.append(n)
    return 1 if n < 2 else n * await factorial(n - 1)


class Base:
    async def twice(self, item: int) -> int:
        return 2 * item


@dataclass(frozen=True)
class Shop(Base):
    rate: int

    @CACHE.cached()
    async def price(self, item: int) -> int:
        return self.rate * item

    @CACHE.cached()
    async def sum(self, item: int) -> int:
        return self.rate + await super().twice(item)


async def test_a_decorated_function_is_called_once_for_equal_arguments() -> None:
    same = [price("tea"), price(item="tea", size=1.0), price("tea", options=None, size=1)]
    assert [await call for call in same] == [1, 1, 1]
    assert await price("tea", size=2) == 2
    assert await price("tea", options={"b": 1, "a": 2}) == await price("tea", options={"a": 2.0, "b": 1})
    await CACHE.invalidate(tag="menu")
    assert await price("tea") == 4


async def test_a_decorated_function_has_its_scope_from_its_arguments() -> None:
    assert [await answer(user, "hola") for user in ("ana", "beto", "ana")] == ["hola, ana", "hola, beto", "hola, ana"]
    assert len(CALLS) == 2
    assert answer.__doc__ == "Answers."


async def test_an_argument_without_a_stable_spelling_is_an_error_that_names_it() -> None:
    with pytest.raises(
        TypeError, match=r"price has an argument that cannot be a key: the value\['options'\] is a object"
    ):
        await price("tea", options=object())


def test_a_decorator_with_an_unknown_policy_is_an_error_at_once() -> None:
    with pytest.raises(ConfigurationError, match="no cache policy"):
        HybridCache().cached(policy="prize")


# One function's answers are not another's


def shop_prices(cache: HybridCache, shop: str, key: Any = None) -> Callable[[int], Awaitable[str]]:
    @cache.cached(key=key)
    async def price(item: int) -> str:
        return f"{shop}:{item}"

    return price


def test_a_function_that_depends_on_the_one_around_it_needs_a_key() -> None:
    with pytest.raises(TypeError, match=r"shop_prices.<locals>.price .* \(shop of the function around it\).*pass key="):
        shop_prices(HybridCache(), "A")


async def test_with_a_key_that_tells_what_differs_each_has_its_own_answers() -> None:
    cache = HybridCache()
    a, b = (shop_prices(cache, shop, lambda item, shop=shop: (shop, item)) for shop in "AB")
    assert [await a(1), await b(1), await a(1)] == ["A:1", "B:1", "A:1"]


async def test_a_default_is_an_argument_also_where_a_factory_gave_it() -> None:
    cache = HybridCache()

    def make(shop: str) -> Callable[..., Awaitable[str]]:
        async def price(item: int, *, shop: str = shop) -> str:
            return f"{shop}:{item}"

        return cache.cached()(price)

    assert [await make("A")(1), await make("B")(1)] == ["A:1", "B:1"]


def test_a_lambda_a_bound_method_and_what_has_no_name_are_refused() -> None:
    cached: Any = HybridCache().cached()
    with pytest.raises(TypeError, match="it is a lambda"):
        cached(lambda item: chat_of(item))
    with pytest.raises(TypeError, match="the object that it is bound to"):
        cached(Base().twice)
    with pytest.raises(TypeError, match="partial has no name of its own"):
        cached(partial(chat_of, "ana"))


def test_what_is_defined_later_is_not_known_to_be_harmless() -> None:
    cached = HybridCache().cached()

    def make() -> object:
        @cached
        async def price(item: int) -> int:
            return await later(item)

        async def later(item: int) -> int:
            return item

        return price

    with pytest.raises(TypeError, match="later of the function around it"):
        make()


async def test_a_function_may_call_itself_and_a_method_its_parent() -> None:
    cached = HybridCache().cached()

    @cached
    async def inner(n: int) -> int:
        return n if n < 2 else await inner(n - 1)

    async def plain(n: int) -> int:
        return n if n < 2 else await plain(n - 1)

    assert await inner(3) == 1
    assert await cached(plain)(3) == 1
    assert await factorial(4) == 24
    assert CALLS == [4, 3, 2, 1]
    assert [await Shop(3).price(2), await Shop(4).price(2), await Shop(3).sum(2)] == [6, 8, 7]


# What key=, scope= and tags= may give


@pytest.mark.parametrize(
    ("keys", "n_calls"), [((1, 1.0, 2), 2), ((1, "1"), 2), ((("a", 1), ["a", 1]), 1), ((ChatId("x"), "x"), 1)]
)
async def test_a_key_that_is_not_text_counts_by_its_value(keys: Sequence[Any], n_calls: int) -> None:
    calls = iter(range(99))

    @HybridCache().cached(key=lambda given: given)
    async def load(given: Any) -> int:
        return next(calls)

    assert len({await load(given) for given in keys}) == n_calls


async def test_no_text_is_the_spelling_of_a_key_that_is_not_text() -> None:
    keys: list[str] = []

    class Notes:
        async def get_or_load(self, key: str, loader: Callable[[], Awaitable[Any]], **_: Any) -> Any:
            keys.append(key)

    for given in (1, "x"):
        key = lambda user, given=given: given  # noqa: E731
        await remembering(Notes(), chat_of, policy="default", key=key, scope=None, tags=())("ana")
    digested, text = (key.partition("chat_of")[2] for key in keys)
    assert text == ":x"
    assert digested.startswith("=")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"key": lambda user: None}, "key= of .*chat_of gave None"),
        ({"key": lambda user: object()}, "key= of .*chat_of gave what cannot be a key: the value is a object"),
        ({"scope": lambda user: 7}, "scope= of .*chat_of gave a int; wanted is text"),
        ({"tags": "menu"}, "tags= of .*chat_of gave 'menu', one text; wanted is a list"),
    ],
)
async def test_what_cannot_be_used_is_an_error_that_says_which_and_what_is_wanted(given: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        await HybridCache().cached(**given)(chat_of)("ana")
