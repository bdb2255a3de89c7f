"""Numbers as people write them: "1.234,50", "$ 1,234.50", "12 000"."""

import re
from collections.abc import Mapping
from decimal import Decimal

from . import limits as bounds
from .refusals import AnswerRefused

MAX_INTEGER = 2**53 - 1  # readers of JSON that have only floats keep integers up to here
MAX_DIGITS = 16  # as many as MAX_INTEGER has; on either side of the decimal sign

_CURRENCY = (
    r"(?:us\$|mx\$|r\$|s/\.?|bs\.?|[$€£¥₡₲]|usd|eur|mxn|cop|ars|clp|pen|brl|uyu"
    r"|euros?|pesos?|d[oó]lar(?:es)?|soles|reais)"
)
_WRITTEN = re.compile(rf"{_CURRENCY}?\s*([+-]?)\s*{_CURRENCY}?\s*([0-9.,'’\s]*[0-9])[.,]?\s*{_CURRENCY}?\s*\.?")
_SPACED = re.compile(r"([0-9]{1,3}(?:([ '’])[0-9]{3})(?:\2[0-9]{3})*)([.,][0-9]+)?")
_GROUPED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]{1,3}(?:,[0-9]{3})+")
_MINUS = str.maketrans("−–‐", "---")


def read_integer(text: str, limits: Mapping[str, object]) -> int:
    """A whole number; one sign before three digits separates thousands, as nobody writes a fraction where none is."""
    sign, whole, fraction = _parts(text, "")
    if fraction.strip("0"):
        raise AnswerRefused("not_an_integer")
    number = int(sign + whole)
    _check(Decimal(number), limits)
    if abs(number) > MAX_INTEGER:
        raise AnswerRefused("too_small" if number < 0 else "too_large")
    return number


def read_decimal(text: str, limits: Mapping[str, object], language: str) -> str:
    """A number as text with a point and all its digits, so that nothing is lost: "1.234,50" is "1234.50".

    One sign before three digits can be read in two ways; *language* decides: in "en" a comma separates thousands and a
    point the fraction ("1,234" is 1234), elsewhere the other way round ("1,234" is "1.234").
    """
    sign, whole, fraction = _parts(text, "." if language == "en" else ",")
    written = f"{whole}.{fraction}" if fraction else whole
    if not Decimal(written):
        sign = ""
    _check(Decimal(sign + written), limits)
    return sign + written


def _check(number: Decimal, limits: Mapping[str, object]) -> None:
    smallest, largest = bounds.number(limits, "min"), bounds.number(limits, "max")
    if smallest is not None and number < smallest:
        raise AnswerRefused("too_small")
    if largest is not None and number > largest:
        raise AnswerRefused("too_large")


def _parts(text: str, decimal_sign: str) -> tuple[str, str, str]:
    """Minus or nothing, the digits before and those behind the decimal sign."""
    match = _WRITTEN.fullmatch(text.translate(_MINUS).casefold())
    if match is None:
        raise AnswerRefused("not_a_number")
    whole, fraction = _split(match[2], decimal_sign)
    whole = whole.lstrip("0") or "0"
    sign = "-" if match[1] == "-" else ""
    if len(whole) > MAX_DIGITS:
        raise AnswerRefused("too_small" if sign else "too_large")
    if len(fraction) > MAX_DIGITS:
        raise AnswerRefused("too_long")
    return sign, whole, fraction


def _split(written: str, decimal_sign: str) -> tuple[str, str]:
    """Digits before and behind the decimal sign of *written*, which is digits, signs and spaces."""
    if spaced := _SPACED.fullmatch(written):
        return re.sub(r"[^0-9]", "", spaced[1]), (spaced[3] or "")[1:]
    last = max(written.rfind("."), written.rfind(","))
    before, sign, behind = written[: max(last, 0)], written[last : last + 1], written[last + 1 :]
    if last < 0:
        before, behind = written, ""
    elif _GROUPED.fullmatch(written) and (written.count(sign) > 1 or (sign != decimal_sign and before[0] != "0")):
        before, behind = written.replace(sign, ""), ""
    elif _GROUPED.fullmatch(before) and sign not in before:
        before = re.sub(r"[.,]", "", before)
    if not re.fullmatch(r"[0-9]*", before) or not re.fullmatch(r"[0-9]*", behind):
        raise AnswerRefused("not_a_number")
    return before, behind
