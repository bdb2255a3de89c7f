"""Events by their names in snake case."""

import re
from collections.abc import Iterator, Mapping

from .kinds import Event


def snake_name(kind: type[Event]) -> str:
    """``MemoryPressureChanged`` is "memory_pressure_changed"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def all_kinds(kind: type[Event] = Event) -> Iterator[type[Event]]:
    """*kind* and every class below it."""
    yield kind
    for child in kind.__subclasses__():
        yield from all_kinds(child)


def kind_named(name: str, kinds: Mapping[str, type[Event]]) -> type[Event]:
    """The one of *kinds* with this *name*; ValueError with all names where there is none."""
    try:
        return kinds[name]
    except KeyError:
        raise ValueError(f"there is no event {name!r}; there are: {', '.join(sorted(kinds))}") from None
