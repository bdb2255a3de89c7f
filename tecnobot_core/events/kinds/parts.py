"""What happened to flows, stores and tasks."""

from dataclasses import dataclass

from .event import Event


@dataclass(frozen=True, slots=True)
class FlowsLoaded(Event):
    """The flows of a chatbot were read; broken ones were logged, and left out or served as they were."""

    chatbot_id: str
    flows: int
    broken: int


@dataclass(frozen=True, slots=True)
class DatabaseAcquireSlow(Event):
    """Somebody had to wait *waited_s* for a connection to the database, and may have gone without."""

    waited_s: float


@dataclass(frozen=True, slots=True)
class BackgroundTaskFailed(Event):
    """A background task raised."""

    name: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class CacheTierFailed(Event):
    """The store of the cache is left alone from now on: nothing is read from it or written to it."""

    reason: str


@dataclass(frozen=True, slots=True)
class CacheTierRecovered(Event):
    """The store of the cache is used again, after *outage_s*."""

    outage_s: float
