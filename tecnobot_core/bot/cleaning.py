"""What a person typed, without what no person typed."""

import re

# Control characters but tab and newline; the tag block U+E0000..E007F, which hides instructions from people and shows
# them to models; bidirectional overrides and isolates, which make a text read otherwise than it is.
_NEVER_TYPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
# Zero-width characters hide text from matching. A joiner and a variation selector are part of many emoji, so they stay
# after a character that can carry them.
_ZERO_WIDTH = re.compile(
    "[\u200b\u200c\u200e\u200f\u2060\u00ad\ufeff]|(?<![\u2190-\u2bff\U0001f000-\U0001faff\ufe0f\u20e3#*0-9])[\u200d\ufe0f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Remove what is invisible or not text; lone surrogates become U+FFFD. Empty when nothing readable is left."""
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    text = _ZERO_WIDTH.sub("", _NEVER_TYPED.sub("", text)).strip()
    return "" if not text.strip("\N{REPLACEMENT CHARACTER} \n\t") else text
