"""Each message once, in order: inbox, lanes and outbox."""

from .addresses import AddressBook as AddressBook
from .addresses import AliasStore as AliasStore
from .addresses import MemoryAliases as MemoryAliases
from .context import TurnContext as TurnContext
from .delivery import Delivery as Delivery
from .grouping import TurnPolicy as TurnPolicy
from .lanes import Lanes as Lanes
from .memory import MemoryConversations as MemoryConversations
from .memory import MemoryDelivery as MemoryDelivery
from .pacing import Pacer as Pacer
from .pacing import Pacing as Pacing
from .ports import Conversations as Conversations
from .ports import DeliveryStore as DeliveryStore
from .ports import Due as Due
from .ports import Group as Group
from .ports import OutboxEntry as OutboxEntry
from .ports import Pending as Pending
from .ports import SendState as SendState
from .settling import Settling as Settling
from .statistics import DeliveryStatistics as DeliveryStatistics
from .tail import HistoryTail as HistoryTail
