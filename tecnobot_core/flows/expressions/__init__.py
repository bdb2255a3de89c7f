"""Conditions over variables, as owners write them: "total >= 100 and (city in ['Lima', 'Cusco'] or not new)"."""

from .expression import MAX_CHARS as MAX_CHARS
from .expression import Expression as Expression
from .parsing import MAX_LEVELS as MAX_LEVELS
from .tokens import NAME as NAME
from .tokens import RESERVED as RESERVED
from .values import look_up as look_up
