"""Everything that is kept in PostgreSQL: one pool, migrations, and one store for each port."""

from .addresses import PostgresAliases as PostgresAliases
from .chatbots import PostgresChatbots as PostgresChatbots
from .chatbots import StoredChatbot as StoredChatbot
from .chatbots import ensure_chatbot as ensure_chatbot
from .conversations import PostgresConversations as PostgresConversations
from .database import Database as Database
from .delivery import PostgresDelivery as PostgresDelivery
from .flows import PostgresFlowStore as PostgresFlowStore
from .forms import PostgresForms as PostgresForms
from .forms import StoredRecord as StoredRecord
from .knowledge import PostgresKnowledge as PostgresKnowledge
from .migrate import migrate as migrate
from .retention import HistoryRetention as HistoryRetention
