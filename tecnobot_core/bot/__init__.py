"""The bot: wires the parts and walks each message through them."""

from .access_list import AccessList as AccessList
from .attachments import Attachments as Attachments
from .bot import Bot as Bot
from .hearing import Hearing as Hearing
from .opening_hours import OpeningHours as OpeningHours
from .pipeline import Pipeline as Pipeline
from .profile import ChatbotProfile as ChatbotProfile
from .texts import ENGLISH as ENGLISH
from .texts import PORTUGUESE as PORTUGUESE
from .texts import SPANISH as SPANISH
from .texts import Texts as Texts
from .welcome import Welcome as Welcome
