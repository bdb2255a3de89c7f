"""Composable asyncio parts for bots that live in a small container and never lose a message.

Names load on first use, so importing the package alone costs next to nothing.
"""

TYPE_CHECKING = False  # importing typing would cost more than the rest of this file

if TYPE_CHECKING:
    from .audio import AudioPreprocessor as AudioPreprocessor
    from .bot import Bot as Bot
    from .bot import Texts as Texts
    from .cache import CachePolicy as CachePolicy
    from .cache import HybridCache as HybridCache
    from .config import Settings as Settings
    from .connection import ConnectionManager as ConnectionManager
    from .errors import AudioError as AudioError
    from .errors import CompletionError as CompletionError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import FlowError as FlowError
    from .errors import LeaseLostError as LeaseLostError
    from .errors import LifecycleError as LifecycleError
    from .errors import LoggedOutError as LoggedOutError
    from .errors import MemoryBusyError as MemoryBusyError
    from .errors import MissingDependencyError as MissingDependencyError
    from .errors import StoreError as StoreError
    from .errors import TecnobotError as TecnobotError
    from .errors import TemporarySpaceError as TemporarySpaceError
    from .errors import TransportError as TransportError
    from .events import Event as Event
    from .events import EventBus as EventBus
    from .flows import Flow as Flow
    from .flows import FlowRepository as FlowRepository
    from .history import HistoryWindow as HistoryWindow
    from .knowledge import Knowledge as Knowledge
    from .memory import MemoryManager as MemoryManager
    from .messages import ChatId as ChatId
    from .messages import ChatMessage as ChatMessage
    from .messages import InboundMessage as InboundMessage
    from .messages import MediaReference as MediaReference
    from .messages import OutboundMessage as OutboundMessage
    from .messages import Turn as Turn
    from .operations import configure_logging as configure_logging
    from .rate_limit import RateLimiter as RateLimiter
    from .temporary_files import TemporaryFiles as TemporaryFiles

_HOME = {
    "AudioError": "errors",
    "AudioPreprocessor": "audio",
    "Bot": "bot",
    "CachePolicy": "cache",
    "ChatId": "messages",
    "ChatMessage": "messages",
    "CompletionError": "errors",
    "ConfigurationError": "errors",
    "ConnectionManager": "connection",
    "Event": "events",
    "EventBus": "events",
    "Flow": "flows",
    "FlowError": "errors",
    "FlowRepository": "flows",
    "HistoryWindow": "history",
    "HybridCache": "cache",
    "InboundMessage": "messages",
    "Knowledge": "knowledge",
    "LeaseLostError": "errors",
    "LifecycleError": "errors",
    "LoggedOutError": "errors",
    "MediaReference": "messages",
    "MemoryBusyError": "errors",
    "MemoryManager": "memory",
    "MissingDependencyError": "errors",
    "OutboundMessage": "messages",
    "RateLimiter": "rate_limit",
    "Settings": "config",
    "StoreError": "errors",
    "TecnobotError": "errors",
    "TemporaryFiles": "temporary_files",
    "TemporarySpaceError": "errors",
    "Texts": "bot",
    "TransportError": "errors",
    "Turn": "messages",
    "configure_logging": "operations",
}

__version__ = "0.1.0"
__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next access skips this function
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
