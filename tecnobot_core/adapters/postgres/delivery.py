"""Inbox and outbox in PostgreSQL: one round trip for each batch, one owner for each chatbot."""

import asyncio
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from types import TracebackType
from typing import Any, Self

from ...delivery.ports import OutboxEntry, Pending, SendState
from ...errors import LeaseLostError, LifecycleError, StoreError
from ...messages import InboundMessage, OutboundMessage, Turn
from ...tasks import Tasks
from .database import Database
from .encoding import decode_inbound, decode_outbound, encode
from .group_commit import GroupCommit
from .values import storable, to_json

logger = logging.getLogger(__package__)

_DELIVER = "SELECT * FROM tecnobot.deliver($1, $2, $3::text::jsonb, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb)"
_PENDING = "SELECT seq, body FROM tecnobot.inbox WHERE chatbot_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
_UNSENT = """
SELECT id, body, state FROM tecnobot.outbox
WHERE chatbot_id = $1 AND state IN ('waiting', 'taken') ORDER BY id
"""
_SIZE = "SELECT count(*) FROM tecnobot.inbox WHERE chatbot_id = $1"
_EPOCH = "SELECT epoch FROM tecnobot.lease WHERE chatbot_id = $1"
_LEASE_LOST = "TB001"  # raised by tecnobot.deliver


@dataclass(slots=True)
class _Write:
    """What one call wants stored. ``nonce`` names the call, however often it is repeated."""

    nonce: str
    accepted: Sequence[dict[str, Any]] = ()
    turns: Sequence[dict[str, Any]] = ()
    posted: Sequence[dict[str, Any]] = ()
    moved: Sequence[dict[str, Any]] = ()


class PostgresDelivery:
    """The DeliveryStore of one chatbot, which must exist (``ensure_chatbot``).

    Entering takes the lease: earlier owners can write no more, but for messages that they accept. ``accept`` waits
    while *max_pending* messages are not done. *write_window_s* above 0 spares the disk: each commit waits so long for
    others.
    """

    def __init__(
        self,
        database: Database,
        chatbot_id: str,
        *,
        max_pending: int = 100_000,
        write_window_s: float = 0.0,
        max_batch: int = 256,
    ) -> None:
        self._database = database
        self._chatbot_id = chatbot_id
        self._max_pending = max_pending
        self._owner = uuid.uuid4().hex
        self._calls = count()
        self._epoch: int | None = None
        self._n_pending = 0
        self._room = asyncio.Event()
        self._tasks = Tasks("postgres_delivery")
        self._writer = GroupCommit[_Write, Sequence[Mapping[str, Any]]](
            self._write, tasks=self._tasks, window_s=write_window_s, max_batch=max_batch
        )

    @property
    def commits(self) -> int:
        """Transactions that were committed since the start."""
        return self._writer.commits

    async def __aenter__(self) -> Self:
        self._epoch = await self._database.fetchval("SELECT tecnobot.take_lease($1, $2)", self._chatbot_id, self._owner)
        self._n_pending = await self._database.fetchval(_SIZE, self._chatbot_id)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.aclose()

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        while self._n_pending >= self._max_pending:
            self._room.clear()
            await self._room.wait()
        nonce = self._nonce()
        rows = await self._submit(
            nonce, accepted=[{"id": storable(m.id), "nonce": nonce, "body": encode(m)} for m in messages]
        )
        self._n_pending += len(rows)
        seqs = {row["key"]: row["id"] for row in rows}
        return [seqs.pop(storable(message.id), None) for message in messages]

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        rows = await self._database.fetch(_PENDING, self._chatbot_id, after, limit)
        return [Pending(row["seq"], decode_inbound(row["body"])) for row in rows]

    async def commit(self, turns: Sequence[Turn], *, taken: Collection[str] = ()) -> Sequence[OutboxEntry]:
        nonce = self._nonce()
        rows = await self._submit(nonce, turns=[_turn(turn, nonce, taken) for turn in turns])
        self._n_pending = max(self._n_pending - sum(len(turn.inbound) for turn in turns), 0)
        self._room.set()
        return _entries(rows, [message for turn in turns for message in turn.outgoing], taken)

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        nonce = self._nonce()
        posted = [{"key": storable(m.key), "nonce": nonce, "body": encode(m)} for m in messages]
        return _entries(await self._submit(nonce, posted=posted), messages, ())

    async def move(self, states: Mapping[int, SendState]) -> None:
        await self._submit(self._nonce(), moved=[{"id": id, "state": state} for id, state in states.items()])

    async def unsent(self) -> Sequence[OutboxEntry]:
        rows = await self._database.fetch(_UNSENT, self._chatbot_id)
        uncertain = {row["id"] for row in rows if row["state"] == "taken"}
        if uncertain:
            await self.move(dict.fromkeys(uncertain, "uncertain"))
        return [
            OutboxEntry(row["id"], decode_outbound(row["body"]), "uncertain" if row["id"] in uncertain else "waiting")
            for row in rows
        ]

    async def confirm(self) -> None:
        if await self._database.fetchval(_EPOCH, self._chatbot_id) != self._epoch:
            raise LeaseLostError(f"another process owns chatbot {self._chatbot_id} now")

    def _nonce(self) -> str:
        return f"{self._owner}-{next(self._calls)}"

    async def _submit(self, nonce: str, **rows: Sequence[dict[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return await self._writer.submit(_Write(nonce, **rows))

    async def _write(self, writes: Sequence[_Write]) -> Sequence[Sequence[Mapping[str, Any]]]:
        if self._epoch is None:
            raise LifecycleError("this store is not entered; use it inside 'async with'")
        columns = ("accepted", "turns", "posted", "moved")
        given = [to_json([row for write in writes for row in getattr(write, column)]) for column in columns]
        try:
            found = await self._database.fetch(_DELIVER, self._chatbot_id, self._epoch, *given)
        except StoreError as error:
            if getattr(error.__cause__, "sqlstate", None) == _LEASE_LOST:
                raise LeaseLostError(f"another process owns chatbot {self._chatbot_id} now") from error
            raise
        answers: dict[str, list[Any]] = {write.nonce: [] for write in writes}
        for row in found:
            answers[row["nonce"]].append(row)
        return [answers[write.nonce] for write in writes]


def _turn(turn: Turn, nonce: str, taken: Collection[str]) -> dict[str, Any]:
    position = None if turn.position is None else {**asdict(turn.position), "variables": dict(turn.position.variables)}
    return {
        "nonce": nonce,
        "address": turn.chat.reveal(),
        "inbound": list(turn.inbound),
        "recorded": turn.outcome == "answered",
        "history": [asdict(row) for row in turn.history],
        "position": position,
        "outgoing": [
            {"key": m.key, "state": "taken" if m.key in taken else "waiting", "body": encode(m)} for m in turn.outgoing
        ],
    }


def _entries(
    rows: Sequence[Mapping[str, Any]], messages: Sequence[OutboundMessage], taken: Collection[str]
) -> list[OutboxEntry]:
    by_key = {storable(message.key): message for message in messages}
    return [
        OutboxEntry(row["id"], message, "taken" if message.key in taken else "waiting")
        for row in rows
        if (message := by_key.get(row["key"])) is not None
    ]
