"""FlowRepository: holds the conversations that the owner wrote, and finds the right one in microseconds."""

from .folding import fold as fold
from .matching import MatchIndex as MatchIndex
from .memory import MemoryFlowStore as MemoryFlowStore
from .model import Flow as Flow
from .model import FlowEvent as FlowEvent
from .model import FlowMatch as FlowMatch
from .model import FlowStore as FlowStore
from .model import Keyword as Keyword
from .model import Say as Say
from .repository import FlowRepository as FlowRepository
