"""What a variable may hold, and how its text becomes a value."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


class Secret:
    """A text that never prints; ``reveal()`` gives it to those who must use it. Empty is false."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return "***" if self else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a variable may hold.

    ``wanted`` says it to a person, ``read`` makes a value of stripped text or raises ValueError, and ``write`` is its
    inverse, except that it hides secrets.
    """

    wanted: str
    read: Callable[[str], T]
    write: Callable[[T], str] = str
    secret: bool = False


def checked(
    wanted: str, accepts: Callable[[str], object], make: Callable[[str], T], *, secret: bool = False
) -> Kind[T]:
    """Text that *accepts* finds true, as *make* makes it."""

    def read(text: str) -> T:
        if not accepts(text):
            raise ValueError(text)
        return make(text)

    return Kind(wanted, read, secret=secret)


def whole(unit: str, least: int, most: int, *, scale: int = 1) -> Kind[int]:
    """A count of *unit*, each worth *scale* inside."""

    def read(text: str) -> int:
        # int() alone would also take "1_000", "+5" and the digits of every script.
        if not re.fullmatch("[0-9]{1,15}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text) * scale

    return Kind(f"{least} to {most} {unit}, in digits 0-9", read, lambda value: str(value // scale))


def milliseconds(least: int, most: int) -> Kind[float]:
    """A time; seconds inside."""
    kind = whole("milliseconds", least, most)
    return Kind(kind.wanted, lambda text: kind.read(text) / 1000, lambda seconds: str(round(seconds * 1000)))


def one_of(*names: str) -> Kind[str]:
    """One of *names*, in any case; in lower case inside."""
    return checked("one of " + ", ".join(names), lambda text: text.lower() in names, str.lower)


def _is_share(text: str) -> bool:
    return re.fullmatch(r"[0-9]{0,3}\.?[0-9]{1,9}", text) is not None and 0 < float(text) <= 1


def _is_temperature(text: str) -> bool:
    return re.fullmatch(r"[0-9]\.?[0-9]{0,9}", text) is not None and float(text) <= 2


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        # Digits and dots alone would be an address with a mistake in it.
        return re.fullmatch(r"(?![0-9.]+$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", text) is not None
    return True


def _is_api_url(text: str) -> bool:
    parts = urlsplit(text)
    reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and _has_good_port(text)
    return reachable and parts.username is None and re.fullmatch("[!-~]+", text) is not None


def _is_postgres_url(text: str) -> bool:
    return text.isprintable() and urlsplit(text).scheme in ("postgres", "postgresql") and _has_good_port(text)


def _has_good_port(url: str) -> bool:
    return urlsplit(url).port != 0  # raises ValueError for what is no port at all


LINE = checked("one line of text", str.isprintable, str)
PATH = checked("a path", str.isprintable, Path)
SHARE = checked("a number above 0 and at most 1, such as 0.8", _is_share, float)
TEMPERATURE = checked("a number from 0 to 2, such as 0.2", _is_temperature, float)
HOST = checked("an address or a host name, without port, such as 127.0.0.1", _is_host, str)
PORT = replace(whole("ports", 0, 65_535), wanted="a port from 0 to 65535")
API_URL = checked("an address such as http://127.0.0.1:8080/v1, without user and password", _is_api_url, str)
POSTGRES_URL = checked(
    "an address such as postgresql://user:password@host:5432/database", _is_postgres_url, Secret, secret=True
)
SECRET = checked("one line of text", str.isprintable, Secret, secret=True)
# Others can try a token as often as the network lets them; and it travels in a header, which carries only these.
TOKEN = checked("16 or more ASCII letters, digits or signs", re.compile("[!-~]{16,}").fullmatch, Secret, secret=True)
KEY = checked("32 or more characters", lambda text: len(text) >= 32 and text.isprintable(), Secret, secret=True)
