"""What was raised by a transport, as a loss of the link."""

import errno

from ..errors import TransportError
from .ports import Lost
from .reasons import DisconnectReason

# Full disks are emptied; that this user or system may not, or that something is not what it must be, stays so.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def loss_of(error: BaseException) -> Lost | None:
    """What *error* means for the link; None: nobody foresaw it."""
    if isinstance(error, TransportError):
        return Lost(DisconnectReason(error.reason), str(error), error.retryable, retry_after_s=error.retry_after_s)
    if not isinstance(error, OSError):
        return None
    full = error.errno in _FULL
    # The errors of a network have no file name, and some of these numbers too.
    if not full and (error.filename is None or error.errno not in _REFUSED):
        return None
    detail = f"{error.strerror}: {error.filename!r}" if error.filename is not None else str(error.strerror)
    return Lost(DisconnectReason.STORE_ERROR, detail, retryable=full, sound=True)
