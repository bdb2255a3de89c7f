"""Keys of namespaces that cannot be mistaken for one another."""

from enum import Enum
from typing import Any

MARK = "\0"
"""What every key in memory begins with that is not the caller's own text; a text that begins with it is marked too."""


def namespaced(namespace: str, key: Any) -> str:
    """The key in memory of *key* in *namespace*."""
    key = _value(key)
    text_prefix, other_prefix = namespace_prefixes(namespace)
    return text_prefix + key if isinstance(key, str) else other_prefix + _spelled(key)


def namespace_prefixes(namespace: str) -> tuple[str, str]:
    """What the keys of *namespace* begin with, and no others: first those of text, then the rest.

    The length keeps "a" and "b:c" apart from "a:b" and "c".
    """
    # join, and no formatting: a str subclass may print as something else than its text.
    return "".join((MARK, str(len(namespace)), ":", namespace)), "".join((MARK, str(len(namespace)), "~", namespace))


def without_namespace(key: Any) -> str:
    """The key in memory of *key* in no namespace."""
    key = _value(key)
    if not isinstance(key, str):
        return "".join((MARK, "~", _spelled(key)))
    return "".join((MARK, "=", key)) if key.startswith(MARK) else "".join((key,))


def _value(key: Any) -> Any:
    return key.value if isinstance(key, Enum) else key


def _spelled(key: Any) -> str:
    return f"{type(key).__qualname__}:{key!r}"
