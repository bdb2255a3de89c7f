"""Brings what people type and what owners write to one form, so that both can be compared."""

import re
from unicodedata import normalize

# Everything in ASCII that is neither letter nor digit separates words; capitals become small letters in the same pass.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}

# Combining accents, and what is typed but not seen: soft hyphen, zero-width characters, direction marks, variation
# selectors, skin tones, the sign that makes an emoji a man or a woman. Of the accents only U+0300..036F: vowel signs of
# other scripts are letters to their readers.
_DROPPED = re.compile(
    "\u200d[\u2640\u2642]|[\u0300-\u036f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e01ef]"
)

# Punctuation and symbols that remain after compatibility decomposition, of the scripts that phones write.
_SEPARATORS = re.compile(
    "[\\x00-/:-@\\[-`{-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf×÷\u02c2-\u02df\u055a-\u055f\u0589\u05be\u05f3\u05f4"
    "\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u2000-\u206f\u20a0-\u20cf\u2100-\u2bff\u2e00-\u2e7f\u3000-\u303f"
    "\U0001f000-\U0001faff]+"
)
# "holaaa": no Spanish, Portuguese or English word has a letter three times in a row.
_LENGTHENED = re.compile(r"([^\W\d_])\1{2,}")
_REPEATED = re.compile(r"(.)\1+")
PUNCTUATION = " !?.,;:…¡¿\"'"
_PUNCTUATION = re.compile(f"[{re.escape(PUNCTUATION.strip())}]")


def fold(text: str) -> str:
    """The form in which texts are compared: words in small letters, joined by single spaces.

    Accents and invisible characters are gone, punctuation and symbols separate words, a letter written three times or
    more counts once. A text of nothing but symbols ("👍🏽", "??") keeps them, each run of one symbol as one symbol, but
    for punctuation beside others: "👋!!" is "👋". Folding twice changes nothing.
    """
    return " ".join(fold_words(text))


def fold_words(text: str) -> list[str]:
    """The words of ``fold(text)``."""
    plain = text if text.isascii() else _without_accents(text)
    spaced = plain.translate(_ASCII) if plain.isascii() else _SEPARATORS.sub(" ", plain)
    return _LENGTHENED.sub(r"\1", spaced).split() or _symbols(plain)


def _symbols(plain: str) -> list[str]:
    return _REPEATED.sub(r"\1", _PUNCTUATION.sub("", plain).strip() or plain).split()


def without_punctuation(folded: str) -> str:
    """*folded* by ``fold_letters``, without the punctuation around it: "c++!" becomes "c++"."""
    return folded.strip(PUNCTUATION)


def fold_letters(text: str) -> str:
    """As ``fold``, but punctuation and symbols stay where they are: "C++" becomes "c++", "Olá 👋🏽" "ola 👋"."""
    plain = text.lower() if text.isascii() else _without_accents(text)
    return " ".join(_LENGTHENED.sub(r"\1", plain).split())


def _without_accents(text: str) -> str:
    return _DROPPED.sub("", normalize("NFKD", text)).casefold()
