"""The pages: each one response with its style and script inside, allowed by a nonce."""

import secrets
from collections.abc import Sequence
from importlib.resources import files

from .uploads import MAX_BYTES

_SCRIPTS = (
    "texts.js", "store.js", "wire.js", "bubbles.js", "memory.js", "panel.js", "recorder.js", "composer.js", "column.js",
    "chat.js",
)  # fmt: skip
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
    "img-src 'self' data:{blob}; {media}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NONCE = "{{nonce}}"


class ChatPage:
    """The page's files, read once; *takes_files*: it can send recordings and images, and shows them from memory."""

    def __init__(self, *, takes_files: bool = False) -> None:
        self._takes_files = takes_files
        limits = {f"data-max-{kind}-bytes": MAX_BYTES[kind] for kind in MAX_BYTES} if takes_files else {}
        html = _assembled("chat", _SCRIPTS)
        self._html = html.replace("{{limits}}", " ".join(f'{name}="{n_bytes}"' for name, n_bytes in limits.items()))

    def render(self) -> tuple[str, dict[str, str]]:
        """The page and the headers that say what it may do, with a nonce of their own."""
        nonce = secrets.token_urlsafe(18)
        blob, media = (" blob:", "media-src blob:; ") if self._takes_files else ("", "")
        headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce, blob=blob, media=media)}
        if self._takes_files:
            headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(self)"
        return self._html.replace(_NONCE, nonce), headers


class PairingPage:
    """The page with the code that the account's phone must scan; empty until its script has asked."""

    def __init__(self) -> None:
        self._html = _assembled("pairing", ("store.js", "pairing.js"))

    def render(self) -> tuple[str, dict[str, str]]:
        """As ChatPage's."""
        nonce = secrets.token_urlsafe(18)
        return self._html.replace(_NONCE, nonce), {
            "Content-Security-Policy": _POLICY.format(nonce=nonce, blob="", media="")
        }


def _assembled(name: str, scripts: Sequence[str]) -> str:
    folder = files(__package__)
    script = "\n".join(folder.joinpath("assets", script).read_text("utf-8") for script in scripts)
    style = folder.joinpath("assets", f"{name}.css").read_text("utf-8")
    html = folder.joinpath("assets", f"{name}.html").read_text("utf-8")
    return html.replace("/*style*/", style).replace("/*script*/", script)
