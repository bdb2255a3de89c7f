"""The ``.txt`` that WhatsApp's "Export chat" writes: read, and replayed as if it came in now."""

from .export import ChatExport as ChatExport
from .header import DateOrder as DateOrder
from .header import Form as Form
from .parser import ExportedMessage as ExportedMessage
from .parser import Report as Report
from .transport import ReplayTransport as ReplayTransport
