"""The database that a command works with: that of DATABASE_URL, or the private one of DATA_DIR."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from ..adapters.embedded_postgres import EmbeddedPostgres
from ..adapters.postgres import Database, PostgresFlowStore
from ..adapters.postgres.flow_changes import change_flows, list_chatbots
from ..config import Settings
from ..errors import ConfigurationError, FlowError
from ..flows import Flow


@dataclass(frozen=True, slots=True)
class StoredFlows:
    """The flows of a chatbot as they were at ``version``; ``broken`` has an error for each that cannot be read."""

    version: int
    flows: Sequence[Flow]
    broken: Sequence[FlowError]

    @property
    def broken_ids(self) -> list[str]:
        return [error.problems[0].flow_id for error in self.broken if error.problems]


@dataclass(frozen=True, slots=True)
class OpenChatbot:
    """A chatbot of an open database."""

    database: Database
    id: str

    async def load(self) -> StoredFlows:
        """All its flows that are active."""
        store = PostgresFlowStore(self.database)
        # The version first: what changes in between is then found out by ``change``.
        version = await store.version(self.id)
        return StoredFlows(version, *(await store.load(self.id)))

    async def change(self, *, put: Sequence[Flow], remove: Collection[str], seen_version: int) -> None:
        """Put and remove flows, all at once; StoreError when others changed some since *seen_version*."""
        await change_flows(self.database, self.id, put=put, remove=remove, seen_version=seen_version)


@asynccontextmanager
async def open_chatbot(chatbot_id: str) -> AsyncIterator[OpenChatbot]:
    """The chatbot in the database of the environment. Raises ConfigurationError when it is not there."""
    async with AsyncExitStack() as stack:
        url = await _database_url(Settings.from_env(), stack)
        database = await stack.enter_async_context(Database(url, min_size=1, max_size=1, open_timeout_s=10))
        chatbots = await list_chatbots(database)
        if chatbot_id not in chatbots:
            known = ", ".join(chatbots) or "none; the bot makes its own when it starts"
            raise ConfigurationError(f"there is no chatbot {chatbot_id!r} in {database!r}; there are {known}")
        yield OpenChatbot(database, chatbot_id)


async def _database_url(settings: Settings, stack: AsyncExitStack) -> str:
    if url := settings.database_url.reveal():
        return url
    directory = settings.data_dir / "postgres"
    # Opening would make a new one, with nothing in it.
    if not directory.is_dir():
        raise ConfigurationError(f"there is no database: DATABASE_URL is unset, and {directory} does not exist")
    server = await stack.enter_async_context(EmbeddedPostgres(directory, bin_dir=settings.postgres_bin_dir))
    return server.dsn
