"""What is a chatbot's own: what its owner decides, as it is stored beside its name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, TypeVar

from ..delivery import TurnPolicy
from ..errors import ConfigurationError
from ..flows import Suggestions
from ..flows.problems import did_you_mean, found
from .access_list import AccessList
from .opening_hours import OpeningHours
from .texts import for_language
from .time_zones import time_zone
from .welcome import Welcome

T = TypeVar("T")

SETTINGS = (
    *("prompt", "country", "timezone", "opening_hours", "blocked", "allowed", "welcome_again_after_days"),
    *("owner_silence_minutes", "quiet_seconds", "suggestions"),
)
"""The names of all settings; each can be left out."""

MAX_PROMPT_CHARS = 50_000  # a model is sent all of it with every question

_DAY_S = 86_400.0
_MINUTE_S = 60.0
_LANGUAGES = {"spanish": "es", "portuguese": "pt", "english": "en"} | {code: code for code in ("es", "pt", "en")}
_HOURS = ("weekly", "holidays", "exceptions")


@dataclass(frozen=True, slots=True)
class ChatbotProfile:
    """The settings of one chatbot; ``read`` makes it of what is stored, ``to_json`` is the way back.

    *language* is "es", "pt" or "en". *country* is that of phone numbers without one, as in ISO 3166 ("MX"). *timezone*
    None is the process's.
    """

    prompt: str = field(default="", repr=False)
    language: str = "es"
    country: str = ""
    timezone: tzinfo | None = None
    opening_hours: OpeningHours | None = None
    access_list: AccessList = field(default_factory=AccessList)
    welcome: Welcome = field(default_factory=Welcome)
    owner_silence_s: float = 4 * 3600.0
    quiet_s: float = 0.0
    suggests: bool = False

    @classmethod
    def read(cls, settings: object, language: str = "spanish") -> "ChatbotProfile":
        """The profile that *settings*, an object of JSON types, describe; what is null or left out has its default.

        *language* has a column of its own: "spanish" or "es", and so on. Raises ConfigurationError with all that is
        wrong, each problem with its setting.
        """
        if not isinstance(settings, Mapping):
            raise ConfigurationError(f"the settings must be an object, not {found(settings)}")
        reading = _Reading(settings)
        reading.refuse_unknown(settings, SETTINGS, "there is no setting")
        profile = cls(
            prompt=reading.take("prompt", _prompt, ""),
            language=reading.language(language),
            country=reading.take("country", _country, ""),
            timezone=reading.take("timezone", time_zone, None),
            opening_hours=reading.opening_hours(),
            access_list=reading.access_list(),
            welcome=Welcome(reading.take("welcome_again_after_days", _number("days", 1, 36_500, _DAY_S), None)),
            owner_silence_s=reading.take(
                "owner_silence_minutes", _number("minutes", 0, 525_600, _MINUTE_S), cls().owner_silence_s
            ),
            # What waits longer for more is TurnPolicy's max_wait_s; people wait for an answer.
            quiet_s=reading.take("quiet_seconds", _number("seconds", 0, 10, 1.0), 0.0),
            suggests=reading.take("suggestions", _truth, False),
        )
        if reading.problems:
            raise ConfigurationError(reading.problems)
        return profile

    def to_json(self) -> dict[str, object]:
        """The settings in JSON types, but for those that have their default; ``read`` makes this profile of them."""
        again_s, hours = self.welcome.again_after_s, self.opening_hours
        default = ChatbotProfile()
        settings: dict[str, object] = {
            "prompt": self.prompt,
            "country": self.country,
            "timezone": None if self.timezone is None else str(self.timezone),
            "opening_hours": None if hours is None else {name: hours.to_json()[name] for name in _HOURS},
            "blocked": list(self.access_list.blocked),
            "allowed": list(self.access_list.allowed),
            "welcome_again_after_days": None if again_s is None else _count(again_s, _DAY_S),
            "suggestions": self.suggests,
            "quiet_seconds": self.quiet_s,
        }
        settings = {name: value for name, value in settings.items() if value}
        if self.owner_silence_s != default.owner_silence_s:
            settings["owner_silence_minutes"] = _count(self.owner_silence_s, _MINUTE_S)
        return settings

    def bot_options(self) -> dict[str, Any]:
        """Keyword arguments for ``Bot``."""
        return {
            "prompt": self.prompt,
            "language": self.language,
            "texts": for_language(self.language),
            "blacklist": self.access_list.blocked,
            "allowlist": self.access_list.allowed,
            "welcome": self.welcome,
            "opening_hours": self.opening_hours,
            "owner_silence_s": self.owner_silence_s,
            "timezone": self.timezone,
            "policy": TurnPolicy(quiet_s=self.quiet_s),
        }

    def suggestions(self) -> Suggestions | None:
        """For ``FlowRepository``: whether typing mistakes are asked back."""
        return Suggestions() if self.suggests else None


class _Reading:
    """Reads one setting after the other, and collects what is wrong."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self.problems: list[str] = []
        self._settings = settings

    def refuse_unknown(self, given: Mapping[str, object], known: Sequence[str], sentence: str) -> None:
        for name in given:
            if name not in known:
                self.problems.append(f"{sentence} {found(name)}{did_you_mean(name, known)}")

    def take(self, name: str, read: Callable[[object], T], default: T) -> T:
        """The setting *name*, as *read* makes it, which raises ConfigurationError."""
        if (value := self._settings.get(name)) is None:
            return default
        try:
            return read(value)
        except ConfigurationError as error:
            self.problems += [f"{name}: {problem}" for problem in error.problems]
            return default

    def language(self, name: str) -> str:
        if name not in _LANGUAGES:
            self.problems.append(f"language: wanted is one of {', '.join(_LANGUAGES)}, not {found(name)}")
        return _LANGUAGES.get(name, "es")

    def opening_hours(self) -> OpeningHours | None:
        hours = self.take("opening_hours", _object, None)
        if hours is None:
            return None
        self.refuse_unknown(hours, _HOURS, "opening_hours: there is no field")
        zone: Any = self._settings.get("timezone")
        if zone is None:
            self.problems.append("opening_hours: on whose clock? Write the setting timezone, like America/Mexico_City")
        if hours.get("weekly") is None:
            self.problems.append('opening_hours: weekly is missing; write for example {"mon": ["09:00-14:00"]}')
        fields: dict[str, Any] = {"weekly": {}, **{name: hours[name] for name in _HOURS if hours.get(name) is not None}}
        try:
            return OpeningHours(timezone=zone, **fields)
        except ConfigurationError as error:
            # The zone is told as a setting of its own.
            problems = (problem for problem in error.problems if not problem.startswith("timezone:"))
            self.problems += [f"opening_hours, {problem}" for problem in problems]
            return None

    def access_list(self) -> AccessList:
        none: list[str] = []
        blocked, allowed = self.take("blocked", _list, none), self.take("allowed", _list, none)
        try:
            return AccessList(blocked, allowed)
        except ConfigurationError as error:
            self.problems += error.problems
            return AccessList()


