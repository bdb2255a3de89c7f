"""From the call of ``open`` to a link that is up, or the reason why there is none."""

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass

from .inbound import Changes
from .link import Link
from .numbers import check_seconds
from .ports import Lost
from .reasons import DisconnectReason
from .status import ConnectionState, Record


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each thing may take, in seconds."""

    connect_s: float  # until open() returns
    auth_s: float  # then until Opened, or until Opened after pairing
    pairing_s: float  # from the first offer to its end
    ping_s: float
    heal_s: float  # a transport that connects again by itself
    close_s: float
    stop_s: float  # all of aclose
    save_s: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check_seconds(f"{name.removesuffix('_s')}_timeout_s", value)  # as the manager's users call it


async def until_open(
    link: Link, opening: "asyncio.Task[Lost | None]", changes: Changes, record: Record, limits: Deadlines
) -> Lost | None:
    """Wait for *link*; None when it is open. While a person pairs it, only their time counts."""
    began_at = _now()
    returned_at: float | None = None
    opening.add_done_callback(lambda _: changes.notify())
    while link.loss is None:
        if opening.done():
            returned_at = _now() if returned_at is None else returned_at
            if isinstance(failure := opening.result(), Lost):
                return failure
            if link.opened:
                return None
        state: ConnectionState = (
            "pairing" if link.pairing_since is not None and link.paired_at is None else "connecting"
        )
        if record.state != state:
            record.enter(state)
        loss, deadline = _limit(link, began_at, returned_at, limits)
        if _now() >= deadline:
            return loss
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await changes.wait()
    return link.loss


def _limit(link: Link, began_at: float, returned_at: float | None, limits: Deadlines) -> tuple[Lost, float]:
    """What it is when the present step does not end, and when that is so, on the loop's clock."""
    if link.paired_at is not None:
        return _slow("the server did not let us in after pairing", limits.auth_s), link.paired_at + limits.auth_s
    if link.pairing_since is not None:
        detail = f"nobody paired within {limits.pairing_s:g} s"
        ended = Lost(DisconnectReason.PAIRING_TIMEOUT, detail, retryable=False)
        return ended, link.pairing_since + limits.pairing_s
    if returned_at is not None:
        return _slow("the server did not let us in", limits.auth_s), returned_at + limits.auth_s
    return _slow("no answer", limits.connect_s), began_at + limits.connect_s


def _slow(what: str, limit_s: float) -> Lost:
    return Lost(DisconnectReason.TIMEOUT, f"{what} within {limit_s:g} s")


def _now() -> float:
    return asyncio.get_running_loop().time()
