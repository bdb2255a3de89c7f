"""The phone of an account, as far as it lets other devices join: what it reads, types and signs.

Facts of the format: whatsmeow's pair.go and pair-code.go, and the message definitions of its WAAdv.proto.
"""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.whatsapp_server import protobuf, xeddsa
from tests.whatsapp_server.certificates import raw_public
from tests.whatsapp_server.protobuf import Fields

FORGERIES = ("secret", "signature")
"""What a confirmation can be made without: the secret of the QR code, or the account's key."""

_LINK = "https://wa.me/settings/linked_devices#"
_ROUNDS = 2 << 16
_SALT_BYTES, _COUNTER_BYTES, _NONCE_BYTES, _KEY_BYTES = 32, 16, 12, 32
_BUNDLE_INFO, _SECRET_INFO = b"link_code_pairing_key_bundle_encryption_key", b"adv_secret"

# What goes before that which is signed, by the account and by the device.
_BY_ACCOUNT, _BY_DEVICE = b"\x06\x00", b"\x06\x01"

# Field numbers of ADVDeviceIdentity, ADVSignedDeviceIdentity and ADVSignedDeviceIdentityHMAC.
_RAW_ID, _TIMESTAMP, _KEY_INDEX = 1, 2, 3
_DETAILS, _ACCOUNT_KEY, _ACCOUNT_SIGNATURE, _DEVICE_SIGNATURE = 1, 2, 3, 4
_SIGNED, _HMAC = 1, 2


class MistypedError(Exception):
    """The code that was entered is not the one that the device shows."""


@dataclass(frozen=True)
class Scanned:
    """What a QR code says of the device that shows it."""

    reference: str
    noise_key: bytes
    identity_key: bytes
    secret: bytes

    @classmethod
    def read(cls, text: str) -> "Scanned":
        """Raises ``ValueError`` for what is no offer to join."""
        parts = text.removeprefix(_LINK).split(",")
        if len(parts) < 4:
            raise ValueError(f"{text[:40]!r}… is no offer of a device: wanted are a reference and three keys")
        keys = [base64.b64decode(part, validate=True) for part in parts[1:4]]
        if [len(key) for key in keys] != [_KEY_BYTES] * 3:
            raise ValueError(f"the keys of an offer are {_KEY_BYTES} bytes, not {[len(key) for key in keys]}")
        return cls(parts[0], *keys)


@dataclass(frozen=True)
class Phone:
    """It holds the account's own key."""

    key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    @property
    def public_key(self) -> bytes:
        """32 bytes, by which devices know the account."""
        return raw_public(self.key)

    def confirm(self, identity_key: bytes, secret: bytes, key_index: int, forged: str = "") -> bytes:
        """The ADVSignedDeviceIdentityHMAC by which a device knows that this phone let it join."""
        details = _message({_RAW_ID: secrets.randbits(31), _TIMESTAMP: int(time.time()), _KEY_INDEX: key_index})
        key = X25519PrivateKey.generate() if forged == "signature" else self.key
        signature = xeddsa.sign(key.private_bytes_raw(), _BY_ACCOUNT + details + identity_key)
        signed = _message({_DETAILS: details, _ACCOUNT_KEY: self.public_key, _ACCOUNT_SIGNATURE: signature})
        known = secrets.token_bytes(_KEY_BYTES) if forged == "secret" else secret
        return _message({_SIGNED: signed, _HMAC: hmac.digest(known, signed, "sha256")})

    def has_signed(self, identity_key: bytes, answer: bytes) -> bool:
        """Whether the device signed its answer, an ADVSignedDeviceIdentity, for this account."""
        fields = Fields.parse(answer)
        message = _BY_DEVICE + fields.bytes(_DETAILS) + identity_key + self.public_key
        return xeddsa.verify(identity_key, message, fields.bytes(_DEVICE_SIGNATURE))


class Entry:
    """A *code* that is typed on *phone*, for the device that sent its wrapped ephemeral key."""

    def __init__(self, phone: Phone, code: str, wrapped_key: bytes) -> None:
        self._phone = phone
        code = code.replace("-", "").upper()
        ephemeral = X25519PrivateKey.generate()
        self._shared = _exchange(ephemeral, _crypt(code, wrapped_key[:-_KEY_BYTES], wrapped_key[-_KEY_BYTES:]))
        head = secrets.token_bytes(_SALT_BYTES + _COUNTER_BYTES)
        self.wrapped_key = head + _crypt(code, head, raw_public(ephemeral))
        """The phone's own ephemeral key, for the device."""

    def finish(self, bundle: bytes, identity_key: bytes) -> bytes:
        """The secret that device and phone share now; MistypedError when they do not have the same code."""
        salt, rest = bundle[:_SALT_BYTES], bundle[_SALT_BYTES:]
        key = HKDF(hashes.SHA256(), _KEY_BYTES, salt, _BUNDLE_INFO).derive(self._shared)
        try:
            content = AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], None)
        except InvalidTag:
            raise MistypedError("the code is not the one that the device shows") from None
        if content[:-_KEY_BYTES] != identity_key + self._phone.public_key:
            raise ValueError("the device's bundle names other keys than those that were exchanged")
        material = self._shared + _exchange(self._phone.key, identity_key) + content[-_KEY_BYTES:]
        return HKDF(hashes.SHA256(), _KEY_BYTES, None, _SECRET_INFO).derive(material)


def _crypt(code: str, head: bytes, key: bytes) -> bytes:
    """Wrap or unwrap *key*; *head* is the salt and the first counter."""
    salt, counter = head[:_SALT_BYTES], head[_SALT_BYTES:]
    secret = hashlib.pbkdf2_hmac("sha256", code.encode(), salt, _ROUNDS)
    return Cipher(algorithms.AES(secret), modes.CTR(counter)).encryptor().update(key)


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def _message(fields: dict[int, int | bytes]) -> bytes:
    return b"".join(protobuf.field(number, value) for number, value in fields.items())
