"""ConnectionManager: stays connected, or says truthfully that it is not."""

from .manager import ConnectionManager as ConnectionManager
from .manager import equal_jitter as equal_jitter
from .ports import DisconnectReason as DisconnectReason
from .ports import Lost as Lost
from .ports import Opened as Opened
from .ports import ShowsTyping as ShowsTyping
from .ports import Sink as Sink
from .ports import Transport as Transport
from .ports import TransportEvent as TransportEvent
from .status import ConnectionStatus as ConnectionStatus
