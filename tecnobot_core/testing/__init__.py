"""Honest fakes of the ports and a report on a replayed conversation, for testing bots built on this library."""

from .clock import FakeClock as FakeClock
from .messenger import FakeMessenger as FakeMessenger
from .openai import FakeOpenAI as FakeOpenAI
from .openai import Step as Step
from .proxy import FaultyProxy as FaultyProxy
from .replay import ReplayReport as ReplayReport
from .replay import ReplaySummary as ReplaySummary
from .tier import FakeTier as FakeTier
from .tier import SharedStore as SharedStore
from .tier import TellingStore as TellingStore
from .tier import TellingTier as TellingTier
from .transport import FakeTransport as FakeTransport
