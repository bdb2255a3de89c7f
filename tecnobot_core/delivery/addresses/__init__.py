"""One address for each person, however the transport writes it."""

from .book import AddressBook as AddressBook
from .numbers import canonical as canonical
from .numbers import is_group as is_group
from .store import AliasStore as AliasStore
from .store import MemoryAliases as MemoryAliases
from .store import Sighting as Sighting
