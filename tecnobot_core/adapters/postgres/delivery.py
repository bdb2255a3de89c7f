"""Inbox and outbox in PostgreSQL: one round trip for each batch, one owner for each chatbot."""

import asyncio
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

from ...delivery.ports import Due, Group, OutboxEntry, Pending, SendState
from ...errors import LeaseLostError, LifecycleError, StoreError
from ...messages import InboundMessage, OutboundMessage, Turn
from ...tasks import Tasks
from .database import Database
from .due import find_due
from .encoding import decode_inbound, decode_outbound, encode, encode_turn
from .group_commit import GroupCommit
from .retention import purge_delivery
from .values import storable
from .writes import Write, deliver

logger = logging.getLogger(__package__)

_PENDING = """
SELECT seq, message_id, body, turn_id, turn_size FROM tecnobot.inbox
WHERE chatbot_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""
_INTERRUPTED = """
SELECT id, key, body, extract(epoch FROM now() - decided_at)::float AS age_s FROM tecnobot.outbox
WHERE chatbot_id = $1 AND body IS NOT NULL AND state = 'taken' ORDER BY id
"""
_UNSENT = """
SELECT id, key, body, extract(epoch FROM now() - decided_at)::float AS age_s FROM tecnobot.outbox
WHERE chatbot_id = $1 AND body IS NOT NULL AND state = 'waiting' AND id > $2 ORDER BY id LIMIT $3
"""
_TAKE_LEASE = "SELECT tecnobot.take_lease($1, $2)"
_CONFIRM = """
SELECT (SELECT epoch FROM tecnobot.lease WHERE chatbot_id = $1), count(*) AS n,
       coalesce(sum(pg_column_size(body)), 0)::bigint AS n_bytes
