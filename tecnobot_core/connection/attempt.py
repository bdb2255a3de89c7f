"""One thing asked of a transport: whatever it raises is a loss of the link, never the end of the manager."""

import asyncio
import logging
from collections.abc import Awaitable

from ..errors import TransportError
from ..tasks import is_being_cancelled
from .ports import DisconnectReason, Lost

logger = logging.getLogger(__name__)


async def attempt(call: Awaitable[object], timeout_s: float) -> Lost | None:
    """Await *call*; None when it succeeded within *timeout_s*, else why not."""
    try:
        async with asyncio.timeout(timeout_s):
            await call
    except TransportError as error:
        return Lost(DisconnectReason(error.reason), str(error), error.retryable)
    except TimeoutError:
        return Lost(DisconnectReason.TIMEOUT, f"no answer within {timeout_s:g} s")
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        return Lost(detail="the transport cancelled itself")
    except Exception as error:
        logger.exception("a transport raised something other than a TransportError")
        return Lost(detail=repr(error))
    return None
