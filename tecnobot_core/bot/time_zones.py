"""Time zones by the names that the world gives them."""

from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from ..errors import ConfigurationError
from ..flows.problems import found

_WANTED = "wanted is the name of a time zone, like America/Mexico_City"


def time_zone(name: object) -> ZoneInfo:
    """The zone *name*; raises ConfigurationError when there is none, or no database of zones on this machine."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{_WANTED}, not {found(name)}")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder of the database
        known = available_timezones()
    if not known:
        raise ConfigurationError(
            "this machine has no database of time zones; install one with: pip install tzdata"
        ) from None
    near = get_close_matches(name[:80], known, 1)
    raise ConfigurationError(f"{_WANTED}, not {found(name)}" + (f"; did you mean {near[0]}?" if near else ""))
