"""The library itself: neonize's Go half and its message definitions, without neonize's Python half.

``import neonize`` would load 600 modules (35 MiB, most of a second), libmagic among them, and would fetch a missing
binary from the network. None of it is needed to call the C functions below, whose declarations are compared with
neonize's own in the test suite. The version is pinned, and checked here.
"""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# uuid → text; uuid → bytes, length, event code; bytes, length
StringCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
EventCallback = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)


class ProxyStructure(ctypes.Structure):
    """Through which proxy to connect; all traffic goes there unless a flag excepts it."""

    _fields_ = (
        ("proxyAddress", ctypes.c_char_p),
        ("noWebsocket", ctypes.c_bool),
        ("onlyLogin", ctypes.c_bool),
        ("noMedia", ctypes.c_bool),
    )


class BytesStructure(ctypes.Structure):
    """Bytes that Go allocated; they may hold zeros."""

    _fields_ = (("ptr", ctypes.c_void_p), ("size", ctypes.c_size_t))


_TEXT, _NUMBER, _FLAG = ctypes.c_char_p, ctypes.c_int, ctypes.c_bool
_RETURNS_TEXT, _RETURNS_BYTES = ctypes.c_void_p, ctypes.POINTER(BytesStructure)

# name → (result, arguments). The first argument is the client's uuid; bytes are followed by their length.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "Neonize": (
        _RETURNS_TEXT,
        # uuid and store change places here: store, uuid, account, its length, new device, log level, callbacks for
        # QR codes, login status, events and logs, wanted events, device properties, pairing payload, proxy
        [
            *(_TEXT, _TEXT, _TEXT, _NUMBER, _NUMBER, _TEXT),
            *(StringCallback, StringCallback, EventCallback, LogCallback),
            *(_TEXT, _NUMBER, _TEXT, _NUMBER, _TEXT, _NUMBER),
            ctypes.POINTER(ProxyStructure),
        ],
    ),
    "Disconnect": (None, [_TEXT]),
    "Logout": (_RETURNS_TEXT, [_TEXT]),
    "IsConnected": (_FLAG, [_TEXT]),
    "IsLoggedIn": (_FLAG, [_TEXT]),
    "SetPassive": (_RETURNS_TEXT, [_TEXT, _FLAG]),
    "SendPresence": (_RETURNS_TEXT, [_TEXT, _TEXT]),
    "SendChatPresence": (_RETURNS_TEXT, [_TEXT, _TEXT, _NUMBER, _NUMBER, _NUMBER]),
    "MarkRead": (_RETURNS_TEXT, [_TEXT, _TEXT, _NUMBER, _TEXT, _NUMBER, _TEXT, _NUMBER, _TEXT]),
    "SendMessage": (_RETURNS_BYTES, [_TEXT, _TEXT, _NUMBER, _TEXT, _NUMBER]),
    "Upload": (_RETURNS_BYTES, [_TEXT, _TEXT, _NUMBER, _NUMBER]),
    "DownloadAny": (_RETURNS_BYTES, [_TEXT, _TEXT, _NUMBER]),
    "PairPhone": (_RETURNS_BYTES, [_TEXT, _TEXT, _NUMBER]),
    "FreeString": (None, [ctypes.c_void_p]),
    "FreeBytesStruct": (None, [_RETURNS_BYTES]),
}


class UnusableError(Exception):
    """The library does not run here; ``package`` names what must be installed, where that helps."""

    def __init__(self, sentence: str, package: str = "") -> None:
        super().__init__(sentence)
        self.package = package


class Definitions:
    """The library's messages: of its events and answers, of what travels encrypted, and of what a device is."""

    def __init__(self, folder: Path) -> None:
        sys.path.append(str(folder / "proto"))  # its modules import one another from there
        self.events = _definitions("Neonize_pb2")
        self.e2e = _definitions("waE2E.WAWebProtobufsE2E_pb2")
        self.companion = _definitions("waCompanionReg.WAWebProtobufsCompanionReg_pb2")


class Library(Definitions):
    """neonize's shared library and message definitions, loaded once. Raises UnusableError."""

    def __init__(self) -> None:
        folder = package_folder()
        super().__init__(folder)
        self.version = importlib.metadata.version("neonize")
        self.path = folder / binary_name()
        if not self.path.exists():
            raise UnusableError(f"neonize {self.version} has no {self.path.name} for this machine")
        self.functions = self._load()

    def text(self, name: str, *arguments: object) -> str:
        """Call a function that returns a text, mostly an error: empty is success."""
        address = getattr(self.functions, name)(*arguments)
        if not address:
            return ""
        try:
            return ctypes.string_at(address).decode("utf-8", "replace")
        finally:
            self.functions.FreeString(address)

    def bytes(self, name: str, *arguments: object) -> bytes:
        """Call a function that returns bytes."""
        with self.borrowed(name, *arguments) as view:
            return bytes(view)

    def borrowed(self, name: str, *arguments: object) -> "Borrowed":
        """Call a function that returns bytes, which are Go's until the ``with`` ends: large ones are not copied."""
        return Borrowed(self, getattr(self.functions, name)(*arguments))

    def _load(self) -> Any:
        try:
            functions = ctypes.CDLL(str(self.path))
        except OSError as error:
            raise UnusableError(f"neonize {self.version} does not run on this machine: {error}") from error
        functions.GetVersion.restype = ctypes.c_char_p
        inside = functions.GetVersion().decode()
        if inside != self.version:
            raise UnusableError(f"neonize {self.version} holds the library of version {inside}", "neonize")
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
        return functions


class Borrowed:
    """Bytes in Go's memory, for the time of a ``with``."""

    def __init__(self, library: Library, pointer: Any) -> None:
        self._library = library
        self._pointer = pointer

    def __enter__(self) -> memoryview:
        if not self._pointer or not self._pointer.contents.ptr:
            return memoryview(b"")
        inner = self._pointer.contents
        array = (ctypes.c_char * inner.size).from_address(inner.ptr)
        return memoryview(array).cast("B")

    def __exit__(self, *_: object) -> None:
        if self._pointer:
            self._library.functions.FreeBytesStruct(self._pointer)


def binary_name() -> str:
    """The file name of the shared library for this machine, by neonize's rule."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"aarch64": "arm64", "x86_64": "amd64"}.get(machine, machine)
    ending = {"windows": "dll", "darwin": "dylib"}.get(system, "so")
    return f"neonize-{system}-{machine}.{ending}"


def package_folder() -> Path:
    """Where neonize is installed."""
    spec = importlib.util.find_spec("neonize")  # looks for it without importing it
    if spec is None or spec.origin is None:
        raise UnusableError("neonize is not installed", "neonize")
    return Path(spec.origin).parent


def _definitions(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UnusableError(f"{error.name} is not installed", str(error.name)) from error
    except Exception as error:  # protobuf's VersionError, whose place in the package changes
        raise UnusableError(f"protobuf is too old for neonize: {error}", "protobuf") from error
