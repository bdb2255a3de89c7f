"""Answers that are kept as they were written, or as a reference: text, e-mail, telephone, file."""

import re
from collections.abc import Callable, Mapping

from ...messages import MediaReference
from . import limits as bounds
from .refusals import AnswerRefused

# RFC 5321, 4.5.3.1: a path has 256 octets with its brackets, a local part 64; a label of a domain 63 (RFC 1035, 2.3.4).
MAX_EMAIL_CHARS = 254
MAX_LOCAL_CHARS = 64
MAX_LABEL_CHARS = 63

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_SEPARATORS = re.compile(r"[\s().\-‐-―/]")
_E164 = re.compile(r"\+[1-9][0-9]{7,14}")


def read_text(text: str, limits: Mapping[str, object]) -> str:
    """*text* without the space around it, of so many characters."""
    shortest, longest = bounds.characters(limits, "min"), bounds.characters(limits, "max")
    if shortest is not None and len(text) < shortest:
        raise AnswerRefused("too_short")
    if longest is not None and len(text) > longest:
        raise AnswerRefused("too_long")
    return text


def read_email(text: str) -> str:
    """An address that mail can be sent to, its domain in small letters; accents only in the domain."""
    address = text.removeprefix("mailto:").strip("<>").rstrip(".,;")
    local, _, domain = address.partition("@")
    if len(address) > MAX_EMAIL_CHARS or not _is_local(local) or not _is_domain(domain):
        raise AnswerRefused("not_an_email")
    return f"{local}@{domain.lower()}"


def _is_local(local: str) -> bool:
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    return not dots and len(local) <= MAX_LOCAL_CHARS and _LOCAL.fullmatch(local) is not None


def _is_domain(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and all(map(_is_label, labels)) and len(labels[-1]) > 1 and not labels[-1].isdecimal()


def _is_label(label: str) -> bool:
    hyphens = label.startswith("-") or label.endswith("-")
    return not hyphens and len(label) <= MAX_LABEL_CHARS and label.replace("-", "").isalnum()


def read_phone(text: str, parse_phone: Callable[[str], str] | None) -> str:
    """A number in E.164, by *parse_phone*; without one only what has its "+" and country is taken."""
    try:
        return (parse_phone or _international)(text)
    except ValueError as error:
        raise AnswerRefused("not_a_phone") from error


def _international(text: str) -> str:
    number = _SEPARATORS.sub("", text)
    if not _E164.fullmatch(number):
        raise ValueError("wanted is a number with + and the code of its country")
    return number


def read_file(media: MediaReference | None, limits: Mapping[str, object]) -> dict[str, object]:
    """Where the file is and what it is; never its key."""
    if media is None:
        raise AnswerRefused("not_a_file")
    if media.kind not in bounds.kinds(limits):
        raise AnswerRefused("wrong_kind")
    return {
        "kind": media.kind,
        "address": media.address,
        "mime": media.mime,
        "name": media.file_name,
        "size_bytes": media.size_bytes,
    }
