"""The certificate authority that a client process trusts, swapped in its own memory.

WhatsApp's root key is built into neonize's library and has no setting. ``install`` overwrites the copy that this
process has mapped; the file on disk stays as it is. Call it after ``import neonize`` and before connecting.
"""

import ctypes
import importlib.util
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

_ANCHOR = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")


def install(root: bytes) -> None:
    """Trust *root* (32 bytes, ``WhatsAppServer.trust_root``) in this process.

    Raises ``ValueError`` for another length, ``LookupError`` when WhatsApp's key is not found exactly once: neonize is
    not imported yet, or it is another version.
    """
    if len(root) != len(_ANCHOR):
        raise ValueError(f"a root key is {len(_ANCHOR)} bytes, not {len(root)}")
    addresses = [start + at for start, memory in _writable_memory() for at in _find_all(memory)]
    if len(addresses) != 1:
        raise LookupError(f"WhatsApp's root key was found {len(addresses)} times in neonize's memory, not once")
    ctypes.memmove(addresses[0], root, len(root))


def write_hook(directory: Path, root: bytes) -> Path:
    """A file for ``WhatsAppTransport(before_connecting=…)``, whose process knows nothing of the tests otherwise."""
    hook = directory / "trust_the_server.py"
    hook.write_text(f"import runpy\nrunpy.run_path({__file__!r})['install'](bytes.fromhex({root.hex()!r}))\n")
    return hook


def missing() -> str | None:
    """Why clients of this machine cannot be tested against the server; None when they can."""
    if not sys.platform.startswith("linux"):
        return f"the trust anchor is swapped through /proc, which {sys.platform} has not"
    package = importlib.util.find_spec("neonize")
    if package is None or not package.submodule_search_locations:
        return "neonize is not installed: pip install tecnobot-core[whatsapp]"
    libraries = list(Path(package.submodule_search_locations[0]).glob("neonize-*.so"))
    if sum(_count(library) for library in libraries) != 1:
        return "neonize's library does not hold WhatsApp's root key once: another version?"
    return None


def _writable_memory() -> Iterator[tuple[int, bytes]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        columns = line.split()
        if len(columns) > 5 and "/neonize-" in columns[5] and columns[1].startswith("rw"):
            start, end = (int(address, 16) for address in columns[0].split("-"))
            yield start, ctypes.string_at(start, end - start)


def _find_all(memory: bytes) -> Iterator[int]:
    at = memory.find(_ANCHOR)
    while at >= 0:
        yield at
        at = memory.find(_ANCHOR, at + 1)


def _count(library: Path) -> int:
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        first = content.find(_ANCHOR)
        return 0 if first < 0 else 1 + (content.find(_ANCHOR, first + 1) >= 0)
