"""What was erased elsewhere, or does not count any more, leaves the memory of this process too."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from .envelope import Entry
from .marks import KnownMarks
from .scopes import scope_of

SLICE_KEYS = 2000  # looked at before the loop may do something else
SLICE_ENTRIES = 200  # read, which may mean to unpack them


class Keys(Protocol):
    """Where entries are by key; meanwhile it may change."""

    def __iter__(self) -> Iterator[str]:
        """Keys as of now."""
        ...

    def get(self, key: str) -> Any:
        """The value of *key*, None if it is absent."""
        ...

    def delete(self, key: str) -> bool:
        """Forget *key*; whether it was there."""
        ...


async def forget_scopes(memory: Keys, prefixes: Collection[str], is_erased: Callable[[str], bool]) -> int:
    """Forget every entry whose scope *is_erased*, of policies with *prefixes*; return how many that were."""
    known: dict[str | None, bool] = {None: False}
    forgotten = 0
    for number, key in enumerate(memory):
        scope = scope_of(key, prefixes)
        if scope not in known:
            known[scope] = scope is not None and is_erased(scope)
        if known[scope]:
            forgotten += memory.delete(key)
        if number % SLICE_KEYS == 0:
            await asyncio.sleep(0)
    return forgotten


async def forget_outdated(memory: Keys, prefixes: tuple[str, ...], marks: KnownMarks) -> None:
    """Forget every entry below *prefixes* that *marks* have invalidated; what was kept since stays."""
    below = [key for key in memory if key.startswith(prefixes)]
    for number, key in enumerate(below, 1):
        entry = memory.get(key)
        if type(entry) is Entry and not marks.counts(entry.began_at, entry.tags):
            memory.delete(key)
        if number % SLICE_ENTRIES == 0:
            await asyncio.sleep(0)
