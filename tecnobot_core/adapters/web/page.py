"""The chat page: one response with its style and script inside, allowed by a nonce."""

import secrets
from importlib.resources import files

_SCRIPTS = ("texts.js", "store.js", "wire.js", "bubbles.js", "panel.js", "column.js", "chat.js")
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NONCE = "{{nonce}}"


class ChatPage:
    """The page's files, read once."""

    def __init__(self) -> None:
        folder = files(__package__)
        script = "\n".join(folder.joinpath("assets", name).read_text("utf-8") for name in _SCRIPTS)
        style = folder.joinpath("assets", "chat.css").read_text("utf-8")
        html = folder.joinpath("assets", "chat.html").read_text("utf-8")
        self._html = html.replace("/*style*/", style).replace("/*script*/", script)

    def render(self) -> tuple[str, str]:
        """The page and its content security policy, with a nonce of their own."""
        nonce = secrets.token_urlsafe(18)
        return self._html.replace(_NONCE, nonce), _POLICY.format(nonce=nonce)
