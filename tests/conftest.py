"""A real PostgreSQL for all tests of a run, and a database of its own for each test."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import asyncpg
import pytest

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of a running server, with a superuser's rights.

    The server is opened on a loop in a thread of its own: it outlives the loops of tests, and does not care whether one
    runs. fsync is off, as nothing here survives the run.
    """
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), options={"fsync": "off"})
    with ThreadPoolExecutor(1) as thread:
        runner = thread.submit(asyncio.Runner).result()
        thread.submit(runner.run, server.__aenter__()).result()
        try:
            yield server.dsn
        finally:
            thread.submit(runner.run, server.aclose()).result()
            thread.submit(runner.close).result()


@pytest.fixture
async def database_url(postgres_dsn: str) -> AsyncIterator[str]:
    """The URL of a database that is empty, and is dropped after the test with whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    await _execute(postgres_dsn, f"CREATE DATABASE {name}")
    yield urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
    await _execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
