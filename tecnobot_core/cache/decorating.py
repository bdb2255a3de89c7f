"""A function whose results are remembered."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from .canonical import digest_of

P = ParamSpec("P")
T = TypeVar("T")


class Loads(Protocol):
    """What the decorator needs of a cache."""

    async def get_or_load(
        self,
        key: str,
        loader: Callable[[], Awaitable[Any]],
        *,
        policy: str = "default",
        scope: str | None = None,
        tags: Sequence[str] = (),
    ) -> Any:
        """The cached value of *key*, else what *loader* returns."""
        ...


def remembering(
    cache: Loads,
    function: Callable[P, Awaitable[T]],
    *,
    policy: str,
    key: str | Callable[..., Any] | None,
    scope: str | Callable[..., Any] | None,
    tags: Sequence[str] | Callable[..., Any],
) -> Callable[P, Awaitable[T]]:
    """*function*, asked through *cache*. *key*, *scope* and *tags* may be functions of its arguments, also async."""
    signature = inspect.signature(function)
    name = f"{function.__module__}.{function.__qualname__}"

    def argument_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return digest_of(bound.arguments)
        except TypeError as error:
            raise TypeError(f"{name} has an argument that cannot be a key: {error}") from error

    @wraps(function)
    async def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
        own_key = argument_key(args, kwargs) if key is None else await _value(key, args, kwargs)
        value: T = await cache.get_or_load(
            "".join((name, ":", own_key)),
            lambda: function(*args, **kwargs),
            policy=policy,
            scope=await _value(scope, args, kwargs),
            tags=await _value(tags, args, kwargs),
        )
        return value

    return remembered


async def _value(given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = given(*args, **kwargs) if callable(given) else given
    return await value if inspect.isawaitable(value) else value
