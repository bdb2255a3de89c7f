"""The bot: wires the parts and walks each message through them."""

from .bot import Bot as Bot
from .hearing import Hearing as Hearing
from .pipeline import Pipeline as Pipeline
from .texts import ENGLISH as ENGLISH
from .texts import SPANISH as SPANISH
from .texts import Texts as Texts
