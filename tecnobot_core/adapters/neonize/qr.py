"""QR codes for terminals and logs."""

import io

from ...errors import MissingDependencyError


def draw_qr(data: str) -> str:
    """*data* in half blocks: about 53 columns and 27 lines for what WhatsApp offers, to be shown light on dark."""
    try:
        import segno  # noqa: PLC0415 - only who pairs needs it
    except ModuleNotFoundError as error:
        raise MissingDependencyError("segno", extra="whatsapp") from error
    drawn = io.StringIO()
    # The least correction: a screen has no stains, and a smaller code fits more of them.
    segno.make_qr(data, error="l").terminal(drawn, compact=True, border=2)
    return drawn.getvalue()
