"""Turns what asyncpg raises into StoreError, once, and says what became of the statement."""

import re
from typing import Literal

import asyncpg
from asyncpg.exceptions import InternalClientError

from ...errors import StoreError

FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError, OSError, TimeoutError)

Outcome = Literal["not_sent", "rolled_back", "unknown", "permanent"]

# SQLSTATEs, and classes of them, after which the same statement may succeed.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTCOMES: dict[str, Outcome | Literal["lost"]] = {
    "08": "lost",
    "08001": "not_sent",  # no connection could be made
    "08004": "not_sent",  # the server turned it away
    "25006": "rolled_back",  # read-only: during a failover the old primary is still reached
    "25P03": "rolled_back",  # idle too long inside a transaction
    "25P04": "rolled_back",  # the transaction took too long
    "40": "rolled_back",
    "40003": "lost",  # whether the statement was completed is unknown
    "53": "rolled_back",  # out of resources
    "53300": "not_sent",  # too many connections
    "55": "rolled_back",  # locked
    "55000": "permanent",  # not in the state for it
    "57": "lost",  # stopped by an operator
    "57014": "rolled_back",  # cancelled, or over its time limit
    "57P03": "not_sent",  # starting, or shutting down
    "57P04": "permanent",  # the database was dropped
    "58": "rolled_back",  # system trouble
}
_INSUFFICIENT_PRIVILEGE = "42501"
# With 42501 also what its own files refuse the server, as on a disk that became read-only after trouble: that passes.
_FILE_REFUSED = "could not "
_POOLER_STATES = frozenset({"26000", "42P05"})  # a prepared statement is unknown, or known already

# What PgBouncer says, all of it with 08P01 or by closing the connection.
_WAITED_FOR_NOTHING = "query_wait_timeout"  # no backend was free: the statement is still here
_POOLER_REFUSES = re.compile(r"unsupported startup parameter|does not exist|no such user|authentication failed")


def translate(error: BaseException, *, lost: Outcome = "unknown", idempotent: bool = False) -> StoreError:
    """The StoreError for a foreign error; the caller raises it ``from error``.

    Never holds values of rows or parameters, only what the server says about the statement. *lost* as in ``classify``.
    An unknown outcome is retryable only where the statement is *idempotent*.
    """
    outcome = classify(error, lost=lost)
    retryable = outcome in ("not_sent", "rolled_back") or (outcome == "unknown" and idempotent)
    return StoreError(_sentence(error), retryable=retryable, outcome=outcome)


def classify(error: BaseException, *, lost: Outcome = "unknown") -> Outcome:
    """What became of the statement that failed with *error*.

    "not_sent" and "rolled_back" changed nothing and may be repeated; "permanent" changed nothing and never will;
    "unknown" may have been done. *lost* is what a lost connection or a missing answer means at this point: "not_sent"
    while connecting, "rolled_back" before COMMIT was sent.
    """
    if isinstance(error, asyncpg.PostgresError):
        if error.severity == "PANIC":  # perhaps while it wrote the commit
            return lost
        return _of_state(error.sqlstate or "", str(error.args[0]), lost)
    return lost if _is_lost(error) else "permanent"


def _of_state(state: str, message: str, lost: Outcome) -> Outcome:
    if state.startswith("08") and _WAITED_FOR_NOTHING in message:
        return "not_sent"
    if state == "08P01" and _POOLER_REFUSES.search(message):
        return "permanent"
    if state == _INSUFFICIENT_PRIVILEGE and message.startswith(_FILE_REFUSED):
        return "rolled_back"
    outcome = _OUTCOMES.get(state) or _OUTCOMES.get(state[:2], "permanent")
    return lost if outcome == "lost" else outcome


def _is_lost(error: BaseException) -> bool:
    """Subclasses of asyncpg's own errors are misuse."""
    closed = type(error) is asyncpg.InterfaceError and "closed" in str(error)
    # A backend that is killed between the two parts of a statement leaves asyncpg in a state that it does not expect.
    confused = type(error) is InternalClientError
    return isinstance(error, OSError | TimeoutError) or closed or confused


def _sentence(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "the database did not answer in time"
        case asyncpg.QueryCanceledError():
            return f"the database stopped the statement: {error.args[0]} (SQLSTATE {error.sqlstate})"
        case OSError():
            return f"the database cannot be reached: {error.strerror or error}"
        case asyncpg.ForeignKeyViolationError() if str(error.constraint_name).endswith("_chatbot_id_fkey"):
            return "the chatbot is not in the database; call ensure_chatbot first"
        case asyncpg.PostgresError() if error.sqlstate in _POOLER_STATES:
            return (
                f"{error.args[0]}: a transaction pooler stands before the database; "
                "use its session mode or statement_cache_size=0"
            )
        case asyncpg.DataError():
            # Its own message would print the value; the cause of one that was made on this side says what is wrong.
            return f"the database cannot take a value: {error.__cause__ or type(error).__name__}"
        case asyncpg.PostgresError():
            return f"the database refused: {error.args[0]} (SQLSTATE {error.sqlstate})"
        case _:
            return f"the database connection failed: {type(error).__name__}"
