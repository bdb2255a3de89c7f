"""Chat page, pairing page, health and metrics over HTTP. All but ``WebServer`` need no package of the extra "web"."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chat import WebChat as WebChat
    from .pairing import WebPairing as WebPairing
    from .server import WebServer as WebServer
    from .uploads import Uploads as Uploads

_HOME = {"WebChat": "chat", "WebPairing": "pairing", "WebServer": "server", "Uploads": "uploads"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
