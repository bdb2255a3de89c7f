"""What several tests of the stores share."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.counting import CountingDatabase


@pytest.fixture
async def database(database_url: str) -> "AsyncIterator[CountingDatabase]":
    """A migrated database with two chatbots, "shop" and "bakery"."""
    from tecnobot_core.adapters.postgres import ensure_chatbot, migrate
    from tests.counting import CountingDatabase

    async with CountingDatabase(database_url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        await ensure_chatbot(database, "bakery")
        yield database
