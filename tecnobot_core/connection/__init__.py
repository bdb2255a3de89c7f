"""ConnectionManager: stays connected, or says truthfully that it is not."""

from .backoff import equal_jitter as equal_jitter
from .manager import ConnectionManager as ConnectionManager
from .ports import FetchesMedia as FetchesMedia
from .ports import KnowsOutcomes as KnowsOutcomes
from .ports import Liveness as Liveness
from .ports import Lost as Lost
from .ports import Opened as Opened
from .ports import Pairs as Pairs
from .ports import Reachable as Reachable
from .ports import Recovered as Recovered
from .ports import SavesSession as SavesSession
from .ports import SendsReceipts as SendsReceipts
from .ports import ShowsPresence as ShowsPresence
from .ports import ShowsTyping as ShowsTyping
from .ports import Sink as Sink
from .ports import Transport as Transport
from .ports import TransportEvent as TransportEvent
from .reasons import DisconnectReason as DisconnectReason
from .reasons import advice_for as advice_for
from .status import ConnectionStatus as ConnectionStatus
