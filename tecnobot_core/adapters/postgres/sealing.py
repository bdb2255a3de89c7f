"""Encryption of what the database keeps and must not know."""

import os
import zlib

from ...errors import MissingDependencyError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ModuleNotFoundError as error:
    raise MissingDependencyError("cryptography", extra="whatsapp") from error

_VERSION = b"\x01"  # of what is written: this byte, the nonce, then what was compressed, under AES-256-GCM
_NONCE_BYTES = 12


class Seal:
    """Seals and opens bytes with a key that is made of *secret* by HKDF (RFC 5869) for one *purpose* only."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        if len(secret) < 32:
            raise ValueError(f"the secret must have at least 32 bytes, not {len(secret)}")
        self._cipher = AESGCM(HKDF(SHA256(), length=32, salt=None, info=purpose).derive(secret))

    def close(self, content: bytes, label: bytes) -> bytes:
        """*content* that only the same secret opens, and only under the same *label*."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, zlib.compress(content, 1), label)

    def open(self, sealed: bytes, label: bytes) -> bytes:
        """What was sealed. ValueError when it is damaged, or of another secret or label."""
        if sealed[:1] != _VERSION:
            raise ValueError("written in a way that is not known here")
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return zlib.decompress(self._cipher.decrypt(nonce, encrypted, label))
        except (InvalidTag, zlib.error) as error:
            raise ValueError("damaged, or sealed with another secret") from error
