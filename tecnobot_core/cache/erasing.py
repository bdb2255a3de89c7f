"""What was erased elsewhere leaves the memory of this process too."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from .scopes import scope_of

SLICE_KEYS = 2000  # looked at before the loop may do something else


class Keys(Protocol):
    """Where entries are by key; meanwhile it may change."""

    def keys(self) -> Iterable[str]:
        """Keys as of now."""
        ...

    def delete(self, key: str) -> bool:
        """Forget *key*; whether it was there."""
        ...


async def forget_scopes(memory: Keys, prefixes: Collection[str], is_erased: Callable[[str], bool]) -> int:
    """Forget every entry whose scope *is_erased*, of policies with *prefixes*; return how many that were."""
    known: dict[str | None, bool] = {None: False}
    forgotten = 0
    for number, key in enumerate(memory.keys()):
        scope = scope_of(key, prefixes)
        if scope not in known:
            known[scope] = scope is not None and is_erased(scope)
        if known[scope]:
            forgotten += memory.delete(key)
        if number % SLICE_KEYS == 0:
            await asyncio.sleep(0)
    return forgotten
