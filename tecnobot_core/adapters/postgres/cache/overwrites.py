"""Writes records, and says which keys were written over, to whoever listens."""

import math
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence

from ....cache.ports import EVERYTHING, Record
from . import records as rows
from .held import HeldConnection
from .leases import CHANNEL

OVERWRITTEN = "overwritten "
MAX_PAYLOAD_BYTES = 7000  # with one more key; a notification holds less than 8,000
MAX_KEY_BYTES = 500  # of what can be said; a digest has 16
_AT = struct.Struct(">d")

# Said in the transaction of the write, some 200 digests in one notification, and only where there was a row: what is
# new nobody has. xmax is that of the lock which an insert takes on a row that is in its way.
_PUT = f"""
WITH put AS (
    {rows.PUT}
    RETURNING key, loaded_at, xmax <> 0 AS is_over
), said AS (
    SELECT said, sum(length(said) + 1) OVER (ORDER BY key) AS until FROM (
        SELECT key, encode(key || float8send(loaded_at), 'base64') AS said
        FROM put WHERE is_over AND key = ANY ($6::bytea[]) AND length(key) <= {MAX_KEY_BYTES}
    ) AS overwritten
)
SELECT pg_notify('{CHANNEL}', '{OVERWRITTEN}' || string_agg(said, ' ')) FROM said GROUP BY until / {MAX_PAYLOAD_BYTES}
"""


class PostgresOverwrites:
    """Overwrites, told by notifications; behind a pooler that lends backends they are said, and not heard."""

    def __init__(self, held: HeldConnection) -> None:
        self._held = held
        self._listeners: list[Callable[[Mapping[bytes, float]], object]] = []

    async def put_many(self, records: Sequence[Record]) -> None:
        superseding = [record.key for record in records if record.supersedes]
        for columns in rows.statements(records):
            await self._held.fetch(_PUT, *columns, superseding)

    def on_overwritten(self, heard: Callable[[Mapping[bytes, float]], object]) -> None:
        self._listeners.append(heard)

    def heard(self, said: str) -> None:
        """Somebody wrote over what is said in *said*, which may be anybody's."""
        try:
            raws = [b64decode(one) for one in said.split(" ")]
            overwritten = {raw[: -_AT.size]: float(_AT.unpack(raw[-_AT.size :])[0]) for raw in raws}
        except (ValueError, struct.error):
            return
        self._tell({key: at for key, at in overwritten.items() if math.isfinite(at)})

    def missed(self) -> None:
        """Something may not have been heard."""
        self._tell({EVERYTHING: math.inf})

    def _tell(self, overwritten: Mapping[bytes, float]) -> None:
        for listener in self._listeners:
            listener(overwritten)
