"""Which texts are one phone number, and how that number is written in E.164."""

import re
from functools import lru_cache

from ...messages import ChatId

# At most 15 digits, and no country code begins with 0: https://www.itu.int/rec/T-REC-E.164. WhatsApp writes a number as
# <digits>[:<device>]@s.whatsapp.net, and older programs as <digits>@c.us.
_PHONE = re.compile(r"\+?([1-9][0-9]{7,14})(?:(?::[0-9]+)?@(?:s\.whatsapp\.net|c\.us))?")
_LID = re.compile(r"([0-9]+)(?::[0-9]+)?@lid")
_DEVICE = re.compile(r":[0-9]+@")

# By country code: what is matched is the same number as with the digit on the right between its parts, which is not
# matched again.
_SAME_NUMBER = {
    # Mexico: the 1 was dialled from abroad before a mobile number, until 3 August 2019. The ten digits are unique over
    # mobile and fixed lines, and begin with 2 to 9. WhatsApp still writes the 1. https://ituob.org/issues/1151-en
    "52": (re.compile(r"(52)1([2-9][0-9]{9})"), ""),
    # Argentina: the 9 is dialled from abroad before the ten digits of a mobile number, of which it is no part. Area
    # codes are 11 or begin with 2 or 3. WhatsApp writes the 9: https://faq.whatsapp.com/1294841057948784 and
    # https://en.wikipedia.org/wiki/Telephone_numbers_in_Argentina
    "54": (re.compile(r"(54)((?:11|[23][0-9])[0-9]{8})"), "9"),
    # Brazil: mobile numbers of eight digits, which began with 6 to 9, got a 9 before them from 2012 to 2016. Fixed
    # lines have eight and begin with 2 to 5; a 9 before such eight digits is a newer mobile number, somebody else's.
    # Anatel, Resolução 553/2010; https://en.wikipedia.org/wiki/Telephone_numbers_in_Brazil
    "55": (re.compile(r"(55[1-9]{2})([6-9][0-9]{7})"), "9"),
}
_NO_RULE = (re.compile(r"(?!)"), "")


# The same chats write again and again, and every message is looked at several times on its way.
_remembered = lru_cache(maxsize=4096)


@_remembered
def canonical(address: ChatId) -> ChatId:
    """The one address of whoever has *address*: of a phone "+" and its digits in E.164, of anything else itself.

    A phone is 8 to 15 digits, with or without "+" before and WhatsApp's server behind. The device is left out, also of
    an "@lid", whose phone no rule can tell. Argentina's mobile numbers keep the 9 with which they are reached from
    abroad. Its "15" is left alone: area codes have two to four digits, so the place where it stands cannot be told.
    """
    as_written = spelling(address)
    if not as_written.startswith("+"):
        return as_written
    digits = as_written.reveal()[1:]
    pattern, between = _SAME_NUMBER.get(digits[:2], _NO_RULE)
    match = pattern.fullmatch(digits)
    return as_written if match is None else ChatId(f"+{match[1]}{between}{match[2]}")


@_remembered
def wire_forms(address: ChatId) -> tuple[ChatId, ...]:
    """Every way in which the canonical *address* is written: of a phone also its older forms, and WhatsApp's names."""
    if not address.startswith("+"):
        return (address,)
    digits = address.reveal()[1:]
    numbers = [digits, *(number for number in _older(digits) if canonical(ChatId(number)) == address)]
    return tuple(ChatId(form) for number in numbers for form in (f"+{number}", f"{number}@s.whatsapp.net"))


def _older(digits: str) -> tuple[str, ...]:
    """How a number was written before its country's rules changed, if it is of such a country."""
    match digits[:2]:
        case "52":
            return (f"521{digits[2:]}",)
        case "54":
            return (f"54{digits[3:]}",)
        case "55":
            return (digits[:4] + digits[5:],)
    return ()


@_remembered
def spelling(address: ChatId) -> ChatId:
    """*address* without what does not change who is dialled: of a phone "+" and the digits that are written."""
    if match := _PHONE.fullmatch(address):
        return ChatId("+" + match[1])
    return without_device(address)


@_remembered
def without_device(address: ChatId) -> ChatId:
    """*address* of a person, whichever of the person's devices it names."""
    if ":" in address and (is_phone(address) or is_lid(address)):
        return ChatId(_DEVICE.sub("@", address))
    return address


@_remembered
def is_phone(address: ChatId) -> bool:
    """Whether *address* is a phone number."""
    return _PHONE.fullmatch(address) is not None


@_remembered
def is_lid(address: ChatId) -> bool:
    """Whether *address* is one of those that WhatsApp gives out in place of a phone number."""
    return address.endswith("@lid") and _LID.fullmatch(address) is not None


def is_group(address: ChatId) -> bool:
    """Whether *address* is that of many people on WhatsApp: a group, a list, a channel."""
    return address.endswith(("@g.us", "@broadcast", "@newsletter"))
