"""How many tokens a message costs, without a tokenizer."""

import re

from ..messages import ChatMessage

# What OpenAI's chat format adds to each message and each tool call: role, name and separators.
OVERHEAD_TOKENS = 4

# Every match is about one token of o200k_base. The lengths were fitted to true counts of chat sentences in 28
# languages; where no length fits all, the shorter was taken: counting too many is safer than too few.
_PIECE = re.compile(
    r"""
      [A-ZÀ-ÖØ-Þ]?[a-zß-öø-ÿ]{1,7}         # a word, or a piece of a long one
    | [A-ZÀ-ÖØ-Þ]{1,2}                     # capitals: shouting, codes, base64
    | [0-9]{1,3}
    | [ ](?=[0-9])                         # digits never take the space before them along
    | [!-/:-@\[-`{-~]{1,2}                 # ASCII punctuation
    | \n+ | \s{2,16}
    | [\u0370-\u052f]{1,3}                 # Greek, Cyrillic
    | [\u0590-\u06ff]{1,3}                 # Hebrew, Arabic
    | [\u0900-\u0aff\u0b80-\u0eff]{1,2}    # Indic scripts but Oriya, Thai, Lao
    | [\u3041-\u309f]{1,2}                 # hiragana
    | \S                                   # Chinese, Japanese, Korean, symbols, everything else
    """,
    re.VERBOSE,
)
# Emoji and combining accents cost a second token each, the newest emoji and the rarest characters a third.
_SECOND_TOKEN = re.compile("[\u0300-\u036f\U00010000-\U0010ffff]")
_THIRD_TOKEN = re.compile("[\U0001f97e-\U0010ffff]")


def estimate_tokens(message: ChatMessage) -> int:
    """About how many o200k_base tokens *message* costs, with its overhead and its tool calls.

    Over a conversation in Spanish, Portuguese or English within about 10 %; a single short sentence may be off by a
    third. URLs, JSON, emoji, Chinese, Japanese and Korean are counted in full or too high, by up to a half. Gibberish
    of letters is counted too low: keep a reserve of a tenth below the model's limit.
    """
    tokens = OVERHEAD_TOKENS + _text_tokens(message.content)
    for call in message.tool_calls:
        tokens += OVERHEAD_TOKENS + _text_tokens(call.name) + _text_tokens(call.arguments)
    return tokens


def _text_tokens(text: str) -> int:
    tokens = len(_PIECE.findall(text))
    if not text.isascii():
        tokens += len(_SECOND_TOKEN.findall(text)) + len(_THIRD_TOKEN.findall(text))
    return tokens