FROM tecnobot.inbox WHERE chatbot_id = $1
"""
_LEASE_LOST = "TB001"  # raised by tecnobot.deliver
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)  # a body that another version wrote


class PostgresDelivery:
    """The DeliveryStore of one chatbot, which must exist (``ensure_chatbot``).

    Entering takes the lease: earlier owners can write no more, but for messages that they accept. ``accept`` waits
    while *max_pending* messages, or *max_pending_bytes* of them, are not done. *write_window_s* above 0 spares the
    disk: each commit waits so long for others; with 0 it does so by itself above *busy_rate_per_s* writes, of which a
    message makes three, for *busy_window_s*. Leaving finishes for *close_timeout_s* what was to be written.
    """

    def __init__(
        self,
        database: Database,
        chatbot_id: str,
        *,
        max_pending: int = 100_000,
        max_pending_bytes: int = 256 * 1024 * 1024,
        write_window_s: float = 0.0,
        busy_rate_per_s: float = 900.0,
        busy_window_s: float = 0.010,
        max_batch: int = 256,
        close_timeout_s: float = 2.0,
    ) -> None:
        self._database = database
        self._chatbot_id = chatbot_id
        self._max_pending = max_pending
        self._max_pending_bytes = max_pending_bytes
        self._close_timeout_s = close_timeout_s
        self._owner = uuid.uuid4().hex
        self._calls = count()
        self._epoch: int | None = None
        self._lease_lost = False
        # Of the inbox when it was last looked at, and since then what this process knows of.
        self._n_pending = 0
        self._n_bytes = 0
        self._unreadable: set[int] = set()
        self._room = asyncio.Event()
        self._tasks = Tasks("postgres_delivery")
        self._writer = GroupCommit[Write, Sequence[Mapping[str, Any]]](
            self._write,
            tasks=self._tasks,
            max_batch=max_batch,
            window_s=write_window_s,
            busy_rate_per_s=busy_rate_per_s,
            busy_window_s=busy_window_s,
        )

    @property
    def commits(self) -> int:
        """Transactions that were committed since the start."""
        return self._writer.commits

    async def __aenter__(self) -> Self:
        self._epoch = await self._database.fetchval(_TAKE_LEASE, self._chatbot_id, self._owner, idempotent=True)
        await self._look()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What was sent and is not marked would be uncertain for whoever comes next.
        await self._tasks.wait(self._close_timeout_s)
        await self._tasks.aclose()

    async def accept(self, messages: Sequence[InboundMessage]) -> Sequence[int | None]:
        while self._is_full():
            self._room.clear()
            await self._room.wait()
        nonce = self._nonce()
        rows = await self._submit(
            nonce, accepted=[{"id": storable(m.id), "nonce": nonce, "body": encode(m)} for m in messages]
        )
        self._n_pending += len(rows)
        self._n_bytes += sum(len(message.text) for message in messages)
        seqs = {row["key"]: row["id"] for row in rows}
        return [seqs.pop(storable(message.id), None) for message in messages]

    async def pending(self, after: int, limit: int) -> Sequence[Pending]:
        found: list[Pending] = []
        while len(found) < limit:
            wanted = limit - len(found)
            rows = await self._database.fetch(_PENDING, self._chatbot_id, after, wanted, idempotent=True)
            found.extend(pending for row in rows if (pending := self._pending(row)) is not None)
            if len(rows) < wanted:
                break
            after = rows[-1]["seq"]
        return found

    async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        grouped = [
            {"turn_id": storable(id), "message_ids": [storable(member) for member in members]}
            for id, members in groups.items()
        ]
        await self._submit(self._nonce(), grouped=grouped)

    async def claim_due(self, until: float, limit: int) -> Due:
        nonce = self._nonce()
        claims, next_at = await find_due(self._database, self._chatbot_id, until, limit, nonce)
        if not claims:
            return Due((), next_at)
        signals = {claim.signal.id: claim.signal for claim in claims}
        rows = await self._submit(nonce, claimed=[claim.encode(nonce) for claim in claims])
        self._n_pending += len(rows)
        return Due(tuple(Pending(row["id"], signals[row["key"]]) for row in rows), next_at)

    async def commit(
        self, turns: Sequence[Turn], *, taken: Collection[str] = (), again_at: float | None = None
    ) -> Sequence[OutboxEntry]:
        nonce = self._nonce()
        encoded = [{**encode_turn(turn, taken, again_at), "nonce": nonce} for turn in turns]
        rows = await self._submit(nonce, turns=encoded)
        self._forget(sum(len(turn.inbound) for turn in turns))
        return _entries(rows, [message for turn in turns for message in turn.outgoing], taken)

    async def post(self, messages: Sequence[OutboundMessage]) -> Sequence[OutboxEntry]:
        nonce = self._nonce()
        posted = [{"key": storable(m.key), "nonce": nonce, "body": encode(m)} for m in messages]
        return _entries(await self._submit(nonce, posted=posted), messages, ())

    async def move(self, states: Mapping[int, SendState], *, urgent: bool = True) -> None:
        moved = [{"id": id, "state": state} for id, state in states.items()]
        await self._submit(self._nonce(), urgent=urgent, moved=moved)

    async def interrupted(self) -> Sequence[OutboxEntry]:
        rows = await self._database.fetch(_INTERRUPTED, self._chatbot_id, idempotent=True)
        return await self._readable(rows, "taken")

    async def unsent(self, after: int, limit: int) -> Sequence[OutboxEntry]:
        found: list[OutboxEntry] = []
        while len(found) < limit:
            wanted = limit - len(found)
            rows = await self._database.fetch(_UNSENT, self._chatbot_id, after, wanted, idempotent=True)
            found.extend(await self._readable(rows, "waiting"))
            if len(rows) < wanted:
                break
            after = rows[-1]["id"]
        return found

    async def confirm(self) -> None:
        await self._look()
        if self._lease_lost:
            raise self._lost()

    async def purge(self, older_than_s: float, batch: int = 5000) -> int:
        return await purge_delivery(self._database, self._chatbot_id, older_than_s, batch)

    async def _look(self) -> None:
        """Count the inbox, which others fill and empty too, and see who owns it."""
        row = await self._database.fetchrow(_CONFIRM, self._chatbot_id, idempotent=True)
        assert row is not None  # an aggregate has one
        self._n_pending, self._n_bytes = row["n"], row["n_bytes"]
        if row["epoch"] != self._epoch:
            self._lease_lost = True
        self._room.set()

    def _is_full(self) -> bool:
        # Who does not own does not empty: the few messages that it still gets are the owner's.
        full = self._n_pending >= self._max_pending or self._n_bytes >= self._max_pending_bytes
        return full and not self._lease_lost

    def _forget(self, n: int) -> None:
        """Note that *n* messages are done, each of them about as long as the others."""
        n = min(n, self._n_pending)
        if n:
            self._n_bytes -= self._n_bytes * n // self._n_pending
            self._n_pending -= n
        self._room.set()

    def _pending(self, row: Any) -> Pending | None:
        try:
            group = None if row["turn_id"] is None else Group(row["turn_id"], row["turn_size"])
            return Pending(row["seq"], decode_inbound(row["message_id"], row["body"]), group)
        except _UNREADABLE:
            if row["seq"] not in self._unreadable:
                self._unreadable.add(row["seq"])
                logger.exception("message %d of the inbox cannot be read; it stays there unanswered", row["seq"])
            return None

    async def _readable(self, rows: Sequence[Any], state: SendState) -> list[OutboxEntry]:
        """What *rows* hold; those that another version wrote in a way of its own are rejected."""
        entries: list[OutboxEntry] = []
        unreadable: dict[int, SendState] = {}
        for row in rows:
            try:
                message = decode_outbound(row["key"], row["body"])
                entries.append(OutboxEntry(row["id"], message, state, row.get("age_s", 0.0)))
            except _UNREADABLE:
                logger.exception("entry %d of the outbox cannot be read and is not sent", row["id"])
                unreadable[row["id"]] = "rejected"
        if unreadable:
            await self.move(unreadable)
        return entries

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(f"another process owns chatbot {self._chatbot_id} now")

    def _nonce(self) -> str:
        if self._epoch is None:
            raise LifecycleError("this store is not entered; use it inside 'async with'")
        # Nobody else has this epoch, so this names the call; it is in many rows, so it is short.
        return f"{self._epoch}-{next(self._calls)}"

    async def _submit(
        self, nonce: str, *, urgent: bool = True, **rows: Sequence[dict[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        return await self._writer.submit(Write(nonce, **rows), urgent=urgent)

    async def _write(self, writes: Sequence[Write]) -> Sequence[Sequence[Mapping[str, Any]] | StoreError]:
        try:
            return await deliver(self._database, self._chatbot_id, self._epoch, writes)
        except StoreError as error:
            if getattr(error.__cause__, "sqlstate", None) != _LEASE_LOST:
                raise
        self._lease_lost = True
        self._room.set()
        accepted = [write for write in writes if not write.needs_lease]
        answers = iter(await deliver(self._database, self._chatbot_id, self._epoch, accepted) if accepted else ())
        return [self._lost() if write.needs_lease else next(answers) for write in writes]


def _entries(
    rows: Sequence[Mapping[str, Any]], messages: Sequence[OutboundMessage], taken: Collection[str]
) -> list[OutboxEntry]:
    by_key = {storable(message.key): message for message in messages}
    return [
        OutboxEntry(row["id"], message, "taken" if message.key in taken else "waiting")
        for row in rows
        if (message := by_key.get(row["key"])) is not None
    ]
