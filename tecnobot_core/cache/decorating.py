"""A function whose results are remembered."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
    """*function*, asked through *cache*. *key*, *scope* and *tags* may be functions of its arguments, also async.

    A key that is not text counts by its value, like arguments. Raises TypeError where, without *key*, another function
    of the same name could be given the answers of this one.
    """
    name = _name(function)
    if key is None and (held := ", ".join(_unseen(function))):
        raise TypeError(
            f"{name} answers with what its arguments do not show ({held}), so another function of that name would be "
            "given its answers; pass key=, a function of the arguments whose result also tells what differs"
        )
    signature = inspect.signature(function)

    def argument_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return f":{digest_of(bound.arguments)}"
        except TypeError as error:
            raise TypeError(f"{name} has an argument that cannot be a key: {error}") from error

    @wraps(function)
    async def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
        own_key = argument_key(args, kwargs) if key is None else _spelled(name, await _value(key, args, kwargs))
        value: T = await cache.get_or_load(
            "".join((name, own_key)),
            lambda: function(*args, **kwargs),
            policy=policy,
            scope=_checked_scope(name, await _value(scope, args, kwargs)),
            tags=_checked_tags(name, await _value(tags, args, kwargs)),
        )
        return value

    return remembered


def _name(function: Callable[..., object]) -> str:
    try:
        return f"{function.__module__}.{function.__qualname__}"
    except AttributeError:
        raise TypeError(
            f"{type(function).__name__} has no name of its own to keep answers under; wrap it: async def name(...)"
        ) from None


def _unseen(function: Callable[..., object]) -> Iterator[str]:
    """What *function* may depend on that is in neither its name nor its arguments; defaults are arguments."""
    if function.__name__ == "<lambda>":
        yield "it is a lambda, and all of a module have one name"
    if not inspect.ismodule(owner := getattr(function, "__self__", None)) and owner is not None:
        yield "the object that it is bound to"
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        if not _is_harmless(name, cell, function):
            yield f"{name} of the function around it"


def _is_harmless(name: str, cell: Any, function: Callable[..., object]) -> bool:
    """Whether *cell* holds what *function* is anyway: itself, or, where it calls super(), a part of that class."""
    try:
        content = cell.cell_contents
    except ValueError:  # until the decorator and the class are done
        return name in ("__class__", function.__name__)
    return content is function or (name == "__class__" and isinstance(content, type))


async def _value(given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = given(*args, **kwargs) if callable(given) else given
    return await value if inspect.isawaitable(value) else value


def _spelled(name: str, key: Any) -> str:
    """What stands behind *name*. Text is itself, so that it can be invalidated; no text is the spelling of a value."""
    if isinstance(key, str):
        return "".join((":", key))  # join: a str subclass may print as something else
    if key is None:
        raise TypeError(f"key= of {name} gave None for a call; wanted is what tells this call from others")
    try:
        return f"={digest_of(key)}"
    except TypeError as error:
        raise TypeError(f"key= of {name} gave what cannot be a key: {error}") from error


def _checked_scope(name: str, scope: Any) -> str | None:
    if scope is not None and not isinstance(scope, str):
        raise TypeError(f"scope= of {name} gave a {type(scope).__name__}; wanted is text, the same that erase is given")
    return scope


def _checked_tags(name: str, tags: Any) -> Sequence[str]:
    if isinstance(tags, str):
        raise TypeError(f"tags= of {name} gave {tags!r:.50}, one text; wanted is a list of them")
    return tags  # type: ignore[no-any-return]
