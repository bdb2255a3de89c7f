"""Who may ask, from where, and what every answer says to the browser."""

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from ...errors import MissingDependencyError
from .json_values import encode_json

try:
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="web") from error

METRICS_PATH = "/v1/metrics"
MEDIA_PATH = "/chat/media"
PAIRING_PATH = "/pairing"
# The pages hold no data; probes carry no token.
_OPEN_PATHS = frozenset({"/", PAIRING_PATH, "/healthz", "/readyz"})
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def answer(value: object, status: int = 200, **headers: str) -> Response:
    """*value* as a JSON response."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(encode_json(value), status, media_type="application/json", headers=named)


def refuse(status: int, sentence: str, **headers: str) -> Response:
    """A JSON response that says why not."""
    return answer({"error": sentence}, status, **headers)


class Guard:
    """Lets through what is allowed.

    With *token* every path but the pages and the probes wants it as a bearer token; metrics are content with
    *metrics_token* too. *hosts* are the names under which the server may be asked, None any: a server on loopback
    answers to no other name, or a web page elsewhere could reach it by a name that resolves to it (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, token: str = "", metrics_token: str = "", hosts: Sequence[str] | None) -> None:
        self._app = app
        self._tokens = tuple(text.encode() for text in (token,) if text)
        self._metrics_tokens = tuple(text.encode() for text in (token, metrics_token) if text)
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_secured)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return refuse(421, "this server does not answer to that host name")
        if not self._may_enter(scope["path"], headers):
            return refuse(401, "a bearer token is needed", WWW_Authenticate='Bearer realm="tecnobot"')
        if scope["method"] == "POST":
            # Types that no form can send: whatever other site tries, its visitor's browser asks here first.
            wanted = "application/octet-stream" if scope["path"] == MEDIA_PATH else "application/json"
            return _post_refusal(headers, host, wanted)
        return None

    def _may_enter(self, path: str, headers: Headers) -> bool:
        tokens = self._metrics_tokens if path == METRICS_PATH else self._tokens
        if not tokens or path in _OPEN_PATHS:
            return True
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        # Headers were decoded as Latin-1; all tokens are compared, so that time does not tell which one was near.
        matches = [hmac.compare_digest(credentials.strip().encode("latin-1"), token) for token in tokens]
        return scheme.lower() == "bearer" and any(matches)


def _post_refusal(headers: Headers, host: str, wanted_type: str) -> Response | None:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return refuse(403, "only the page of this server may send")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted_type:
        return refuse(415, f"send {wanted_type}")
    return None


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty when it is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
