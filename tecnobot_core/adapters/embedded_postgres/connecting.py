"""What the supervisor itself asks of its server, through asyncpg."""

from pathlib import Path
from urllib.parse import quote

from ...errors import MissingDependencyError
from .options import PORT, USER

try:
    import asyncpg
    from asyncpg.exceptions import InternalClientError
except ModuleNotFoundError as error:
    raise MissingDependencyError("asyncpg", extra="embedded") from error

DATABASE = "tecnobot"

_CONNECT_TIMEOUT_S = 5.0

_NOT_NOW = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InvalidCatalogNameError)

DatabaseError = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError)


def dsn(sockets: Path, database: str = DATABASE) -> str:
    """The URL of *database*, whose server has its socket in *sockets*."""
    return f"postgresql://{USER}@/{database}?host={quote(str(sockets))}&port={PORT}"


async def lets_in(url: str) -> bool:
    """Whether one can connect; no while the server starts, stops or is away, and while the database is not made."""
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
        await connection.close(timeout=_CONNECT_TIMEOUT_S)
    except asyncpg.TooManyConnectionsError:
        return True
    except (OSError, *_NOT_NOW):
        return False
    return True


async def lets_nobody_in(url: str) -> bool:
    """Whether a server answers that it takes no connections now: it starts, stops, or recovers from a crash."""
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT_S)
        await connection.close(timeout=_CONNECT_TIMEOUT_S)
    except asyncpg.CannotConnectNowError:
        return True
    except (OSError, *DatabaseError):
        return False
    return False


async def ensure_database(sockets: Path) -> None:
    """Give the database that initdb made its name; another one would cost 7 MB, and time."""
    try:
        connection = await asyncpg.connect(dsn(sockets, "template1"), timeout=_CONNECT_TIMEOUT_S)
    except asyncpg.TooManyConnectionsError:
        return  # bots that waited for a server were faster; what they are connected to has its name
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"ALTER DATABASE postgres RENAME TO {DATABASE}")
    finally:
        await connection.close()
