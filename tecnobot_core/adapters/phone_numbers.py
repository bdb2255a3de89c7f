"""Telephone numbers as people write them, to E.164, by Google's metadata (package ``phonenumberslite``)."""

import re
from collections.abc import Callable
from functools import partial

from ..errors import ConfigurationError, MissingDependencyError

try:
    import phonenumbers
except ModuleNotFoundError as error:
    raise MissingDependencyError("phonenumberslite", extra="flows") from error

MAX_CHARS = 200
_DIALLED = re.compile(r"[+＋]?[(\s]*\d[\d\s().\-‐-―/]*")
# Mexico dropped these prefixes in 2019; people go on writing them, and WhatsApp itself says +52 1.
_OLD_MEXICAN = re.compile(r"(?:1|01|044|045)(?=\d{10}$)")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # pasted contacts are full of them


def phone_parser(default_country: str) -> Callable[[str], str]:
    """``parse_phone`` for one country; raises ConfigurationError unless it is a code of ISO 3166 like "MX"."""
    country = default_country.upper()
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigurationError(f"the country {default_country!r} is unknown; wanted are two letters, like MX or ES")
    return partial(parse_phone, default_country=country)


def parse_phone(text: str, default_country: str) -> str:
    """The one number in *text* as "+" and digits; raises ValueError when there is none, or more than one.

    Without an international prefix it is read as dialled in *default_country*, two letters of ISO 3166. Words around it
    are passed over; the number must be one that its country has given out.
    """
    runs = _DIALLED.findall(_INVISIBLE.sub("", text)) if len(text) <= MAX_CHARS else []
    if len(runs) != 1:
        raise ValueError("wanted is one telephone number")
    try:
        number = phonenumbers.parse(runs[0], default_country)
    except phonenumbers.NumberParseException as error:
        raise ValueError("wanted is a telephone number with its area code") from error
    if number.country_code == 52:
        national = _OLD_MEXICAN.sub("", phonenumbers.national_significant_number(number))
        number = phonenumbers.parse(national, "MX")
    if not phonenumbers.is_valid_number(number):
        raise ValueError("no country has this telephone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
