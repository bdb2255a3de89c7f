"""FlowRepository: holds the conversations that the owner wrote, and finds the right one in microseconds."""

from .context import Answer as Answer
from .context import FlowContext as FlowContext
from .context import Outcome as Outcome
from .folding import fold as fold
from .interpreter import Interpreter as Interpreter
from .matching import MatchIndex as MatchIndex
from .matching import RegexEngine as RegexEngine
from .matching import RegexSet as RegexSet
from .memory import MemoryFlowStore as MemoryFlowStore
from .model import Flow as Flow
from .model import FlowEvent as FlowEvent
from .model import FlowMatch as FlowMatch
from .model import Keyword as Keyword
from .ports import FlowStore as FlowStore
from .ports import KeepsVersions as KeepsVersions
from .ports import LoadsChanges as LoadsChanges
from .ports import TellsChanges as TellsChanges
from .repositories import FlowRepositories as FlowRepositories
from .repository import FlowRepository as FlowRepository
from .suggestions import Suggestions as Suggestions
