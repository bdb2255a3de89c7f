"""Each message once, in order: inbox, lanes and outbox."""

from .delivery import Delivery as Delivery
from .delivery import DeliveryStatistics as DeliveryStatistics
from .lanes import Lanes as Lanes
from .memory import MemoryConversations as MemoryConversations
from .memory import MemoryDelivery as MemoryDelivery
from .ports import Conversations as Conversations
from .ports import DeliveryStore as DeliveryStore
from .ports import OutboxEntry as OutboxEntry
from .ports import Pending as Pending
from .ports import SendState as SendState
