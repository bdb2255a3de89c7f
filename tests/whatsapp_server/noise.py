"""Noise XX with Curve25519, AES-GCM and SHA-256, the answering side, over frames of a three-byte length."""

import hashlib
import struct
import zlib
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.whatsapp_server.certificates import NoiseIdentity, raw_public
from tests.whatsapp_server.nodes import Node, decode, encode
from tests.whatsapp_server.protobuf import Fields, field

_PROTOCOL = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
_HEADER_BYTES = 4  # "WA", and two bytes of versions, before the first frame
_COMPRESSED = 2  # a flag of the byte before each node

# Field numbers of HandshakeMessage and what is inside.
_CLIENT_HELLO, _SERVER_HELLO, _CLIENT_FINISH = 2, 3, 4
_EPHEMERAL, _STATIC, _PAYLOAD = 1, 2, 3
_FINISH_STATIC, _FINISH_PAYLOAD = 1, 2


class Socket(Protocol):
    """A websocket, whose messages need not keep to the borders of frames."""

    async def recv(self, *, decode: bool | None = None) -> bytes | str: ...
    async def send(self, message: bytes) -> None: ...


class Frames:
    """Frames out of a stream of messages."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._buffer = b""

    async def read_header(self) -> bytes:
        return await self._take(_HEADER_BYTES)

    async def read(self) -> bytes:
        return await self._take(int.from_bytes(await self._take(3), "big"))

    async def write(self, frame: bytes) -> None:
        await self._socket.send(len(frame).to_bytes(3, "big") + frame)

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            message = await self._socket.recv(decode=False)
            self._buffer += message if isinstance(message, bytes) else message.encode()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


class Channel:
    """Encrypted nodes both ways, each way with a key and a counter of its own."""

    def __init__(self, frames: Frames, read_key: bytes, write_key: bytes) -> None:
        self._frames = frames
        self._reading, self._writing = AESGCM(read_key), AESGCM(write_key)
        self._read = self._written = 0

    async def receive(self) -> Node:
        data = self._reading.decrypt(_nonce(self._read), await self._frames.read(), None)
        self._read += 1
        return decode(zlib.decompress(data[1:]) if data[0] & _COMPRESSED else data[1:])

    async def send(self, node: Node) -> None:
        data = self._writing.encrypt(_nonce(self._written), b"\0" + encode(node), None)
        self._written += 1
        await self._frames.write(data)


async def respond(frames: Frames, identity: NoiseIdentity) -> tuple[Channel, bytes, Fields]:
    """Answer a client's handshake; return the channel, the client's static key and the ClientPayload: who logs in.

    Raises cryptography's ``InvalidTag`` when the client does not speak the same keys.
    """
    state = _Handshake()
    state.absorb(await frames.read_header())
    client_ephemeral = Fields.parse(await frames.read()).message(_CLIENT_HELLO).bytes(_EPHEMERAL)
    state.absorb(client_ephemeral)

    ephemeral = X25519PrivateKey.generate()
    state.absorb(raw_public(ephemeral))
    state.mix(ephemeral, client_ephemeral)
    static = state.encrypt(raw_public(identity.static))
    state.mix(identity.static, client_ephemeral)
    chain = state.encrypt(identity.chain())
    hello = field(_EPHEMERAL, raw_public(ephemeral)) + field(_STATIC, static) + field(_PAYLOAD, chain)
    await frames.write(field(_SERVER_HELLO, hello))

    finish = Fields.parse(await frames.read()).message(_CLIENT_FINISH)
    client_static = state.decrypt(finish.bytes(_FINISH_STATIC))
    state.mix(ephemeral, client_static)
    login = Fields.parse(state.decrypt(finish.bytes(_FINISH_PAYLOAD)))
    return Channel(frames, *state.split()), client_static, login


class _Handshake:
    """The symmetric state of the Noise specification, section 5.2."""

    def __init__(self) -> None:
        self._hash = self._chaining_key = _PROTOCOL
        self._cipher = AESGCM(_PROTOCOL)
        self._count = 0

    def absorb(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix(self, private: X25519PrivateKey, public: bytes) -> None:
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
        self._chaining_key, key = self._derive(secret)
        self._cipher, self._count = AESGCM(key), 0

    def encrypt(self, data: bytes) -> bytes:
        encrypted = self._cipher.encrypt(self._next_nonce(), data, self._hash)
        self.absorb(encrypted)
        return encrypted

    def decrypt(self, data: bytes) -> bytes:
        decrypted = self._cipher.decrypt(self._next_nonce(), data, self._hash)
        self.absorb(data)
        return decrypted

    def split(self) -> tuple[bytes, bytes]:
        """The client's key to write, then ours."""
        return self._derive(b"")

    def _derive(self, secret: bytes) -> tuple[bytes, bytes]:
        keys = HKDF(hashes.SHA256(), 64, self._chaining_key, b"").derive(secret)
        return keys[:32], keys[32:]

    def _next_nonce(self) -> bytes:
        self._count += 1
        return _nonce(self._count - 1)


def _nonce(count: int) -> bytes:
    return bytes(8) + struct.pack(">I", count)
