"""Keys of namespaces that cannot be mistaken for one another."""

import re
from enum import Enum
from typing import Any, Final

MARK = "\0"
"""What every key in memory begins with that is not the caller's own text; a text that begins with it is marked too."""


_HEAD = re.compile(MARK + r"(\d*)(?:\.(\d+))?[:~=]")
MAX_ENDED: Final = 2000


class Epochs:
    """Which keys in memory are of a namespace as it is now: to end it is to give it another epoch, and other keys.

    So a namespace is cleared in the same time however much is in it, and no read has anything to compare. It is known
    of *max_ended* namespaces; when there are more, all end: some hits are lost, none is wrong.
    """

    def __init__(self, max_ended: int = MAX_ENDED) -> None:
        self.count = 0
        self._max_ended = max_ended
        self._of_all = 0
        self._ended: dict[str, int] = {}

    def of(self, namespace: str) -> int:
        """The epoch of *namespace*, "" for none; 0 until it ends for the first time."""
        return self._ended.get(namespace, self._of_all)

    def end(self, namespace: str) -> None:
        """What was kept in *namespace* until now is not found any more."""
        if len(self._ended) >= self._max_ended:
            self.end_all()
            return
        self.count += 1
        self._ended[namespace] = self.count

    def end_all(self) -> None:
        """As ``end`` of every namespace and of none."""
        self.count += 1
        self._of_all = self.count
        self._ended.clear()

    def is_over(self, key: str) -> bool:
        """Whether *key*, one in memory, is of an epoch that has ended."""
        if not key.startswith(MARK):
            return self.of("") > 0
        head = _HEAD.match(key)
        return head is not None and int(head[2] or 0) < self.of(_namespace_in(key, head))


def namespaced(namespace: str, key: Any, epoch: int = 0) -> str:
    """The key in memory of *key* in *namespace*."""
    key = _value(key)
    text_prefix, other_prefix = namespace_prefixes(namespace, epoch)
    return text_prefix + key if isinstance(key, str) else other_prefix + _spelled(key)


def namespace_prefixes(namespace: str, epoch: int = 0) -> tuple[str, str]:
    """What the keys of *namespace* begin with, and no others: first those of text, then the rest.

    The length keeps "a" and "b:c" apart from "a:b" and "c".
    """
    # join, and no formatting: a str subclass may print as something else than its text.
    head = _head(str(len(namespace)), epoch)
    return "".join((head, ":", namespace)), "".join((head, "~", namespace))


def namespace_of(key: str) -> str:
    """The namespace that a key in memory was built with; "" for none."""
    head = _HEAD.match(key)
    return "" if head is None else _namespace_in(key, head)


def without_namespace(key: Any, epoch: int = 0) -> str:
    """The key in memory of *key* in no namespace."""
    key = _value(key)
    if not isinstance(key, str):
        return "".join((_head("", epoch), "~", _spelled(key)))
    return "".join((bare_prefix(epoch), key)) if epoch or key.startswith(MARK) else "".join((key,))


def bare_prefix(epoch: int) -> str:
    """What text in no namespace begins with after the first epoch, and before if it begins with MARK."""
    return f"{_head('', epoch)}="


def _head(length: str, epoch: int) -> str:
    return f"{MARK}{length}.{epoch}" if epoch else f"{MARK}{length}"


def _namespace_in(key: str, head: re.Match[str]) -> str:
    return key[head.end() : head.end() + int(head[1])] if head[1] else ""


def _value(key: Any) -> Any:
    return key.value if isinstance(key, Enum) else key


def _spelled(key: Any) -> str:
    return f"{type(key).__qualname__}:{key!r}"
