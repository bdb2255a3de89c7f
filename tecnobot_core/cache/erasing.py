"""What was erased elsewhere, or does not count any more, leaves the memory of this process too."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Any, Protocol

from ..errors import StoreError
from ..tasks import Tasks
from .envelope import Entry
from .marks import KnownMarks
from .ports import ERASED, EVERYTHING
from .scopes import scope_of

SLICE_KEYS = 2000  # looked at before the loop may do something else
SLICE_DELETED = 100  # or looked at, which may mean to write down again what is left of a block
SLICE_ENTRIES = 200  # read, which may mean to unpack them
RETRY_S = 1.0
MARGIN_S = 300.0  # what the clocks of two processes may differ by, amply
MAX_KNOWN = 20_000


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


async def forget_tagged(memory: Keys, prefixes: tuple[str, ...], tags: Collection[bytes], marks: KnownMarks) -> int:
    """Forget every entry below *prefixes* with one of *tags* that *marks* have invalidated; how many that were."""
    forgotten = 0
    for number, key in enumerate([key for key in memory if key.startswith(prefixes)], 1):
        entry = memory.get(key)
        if type(entry) is Entry and any(tag in tags for tag in entry.tags):
            forgotten += not marks.counts(entry.began_at, entry.tags) and memory.delete(key)
        if number % SLICE_ENTRIES == 0:
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


async def forget_where(memory: Keys, is_meant: Callable[[str], bool]) -> None:
    """Forget every entry whose key *is_meant*, in slices."""
    for number, key in enumerate(memory, 1):
        if is_meant(key):
            memory.delete(key)
        if number % SLICE_DELETED == 0:
            await asyncio.sleep(0)


class Writes(Protocol):
    """What gathers the writes of this process."""

    def drop(self, tags: Collection[bytes] | None) -> None:
        """Do not write what is pending with one of *tags*, None: anything."""
        ...

    async def erase(self, tag: bytes) -> int:
        """Erase *tag* from what is pending and from the store; a StoreError where it is still in the store."""
        ...


class Erasures:
    """Who was erased elsewhere leaves this process too, in whichever order and however late that is heard.

    From memory by *forget*, which gets tags, and from *writes*: what waits there is not written, and what was written
    before this was heard is erased. What began afterwards may go with it, and is loaded again.
    """

    def __init__(
        self,
        forget: Callable[[Collection[bytes]], Awaitable[object]],
        forget_all: Callable[[], object],
        writes: Writes | None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self._forget = forget
        self._forget_all = forget_all
        self._writes = writes
        self._sleep = sleep
        self._max_known = max_known
        self._known: dict[bytes, float] = {}
        self._unerased: dict[bytes, None] = {}
        self._since = -inf

    def open(self, now: float, *, has_unwritten: bool) -> None:
        """From *now* on something is written, and before only if it *has_unwritten*: so older erasures are no matter.

        Without that, whoever opens a cache would erase again everybody who ever was.
        """
        self._since = -inf if has_unwritten else now - MARGIN_S

    def note(self, tag: bytes, at: float) -> None:
        """It is erased here, which need not be heard again."""
        self._know({tag: max(at, self._known.get(tag, at))})

    def hear(self, marks: Mapping[bytes, float], tasks: Tasks) -> None:
        """Have those leave who are erased by *marks* and were not known to be; in *tasks*."""
        if EVERYTHING in marks:  # who was erased may be missing
            self._forget_all()
            if self._writes is not None:
                self._writes.drop(None)
        marked = {tag.removeprefix(ERASED): at for tag, at in marks.items() if tag.startswith(ERASED)}
        erased = {tag: at for tag, at in marked.items() if at > self._known.get(tag, -inf)}
        if not erased:
            return
        self._know(erased)
        tasks.start(self._leave(erased), "erased")
        if self._writes is not None:
            self._writes.drop(erased.keys())
            self._unerased.update((tag, None) for tag, at in erased.items() if at >= self._since)

    async def finish(self) -> None:
        """Erase what is left to be erased, as far as the store does it now."""
        with suppress(StoreError):
            await self._erase()

    async def _leave(self, erased: Collection[bytes]) -> None:
        await self._forget(erased)
        while self._unerased:
            try:
                await self._erase()
            except StoreError as error:
                if not error.retryable:
                    self._unerased.clear()  # this store never can
                    return
                await self._sleep(RETRY_S)

    async def _erase(self) -> None:
        while self._writes is not None and self._unerased:
            tag, _ = self._unerased.popitem()
            try:
                await self._writes.erase(tag)
            except BaseException:
                self._unerased[tag] = None
                raise

    def _know(self, erased: Mapping[bytes, float]) -> None:
        self._known.update(erased)
        while len(self._known) > self._max_known:  # to hear of one once more does no harm
            del self._known[next(iter(self._known))]
