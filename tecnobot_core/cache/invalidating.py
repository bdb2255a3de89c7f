"""Invalidation: known here at once, told to the other processes, and heard from them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..errors import StoreError
from .marks import KnownMarks
from .ports import EVERYTHING, Marks

logger = logging.getLogger(__package__)

RETRY_S = 1.0


class Invalidations:
    """Marks tags in *known*, and through *remote* in every process that shares the store.

    What could not be told is told when the store is back. *everything* is the tag of all entries; *heard* gets what
    comes from the store.
    """

    def __init__(
        self,
        known: KnownMarks,
        remote: Marks | None,
        everything: bytes,
        *,
        heard: Callable[[Mapping[bytes, float]], object] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._known = known
        self._remote = remote
        self._everything = everything
        self._heard = heard
        self._sleep = sleep
        self._untold: dict[bytes, float] = {}
        self.open()

    def open(self) -> None:
        """Begin in the event loop that runs now: nothing was heard in it yet, and what is untold is to be told."""
        self.heard_once = asyncio.Event()
        self._more = asyncio.Event()
        if self._untold:
            self._more.set()

    @property
    def untold(self) -> int:
        """Marks that the store does not have yet."""
        return len(self._untold)

    async def mark(self, tags: Sequence[bytes], at: float | None = None) -> None:
        """What has one of *tags* and began to load before *at*, a stamp, or now, does not count any more."""
        marks = dict.fromkeys(tags, self._known.stamp() if at is None else at)
        self._apply(marks)
        if self._remote is None:
            return
        self._untold.update(marks)
        try:
            await self._tell(self._remote)
        except StoreError as error:
            logger.warning("what was invalidated is told to the store when it is back: %s", error)
            self._more.set()

    async def follow(self) -> None:
        """Hear the marks of other processes until cancelled."""
        while self._remote is not None:
            try:
                await self._remote.follow(self._hear)
            except StoreError as error:
                logger.warning("the cache does not hear what other processes invalidate: %s", error)
            await self._sleep(RETRY_S)

    async def retell(self) -> None:
        """Tell what could not be told, until cancelled."""
        while self._remote is not None:
            await self._more.wait()
            self._more.clear()
            try:
                await self._tell(self._remote)
            except StoreError:
                self._more.set()
                await self._sleep(RETRY_S)

    async def _tell(self, remote: Marks) -> None:
        telling = dict(self._untold)
        by_time = defaultdict(list)
        for tag, at in telling.items():
            by_time[at].append(tag)
        for at, tags in by_time.items():
            await remote.mark(tags, at)
            for tag in tags:
                if self._untold.get(tag) == at:
                    del self._untold[tag]

    def _hear(self, marks: Mapping[bytes, float]) -> None:
        self._apply(marks)
        if self._heard is not None:
            self._heard(marks)
        self.heard_once.set()

    def _apply(self, marks: Mapping[bytes, float]) -> None:
        for everything in (self._everything, EVERYTHING):
            if (at := marks.get(everything)) is not None:
                self._known.add_for_all(at)
        self._known.add(marks)
