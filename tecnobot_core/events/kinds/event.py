"""What all events are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. Past tense: an event is a fact, not a request."""
