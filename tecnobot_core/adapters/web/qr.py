"""A QR code as one path, for a page that draws it without a package of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby

from ...errors import MissingDependencyError

QUIET = 4  # light modules around the code, as ISO/IEC 18004 wants


@dataclass(frozen=True, slots=True)
class QrDrawing:
    """*path* fills the dark modules of a square of *size* modules a side, the quiet zone included.

    Who can read it has what was encoded, so it never prints.
    """

    size: int
    path: str = field(repr=False)


def draw_qr(data: str) -> QrDrawing:
    """Encode *data*. MissingDependencyError where nothing here can draw."""
    try:
        segno = import_module("segno")
    except ModuleNotFoundError as error:
        raise MissingDependencyError("segno", extra="whatsapp") from error
    rows: Sequence[Sequence[int]] = segno.make_qr(data, error="m", boost_error=False).matrix
    return QrDrawing(len(rows) + 2 * QUIET, "".join(_runs(y + QUIET, row) for y, row in enumerate(rows)))


def _runs(y: int, row: Sequence[int]) -> str:
    """A rectangle for each run of dark modules."""
    path, x = "", QUIET
    for dark, run in groupby(row):
        width = len(list(run))
        if dark:
            path += f"M{x} {y}h{width}v1h-{width}z"
        x += width
    return path
