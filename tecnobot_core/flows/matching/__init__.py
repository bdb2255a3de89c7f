"""Finds the flow that a message starts, in a time that does not depend on how many flows there are."""

from .index import MAX_CHARS as MAX_CHARS
from .index import MAX_PATTERN_SUBJECT_CHARS as MAX_PATTERN_SUBJECT_CHARS
from .index import MAX_WORDS as MAX_WORDS
from .index import MatchIndex as MatchIndex
from .ports import RegexEngine as RegexEngine
from .ports import RegexSet as RegexSet
