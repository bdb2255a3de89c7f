"""The pairing page and what it shows."""

from ...errors import MissingDependencyError
from .guard import PAIRING_PATH, answer, refuse
from .page import PairingPage
from .pairing import WebPairing

try:
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="web") from error


class PairingRoutes:
    """The empty page, and as JSON what *pairing* holds; None: there is no token that could keep it from others."""

    def __init__(self, pairing: WebPairing | None) -> None:
        self._pairing = pairing
        self._page = PairingPage()

    def routes(self) -> list[Route]:
        """Both."""
        return [Route(PAIRING_PATH, self._show), Route("/v1/pairing", self._tell)]

    async def _show(self, request: Request) -> Response:
        html, headers = self._page.render()
        return HTMLResponse(html, headers=headers)

    async def _tell(self, request: Request) -> Response:
        if self._pairing is None:
            return refuse(403, "whoever sees this can join the account: set WEB_TOKEN, and start the bot again")
        return answer(self._pairing.value())
