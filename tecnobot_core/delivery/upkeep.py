"""What an owner does beside its messages: it looks whether it still is one, and forgets what is old."""

import logging
from collections.abc import Awaitable, Callable

from ..errors import LeaseLostError, StoreError
from .patience import Patience
from .ports import DeliveryStore

logger = logging.getLogger(__name__)

FIRST_PURGE_S = 60.0  # after the start, which has enough to read
PURGE_EVERY_S = 3600.0


class Upkeep:
    """Two loops over *store*, each until cancelled."""

    def __init__(self, store: DeliveryStore, patience: Patience, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._store = store
        self._patience = patience
        self._sleep = sleep

    async def confirm(self, every_s: float, on_owned: Callable[[], object], on_lost: Callable[[], object]) -> None:
        """Notice another owner also while there is nothing to write; ends with *on_lost*."""
        while True:
            await self._sleep(every_s)
            try:
                await self._patience.run(self._store.confirm, patient=True)
            except LeaseLostError:
                on_lost()
                return
            on_owned()

    async def purge(self, older_than_s: float) -> None:
        """Forget the ids of what ended more than *older_than_s* ago, every hour."""
        await self._sleep(FIRST_PURGE_S)
        while True:
            try:
                await self._patience.run(lambda: self._store.purge(older_than_s))
            except StoreError as error:
                logger.warning("what is old could not be forgotten, trying again in an hour: %s", error)
            await self._sleep(PURGE_EVERY_S)
