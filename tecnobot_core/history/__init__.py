"""What the model sees of a conversation."""

from .estimate import estimate_tokens
from .window import HistoryWindow, WindowSelection

__all__ = ["HistoryWindow", "WindowSelection", "estimate_tokens"]
