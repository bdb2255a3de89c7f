"""``tecnobot whatsapp status``, ``backup`` and ``restore``: the session as files."""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..adapters.neonize.copying import Condition
from ..adapters.neonize.locking import is_running
from ..adapters.neonize.session import Session
from ..config import Settings
from ..errors import ConfigurationError, TecnobotError
from .output import complain, say
from .whatsapp_account import Account, account_name, open_account

if TYPE_CHECKING:  # only those who have a database need its extra
    from ..adapters.postgres.sessions import StoredCopy


def status(arguments: argparse.Namespace) -> int:
    """Say what there is of a session, and whether it is whole."""
    return asyncio.run(_status(arguments))


def backup(arguments: argparse.Namespace) -> int:
    """Write a verified copy of the session."""
    return asyncio.run(_backup(arguments))


def restore(arguments: argparse.Namespace) -> int:
    """Put a copy in the place of the session, which is kept aside."""
    return asyncio.run(_restore(arguments))


@dataclass(frozen=True, slots=True)
class Found:
    """What there is. *stored* are the copies in the database, or why that is not known; None: none are kept there."""

    running: bool
    session: Condition
    copies: Sequence[Condition]
    stored: "Sequence[StoredCopy] | str | None"

    @property
    def is_well(self) -> bool:
        """A session that is whole, of an account."""
        broken = self.session.problem or not self.session.accounts or isinstance(self.stored, str)
        return not broken and not any(copy.problem for copy in self.copies)


async def _status(arguments: argparse.Namespace) -> int:
    settings = Settings.from_env()
    account = Account.of(settings)
    if account.session_url is not None:
        found = Found(is_running(account.directory), await _in_postgres(account.session_url), [], None)
    else:
        found = await _in_files(account, await _stored(settings, arguments.chatbot))
    say(*([json.dumps(_described(found), indent=2)] if arguments.json else _lines(found)))
    return 0 if found.is_well else 1


async def _in_files(account: Account, stored: "Sequence[StoredCopy] | str | None") -> Found:
    session = account.session()
    # A copy of a day is at first another name of a numbered one.
    paths = {path.stat().st_ino: path for path in reversed(session.copies())}
    return Found(
        is_running(account.directory),
        await session.condition(session.path),
        [await session.condition(path) for path in reversed(paths.values())],
        stored,
    )


async def _in_postgres(url: str) -> Condition:
    from .whatsapp_database import list_accounts  # noqa: PLC0415 - as above

    where = Path("WHATSAPP_SESSION_URL")
    try:
        return Condition(where, accounts=await list_accounts(url))
    except TecnobotError as error:
        return Condition(where, problem=str(error))


async def _stored(settings: Settings, chatbot_id: str | None) -> "Sequence[StoredCopy] | str | None":
    if not (url := settings.database_url.reveal()):
        return None
    from .whatsapp_database import list_copies  # noqa: PLC0415 - as above

    try:
        return await list_copies(url, chatbot_id)
    except TecnobotError as error:
        return str(error)


async def _backup(arguments: argparse.Namespace) -> int:
    target = Path(arguments.file)
    session = Account.of(Settings.from_env()).session()
    _require_free(target, session.directory, force=arguments.force)
    found = await session.condition(session.path)
    if not found.size_bytes or not (found.accounts or found.problem):
        complain(f"there is no account to copy in {session.path}")
        return 1
    written = await session.export(target)
    say(f"{_accounts(written)} written to {target}, {_size(written)}, verified")
    return 0


async def _restore(arguments: argparse.Namespace) -> int:
    if arguments.file == "latest":
        async with open_account(arguments.chatbot) as account:
            session = _ready_to_restore(account)
            age_s = await session.restore()
    else:  # which needs no database
        session = _ready_to_restore(Account.of(Settings.from_env()))
        age_s = (await session.replace(Path(arguments.file))).age_s
    if age_s is None:
        complain("there is no copy that is whole")
        return 1
    say(
        f"{_accounts(await session.condition(session.path))} restored from a copy of {_age(age_s)} ago",
        f"what was there is in {session.directory / 'quarantine'}; the first answers in open chats may be lost",
    )
    return 0


def _ready_to_restore(account: Account) -> Session:
    session = account.session()  # which refuses by itself while a bot runs with it
    session.prepare()
    return session


def _require_free(target: Path, directory: Path, *, force: bool) -> None:
    if directory.resolve() in target.resolve().parents:
        raise ConfigurationError(f"{directory} is where the bot keeps its own files; wanted is a file elsewhere")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise ConfigurationError(f"{target} is a folder, or its folder does not exist; wanted is the name of a file")
    if os.path.lexists(target) and not force:
        raise ConfigurationError(f"{target} is there already; --force replaces it")


def _lines(found: Found) -> Iterator[str]:
    yield f"bot       {'runs' if found.running else 'does not run'}"
    yield f"session   {found.session.path}: {_session(found)}"
    yield f"copies    {len(found.copies)}"
    for copy in found.copies:
        yield f"          {copy.path.name}, of {_age(copy.age_s)} ago: {_condition(copy)}"
    if isinstance(found.stored, str):
        yield f"database  {found.stored}"
    elif found.stored is not None:
        yield f"database  {_stored_line(found.stored)}"


def _session(found: Found) -> str:
    """Before a pairing and after a logout there is no file, which is nothing broken."""
    told = _condition(found.session)
    return f"nobody is joined ({told})" if found.session.missing and not found.copies else told


def _stored_line(stored: "Sequence[StoredCopy]") -> str:
    usable = [copy for copy in stored if not copy.revoked]
    newest = f", the newest of {_age(time.time() - usable[0].taken_at)} ago" if usable else ""
    revoked = len(stored) - len(usable)
    return f"{len(usable)} to use{newest}; {revoked} revoked" if revoked else f"{len(usable)} to use{newest}"


def _condition(condition: Condition) -> str:
    if condition.problem:
        return condition.problem
    if not condition.accounts:
        return "nobody is joined"
    return f"{_accounts(condition)}, {_size(condition)}, whole" if condition.size_bytes else _accounts(condition)


def _accounts(condition: Condition) -> str:
    return "; ".join(map(account_name, condition.accounts))


def _size(condition: Condition) -> str:
    return f"{condition.size_bytes / 1024:,.0f} KiB"


def _age(seconds: float) -> str:
    for unit, length_s in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _described(found: Found) -> dict[str, Any]:
    stored: Any = found.stored
    if isinstance(found.stored, Sequence) and not isinstance(found.stored, str):
        stored = [{"taken_at": c.taken_at, "size_bytes": c.size_bytes, "revoked": c.revoked} for c in found.stored]
    return {
        "running": found.running,
        "well": found.is_well,
        "session": _described_file(found.session),
        "copies": [_described_file(copy) for copy in found.copies],
        "database": {"problem": stored} if isinstance(stored, str) else stored,
    }


def _described_file(condition: Condition) -> dict[str, Any]:
    return {
        "path": str(condition.path),
        "size_bytes": condition.size_bytes,
        "age_s": round(condition.age_s, 1),
        "accounts": list(condition.accounts),
        "problem": condition.problem,
    }
