"""Tells a backend of one's own from a pooler that lends one for each transaction."""

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

import asyncpg

RawConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

Mode = Literal["session", "transaction"]

LISTEN_DEADLINE_S = 1.0

# Two clients in no regular order: a pooler that lends its backends in turn cannot give each client the same one twice.
_ORDER = (0, 1, 1, 0)


async def detect_mode(connections: Sequence[RawConnection], *, deadline_s: float = LISTEN_DEADLINE_S) -> Mode:
    """What one or two idle *connections* find before them, without looking at the address.

    "session": each has a backend to itself, and hears notifications. "transaction": anything else; session state,
    prepared statements, session locks and LISTEN do not work. A single connection cannot compare, so any pooler counts
    as "transaction". Waits at most *deadline_s* for the notification.
    """
    if len(connections) == 1:
        return "session" if await _backend_pid(connections[0]) == connections[0].get_server_pid() else "transaction"
    first, second = connections
    alone = await have_own_backends(first, second) and await hears(first, second, deadline_s)
    return "session" if alone else "transaction"


async def have_own_backends(*clients: RawConnection) -> bool:
    """Whether each of two clients always talks to one backend, and not to the other's; may be true by chance."""
    seen = [(number, await _backend_pid(clients[number])) for number in _ORDER]
    return len(set(seen)) == len({pid for _, pid in seen}) == len(clients)


async def _backend_pid(connection: RawConnection) -> int:
    """The process that answers, which behind a pooler is not the one that the client was told when it connected."""
    answer = bytearray()

    async def collect(data: bytes) -> None:
        answer.extend(data)

    # COPY is a simple query that gives an answer: one round trip, and no prepared statement, which may not work here.
    await connection.copy_from_query("SELECT pg_backend_pid()", output=collect)
    return int(answer)


async def hears(listener: RawConnection, sender: RawConnection, deadline_s: float) -> bool:
    """Whether a notification reaches *listener* while it rests; one of its own would arrive even through a pooler."""
    heard = asyncio.Event()
    channel = f"tecnobot_{listener.get_server_pid() & 0xFFFFFFFF:x}"  # poolers make up negative ones

    def hear(*_: object) -> None:
        heard.set()

    await listener.add_listener(channel, hear)
    try:
        await sender.execute(f"NOTIFY {channel}")
        async with asyncio.timeout(deadline_s):
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        await listener.remove_listener(channel, hear)
    return True