def _count(seconds: float, unit_s: float) -> float:
    """As an owner writes it: without a fraction where there is none."""
    count = seconds / unit_s
    return int(count) if count.is_integer() else count


def _prompt(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PROMPT_CHARS:
        size = f"a text of {len(value):,} characters" if isinstance(value, str) else found(value)
        raise ConfigurationError(f"wanted is a text of at most {MAX_PROMPT_CHARS:,} characters, not {size}")
    return value


def _country(value: object) -> str:
    code = value.strip().upper() if isinstance(value, str) else ""
    if len(code) != 2 or not (code.isascii() and code.isalpha()):
        raise ConfigurationError(f"wanted is a country as two letters, like MX, not {found(value)}")
    return code


def _object(value: object) -> Mapping[str, Any] | None:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"wanted is an object with {', '.join(_HOURS)}, not {found(value)}")
    return value


def _list(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ConfigurationError(f"wanted is a list of addresses or patterns, not {found(value)}")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"wanted is true or false, not {found(value)}")
    return value


def _number(unit: str, least: int, most: int, unit_s: float) -> Callable[[object], float]:
    """Reads a count of *unit*, and gives seconds."""

    def read(value: object) -> float:
        # Written so that nan, which is in no order, fails as well.
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ConfigurationError(f"wanted is a number of {unit}, {least:,} to {most:,}, not {found(value)}")
        return value * unit_s

    return read
