"""A device that is paired already: its row in a session database, with real keys."""

import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

from tests.whatsapp_server import xeddsa

LID_PREFIX = "10"
"""Before the phone number makes a LID: any stable rule would do, this one is easy to read."""

# Opening a connection, even to a port where nobody listens, makes whatsmeow create its tables.
_CREATE_TABLES = """
import asyncio, sys
from neonize._binder import ProxySettings
from neonize.aioze.client import NewAClient

async def main():
    client = NewAClient(sys.argv[1])
    try:
        await asyncio.wait_for(await client.connect(ProxySettings(proxy_address="http://127.0.0.1:9")), 8)
    except Exception as error:
        print(error)
    await client.stop()

asyncio.run(main())
"""

_making = threading.Lock()
_made: list[bytes] = []


def seed_device(path: Path, number: str, device: int, name: str) -> None:
    """Write a session database of neonize with one paired device of the account *number*, displayed as *name*.

    Device 0 is the account's phone. *path* must not exist. Call it before a client opens the file, never beside one.
    Takes about two seconds the first time in a process, as neonize itself makes the tables.
    """
    if path.exists():
        raise FileExistsError(f"{path} is a session already; seed another file")
    path.touch(0o600)
    path.write_bytes(_empty_store())
    row = _device_row(number, device, name)
    with closing(sqlite3.connect(path)) as database, database:
        columns, places = ", ".join(row), ", ".join("?" for _ in row)
        database.execute(f"INSERT INTO whatsmeow_device ({columns}) VALUES ({places})", tuple(row.values()))


def _empty_store() -> bytes:
    """Made once in a process, also when several ask at the same time."""
    with _making:
        if not _made:
            _made.append(_make_empty_store())
    return _made[0]


def _make_empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        made = subprocess.run([sys.executable, "-c", _CREATE_TABLES, str(path)], capture_output=True, text=True)
        if not path.exists() or not path.stat().st_size:
            raise RuntimeError(f"neonize made no session database: {made.stdout}{made.stderr}")
        return path.read_bytes()


def _device_row(number: str, device: int, name: str) -> dict[str, str | int | bytes]:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    identity, signed, noise = (X25519PrivateKey.generate() for _ in range(3))
    # A peer checks this signature before it opens a session: a type byte, then the key.
    signature = xeddsa.sign(identity.private_bytes_raw(), b"\x05" + signed.public_key().public_bytes_raw())
    suffix = f":{device}" if device else ""
    return {
        "jid": f"{number}{suffix}@s.whatsapp.net",
        "lid": f"{LID_PREFIX}{number}{suffix}@lid",
        "registration_id": secrets.randbelow(0x3FFF) + 1,
        "noise_key": noise.private_bytes_raw(),
        "identity_key": identity.private_bytes_raw(),
        "signed_pre_key": signed.private_bytes_raw(),
        "signed_pre_key_id": 1,
        "signed_pre_key_sig": signature,
        # Carried along by clients, checked by nobody here.
        "adv_key": secrets.token_bytes(32),
        "adv_details": secrets.token_bytes(32),
        "adv_account_sig": secrets.token_bytes(64),
        "adv_account_sig_key": secrets.token_bytes(32),
        "adv_device_sig": secrets.token_bytes(64),
        "platform": "android",
        "push_name": name,
    }
