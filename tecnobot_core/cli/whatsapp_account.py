"""The WhatsApp account that a command works with: the files in DATA_DIR, and their copies in DATABASE_URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..adapters.neonize import WhatsAppTransport
from ..adapters.neonize.elsewhere import SessionCopies
from ..adapters.neonize.locking import is_running
from ..adapters.neonize.session import Session
from ..config import Settings
from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Account:
    """One account. *session_url* is where its session is instead of in *directory*."""

    directory: Path
    session_url: str | None = None
    copies: SessionCopies | None = None

    @classmethod
    def of(cls, settings: Settings, copies: SessionCopies | None = None) -> "Account":
        """The one that *settings* name."""
        return cls(settings.data_dir / "whatsapp", settings.whatsapp_session_url.reveal() or None, copies)

    def transport(self) -> WhatsAppTransport:
        """A connection to it."""
        return WhatsAppTransport(self.directory, session_url=self.session_url, copies=self.copies)

    def session(self) -> Session:
        """Its files. ConfigurationError where it has none."""
        if self.session_url is not None:
            raise ConfigurationError(
                "WHATSAPP_SESSION_URL is set: the session is in that PostgreSQL, and is copied as that is, by pg_dump"
            )
        return Session(self.directory, copies=self.copies)

    def require_stopped(self) -> None:
        """ConfigurationError while a bot runs with it."""
        if is_running(self.directory):
            raise ConfigurationError(f"a bot runs with the account in {self.directory}; stop it first")


@asynccontextmanager
async def open_account(chatbot_id: str | None) -> AsyncIterator[Account]:
    """The account of the environment, with its copies in the database where that outlives the machine."""
    settings = Settings.from_env()
    if not settings.database_url.reveal() or settings.whatsapp_session_url.reveal():
        yield Account.of(settings)
        return
    from .whatsapp_database import open_copies  # noqa: PLC0415 - without a database its extra is not needed

    async with open_copies(settings, chatbot_id) as copies:
        yield Account.of(settings, copies)


def account_name(jid: str) -> str:
    """ "+5511900000001, device 7" of "5511900000001:7@s.whatsapp.net"."""
    number, _, device = jid.partition("@")[0].partition(":")
    return f"+{number}" + (f", device {device}" if device else "")
