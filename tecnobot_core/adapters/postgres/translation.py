"""Turns what asyncpg raises into StoreError, once, and says whether trying again may help."""

import asyncpg
from asyncpg.exceptions import InternalClientError

from ...errors import StoreError

FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError, OSError, TimeoutError)

# Classes of SQLSTATE after which the same call may succeed: connection lost, rolled back, out of resources, locked,
# stopped by an operator, system trouble. https://www.postgresql.org/docs/current/errcodes-appendix.html
_RETRYABLE_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
_RETRYABLE_STATES = frozenset({"25006"})  # read-only: during a failover the old primary is still reached
_PERMANENT_STATES = frozenset({"55000", "57P04"})  # not in the state for it; the database was dropped
_POOLER_STATES = frozenset({"26000", "42P05"})  # a prepared statement is unknown, or known already


def translate(error: BaseException) -> StoreError:
    """The StoreError for a foreign error; the caller raises it ``from error``.

    Never holds values of rows or parameters, only what the server says about the statement. After a lost connection or
    a timeout it is not known whether a write happened: repeat only what may happen twice.
    """
    return StoreError(_sentence(error), retryable=_is_retryable(error))


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return (state[:2] in _RETRYABLE_CLASSES or state in _RETRYABLE_STATES) and state not in _PERMANENT_STATES
    # A plain InterfaceError is a connection that was closed while in use; its subclasses are misuse.
    return isinstance(error, OSError | TimeoutError) or type(error) is asyncpg.InterfaceError


def _sentence(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "the database did not answer in time"
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
